"""The wheel and the source distribution: what they hold, that they work where nothing else is, and what they need."""

import ast
import re
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import rolesum

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "rolesum").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Modules whose package is named otherwise, or may be absent here.
PACKAGES = {"google": "protobuf", "ot": "pot"}
# certifi is used where it is installed; compression is Python 3.14's.
OPTIONAL = {"certifi", "compression"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution, built from the sources as they are."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", out], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.suffix: path for path in out.iterdir()}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(built):
    with zipfile.ZipFile(built[".whl"]) as wheel:
        names = set(wheel.namelist())
        (told,) = (wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    of_package = {f"rolesum/{path.relative_to(ROOT / 'src/rolesum').as_posix()}" for path in SOURCES}
    assert of_package <= names
    assert {f"rolesum/recipes/{path.name}" for path in (ROOT / "recipes").iterdir()} <= names
    assert {"rolesum/formats/label_words.yaml", "rolesum/adapters/en-zh/adapter_model.safetensors"} <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"rolesum", f"rolesum-{rolesum.__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    assert "Requires-Dist: nltk" in told and "Requires-Dist: rouge-score" not in told
    assert "Project-URL: Changelog" in told and "Classifier: Typing :: Typed" in told


@pytest.mark.slow
def test_the_source_distribution_holds_what_a_build_and_the_tests_need(built):
    with tarfile.open(built[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile"} <= names
    assert {path.relative_to(ROOT).as_posix() for path in SOURCES} <= names
    assert {
        "tests/test_packaging.py",
        "tools/cli_reference.py",
        "docs/formats.md",
        "recipes/mine.yaml",
        "constraints.txt",
    } <= names
    assert not [
        name for name in names if name.startswith((".venv", ".git/", "runs/", "dist/")) or "__pycache__" in name
    ]


@pytest.mark.slow
def test_the_wheel_runs_in_an_environment_of_its_own(built, tmp_path):
    """Of this environment, the libraries alone are seen there, so that no index is asked."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    run = {"capture_output": True, "text": True, "check": False, "cwd": tmp_path, "env": {"PATH": "/usr/bin:/bin"}}
    install = [python, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", built[".whl"]]
    done = subprocess.run(install, **run)
    assert done.returncode == 0, done.stderr
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    where = subprocess.run([python, "-c", "import rolesum; print(rolesum.__file__)"], **run)
    assert where.stdout.startswith(str(packages)), where.stdout + where.stderr
    said = subprocess.run([tmp_path / "venv" / "bin" / "rolesum", "--version"], **run)
    assert said.stdout.strip().endswith(rolesum.__version__), said.stdout + said.stderr
    read = subprocess.run([tmp_path / "venv" / "bin" / "rolesum", "data", "check", "sample:en-test"], **run)
    assert read.returncode == 0 and "24 good dialogues" in read.stdout + read.stderr, read.stdout + read.stderr


def imported_modules():
    """The modules outside of Python and rolesum that the package imports, wherever in a file."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - OPTIONAL - {"rolesum"}


def names_of(requirements):
    return {re.match(r"[\w.-]+", one)[0].lower().replace("_", "-") for one in requirements}


def test_every_library_that_is_imported_is_a_dependency_or_of_an_extra():
    extras = [one for listed in PROJECT["optional-dependencies"].values() for one in listed]
    declared = names_of([*PROJECT["dependencies"], *extras])
    known = metadata.packages_distributions()
    for module in imported_modules():
        packages = names_of([PACKAGES[module]] if module in PACKAGES else known.get(module, [module]))
        assert packages & declared, f"{module} is imported, and no dependency provides it"


def test_the_changelog_has_the_form_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[([^\]]+)\](?: - \d{4}-\d{2}-\d{2})?$", text, re.MULTILINE)
    assert sections[0] == "Unreleased"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds


def test_the_workflow_calls_the_makefile_and_every_template_is_yaml():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert commands == ["make lint", "make test"]
    for template in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(template.read_text())
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["title"].startswith("rolesum")


def test_the_version_is_the_same_wherever_it_is_stated():
    released = re.findall(r"^## \[(\d[\d.]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert rolesum.__version__ == released[0] == cited == "0.2.0"
