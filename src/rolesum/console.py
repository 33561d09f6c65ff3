"""Output on standard error: progress bars with rate and time left, and single lines of information."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

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
    started: float = field(default_factory=time.monotonic)
    done: int = 0

    def __post_init__(self) -> None:
        self.task = self.progress.add_task(self.label, total=self.total, note="", left="")
        self.resumed_at = 0
        self.last_logged = self.started

    def start_at(self, done: int) -> None:
        """Count `done` steps as finished before the start, as a resumed run does."""
        self.resumed_at = self.done = done
        self.progress.update(self.task, completed=done)

    def advance(self, steps: int, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        rate = (self.done - self.resumed_at) / max(now - self.started, 1e-9)
        text = note or f"{rate:.2f} {self.unit}/s"
        seconds = round((self.total - self.done) / max(rate, 1e-9))
        known = self.steps_before_eta <= self.done - self.resumed_at and self.done < self.total
        left = f"{timedelta(seconds=seconds)} left" if known else ""
        self.progress.update(self.task, completed=self.done, note=text, left=left)
        if not console.is_terminal and now - self.last_logged >= LOG_INTERVAL:
            self.last_logged = now
            log(", ".join(filter(None, (f"{self.label}: {self.done} of {self.total}", text, left))))


@contextmanager
def progress_bar(label: str, total: int, unit: str = "dialogues", steps_before_eta: int = 1) -> Iterator[ProgressBar]:
    """Show a ProgressBar of `total` steps while the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield ProgressBar(progress, label, total, unit, steps_before_eta)


def log(text: str) -> None:
    """Print one line of information to standard error."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
