"""The import order. The modules are read, not run, so that imports inside functions count too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "rolesum"

# From the bottom up: a part may import those of its own layer and of the layers below.
LAYERS = (
    {"counts", "dialogue", "errors", "schema_keys", "strict_json"},
    {"os_errors", "interrupts", "file_state", "threads"},
    {"atomic_io", "console", "http_security", "locks", "ray_cluster", "settings", "sockets", "sqlite_store"},
    {"roles", "instructions", "formats", "redaction"},
    {"metrics"},
    {"recipe", "recipe_loading", "models", "checks"},
    {"generation"},
    {"training"},
    {"evaluation"},
    {"batch", "server"},
    {"api", "demo", "doctor", "project"},
    {"cli", "__main__"},
)
DATA_ONLY = {"adapters", "samples"}
FRONT_DOOR = "__init__"  # hands on names of the api and of several layers, and is for users

HEAVY = {"torch", "transformers", "peft"}
HEAVY_AT_HOME = {"models", "training", "generation"}

RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path):
    inside = path.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py")


def imported(tree, functions=True):
    """The dotted names that a module imports, with their lines; `functions` tells whether inside functions too."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            found += [(f"{dots}{node.module or ''}.{alias.name}", node.lineno) for alias in node.names]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not functions:
            continue
        elif isinstance(node, ast.If) and not functions and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
    return found


def known_parts(tree):
    """The parts of rolesum that a module imports from, with their lines; a name of the front door is the front door."""
    for name, line in imported(tree):
        if name.split(".")[0] == "rolesum":
            inside = (*name.split("."), "")[1]
            yield (inside if inside in RANK.keys() | DATA_ONLY else FRONT_DOOR), line


def breaches(part, tree):
    """What a module of `part` imports and may not."""
    for other, line in known_parts(tree):
        allowed = other == part or RANK.get(other, len(LAYERS)) <= RANK[part]
        if other == FRONT_DOOR:
            allowed = part == "cli"
        if not allowed:
            yield f"{part} imports {other} in line {line}"


def heavy_imports(tree):
    """The heavy libraries that are imported as soon as the module is, with their lines."""
    return [(name, line) for name, line in imported(tree, functions=False) if name.split(".")[0] in HEAVY]


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def test_every_part_of_the_package_has_its_layer():
    parts = {part_of(path) for path in MODULES}
    assert parts == RANK.keys() | DATA_ONLY | {FRONT_DOOR}


def test_no_part_knows_one_above_it(trees):
    found = [
        f"{path.relative_to(PACKAGE)}: {breach}"
        for path, tree in trees.items()
        if part_of(path) not in DATA_ONLY | {FRONT_DOOR}
        for breach in breaches(part_of(path), tree)
    ]
    assert found == []


def test_the_package_imports_itself_by_full_names_only(trees):
    assert [
        (path.name, name) for path, tree in trees.items() for name, _ in imported(tree) if name.startswith(".")
    ] == []


def test_heavy_libraries_are_imported_at_once_only_where_models_are_at_work(trees):
    found = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path, tree in trees.items()
        if part_of(path) not in HEAVY_AT_HOME
        for name, line in heavy_imports(tree)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("formats", "from rolesum.models.catalog import CATALOG"),
        ("formats", "from rolesum import models"),
        ("formats", "import rolesum.models"),
        ("roles", "def late():\n    from rolesum.training import train"),
        ("evaluation", "import rolesum.cli.main"),
        ("models", "from rolesum import load_model"),
        ("metrics", "from rolesum.models import load_model"),
        ("generation", "from rolesum.evaluation import evaluate"),
        ("training", "from rolesum.evaluation import evaluate"),
        ("atomic_io", "from rolesum.roles import BUILT_IN"),
    ],
)
def test_these_rules_would_see_a_breach(part, source):
    assert len(list(breaches(part, ast.parse(source)))) == 1


def test_these_rules_would_see_a_heavy_import_and_let_late_ones_be():
    early = "try:\n    import torch.nn\nexcept ImportError:\n    pass\nclass Net:\n    from transformers import Trainer"
    late = "def load():\n    import torch\nif TYPE_CHECKING:\n    import torch"
    assert sorted(heavy_imports(ast.parse(early))) == [("torch.nn", 2), ("transformers.Trainer", 6)]
    assert heavy_imports(ast.parse(late)) == []


def test_importing_what_needs_no_model_imports_no_heavy_library():
    names = ("formats", "recipe", "recipe_loading", "metrics", "checks", "evaluation", "models", "api", "cli.main")
    modules = ["rolesum", *(f"rolesum.{name}" for name in names)]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        f"    print(name, *sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == modules, done.stderr
