"""What the inputs hold, found by reading them once before any work: how much, where blocks begin, which ids repeat.

All of it is small whatever the inputs' size: 24 bytes a block and one bit an item. Ids are told apart by 128-bit
hashes, which are sorted on disk in parts; in memory lies one part at a time.
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
_ID = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])
SHARD_STARTS_FILE, DUPLICATES_FILE = "shards.bin", "duplicates.bin"
INDEX_DIR = ".index"


@dataclass
class InputIndex:
    """Counts over all inputs; items are dialogues and failures in input order, and N of them in turn make a block.

    `starts` holds file, offset and line for the first item of each block; `repeated` has a bit for every item, set
    where its id stands earlier in the inputs.
    """

    shard_size: int
    items: int = 0
    unreadable: int = 0
    duplicates: int = 0
    shard_starts: array = field(default_factory=lambda: array("q"))  # type: ignore[type-arg]
    duplicate_bits: bytearray = field(default_factory=bytearray)

    @property
    def shards(self) -> int:
        return len(self.shard_starts) // 3

    def shard_length(self, number: int) -> int:
        """How many items a block has."""
        return min(self.shard_size, self.items - number * self.shard_size)

    def is_duplicate(self, item: int) -> bool:
        return bool(self.duplicate_bits[item >> 3] >> (item & 7) & 1)

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("shard_size", "items", "unreadable", "duplicates")}

    def write(self, folder: Path) -> None:
        """Lets OSError through."""
        folder.mkdir(exist_ok=True)
        (folder / SHARD_STARTS_FILE).write_bytes(self.shard_starts.tobytes())
        (folder / DUPLICATES_FILE).write_bytes(self.duplicate_bits)

    @classmethod
    def read(cls, folder: Path, counts: dict[str, int]) -> "InputIndex":
        """Lets OSError through."""
        survey = cls(counts["shard_size"], counts["items"], counts["unreadable"], counts["duplicates"])
        survey.shard_starts.frombytes((folder / SHARD_STARTS_FILE).read_bytes())
        survey.duplicate_bits = bytearray((folder / DUPLICATES_FILE).read_bytes())
        return survey


def build_index(
    files: Sequence[Path],
    options: ReadOptions,
    shard_size: int,
    work: Path,
    on_item: Callable[[int], None] | None = None,
) -> InputIndex:
    """Read all inputs once. Hashes of ids lie in `work` meanwhile, 24 bytes each. Lets OSError through."""
    survey = InputIndex(shard_size)
    folder = Path(tempfile.mkdtemp(prefix=".ids-", dir=work))
    try:
        with ExitStack() as open_files:
            parts: dict[int, BinaryIO] = {}
            for file, path in enumerate(files):
                mark = Cursor()
                for behind, item in read_file(path, options, mark):
                    if survey.items % shard_size == 0:
                        survey.shard_starts.extend((file, mark.offset, mark.line))
                    if isinstance(item, Dialogue):
                        _keep(item.id, survey.items, parts, folder, open_files)
                    else:
                        survey.unreadable += 1
                    survey.items, mark = survey.items + 1, behind
                    if on_item:
                        on_item(survey.items)
        survey.duplicate_bits = bytearray(-(-survey.items // 8))
        for part in sorted(folder.iterdir()):
            for number in _repeats(part):
                survey.duplicate_bits[number >> 3] |= 1 << (number & 7)
                survey.duplicates += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return survey


def _keep(identity: str, number: int, parts: dict[int, BinaryIO], folder: Path, open_files: ExitStack) -> None:
    digest = hashlib.blake2b(identity.encode(), digest_size=16).digest()
    part = digest[0] % HASH_PARTITIONS
    if part not in parts:
        parts[part] = open_files.enter_context((folder / f"{part:02}").open("wb"))
    parts[part].write(digest + number.to_bytes(8, "little"))


def _repeats(part: Path) -> list[int]:
    """The numbers of the items whose id stands before them."""
    ids = np.fromfile(part, dtype=_ID)
    ids = ids[np.lexsort((ids["number"], ids["low"], ids["high"]))]
    same = (ids["high"][1:] == ids["high"][:-1]) & (ids["low"][1:] == ids["low"][:-1])
    numbers: list[int] = ids["number"][1:][same].tolist()
    return numbers


class ShardReader:
    """The inputs' blocks by their number. Those that are asked for in order are read in one go."""

    def __init__(self, files: Sequence[Path], options: ReadOptions, survey: InputIndex) -> None:
        self.files, self.options, self.index = files, options, survey
        self._next, self._items = -1, iter(())  # type: tuple[int, Iterator[Dialogue | Failure]]

    def read(self, number: int) -> tuple[list[Dialogue], list[Failure]]:
        """A block's dialogues, and what of it is no dialogue, or repeats an id, or is to be left out."""
        if number != self._next:
            file, offset, line = self.index.shard_starts[number * 3 : number * 3 + 3]
            self._items = self._from(file, Cursor(offset, line))
        self._next = number + 1
        dialogues, failures = list[Dialogue](), list[Failure]()
        first = number * self.index.shard_size
        for item in range(first, first + self.index.shard_length(number)):
            one = next(self._items)
            if isinstance(one, Failure):
                failures.append(one)
            elif self.index.is_duplicate(item):
                fix = "give each dialogue an id of its own; the first was kept"
                failures.append(Failure(one.id, one.source, "an earlier dialogue has this id", fix))
            elif one.id in self.options.skip:
                failures.append(Failure(one.id, one.source, "left out by --skip"))
            else:
                dialogues.append(one)
        return dialogues, failures

    def _from(self, file: int, mark: Cursor) -> Iterator[Dialogue | Failure]:
        for path in self.files[file:]:
            items: ItemStream = read_file(path, self.options, mark)
            yield from (item for _, item in items)
            mark = Cursor()
