"""The options that several verbs share become one value, and stand in each verb's help."""

from dataclasses import fields

import typer
from typer.testing import CliRunner

from rolesum.cli.generation_options import Asked, AskedInPrivate, takes
from rolesum.cli.main import app


def command(kind, *arguments):
    found = []
    one = typer.Typer()

    @one.command()
    @takes(kind)
    def verb(file: str, *, asked: kind, last: bool = False) -> None:
        found.append((file, asked, last))

    done = CliRunner().invoke(one, list(arguments))
    assert done.exit_code == 0, done.output
    return found[0]


def test_without_options_it_is_the_defaults():
    assert command(Asked, "chat.txt") == ("chat.txt", Asked(), False)


def test_options_come_to_its_fields():
    said = (
        "--roles",
        "user",
        "--speaker",
        "A=user",
        "--speaker",
        "B=agent",
        "--beams",
        "3",
        "--redact-name",
        "Li",
        "--last",
    )
    asked = AskedInPrivate(roles="user", speaker=["A=user", "B=agent"], beams=3, redact_name=["Li"])
    assert command(AskedInPrivate, "chat.txt", *said) == ("chat.txt", asked, True)
    writing = asked.writing("transformers", long_dialogues="refine")
    assert (writing.roles, writing.decoding.beams, writing.long_dialogues) == (("user",), 3, "refine")
    assert writing.redact and writing.hidden_names == ("Li",)
    assert asked.reading()["speakers"] == {"A": "user", "B": "agent"}


def test_each_verb_shows_them_all():
    for verb, kind in (("summarize", AskedInPrivate), ("batch", AskedInPrivate), ("evaluate", Asked)):
        shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).stdout
        assert [one.name for one in fields(kind) if f"--{one.name.strip('_').replace('_', '-')}" not in shown] == []
