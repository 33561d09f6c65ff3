"""The Markdown page that tools/cli_reference.py makes of the commands."""

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from rolesum.cli.help import Panel
from rolesum.cli.main import app

TOOL = Path(__file__).resolve().parents[2] / "tools" / "cli_reference.py"


@pytest.fixture(scope="module")
def sections():
    """Path of a command -> its section of the page."""
    spec = importlib.util.spec_from_file_location("cli_reference", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    first, *parts = re.split(r"^## ", tool.reference(), flags=re.MULTILINE)
    assert first.startswith("# Command line\n")
    return {part.partition("\n")[0]: part for part in parts}


def test_reference_has_a_section_for_every_command_and_all_its_options(sections):
    def check(command, path):
        for one in command.params:
            assert all(name in sections[path] for name in one.opts if name.startswith("-")), (path, one.name)
        for name, sub in getattr(command, "commands", {}).items():
            check(sub, f"{path} {name}")

    check(typer.main.get_command(app), "rolesum")


def test_reference_shows_usage_panels_choices_defaults_and_examples(sections):
    section = sections["rolesum summarize"]
    assert "```\nrolesum summarize [OPTIONS] [FILE]\n```" in section
    assert "Example:\n\n```\nrolesum summarize chat.txt" in section
    assert "- `-o, --out FILE`: Output file" in section
    assert "- `--verify [off|flag|quote|drop|rerank]`: " in section
    assert "tokens. Default: `128`." in section
    assert "--url" in section and "from `--model` or `--adapter`." in section
    titles = re.findall(r"^\*\*([\w ]+)\*\*$", section, flags=re.MULTILINE)
    assert titles == [panel for panel in Panel if panel in titles] and titles[:3] == ["Arguments", "Input", "Output"]
    assert "--to [adapter|merged|llama|gguf] --out PATH RUN\n```" in sections["rolesum export"]
    assert "**Required.**" in sections["rolesum export"]
    assert "- `-h, --help`: " in sections["rolesum"] and "- `rolesum data check`: " in sections["rolesum data"]
