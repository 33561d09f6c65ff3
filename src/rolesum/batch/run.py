"""A bulk run from its inputs to its shards: survey, blocks, what is done already, and how it ends."""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rolesum.batch.index import INDEX_DIR, InputIndex, ShardReader, build_index
from rolesum.batch.inputs import expand_inputs, fingerprint
from rolesum.batch.output_directory import OutputDirectory, check_unchanged
from rolesum.batch.worker import summarize_shard
from rolesum.console import DIALOGUES_BEFORE_ETA, log, progress_bar
from rolesum.errors import DataError, ResourceError, RolesumError, UsageError
from rolesum.formats import ReadOptions
from rolesum.formats.options import DEFAULTS
from rolesum.generation.summarizer import Summarizer, SummarizerConfig

DEFAULT_SHARD_SIZE = 256
# Of an engine: how fast it goes, and who pays, but not what it writes.
NON_SEMANTIC_SETTINGS = ("concurrency", "api_key_env")
PROGRESS_INTERVAL = 100_000  # between two lines on how far the survey is


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What lies in OUT at the end: over all runs that wrote into it."""

    out: Path
    summarized: int
    failed: int

    @property
    def exit_code(self) -> int:
        """0, or that of a DataError where no dialogue at all could be summarized."""
        return 0 if self.summarized else DataError.exit_code

    def __str__(self) -> str:
        told = f"{self.summarized:,} dialogues summarized"
        return f"{told}, {self.failed:,} failed: see {self.out}/failed-*.jsonl" if self.failed else told


class BatchStopped(RolesumError):
    """The user stopped a bulk run; it can go on."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every process of a run needs to do a block of it. `out` and `files` are the same files for all of them."""

    files: tuple[Path, ...]
    read_options: ReadOptions
    index: InputIndex
    out: OutputDirectory
    config: SummarizerConfig
    open_summarizer: Callable[[SummarizerConfig], Summarizer]

    def open_worker(self) -> tuple[ShardReader, Summarizer]:
        """What a process needs once for all its blocks. Raises as EngineSpec.open does."""
        return ShardReader(self.files, self.read_options, self.index), self.open_summarizer(self.config)

    def process_shard(
        self, number: int, blocks: ShardReader, writer: Summarizer, on_done: Callable[[int], None] | None = None
    ) -> tuple[int, int]:
        """Do a block and write its files; how many were summarized and how many failed."""
        dialogues, unread = blocks.read(number)
        result = summarize_shard(dialogues, writer, on_done)
        failures = [*unread, *result.failures]
        self.out.write(number, result.summaries, failures)
        return len(result.summaries), len(failures)


# Does blocks by their numbers, in any order, and tells of each when it is done: how many were summarized and failed.
# Meanwhile it may tell how many dialogues were finished.
ShardRunner = Callable[[RunContext, Sequence[int], Callable[[int], None]], Iterator[tuple[int, int]]]


