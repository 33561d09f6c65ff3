"""The directory of a bulk run: one shard and perhaps one file of failures per block, and what decides them.

A block is done when its shard is there. The failures are written before it, so whatever moment a run is killed at, a
block is either done with all its ids, or begins anew.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rolesum.atomic_io import atomic_write_text, check_directory
from rolesum.batch.worker import Failure
from rolesum.dialogue import RoleSummary
from rolesum.errors import ResourceError, UsageError
from rolesum.generation.summarizer import summary_record
from rolesum.locks import process_lock

SCHEMA_VERSION = 1  # of the directory; raised when it changes
STATE_FILE = "state.json"
_SHARD = re.compile(r"summaries-(\d{5,})\.jsonl")


class OutputDirectory:
    """OUT. Raises UsageError for one of another run, or that is no run's, ResourceError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def shard_path(self, number: int) -> Path:
        return self.path / f"summaries-{number:05}.jsonl"

    def failures_path(self, number: int) -> Path:
        return self.path / f"failed-{number:05}.jsonl"

    def write(self, number: int, summaries: Sequence[Sequence[RoleSummary]], failures: Sequence[Failure]) -> None:
        """Write a block's files, the shard last. An earlier try's failures give way."""
        if failures:
            atomic_write_text(self.failures_path(number), _lines([asdict(one) for one in failures]))
        else:
            self.failures_path(number).unlink(missing_ok=True)
        atomic_write_text(self.shard_path(number), _lines([summary_record(one) for one in summaries]))

    def completed_shards(self) -> set[int]:
        """The numbers of the blocks that are done."""
        found = (_SHARD.fullmatch(one.name) for one in self.path.iterdir())
        return {int(one[1]) for one in found if one}

    def shard_counts(self, number: int) -> tuple[int, int]:
        """How many summaries and failures a block that is done has."""
        return _count(self.shard_path(number)), _count(self.failures_path(number))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the directory while the block runs."""
        check_directory(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"cannot write: {error.strerror}", str(self.path), "check the path") from None
        fix = "wait until that process ends, or give another OUT"
        with process_lock(self.path / ".lock", where=self.path, fix=fix):
            yield

    def read_state(self) -> dict[str, Any] | None:
        """What decides the run that was begun here, with the survey's counts; None where none was."""
        state = self.path / STATE_FILE
        try:
            value = json.loads(state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if any(not one.name.startswith(".") for one in self.path.iterdir()):
                fix = "give a new or an empty directory"
                raise UsageError("OUT holds files, and no run was begun in it", str(self.path), fix) from None
            return None
        except (OSError, ValueError) as error:
            raise UsageError(f"broken state of a run: {error}", str(state), "give another OUT") from None
        if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
            raise UsageError("a run of another version of rolesum", str(state), "give another OUT")
        return value

    def write_state(self, settings: Mapping[str, Any], inputs: Sequence[Any], counts: Mapping[str, int]) -> None:
        value = {"schema_version": SCHEMA_VERSION, "settings": settings, "inputs": inputs, "counts": counts}
        atomic_write_text(self.path / STATE_FILE, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def check_unchanged(state: Mapping[str, Any], settings: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError where a run was begun with other settings or inputs than it is to go on with."""
    fix = "go on with what it was begun with, or give another OUT"
    before, now = state["settings"], json.loads(json.dumps(settings))
    if changed := [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]:
        told = "; ".join(f"{name} was {_short(before.get(name))}, now {_short(now.get(name))}" for name in changed)
        raise UsageError(f"the run in OUT has other settings: {told}", fix=fix)
    old, new = ({one["path"]: one for one in several} for several in (state["inputs"], inputs))
    if [*old] != [*new]:
        several = sorted(old.keys() ^ new.keys())
        told = f": {', '.join(several[:3])}" if several else ", or these in another order"
        raise UsageError(f"the run in OUT has other inputs{told}", fix=fix)
    if changed := [path for path in old if old[path] != new[path]]:
        raise UsageError(f"changed since the run in OUT was begun: {', '.join(changed[:3])}", fix=fix)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _lines(values: Sequence[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
