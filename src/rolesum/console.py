"""Progress on standard error: what is done, at what rate, how long it will take."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

# Of several processes of one run, the first speaks.
console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")

LOG_SECONDS = 30
# Of dialogues that are summarized side by side, so many must have ended before their rate says something.
TOGETHER = 8


@dataclass
class Meter:
    """One progress bar. Behind it stand the rate in `unit` per second, or what the caller says, and the time left.

    The time left is told once `steady` steps are done: what is computed together ends together, and the first of many
    to end says little of how long the others take. Where standard error is no terminal, such as a log file, a line
    comes every half minute instead.
    """

    progress: Progress
    label: str
    total: int
    unit: str
    steady: int = 1
    begin: float = field(default_factory=time.monotonic)
    done: int = 0

    def __post_init__(self) -> None:
        self.task = self.progress.add_task(self.label, total=self.total, note="", left="")
        self.first = 0
        self.told = self.begin

    def start_at(self, done: int) -> None:
        """Begin with some steps done, as a resumed run does."""
        self.first = self.done = done
        self.progress.update(self.task, completed=done)

    def advance(self, steps: int, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        rate = (self.done - self.first) / max(now - self.begin, 1e-9)
        text = note or f"{rate:.2f} {self.unit}/s"
        seconds = round((self.total - self.done) / max(rate, 1e-9))
        told = self.steady <= self.done - self.first and self.done < self.total
        left = f"{timedelta(seconds=seconds)} left" if told else ""
        self.progress.update(self.task, completed=self.done, note=text, left=left)
        if not console.is_terminal and now - self.told >= LOG_SECONDS:
            self.told = now
            say(", ".join(filter(None, (f"{self.label}: {self.done} of {self.total}", text, left))))


@contextmanager
def meter(label: str, total: int, unit: str = "dialogues", steady: int = 1) -> Iterator[Meter]:
    """A progress bar of `total` steps with its rate and the time left; see Meter."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield Meter(progress, label, total, unit, steady)


def say(text: str) -> None:
    """One line of information on standard error."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
