"""The files that a batch run reads, as they were when its index was built: a change of one of them stops the run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rolesum.errors import DataError, Problem
from rolesum.file_state import FileState, find_change, read_state
from rolesum.os_errors import cannot_read

_SHOWN = 3


class InputsChanged(DataError):
    """An input, or a file of the model, changed during the run. Shards that are complete are of the unchanged files."""


class InputFiles:
    """The input files and the model's files, with what each of them was when the index was built.

    `check` is called in every process of the run, before each shard is written and at the end. It may be pickled.
    """

    def __init__(self, inputs: Sequence[FileState], models: Sequence[FileState] = ()) -> None:
        self.inputs, self.models = tuple(inputs), tuple(models)
        self._known: dict[str, str] = {}  # path -> another record with which the content was found to be the same

    @classmethod
    def read(cls, inputs: Iterable[Path], models: Iterable[Path] = ()) -> "InputFiles":
        """The files as they are now. Raises DataError for one that cannot be read."""
        return cls([_state_of(path) for path in inputs], [_state_of(path) for path in models])

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "InputFiles":
        """The files as they were when the run was started whose state.json this is."""
        return cls(*([FileState.from_json(one) for one in state[kind]] for kind in ("inputs", "models")))

    def as_json(self) -> dict[str, Any]:
        """Keys of state.json."""
        return {"inputs": [one.as_json() for one in self.inputs], "models": [one.as_json() for one in self.models]}

    def check(self, numbers: Iterable[int] | None = None) -> None:
        """Raise InputsChanged if an input has changed; only those with these numbers are looked at, if any are given.

        Raises DataError or ResourceError where a file cannot be read.
        """
        fix = "finished shards are of the file as it was, and are kept: restore it and run the same command again, "
        fix += "or give another OUT to summarize it as it is now"
        chosen = self.inputs if numbers is None else [self.inputs[number] for number in numbers]
        self._check(chosen, "changed since it was indexed", fix)

    def check_indexed(self) -> None:
        """Raise InputsChanged if an input has changed while it was indexed."""
        fix = "wait until nothing writes to it, then run the same command again"
        self._check(self.inputs, "changed while it was indexed", fix)

    def check_models(self) -> None:
        """Raise InputsChanged if a file of the model has changed since the run was started."""
        fix = "restore it and run the same command again, or give another OUT for the changed model"
        self._check(self.models, "the model changed since the run was started", fix)

    def difference(self, inputs: Sequence[Path], models: Sequence[Path]) -> str | None:
        """How the files that a resumed run is given differ from these, or None. Raises as `check` does."""
        before, given = [one.path for one in self.inputs], [str(path.absolute()) for path in inputs]
        if before != given:
            different = sorted(set(before) ^ set(given))
            listed = f": {', '.join(different[:_SHOWN])}" if different else ", or these in another order"
            return f"the run in OUT has other inputs{listed}"
        changes = [f"{one.path}: {change}" for one in (*self.inputs, *self.models) if (change := self._change(one))]
        known = {one.path for one in self.models}
        changes += [f"{path}: it is new" for path in map(str, map(Path.absolute, models)) if path not in known]
        return f"changed since the run in OUT was started: {'; '.join(changes[:_SHOWN])}" if changes else None

    def _check(self, states: Sequence[FileState], what: str, fix: str) -> None:
        found = [(one.path, change) for one in states if (change := self._change(one))]
        if found:
            raise InputsChanged([Problem(f"{what}: {change}", path, fix) for path, change in found])

    def _change(self, state: FileState) -> str | None:
        try:
            change, record = find_change(state, self._known.get(state.path))
        except OSError as error:
            raise cannot_read(error, state.path) from None
        if change is None and record != state.record:
            self._known[state.path] = record
        return change


def _state_of(path: Path) -> FileState:
    try:
        return read_state(path)
    except OSError as error:
        raise cannot_read(error, str(path)) from None
