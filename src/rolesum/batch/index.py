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

from rolesum.batch.inputs import Mark, Marked, Reading, read_from
from rolesum.batch.worker import Failure
from rolesum.dialogue import Dialogue

PARTS = 64
_ID = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])
BLOCKS, REPEATS = "blocks.bin", "repeats.bin"
FOLDER = ".survey"


@dataclass
class Survey:
    """Counts over all inputs; items are dialogues and failures in input order, and N of them in turn make a block.

    `starts` holds file, offset and line for the first item of each block; `repeated` has a bit for every item, set
    where its id stands earlier in the inputs.
    """

    block: int
    items: int = 0
    unreadable: int = 0
    repeats: int = 0
    starts: array = field(default_factory=lambda: array("q"))  # type: ignore[type-arg]
    repeated: bytearray = field(default_factory=bytearray)

    @property
    def blocks(self) -> int:
        return len(self.starts) // 3

    def size(self, number: int) -> int:
        """How many items a block has."""
        return min(self.block, self.items - number * self.block)

    def is_repeat(self, item: int) -> bool:
        return bool(self.repeated[item >> 3] >> (item & 7) & 1)

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("block", "items", "unreadable", "repeats")}

    def write(self, folder: Path) -> None:
        """Lets OSError through."""
        folder.mkdir(exist_ok=True)
        (folder / BLOCKS).write_bytes(self.starts.tobytes())
        (folder / REPEATS).write_bytes(self.repeated)

    @classmethod
    def read(cls, folder: Path, counts: dict[str, int]) -> "Survey":
        """Lets OSError through."""
        survey = cls(counts["block"], counts["items"], counts["unreadable"], counts["repeats"])
        survey.starts.frombytes((folder / BLOCKS).read_bytes())
        survey.repeated = bytearray((folder / REPEATS).read_bytes())
        return survey


def take_survey(
    files: Sequence[Path], reading: Reading, block: int, work: Path, on_item: Callable[[int], None] | None = None
) -> Survey:
    """Read all inputs once. Hashes of ids lie in `work` meanwhile, 24 bytes each. Lets OSError through."""
    survey = Survey(block)
    folder = Path(tempfile.mkdtemp(prefix=".ids-", dir=work))
    try:
        with ExitStack() as open_files:
            parts: dict[int, BinaryIO] = {}
            for file, path in enumerate(files):
                mark = Mark()
                for behind, item in read_from(path, reading, mark):
                    if survey.items % block == 0:
                        survey.starts.extend((file, mark.offset, mark.line))
                    if isinstance(item, Dialogue):
                        _keep(item.id, survey.items, parts, folder, open_files)
                    else:
                        survey.unreadable += 1
                    survey.items, mark = survey.items + 1, behind
                    if on_item:
                        on_item(survey.items)
        survey.repeated = bytearray(-(-survey.items // 8))
        for part in sorted(folder.iterdir()):
            for number in _repeats(part):
                survey.repeated[number >> 3] |= 1 << (number & 7)
                survey.repeats += 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return survey


def _keep(identity: str, number: int, parts: dict[int, BinaryIO], folder: Path, open_files: ExitStack) -> None:
    digest = hashlib.blake2b(identity.encode(), digest_size=16).digest()
    part = digest[0] % PARTS
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


class Blocks:
    """The inputs' blocks by their number. Those that are asked for in order are read in one go."""

    def __init__(self, files: Sequence[Path], reading: Reading, survey: Survey) -> None:
        self.files, self.reading, self.survey = files, reading, survey
        self._next, self._items = -1, iter(())  # type: tuple[int, Iterator[Dialogue | Failure]]

    def read(self, number: int) -> tuple[list[Dialogue], list[Failure]]:
        """A block's dialogues, and what of it is no dialogue, or repeats an id, or is to be left out."""
        if number != self._next:
            file, offset, line = self.survey.starts[number * 3 : number * 3 + 3]
            self._items = self._from(file, Mark(offset, line))
        self._next = number + 1
        dialogues, failures = list[Dialogue](), list[Failure]()
        first = number * self.survey.block
        for item in range(first, first + self.survey.size(number)):
            one = next(self._items)
            if isinstance(one, Failure):
                failures.append(one)
            elif self.survey.is_repeat(item):
                fix = "give each dialogue an id of its own; the first was kept"
                failures.append(Failure(one.id, one.source, "an earlier dialogue has this id", fix))
            elif one.id in self.reading.skip:
                failures.append(Failure(one.id, one.source, "left out by --skip"))
            else:
                dialogues.append(one)
        return dialogues, failures

    def _from(self, file: int, mark: Mark) -> Iterator[Dialogue | Failure]:
        for path in self.files[file:]:
            items: Marked = read_from(path, self.reading, mark)
            yield from (item for _, item in items)
            mark = Mark()
