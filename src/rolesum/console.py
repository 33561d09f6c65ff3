"""Output on standard error: progress bars with rate and time left, and single lines of information."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

# Of several processes of one run, only the first prints.
console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")

LOG_INTERVAL = 30  # seconds between two lines where standard error is not a terminal
# Dialogues are summarized side by side and end together, so the time left is estimated from this many on.
DIALOGUES_BEFORE_ETA = 8


@dataclass
class ProgressBar:
    """A progress bar with the rate in `unit` per second (or the caller's note) and the time left.

    The time left is shown from `steps_before_eta` finished steps on: the first of several steps that run side by side
    says little about the others. Where standard error is not a terminal, one line is printed every LOG_INTERVAL
    seconds instead of a bar.
    """

    progress: Progress
    label: str
    total: int
    unit: str
    steps_before_eta: int = 1
    written: Callable[[float], str] | None = None  # how a number is written; by default as it is, with the unit
    started: float = field(default_factory=time.monotonic)
    done: int = 0

    def __post_init__(self) -> None:
        self.task = self.progress.add_task(self.label, total=self.total, note="", left="", count="")
        self.resumed_at = 0
        self.last_logged = self.started

    def start_at(self, done: int) -> None:
        """Count the first `done` steps as finished without time, as they are when a run or a download goes on."""
        self.resumed_at += done - self.done
        self.done = done
        self.progress.update(self.task, completed=done)

    def show(self, note: str) -> None:
        """Show a note on the step that is running."""
        self.advance(0, note)

    def advance(self, steps: int, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        rate = (self.done - self.resumed_at) / max(now - self.started, 1e-9)
        text = note or (f"{self.written(rate)}/s" if self.written else f"{rate:.2f} {self.unit}/s")
        seconds = round((self.total - self.done) / max(rate, 1e-9))
        known = self.steps_before_eta <= self.done - self.resumed_at and self.done < self.total
        left = f"{timedelta(seconds=seconds)} left" if known else ""
        done, total = (self.written(n) if self.written else str(n) for n in (self.done, self.total))
        self.progress.update(self.task, completed=self.done, note=text, left=left, count=f"{done} of {total}")
        if not console.is_terminal and now - self.last_logged >= LOG_INTERVAL:
            self.last_logged = now
            log(", ".join(filter(None, (f"{self.label}: {done} of {total}", text, left))))


@contextmanager
def progress_bar(label: str, total: int, unit: str = "dialogues", steps_before_eta: int = 1) -> Iterator[ProgressBar]:
    """Show a ProgressBar of `total` steps while the block runs."""
    with _progress(MofNCompleteColumn()) as progress:
        yield ProgressBar(progress, label, total, unit, steps_before_eta)


@contextmanager
def byte_progress(label: str, total: int) -> Iterator[ProgressBar]:
    """Show a ProgressBar of `total` bytes while the block runs."""
    with _progress(TextColumn("{task.fields[count]}")) as progress:
        yield ProgressBar(progress, label, total, "bytes", written=format_bytes)


def _progress(counter: ProgressColumn) -> Progress:
    note, left = TextColumn("{task.fields[note]}", style="dim"), TextColumn("{task.fields[left]}")
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), counter, note, left)
    return Progress(*columns, console=console, refresh_per_second=4)


def format_bytes(number: float) -> str:
    """A number of bytes in decimal units, such as "491.4 MB"."""
    size, unit = number, "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.95:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def log(text: str) -> None:
    """Print one line of information to standard error."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def log_once(text: str, folder: Path) -> None:
    """Print a line unless it was printed before for this user on this machine: a file in `folder` records that."""
    mark = folder / "shown" / hashlib.sha256(text.encode()).hexdigest()[:32]
    if mark.exists():
        return
    log(text)
    if not console.quiet:
        with suppress(OSError):  # where nothing can be kept, it is shown again
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
