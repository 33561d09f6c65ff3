"""Output directory of a batch run: one shard and at most one file of failures per shard number, and the run's state.

A shard is complete when its file exists. The failures are written before it, so a run that is killed at any moment
leaves each shard either complete with all its ids, or to be done again.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text, check_directory
from rolesum.batch.worker import Failure, Written
from rolesum.dialogue import ExtractedFields
from rolesum.errors import UsageError
from rolesum.generation.field_output import field_record
from rolesum.generation.summary_output import summary_record
from rolesum.locks import process_lock
from rolesum.os_errors import os_error

SCHEMA_VERSION = 2  # of the directory; raised when its layout changes
STATE_FILE = "state.json"
FIX_DIFFERENCE = "use the settings and inputs that it was started with, or give another OUT"
_SHARD = re.compile(r"summaries-(\d{5,})\.jsonl")


class OutputDirectory:
    """The directory OUT of a batch run.

    Its methods raise UsageError if it belongs to another run or to no run, ResourceError if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def shard_path(self, number: int) -> Path:
        """File of a shard's summaries."""
        return self.path / f"summaries-{number:05}.jsonl"

    def failures_path(self, number: int) -> Path:
        """File of a shard's failures."""
        return self.path / f"failed-{number:05}.jsonl"

    def write(self, number: int, summaries: Sequence[Written], failures: Sequence[Failure]) -> None:
        """Write a shard's files, the summaries or fields last. Failures of an earlier attempt are replaced."""
        if failures:
            atomic_write_text(self.failures_path(number), _json_lines([asdict(one) for one in failures]))
        else:
            self.failures_path(number).unlink(missing_ok=True)
        atomic_write_text(self.shard_path(number), _json_lines([_record(one) for one in summaries]))

    def completed_shards(self) -> set[int]:
        """The numbers of the shards that are complete."""
        found = (_SHARD.fullmatch(one.name) for one in self.path.iterdir())
        return {int(one[1]) for one in found if one}

    def shard_counts(self, number: int) -> tuple[int, int]:
        """Number of summarized and of failed dialogues in a complete shard."""
        return _count_lines(self.shard_path(number)), _count_lines(self.failures_path(number))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the directory, and keep other processes out of it while the block runs."""
        check_directory(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise os_error(error, "cannot write", self.path) from None
        fix = "wait until that process ends, or give another OUT"
        with process_lock(self.path / ".lock", where=self.path, fix=fix):
            yield

    def read_state(self) -> dict[str, Any] | None:
        """Settings, inputs and counts of the run that was started here; None in a new directory."""
        state = self.path / STATE_FILE
        try:
            value = json.loads(state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if any(not one.name.startswith(".") for one in self.path.iterdir()):
                what, fix = "OUT holds files that are not of a batch run", "give a new or an empty directory"
                raise UsageError(what, str(self.path), fix) from None
            return None
        except (OSError, ValueError) as error:
            what = "cannot read the state of the run"
            raise os_error(error, what, state, "give another OUT", kind=UsageError) from None
        if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
            raise UsageError("the run was written by another version of rolesum", str(state), "give another OUT")
        return value

    def write_state(self, settings: Mapping[str, Any], files: Mapping[str, Any], counts: Mapping[str, int]) -> None:
        """Write state.json, which later runs into this directory are compared with."""
        value = {"schema_version": SCHEMA_VERSION, "settings": settings, **files, "counts": counts}
        atomic_write_text(self.path / STATE_FILE, strict_json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def check_settings(state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise UsageError if the settings differ from those that the run in OUT was started with."""
    before, now = state["settings"], json.loads(strict_json.dumps(settings))
    if changed := [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]:
        listed = "; ".join(f"{name} was {_short(before.get(name))}, now {_short(now.get(name))}" for name in changed)
        raise UsageError(f"the run in OUT has other settings: {listed}", fix=FIX_DIFFERENCE)


def _short(value: Any) -> str:
    """A value as JSON of at most 60 characters."""
    text = strict_json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _record(one: Written) -> dict[str, Any]:
    return field_record(one) if isinstance(one, ExtractedFields) else summary_record(one)


def _json_lines(values: Sequence[Any]) -> str:
    return "".join(strict_json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _count_lines(path: Path) -> int:
    """Number of lines of a file; 0 if there is none."""
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
