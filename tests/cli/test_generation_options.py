"""The options that several commands share become one object, and are shown in the help of each command."""

from dataclasses import fields

import typer
from typer.testing import CliRunner

from rolesum.cli.generation_options import GenerationOptions, SummarizeOptions, with_options
from rolesum.cli.main import app
from rolesum.generation import Decoding
from rolesum.generation.engine import DECODING_OPTIONS


def command(kind, *arguments):
    found = []
    one = typer.Typer()

    @one.command()
    @with_options(kind)
    def parse(file: str, *, options: kind, last: bool = False) -> None:
        found.append((file, options, last))

    done = CliRunner().invoke(one, list(arguments))
    assert done.exit_code == 0, done.output
    return found[0]


def test_without_options_it_is_the_defaults():
    assert command(GenerationOptions, "chat.txt") == ("chat.txt", GenerationOptions(), False)


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
        "--redact-people",
        "--last",
    )
    options = SummarizeOptions(
        roles="user", speaker=["A=user", "B=agent"], decoding=Decoding(beams=3), redact_name=["Li"], redact_people=True
    )
    assert command(SummarizeOptions, "chat.txt", *said) == ("chat.txt", options, True)
    config = options.summarizer_config("transformers", long_dialogues="refine")
    assert (config.roles, config.decoding.beams, config.long_dialogues) == (("user",), 3, "refine")
    assert config.redact and config.redact_people and config.hidden_names == ("Li",)
    assert options.read_options.speakers == {"A": "user", "B": "agent"}


def test_help_of_each_command_shows_all_options():
    for name, kind in (
        ("summarize", SummarizeOptions),
        ("batch", SummarizeOptions),
        ("evaluate", GenerationOptions),
    ):
        shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
        own = [f"--{one.name.strip('_').replace('_', '-')}" for one in fields(kind) if one.name != "decoding"]
        assert [flag for flag in (*own, *(one.flag for one in DECODING_OPTIONS)) if flag not in shown] == []
