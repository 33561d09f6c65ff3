"""A batch run from its inputs to its shards: index, what is already complete, the remaining shards, and the result."""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rolesum.batch.index import INDEX_DIR, InputIndex, ShardReader, build_index
from rolesum.batch.input_files import InputFiles, InputsChanged
from rolesum.batch.inputs import expand_inputs
from rolesum.batch.output_directory import FIX_DIFFERENCE, OutputDirectory, check_settings
from rolesum.batch.worker import summarize_shard
from rolesum.console import DIALOGUES_BEFORE_ETA, log, progress_bar
from rolesum.counts import counted
from rolesum.errors import DataError, Problem, RolesumError, UsageError
from rolesum.file_state import top_files
from rolesum.formats import ReadOptions
from rolesum.formats.options import DEFAULTS
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.interrupts import Stopped, kept
from rolesum.os_errors import os_error

DEFAULT_SHARD_SIZE = 256
# Engine settings that change speed or billing but no summary: a run may be resumed with others.
NON_SEMANTIC_SETTINGS = ("concurrency", "api_key_env")
PROGRESS_INTERVAL = 100_000  # dialogues between two log lines while the index is built


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Number of summarized and failed dialogues in OUT, over all runs that wrote into it."""

    out: Path
    summarized: int
    failed: int

    @property
    def exit_code(self) -> int:
        """0, or the exit code of a DataError if no dialogue could be summarized."""
        return 0 if self.summarized else DataError.exit_code

    def __str__(self) -> str:
        text = f"{counted(self.summarized, 'dialogue')} summarized"
        return f"{text}, {self.failed:,} failed: see {self.out}/failed-*.jsonl" if self.failed else text


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every process of a run needs to do a shard. `out` and `files` must be the same files for all processes."""

    files: tuple[Path, ...]
    read_options: ReadOptions
    inputs: InputFiles
    index: InputIndex
    out: OutputDirectory
    config: SummarizerConfig
    open_summarizer: Callable[[SummarizerConfig], Summarizer]

    def open_worker(self) -> tuple[ShardReader, Summarizer]:
        """The reader and the summarizer that a process uses for all its shards.

        Raises as EngineSpec.open does, and InputsChanged where the model is not the one that the run was started with.
        """
        reader = ShardReader(self.files, self.read_options, self.index, self.inputs)
        summarizer = self.open_summarizer(self.config)
        self.inputs.check_models()
        return reader, summarizer

    def process_shard(
        self, number: int, reader: ShardReader, summarizer: Summarizer, on_done: Callable[[int], None] | None = None
    ) -> tuple[int, int]:
        """Summarize a shard and write its files. Returns the number of summarized and of failed dialogues.

        Raises InputsChanged, and writes nothing, where the files of the shard are no longer those that were indexed.
        """
        dialogues, unread = reader.read(number)
        result = summarize_shard(dialogues, summarizer, on_done)
        failures = [*unread, *result.failures]
        reader.check_files(number)
        self.out.write(number, result.summaries, failures)
        return len(result.summaries), len(failures)


# Processes shards by their numbers, in any order, and yields (summarized, failed) for each when it is complete. Calls
# its last argument with the number of dialogues finished meanwhile.
ShardRunner = Callable[[RunContext, Sequence[int], Callable[[int], None]], Iterator[tuple[int, int]]]


def run_in_process(
    context: RunContext, numbers: Sequence[int], on_done: Callable[[int], None]
) -> Iterator[tuple[int, int]]:
    """The ShardRunner that processes the shards in this process, one after the other."""
    reader, summarizer = context.open_worker()
    for number in numbers:
        yield context.process_shard(number, reader, summarizer, on_done)


def run_batch(
    inputs: Sequence[str],
    out: str | Path,
    config: SummarizerConfig | None = None,
    *,
    read_options: ReadOptions = DEFAULTS,
    settings: Mapping[str, Any] | None = None,
    shard_size: int = DEFAULT_SHARD_SIZE,
    run_shards: ShardRunner = run_in_process,
    open_summarizer: Callable[[SummarizerConfig], Summarizer] = Summarizer,
) -> BatchResult:
    """Summarize all dialogues of `inputs` into the directory `out`, or resume the run that was started there.

    A run is resumed only with the same inputs and the same settings that affect its summaries. `settings` adds such
    settings, as JSON values, that `config` does not show, for example the name of its reranker. Raises UsageError,
    DataError, ResourceError, errors of the engine other than those of single dialogues, and Stopped on Ctrl-C; after
    any of them the same call resumes the run.
    """
    if read_options.limit is not None or read_options.max_problems is not None:
        raise UsageError("a batch reads all of its inputs", fix="leave limit and max_problems out of the read options")
    config = (config or SummarizerConfig()).resolved()
    directory = OutputDirectory(Path(out))
    files = expand_inputs(inputs, directory.path, read_options.format)
    all_settings = {**_settings(config, read_options), "shard_size": shard_size, **(settings or {})}
    with directory.locked(), _kept_shards(directory):
        index, known = _load_or_build_index(directory, files, config, read_options, all_settings)
        completed = directory.completed_shards()
        remaining = [number for number in range(index.shards) if number not in completed]
        summarized = failed = 0
        for number in completed:
            more_summarized, more_failed = directory.shard_counts(number)
            summarized, failed = summarized + more_summarized, failed + more_failed
        if completed:
            log(f"{len(completed):,} of {counted(index.shards, 'shard')} already complete")
        context = RunContext(tuple(files), read_options, known, index, directory, config, open_summarizer)
        if remaining:
            with (
                _resume_hint(),
                progress_bar("summarize", index.items, steps_before_eta=DIALOGUES_BEFORE_ETA) as bar,
            ):
                bar.start_at(summarized + failed)
                for counts in _with_progress(run_shards, context, remaining, bar.done, bar.advance):
                    summarized, failed = summarized + counts[0], failed + counts[1]
            known.check()
            _check_no_new_inputs(inputs, directory.path, read_options.format, files)
        return BatchResult(directory.path, summarized, failed)


