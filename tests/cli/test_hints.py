"""The commands that errors, help texts and the package's own texts name are ones that the command line has."""

import ast
import re
from pathlib import Path

import pytest
import typer

import rolesum
from rolesum.cli.main import app

PACKAGE = Path(rolesum.__file__).parent
ROOT = typer.main.get_command(app)
# Words that follow the program's name in sentences about it, and the verb that follows a command's name.
PROSE = {
    *("after", "by", "did", "does", "generates", "in", "is", "itself", "loads", "made", "might", "only", "or", "read"),
    *("reads", "sees", "shards", "summarizes", "that", "trained", "uses", "what", "will", "with", "wrote"),
}
VERBS = {"lists", "makes", "prints", "printed", "reads", "wrote", "does", "does not"}
MENTION = re.compile(r"\brolesum ([a-z][a-z-]*)([^.;:,()\n`\"]*)")


def texts(path):
    """The strings of a module that users may see, with X for each value in them, and their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    if "cli" not in path.parts:  # docstrings of commands are help texts
        parts |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(one.value if isinstance(one, ast.Constant) else "X" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value


def fault(name, rest):
    """What is wrong with a mention of `rolesum name rest`, or None."""
    if name in PROSE:
        return None
    command = ROOT.commands.get(name)
    if command is None:
        return "no such command"
    words = rest.split()
    if hasattr(command, "commands") and words and not words[0].startswith("-") and words[0] not in VERBS:
        command = command.commands.get(words[0])
        if command is None:
            return f"no such command {words[0]}"
    options = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)} | {"--help"}
    # an option that belongs to another sentence follows no word of prose
    asked = re.match(r"(?: (?:-{0,2}[A-Z0-9…\"*/-][\w./*=…-]*|--[a-z-]+|[\w-]*[./=][\w./=-]*|sample\S*))*", rest)
    unknown = [word for word in asked[0].split() if word.startswith("--") and word not in options]
    return f"no such option {', '.join(unknown)}" if unknown else None


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if "samples" not in path.parts]


def test_every_command_that_a_text_names_exists():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: rolesum {name}{rest}: {what}"
        for path in MODULES
        for line, text in texts(path)
        for name, rest in MENTION.findall(text)
        if (what := fault(name, rest))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "mention", ["models list", "model pull", "data checks FILE", "export RUN --into gguf", "train --epoch 3"]
)
def test_commands_that_do_not_exist_are_found(mention):
    name, _, rest = mention.partition(" ")
    assert fault(name, f" {rest}")


@pytest.mark.parametrize(
    "mention", ["models", "models lists", "models pull X --from FILE", "export --to merged", "demo"]
)
def test_commands_that_exist_pass(mention):
    name, _, rest = mention.partition(" ")
    assert fault(name, f" {rest}" if rest else "") is None
