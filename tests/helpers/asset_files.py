"""The input files under tests/assets, which are our own and follow the shapes that tools and vendors write."""

from pathlib import Path

from rolesum.formats import ReadOptions, read_dialogues

ASSETS = Path(__file__).resolve().parent.parent / "assets"


def read_asset(name, rule="refuse", **options):
    """The one dialogue of a file."""
    (dialogue,) = read_dialogues(ASSETS / name, ReadOptions(unknown_speaker=rule, **options))
    return dialogue


def said_in(name, rule="refuse", **options):
    """What is said in the one dialogue of a file, as (speaker, text)."""
    return [(turn.speaker, turn.text) for turn in read_asset(name, rule, **options).turns]
