"""Published results of the same data and the same scorer, recognized by a hash of the references."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class PublishedRow:
    """One system as a paper printed it: measure -> percent. There are no intervals, as papers print none."""

    system: str
    source: str
    means: Mapping[str, float]


def references_hash(references: Sequence[str]) -> str:
    """The sha256 of the first references of all pairs, one a line, blanks at their ends removed, sorted."""
    return hashlib.sha256("\n".join(sorted(text.strip() for text in references)).encode()).hexdigest()


def published_rows(scorer: str, references: Sequence[str]) -> list[PublishedRow]:
    """The published rows for exactly these first references under this scorer; none for a part of them."""
    return published_by_hash(scorer, references_hash(references))


def published_by_hash(scorer: str, found: str) -> list[PublishedRow]:
    """The published rows of the data whose references have this hash."""
    known = _published()
    return [
        PublishedRow(system, known["sources"][source], dict(zip(table["measures"], figures, strict=True)))
        for table in known["tables"]
        if table["scorer"] == scorer and known["data"][table["data"]] == found
        for system, source, *figures in table["rows"]
    ]


@cache
def _published() -> dict[str, Any]:
    text = files("rolesum.metrics").joinpath("published.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found
