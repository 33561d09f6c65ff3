"""Inputs that change during a run: nothing wrong is written, complete shards are kept, the error says what to do."""

import os
import shutil
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from test_batch_run import files, records

from helpers.batch_runs import echo, run
from helpers.echo_engine import EchoEngine, dialogue, lines
from rolesum.batch.index import ShardReader
from rolesum.batch.input_files import InputFiles, InputsChanged
from rolesum.batch.run import run_in_process
from rolesum.errors import RolesumError, UsageError
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig

COUNT, SHARD = 24, 4


@pytest.fixture
def given(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(lines(*(dialogue(f"d{n:02}") for n in range(COUNT))), encoding="utf-8")
    return path


class ChangingEngine(EchoEngine):
    """Calls `change` before its call number `at`, as another program may at that moment."""

    def __init__(self, change, at):
        super().__init__()
        self.change, self.at, self.number = change, at, count()

    def generate(self, *arguments, **options):
        if next(self.number) == self.at:
            self.change()
        return super().generate(*arguments, **options)


def changing(change, at, config):
    return Summarizer(config, ChangingEngine(change, at))


def append(path):
    with path.open("a", encoding="utf-8") as file:
        file.write(lines(dialogue("more")))


def append_half_a_line(path):
    with path.open("a", encoding="utf-8") as file:
        file.write('{"id": "half')


def truncate(path):
    os.truncate(path, path.stat().st_size // 2 + 7)


def empty(path):
    os.truncate(path, 0)


def insert_above(path):
    path.write_text(lines(dialogue("above")) + path.read_text(encoding="utf-8"), encoding="utf-8")


def rewrite_in_place_with_the_old_times(path):
    times = path.stat()
    text = path.read_text(encoding="utf-8")
    with path.open("r+", encoding="utf-8") as file:
        file.write(text.replace("This is d", "That is d"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)


def replace_by_rename(path):
    times = path.stat()
    other = path.with_name("other.tmp")
    other.write_text(path.read_text(encoding="utf-8").replace("This is d", "That is d"), encoding="utf-8")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)


def delete(path):
    path.unlink()


def replace_by_a_directory(path):
    path.unlink()
    path.mkdir()


CHANGES = [
    *(append, append_half_a_line, truncate, empty, insert_above, rewrite_in_place_with_the_old_times),
    *(replace_by_rename, delete, replace_by_a_directory),
]


def restore(path, content):
    if path.is_dir():
        path.rmdir()
    path.write_bytes(content)


@pytest.mark.parametrize("at", [0, 2, COUNT // SHARD - 1])
@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_a_changed_input_stops_the_run_and_no_shard_is_of_it(given, tmp_path, change, at):
    before = given.read_bytes()
    out = tmp_path / "out"
    with pytest.raises(
        InputsChanged, match=r"in\.jsonl: changed since it was indexed: .*\n  → finished shards"
    ) as error:
        run(given, out, open_summarizer=partial(changing, partial(change, given), at))
    assert error.value.exit_code == 3
    kept = [one["id"] for one in records(out)]
    assert kept == [f"d{n:02}" for n in range(at * SHARD)]
    assert records(out, "failed") == []
    with pytest.raises(UsageError, match=r"changed since the run in OUT was started: .*in\.jsonl"):
        run(given, out) if not given.is_dir() and given.exists() else run_on_what_is_left(given, out)
    restore(given, before)
    assert run(given, out).summarized == COUNT
    run(given, tmp_path / "quiet")
    assert files(out) == files(tmp_path / "quiet")


def run_on_what_is_left(given, out):
    """A run cannot be asked for a file that is gone: its state is compared nevertheless."""
    import json

    known = InputFiles.from_json(json.loads((out / "state.json").read_text(encoding="utf-8")))
    raise UsageError(known.difference([given], []))


@pytest.mark.parametrize("change", [append, delete, rewrite_in_place_with_the_old_times], ids=lambda one: one.__name__)
def test_a_file_that_changes_after_its_last_shard_is_found_at_the_end(given, tmp_path, change):
    last = tmp_path / "last.jsonl"
    last.write_text(lines(*(dialogue(f"e{n}") for n in range(8))), encoding="utf-8")
    with pytest.raises(InputsChanged, match=r"in\.jsonl: changed since it was indexed"):
        run([given, last], tmp_path / "out", open_summarizer=partial(changing, partial(change, given), COUNT // SHARD))
    assert len(records(tmp_path / "out")) == COUNT + 8  # made from the file as it was


class UndoingReader(ShardReader):
    """Reads while another program has changed the file for a moment, with its old size and its own record restored."""

    def _read_from(self, file, cursor):
        path = self.files[file]
        content = path.read_bytes()
        path.write_bytes(content.replace(b"This is d", b"That is d"))
        items = list(super()._read_from(file, cursor))
        path.write_bytes(content)
        return iter(items)


def test_a_change_that_is_undone_before_the_shard_is_written_is_found_in_what_was_read(given, tmp_path):
    def other_while_read(context, numbers, on_done):
        yield from run_in_process(context, numbers[:2], on_done)
        reader = UndoingReader(context.files, context.read_options, context.index, context.inputs)
        yield context.process_shard(numbers[2], reader, context.open_worker()[1])

    with pytest.raises(InputsChanged, match="other dialogues than when it was indexed"):
        run(given, tmp_path / "out", run_shards=other_while_read)
    assert len(records(tmp_path / "out")) == 2 * SHARD
    assert run(given, tmp_path / "out").summarized == COUNT


def test_several_workers_notice_the_change_each_for_itself(given, tmp_path):
    def two_workers(context, numbers, on_done):
        workers = [context.open_worker() for _ in range(2)]
        for place, number in enumerate(numbers):
            if place == 3:
                rewrite_in_place_with_the_old_times(given)
            for worker in workers if place == 3 else workers[place % 2 : place % 2 + 1]:
                try:
                    counts = context.process_shard(number, *worker)
                except InputsChanged:
                    assert worker is workers[0] or place == 3
                    if worker is workers[1]:
                        raise
            yield counts

    with pytest.raises(InputsChanged, match="its content is another"):
        run(given, tmp_path / "out", run_shards=two_workers)
    assert len(records(tmp_path / "out")) == 3 * SHARD


def touch(path):
    os.utime(path, ns=(1, 1))


def replace_by_a_copy(path):
    shutil.copyfile(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


@pytest.mark.parametrize("change", [touch, replace_by_a_copy], ids=lambda one: one.__name__)
def test_a_file_with_other_times_and_the_same_content_has_not_changed(given, tmp_path, change):
    assert (
        run(given, tmp_path / "out", open_summarizer=partial(changing, partial(change, given), 1)).summarized == COUNT
    )
    change(given)
    assert run(given, tmp_path / "out").summarized == COUNT


def test_a_resumed_run_finds_a_change_in_the_middle_of_a_large_file(tmp_path):
    """Of the same size and time, far from head and tail."""
    path = tmp_path / "in.jsonl"
    path.write_text(lines(*(dialogue(f"d{n}", "word " * 400_000) for n in range(3))), encoding="utf-8")
    run(path, tmp_path / "out", shard_size=1)
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(times.st_size // 2)
        file.write(b"X")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(UsageError, match=r"changed since the run in OUT was started: .*its content is another"):
        run(path, tmp_path / "out", shard_size=1)


def test_a_directory_that_gets_another_file_is_told_at_the_end(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.jsonl").write_text(lines(dialogue(name)), encoding="utf-8")
    new = folder / "c.jsonl"
    with pytest.raises(InputsChanged, match=r"c\.jsonl: it is new since the inputs were indexed\n  → the others are"):
        run(folder, tmp_path / "out", shard_size=1, open_summarizer=partial(changing, new.touch, 0))
    assert [one["id"] for one in records(tmp_path / "out")] == ["a", "b"]
    new.unlink()
    assert run(folder, tmp_path / "out", shard_size=1).summarized == 2


def test_an_input_that_grows_while_it_is_indexed_is_refused_and_no_run_is_begun(given, tmp_path, monkeypatch):
    """As another program appends to it, between any two lines."""
    from rolesum.batch import run as module

    build = module.build_index

    def growing(*arguments):
        append(given)
        return build(*arguments)

    monkeypatch.setattr(module, "build_index", growing)
    with pytest.raises(InputsChanged, match=r"changed while it was indexed: it had .* bytes and now has"):
        run(given, tmp_path / "out")
    assert not (tmp_path / "out" / "state.json").exists()
    monkeypatch.undo()
    assert run(given, tmp_path / "out").summarized == COUNT + 1


def test_a_model_that_changes_before_a_worker_has_loaded_it_is_refused(given, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(b"some weights")
    config = SummarizerConfig(EngineSpec(adapter=adapter))

    def late_worker(context, numbers, on_done):
        yield from run_in_process(context, numbers[:2], on_done)
        weights.write_bytes(b"more weights")
        yield from run_in_process(context, numbers[2:], on_done)

    with pytest.raises(InputsChanged, match="the model changed since the run was started: its content is another"):
        run(given, tmp_path / "out", config, run_shards=late_worker)
    assert len(records(tmp_path / "out")) == 2 * SHARD
    weights.write_bytes(b"some weights")
    assert run(given, tmp_path / "out", config).summarized == COUNT


def test_a_lack_of_open_files_is_no_failure_of_a_dialogue(tmp_path):
    """A file that is read whole cannot be opened for a moment: its dialogue must not be listed as unreadable."""
    resource = pytest.importorskip("resource")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.txt").write_text(f"Customer: Hello {name}\nAgent: Hi\n", encoding="utf-8")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []

    def exhaust():
        resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 20, limit[1]))
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass

    try:
        with pytest.raises(RolesumError, match="Too many open files\n  → raise the limit on open files") as error:
            run(folder, tmp_path / "out", shard_size=1, open_summarizer=partial(changing, exhaust, 0))
    finally:
        for one in opened:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert error.value.exit_code == 5
    assert not records(tmp_path / "out", "failed")
    assert run(folder, tmp_path / "out", shard_size=1, open_summarizer=echo).summarized == 3
