"""Index of a batch run's inputs, built by reading them once before any model is loaded.

It holds the number of dialogues, where each shard begins, a hash of what it holds, and which ids are duplicates: 40
bytes per shard and one bit per item. Duplicate ids are found by 128-bit hashes that are sorted on disk in partitions;
one partition at a time is in memory.
"""

import hashlib
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rolesum.batch.input_files import InputFiles, InputsChanged
from rolesum.batch.inputs import Cursor, ItemStream, read_file
from rolesum.batch.worker import Failure
from rolesum.dialogue import Dialogue
from rolesum.formats import ReadOptions
from rolesum.os_errors import cannot_read

HASH_PARTITIONS = 64
_HASH_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])
SHARD_STARTS_FILE, SHARD_HASHES_FILE, DUPLICATES_FILE = "shards.bin", "hashes.bin", "duplicates.bin"
HASH_BYTES = 16  # of an id and of a shard
INDEX_DIR = ".index"


@dataclass
class InputIndex:
    """Counts and shard positions of all inputs. Items are dialogues and failures in input order.

    `shard_starts` holds three numbers per shard: file, byte offset and line of its first item. `shard_hashes` holds
    HASH_BYTES per shard, of all its items. `duplicate_bits` has one bit per item, set where an earlier item has the
    same id.
    """

    shard_size: int
    items: int = 0
    unreadable: int = 0
    duplicates: int = 0
    shard_starts: "array[int]" = field(default_factory=lambda: array("q"))
    shard_hashes: bytearray = field(default_factory=bytearray)
    duplicate_bits: bytearray = field(default_factory=bytearray)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.shard_starts) // 3

    def shard_length(self, number: int) -> int:
        """Number of items in shard `number`; the last shard may be shorter."""
        return min(self.shard_size, self.items - number * self.shard_size)

    def shard_hash(self, number: int) -> bytes:
        """The hash of the items of shard `number`."""
        return bytes(self.shard_hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES])

    def shard_files(self, number: int, files: int) -> range:
        """The numbers of the files that shard `number` is read from, of `files` in all."""
        last = self.shard_starts[(number + 1) * 3] + 1 if number + 1 < self.shards else files
        return range(self.shard_starts[number * 3], last)

    def is_duplicate(self, item: int) -> bool:
        """Whether an earlier item has the same id."""
        return bool(self.duplicate_bits[item >> 3] >> (item & 7) & 1)

    def counts(self) -> dict[str, int]:
        """The counts as kept in state.json."""
        return {name: getattr(self, name) for name in ("shard_size", "items", "unreadable", "duplicates")}

    def write(self, folder: Path) -> None:
        """Write the index, without its counts, into `folder`. An OSError passes through."""
        folder.mkdir(exist_ok=True)
        (folder / SHARD_STARTS_FILE).write_bytes(self.shard_starts.tobytes())
        (folder / SHARD_HASHES_FILE).write_bytes(self.shard_hashes)
        (folder / DUPLICATES_FILE).write_bytes(self.duplicate_bits)

    @classmethod
    def read(cls, folder: Path, counts: dict[str, int]) -> "InputIndex":
        """Read an index that `write` left in `folder`. An OSError passes through."""
        index = cls(counts["shard_size"], counts["items"], counts["unreadable"], counts["duplicates"])
        index.shard_starts.frombytes((folder / SHARD_STARTS_FILE).read_bytes())
        index.shard_hashes = bytearray((folder / SHARD_HASHES_FILE).read_bytes())
        index.duplicate_bits = bytearray((folder / DUPLICATES_FILE).read_bytes())
        return index


