"""Summarizes a dialogue of each language with an adapter, for README: what a terminal shows, marks and notes included.

The dialogues are written by hand (hard_chats.jsonl), so that no adapter has seen them. page.py writes them and their
summaries into README.md, between the comments that name examples.json.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from record import Job, arguments, probe, write_record

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.formats import find_dialogue
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import summarize_dialogues
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.summary_output import format_blocks
from rolesum.models.adapter_metadata import read_adapter_metadata
from rolesum.models.bundled_adapters import DEFAULT_ADAPTER, adapter_path

NAME = "examples"
FILE = Path(__file__).parent / "hard_chats.jsonl"
IDS = ("hard-hotel-en", "hard-hotel-zh")
ROLES = ("overall", "user", "agent")


def main() -> int:
    options = _options()
    dialogues = [find_dialogue(options.data, one) for one in options.ids]
    adapter = adapter_path(options.adapter)
    spec = EngineSpec(adapter=adapter, device=options.device, dtype=options.dtype)
    config = SummarizerConfig(spec, options.roles, Decoding(max_new_tokens=options.max_new_tokens))
    written = summarize_dialogues(dialogues, config)
    rows = [row for one, texts in zip(dialogues, written, strict=True) for row in example_rows(one, texts)]
    settings = {name: getattr(options, name) for name in ("dtype", "max_new_tokens", "adapter")}
    machine = probe(options.device, options.dtype, base=str(read_adapter_metadata(adapter).get("base")))
    headline = {"with_a_doubtful_statement": sum(bool(row["doubtful"]) for row in rows)}
    write_record(NAME, machine, settings, rows, headline, options.results, ("id", "role", "shown"))
    return 0


def example_rows(dialogue: Dialogue, summaries: list[RoleSummary]) -> Iterator[Job]:
    """A row for each summary of a dialogue, with the dialogue's turns and the summary as a terminal shows it."""
    for one in summaries:
        yield {
            "language": dialogue.language,
            "id": dialogue.id,
            "turns": [[turn.speaker, turn.text] for turn in dialogue.turns],
            "role": one.role,
            "text": one.text,
            "doubtful": [statement.text for statement in one.doubtful],
            "shown": format_blocks([[one]]).strip(),
        }


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--adapter", default=DEFAULT_ADAPTER)
    parser.add_argument("--data", default=str(FILE), help="the file of the dialogues")
    parser.add_argument("--ids", nargs="+", default=list(IDS), help="which of its dialogues")
    parser.add_argument("--roles", nargs="+", default=list(ROLES))
    parser.add_argument("--max-new-tokens", type=int, default=160)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