def run_in_process(work: RunContext, todo: Sequence[int], on_done: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    blocks, writer = work.open_worker()
    for number in todo:
        yield work.process_shard(number, blocks, writer, on_done)


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
    """Summarize all dialogues of `inputs` into the directory `out`, or go on with the run that was begun there.

    A run goes on only with the inputs and with all that decides its summaries as they were when it was begun;
    `settings` says in JSON what of that only the caller knows, such as the name of `writing.choose`. Raises UsageError,
    DataError, ResourceError, what the engine raises but for single dialogues, and Stopped on Ctrl-C: whatever it
    raises, the same call goes on.
    """
    if read_options.limit is not None or read_options.max_problems is not None:
        raise UsageError("a batch reads all of its inputs", fix="leave limit and max_problems out of the read options")
    config = config or SummarizerConfig()
    directory = OutputDirectory(Path(out))
    files = expand_inputs(inputs, directory.path, read_options.format)
    decided = {**_settings(config, read_options), "shard_size": shard_size, **(settings or {})}
    with directory.locked():
        survey = _survey(directory, files, read_options, decided, shard_size)
        done = directory.completed_shards()
        todo = [number for number in range(survey.shards) if number not in done]
        summarized = failed = 0
        for number in done:
            made, bad = directory.shard_counts(number)
            summarized, failed = summarized + made, failed + bad
        if done:
            log(f"{len(done):,} of {survey.shards:,} blocks are there already")
        work = RunContext(tuple(files), read_options, survey, directory, config, open_summarizer)
        if todo:
            with (
                _told_how_to_go_on(directory.path),
                progress_bar("summarize", survey.items, steps_before_eta=DIALOGUES_BEFORE_ETA) as bar,
            ):
                bar.start_at(summarized + failed)
                for made, bad in _with_progress(run_shards, work, todo, bar.done, bar.advance):
                    summarized, failed = summarized + made, failed + bad
        return BatchResult(directory.path, summarized, failed)


def _with_progress(
    run_blocks: ShardRunner, work: RunContext, todo: Sequence[int], done: int, advance: Callable[[int], None]
) -> Iterator[tuple[int, int]]:
    """The blocks' counts; `advance` is told of dialogues as they are finished, and of failures with their block."""
    told = whole = done

    def tell(steps: int) -> None:
        nonlocal told
        steps = min(steps, whole + work.index.shard_size - told)  # a dialogue that is tried again is told again
        if steps > 0:
            told += steps
            advance(steps)

    for made, bad in run_blocks(work, todo, tell):
        whole += made + bad
        advance(whole - told)
        told = whole
        yield made, bad


def _survey(
    directory: OutputDirectory,
    files: Sequence[Path],
    read_options: ReadOptions,
    settings: Mapping[str, Any],
    block: int,
) -> InputIndex:
    """The survey of the run that was begun in the directory, or a new one."""
    prints = [fingerprint(path) for path in files]
    folder = directory.path / INDEX_DIR
    state = directory.read_state()
    try:
        if state is not None:
            check_unchanged(state, settings, prints)
            return InputIndex.read(folder, state["counts"])
        for left in directory.path.glob(".ids-*"):  # by a run that was killed in its survey
            shutil.rmtree(left, ignore_errors=True)

        def tell(items: int) -> None:
            if items % PROGRESS_INTERVAL == 0:
                log(f"survey: {items:,} dialogues")

        survey = build_index(files, read_options, block, directory.path, tell)
        if not survey.items:
            raise DataError("no dialogue in the inputs", ", ".join(map(str, files[:3])), "check the files")
        survey.write(folder)
    except OSError as error:
        fix = "check the permissions and the free disk space"
        raise ResourceError(f"cannot keep the survey: {error.strerror}", str(directory.path), fix) from None
    directory.write_state(settings, prints, survey.counts())
    log(
        f"{survey.items:,} dialogues in {len(files):,} files, {survey.shards:,} blocks; "
        f"{survey.unreadable:,} cannot be read, {survey.duplicates:,} repeat an id"
    )
    return survey


def _settings(writing: SummarizerConfig, read_options: ReadOptions) -> dict[str, Any]:
    """What decides the summaries of given files; a callable is the caller's to name."""
    spec = {name: value for name, value in _plain(writing.spec).items() if name not in NON_SEMANTIC_SETTINGS}
    paths = (spec["model"], spec["adapter"], spec["gguf"])
    files = [fingerprint(Path(path)) for path in paths if path is not None and Path(path).exists()]
    how = {name: value for name, value in _plain(replace(writing, reranker=None)).items() if name != "spec"}
    return {**spec, "model_files": files, **how.pop("decoding"), **how, **_plain(replace(read_options, skip=()))}


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


@contextmanager
def _told_how_to_go_on(out: Path) -> Iterator[None]:
    """Errors and Ctrl-C say that nothing is lost."""
    go_on = "what is written stays; go on with the same command"
    try:
        yield
    except KeyboardInterrupt:
        raise BatchStopped("stopped", str(out), go_on) from None
    except RolesumError as error:
        first, *rest = error.problems
        told = replace(first, fix=f"{first.fix}; {go_on}" if first.fix else go_on)
        raise type(error)([told, *rest]) from None