def build_index(
    files: Sequence[Path],
    options: ReadOptions,
    shard_size: int,
    work_dir: Path,
    on_item: Callable[[int], None] | None = None,
) -> InputIndex:
    """Read all inputs once and index them.

    Id hashes, 24 bytes each, are kept in a temporary directory in `work_dir` meanwhile. `on_item` receives the number
    of items read so far. An OSError passes through.
    """
    index = InputIndex(shard_size)
    folder = Path(tempfile.mkdtemp(prefix=".ids-", dir=work_dir))
    try:
        with ExitStack() as open_files:
            partitions: dict[int, BinaryIO] = {}
            shard_hash = _ItemsHash()
            for file, path in enumerate(files):
                start = Cursor()
                for end, item in read_file(path, options, start):
                    if index.items % shard_size == 0:
                        if index.items:
                            index.shard_hashes += shard_hash.take()
                        index.shard_starts.extend((file, start.offset, start.line))
                    shard_hash.add(item)
                    if isinstance(item, Dialogue):
                        _write_hash(item.id, index.items, partitions, folder, open_files)
                    else:
                        index.unreadable += 1
                    index.items, start = index.items + 1, end
                    if on_item:
                        on_item(index.items)
        if index.items:
            index.shard_hashes += shard_hash.take()
        index.duplicate_bits = bytearray(-(-index.items // 8))
        for partition in sorted(folder.iterdir()):
            for number in _duplicates(partition):
                index.duplicate_bits[number >> 3] |= 1 << (number & 7)
                index.duplicates += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return index


class _ItemsHash:
    """The hash of the dialogues and failures of a shard: everything that their summaries and failures are made from."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=HASH_BYTES)

    def add(self, item: Dialogue | Failure) -> None:
        values = [getattr(item, one.name) for one in fields(item)]
        text = repr([dict(value) if isinstance(value, Mapping) else value for value in values])
        self._hash.update(text.encode("utf-8", "surrogatepass"))

    def take(self) -> bytes:
        """The hash of the items so far, and begin the next shard's."""
        found, self._hash = self._hash.digest(), hashlib.blake2b(digest_size=HASH_BYTES)
        return found


def _write_hash(identity: str, number: int, partitions: dict[int, BinaryIO], folder: Path, files: ExitStack) -> None:
    """Append an id's hash and its item number to the partition that the hash belongs to."""
    digest = hashlib.blake2b(identity.encode(), digest_size=HASH_BYTES).digest()
    partition = digest[0] % HASH_PARTITIONS
    if partition not in partitions:
        partitions[partition] = files.enter_context((folder / f"{partition:02}").open("wb"))
    partitions[partition].write(digest + number.to_bytes(8, "little"))


def _duplicates(partition: Path) -> list[int]:
    """Numbers of the items in a partition whose id an earlier item has."""
    records = np.fromfile(partition, dtype=_HASH_RECORD)
    records = records[np.lexsort((records["number"], records["low"], records["high"]))]
    same = (records["high"][1:] == records["high"][:-1]) & (records["low"][1:] == records["low"][:-1])
    numbers: list[int] = records["number"][1:][same].tolist()
    return numbers


class ShardReader:
    """Reads the dialogues of a shard by its number. Consecutive shards are read in one pass over the file."""

    def __init__(self, files: Sequence[Path], options: ReadOptions, index: InputIndex, inputs: InputFiles) -> None:
        self.files, self.options, self.index, self.inputs = files, options, index, inputs
        self._next = -1
        self._items: Iterator[Dialogue | Failure] = iter(())

    def read(self, number: int) -> tuple[list[Dialogue], list[Failure]]:
        """The dialogues of shard `number`, and a failure for each unreadable, duplicate or skipped item.

        Raises InputsChanged where they are not what was indexed, and as InputFiles.check does.
        """
        dialogues, failures = list[Dialogue](), list[Failure]()
        first = number * self.index.shard_size
        for position, item in enumerate(self._read_items(number), first):
            if isinstance(item, Failure):
                failures.append(item)
            elif self.index.is_duplicate(position):
                fix = "give each dialogue an id of its own; the first was kept"
                failures.append(Failure(item.id, item.source, "an earlier dialogue has this id", fix))
            elif item.id in self.options.skip:
                failures.append(Failure(item.id, item.source, "left out by --skip"))
            else:
                dialogues.append(item)
        return dialogues, failures

    def check_files(self, number: int) -> None:
        """Raise as InputFiles.check does, for the files of shard `number`."""
        self.inputs.check(self.index.shard_files(number, len(self.files)))

    def _read_items(self, number: int) -> list[Dialogue | Failure]:
        """All items of a shard, as they were when they were indexed. Raises as `read` does."""
        if number != self._next:
            file, offset, line = self.index.shard_starts[number * 3 : number * 3 + 3]
            self._items = self._read_from(file, Cursor(offset, line))
        self._next = -1
        found_hash = _ItemsHash()
        where = str(self.files[self.index.shard_starts[number * 3]])
        try:
            items = list(islice(self._items, self.index.shard_length(number)))
        except OSError as error:
            self.check_files(number)
            raise cannot_read(error, where) from None
        for item in items:
            found_hash.add(item)
        if found_hash.take() != self.index.shard_hash(number):
            self.check_files(number)  # which knows better what has changed
            fix = "finished shards are kept: restore the file and run the same command again, or give another OUT"
            raise InputsChanged("it holds other dialogues than when it was indexed", where, fix)
        self._next = number + 1
        return items

    def _read_from(self, file: int, cursor: Cursor) -> Iterator[Dialogue | Failure]:
        """All items from a position in file number `file` to the end of the last file."""
        for path in self.files[file:]:
            items: ItemStream = read_file(path, self.options, cursor)
            yield from (item for _, item in items)
            cursor = Cursor()
