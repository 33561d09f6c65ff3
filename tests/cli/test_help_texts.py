"""Help pages: every option has a text, a panel and a metavar, and nothing is cut in a terminal of 80 columns."""

import re
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

import rolesum
from rolesum.cli.help import Panel
from rolesum.cli.main import app

WIDTH = 80
SHORT = {"--out": "-o", "--model": "-m", "--version": "-V"}
# Added by typer itself.
OF_TYPER = {"install_completion", "show_completion"}
# FILE, KEY=VALUE, [ROLE=]FILE, "IN... OUT" or [a|b], and no Python type such as <str> or INTEGER RANGE
METAVAR = re.compile(r"[A-Z][A-Z_=|@. \[\]]*|\[ROLE=\]FILE|\[[\w:|-]+\]")
TYPES = {"TEXT", "INTEGER", "INT", "FLOAT", "STR", "BOOL", "BOOLEAN"}


def commands(command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    yield path, command
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
each_command = pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "rolesum")


def page(path, flag="--help"):
    done = CliRunner().invoke(app, [*path, flag], env={"COLUMNS": str(WIDTH), "NO_COLOR": "1"}, prog_name="rolesum")
    assert done.exit_code == 0, done.output
    return done.output


def faults(parameter):
    """What is wrong with an option or an argument, as the help shows it."""
    text = parameter.help or ""
    is_option = parameter.param_type_name == "option"
    found = []
    if not text:
        found.append("no help")
    elif text.startswith(("Of ", "By ", "Others ")) or not text[0].isupper() or text[-1] != ".":
        found.append(f"no sentence: {text}")
    if is_option and parameter.rich_help_panel not in list(Panel):
        found.append(f"no panel: {parameter.rich_help_panel}")
    if not (is_option and parameter.is_flag):
        metavar = parameter.metavar or ""
        choices = parameter.type_descriptor.choices
        if not METAVAR.fullmatch(metavar) or metavar in TYPES:
            found.append(f"no metavar: {metavar}")
        if choices and metavar != f"[{'|'.join(choices)}]":
            found.append(f"the metavar {metavar} lists other choices than {choices}")
    missing = [SHORT[name] for name in parameter.opts if name in SHORT and SHORT[name] not in parameter.opts]
    return found + [f"no {name}" for name in missing]


@each_command
def test_every_option_has_help_a_panel_a_metavar_and_its_short_name(path):
    parameters = [one for one in COMMANDS[path].params if one.name not in OF_TYPER]
    assert {one.name: faults(one) for one in parameters if faults(one)} == {}


def test_an_option_without_them_is_found():
    bare = typer.Typer()

    @bare.command()
    def command(out: str = typer.Option("x", "--out"), verify: bool = typer.Option(False, help="Of statements.")):
        pass

    out, verify = typer.main.get_command(bare).params[:2]
    assert faults(out) == ["no help", "no panel: None", "no metavar: ", "no -o"]
    assert faults(verify) == ["no sentence: Of statements.", "no panel: None"]


@each_command
def test_help_of_every_command_is_a_sentence(path):
    text = COMMANDS[path].help
    assert text and text[0].isupper() and not text.startswith("Of ") and text.split("\n\n")[0].endswith(".")


@each_command
def test_help_page_shows_every_text_whole_at_80_columns(path):
    lines = page(path).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert not [line for line in lines if "…" in line or re.search(r"<\w+( range)?>", line)]
    shown = " ".join(" ".join(lines).replace("│", " ").split())
    command = COMMANDS[path]
    texts = [command.help, *(one.help for one in command.params)]
    for paragraph in (" ".join(one.split()) for text in texts for one in text.split("\n\n")):
        assert paragraph in shown
    for one in command.params:
        names = [*one.opts, *one.secondary_opts] if one.param_type_name == "option" else []
        assert [name for name in (*names, one.metavar or "") if name not in shown] == []


@each_command
def test_help_page_shows_the_panels_in_their_order_and_each_once(path):
    titles = re.findall(r"^╭─ ([\w ]+) ─", page(path), flags=re.MULTILINE)
    panels = [title for title in titles if title in list(Panel)]
    assert panels == [panel for panel in Panel if panel in panels]
    assert len(set(titles)) == len(titles)


@each_command
def test_h_is_short_for_help(path):
    assert page(path, "-h") == page(path)


def test_v_prints_the_version():
    assert page((), "-V") == f"rolesum {rolesum.__version__}\n"
