"""Index of a batch run's inputs, built by reading them once before any model is loaded.

It holds the number of dialogues, where each shard begins and which ids are duplicates: 24 bytes per shard and one bit
per item. Duplicate ids are found by 128-bit hashes that are sorted on disk in partitions; one partition at a time is in
memory.
"""

import hashlib
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rolesum.batch.inputs import Cursor, ItemStream, read_file
from rolesum.batch.worker import Failure
from rolesum.dialogue import Dialogue
from rolesum.formats import ReadOptions

HASH_PARTITIONS = 64
_HASH_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])
SHARD_STARTS_FILE, DUPLICATES_FILE = "shards.bin", "duplicates.bin"
INDEX_DIR = ".index"


@dataclass
class InputIndex:
    """Counts and shard positions of all inputs. Items are dialogues and failures in input order.

    `shard_starts` holds three numbers per shard: file, byte offset and line of its first item. `duplicate_bits` has one
    bit per item, set where an earlier item has the same id.
    """

    shard_size: int
    items: int = 0
    unreadable: int = 0
    duplicates: int = 0
    shard_starts: "array[int]" = field(default_factory=lambda: array("q"))
    duplicate_bits: bytearray = field(default_factory=bytearray)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.shard_starts) // 3

    def shard_length(self, number: int) -> int:
        """Number of items in shard `number`; the last shard may be shorter."""
        return min(self.shard_size, self.items - number * self.shard_size)

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
        (folder / DUPLICATES_FILE).write_bytes(self.duplicate_bits)

    @classmethod
    def read(cls, folder: Path, counts: dict[str, int]) -> "InputIndex":
        """Read an index that `write` left in `folder`. An OSError passes through."""
        index = cls(counts["shard_size"], counts["items"], counts["unreadable"], counts["duplicates"])
        index.shard_starts.frombytes((folder / SHARD_STARTS_FILE).read_bytes())
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
            for file, path in enumerate(files):
                start = Cursor()
                for end, item in read_file(path, options, start):
                    if index.items % shard_size == 0:
                        index.shard_starts.extend((file, start.offset, start.line))
                    if isinstance(item, Dialogue):
                        _write_hash(item.id, index.items, partitions, folder, open_files)
                    else:
                        index.unreadable += 1
                    index.items, start = index.items + 1, end
                    if on_item:
                        on_item(index.items)
        index.duplicate_bits = bytearray(-(-index.items // 8))
        for partition in sorted(folder.iterdir()):
            for number in _duplicates(partition):
                index.duplicate_bits[number >> 3] |= 1 << (number & 7)
                index.duplicates += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return index


def _write_hash(identity: str, number: int, partitions: dict[int, BinaryIO], folder: Path, files: ExitStack) -> None:
    """Append an id's hash and its item number to the partition that the hash belongs to."""
    digest = hashlib.blake2b(identity.encode(), digest_size=16).digest()
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

    def __init__(self, files: Sequence[Path], options: ReadOptions, index: InputIndex) -> None:
        self.files, self.options, self.index = files, options, index
        self._next = -1
        self._items: Iterator[Dialogue | Failure] = iter(())

    def read(self, number: int) -> tuple[list[Dialogue], list[Failure]]:
        """The dialogues of shard `number`, and a failure for each unreadable, duplicate or skipped item."""
        if number != self._next:
            file, offset, line = self.index.shard_starts[number * 3 : number * 3 + 3]
            self._items = self._read_from(file, Cursor(offset, line))
        self._next = number + 1
        dialogues, failures = list[Dialogue](), list[Failure]()
        first = number * self.index.shard_size
        for position in range(first, first + self.index.shard_length(number)):
            item = next(self._items)
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

    def _read_from(self, file: int, cursor: Cursor) -> Iterator[Dialogue | Failure]:
        """All items from a position in file number `file` to the end of the last file."""
        for path in self.files[file:]:
            items: ItemStream = read_file(path, self.options, cursor)
            yield from (item for _, item in items)
            cursor = Cursor()