def _check_no_new_inputs(given: Sequence[str], out: Path, file_format: str | None, files: Sequence[Path]) -> None:
    """Raise InputsChanged if a directory or a pattern has got files since the run was started."""
    fix = "the others are summarized: give the new files another OUT, or all of them"
    new = [path for path in expand_inputs(given, out, file_format) if path not in set(files)]
    if new:
        raise InputsChanged([Problem("it is new since the inputs were indexed", str(path), fix) for path in new])


def _with_progress(
    run_shards: ShardRunner, context: RunContext, numbers: Sequence[int], done: int, advance: Callable[[int], None]
) -> Iterator[tuple[int, int]]:
    """The shards' counts. `advance` is called as dialogues are finished, and for failures when their shard is."""
    reported = completed = done

    def on_done(steps: int) -> None:
        nonlocal reported
        # A dialogue that is retried reports again: never report more than the shard in progress has.
        steps = min(steps, completed + context.index.shard_size - reported)
        if steps > 0:
            reported += steps
            advance(steps)

    for summarized, failed in run_shards(context, numbers, on_done):
        completed += summarized + failed
        advance(completed - reported)
        reported = completed
        yield summarized, failed


def _load_or_build_index(
    directory: OutputDirectory,
    paths: Sequence[Path],
    config: SummarizerConfig,
    read_options: ReadOptions,
    settings: Mapping[str, Any],
) -> tuple[InputIndex, InputFiles]:
    """The index of the run that was started in the directory, or a new one, and the files as they were indexed."""
    models = _model_files(config)
    folder = directory.path / INDEX_DIR
    state = directory.read_state()
    try:
        if state is not None:
            check_settings(state, settings)
            known = InputFiles.from_json(state)
            if difference := known.difference(paths, models):
                raise UsageError(difference, fix=FIX_DIFFERENCE)
            return InputIndex.read(folder, state["counts"]), known
        for left in directory.path.glob(".ids-*"):  # by a run that was killed while it built the index
            shutil.rmtree(left, ignore_errors=True)
        known = InputFiles.read(paths, models)

        def on_item(items: int) -> None:
            if items % PROGRESS_INTERVAL == 0:
                log(f"index: {items:,} dialogues")

        index = build_index(paths, read_options, settings["shard_size"], directory.path, on_item)
        known.check_indexed()
        if not index.items:
            raise DataError("no dialogue in the inputs", ", ".join(map(str, paths[:3])), "check the files")
        index.write(folder)
    except OSError as error:
        raise os_error(error, "cannot keep the index", error.filename or directory.path) from None
    directory.write_state(settings, known.as_json(), index.counts())
    log(
        f"{counted(index.items, 'dialogue')} in {counted(len(paths), 'file')}, {counted(index.shards, 'shard')}; "
        f"{index.unreadable:,} unreadable, {index.duplicates:,} with a duplicate id"
    )
    return index, known


def _model_files(config: SummarizerConfig) -> list[Path]:
    """The files of the model, of its adapter and of its GGUF file where they are given by their paths."""
    spec = config.spec
    given = (Path(path) for path in (spec.model, spec.adapter, spec.gguf) if path is not None)
    return [file for path in given if path.exists() for file in top_files(path)]


def _settings(config: SummarizerConfig, read_options: ReadOptions) -> dict[str, Any]:
    """The settings that affect the summaries of given files, as JSON values; a callable must be named by the caller."""
    spec = {name: value for name, value in _as_json(config.spec).items() if name not in NON_SEMANTIC_SETTINGS}
    others = (one.name for one in fields(config) if one.name not in ("spec", "decoding"))
    rest = {name: _as_json(getattr(config, name)) for name in others}
    return {**spec, **_as_json(config.decoding), **rest, **_as_json(replace(read_options, skip=()))}


def _as_json(value: Any) -> Any:
    """Dataclasses, pydantic models, paths and collections as JSON values."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {one.name: _as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [_as_json(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _kept_shards(directory: OutputDirectory) -> AbstractContextManager[None]:
    """Says at Ctrl-C or SIGTERM how many shards are complete, and how the run is resumed."""

    def complete() -> str:
        number = len(directory.completed_shards())
        return f"{counted(number, 'finished shard')} {'is' if number == 1 else 'are'} kept"

    return kept(complete, directory.path, "run the same command again to resume")


@contextmanager
def _resume_hint() -> Iterator[None]:
    """Add to errors how the run is resumed."""
    hint = "finished shards are kept; run the same command again to resume"
    try:
        yield
    except (InputsChanged, Stopped):  # say how the run is resumed
        raise
    except RolesumError as error:
        first, *rest = error.problems
        with_hint = replace(first, fix=f"{first.fix}; {hint}" if first.fix else hint)
        raise type(error)([with_hint, *rest]) from None
