"""Progress on standard error: what is done, at what rate, how long it will take."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# Of several processes of one run, the first speaks.
console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")

LOG_SECONDS = 30


@dataclass
class Meter:
    """One progress bar. Behind it stands a note: the rate in `unit` per second, or what the caller says.

    Where standard error is no terminal, such as a log file, a line comes every half minute instead.
    """

    progress: Progress
    label: str
    total: int
    unit: str
    begin: float = field(default_factory=time.monotonic)
    done: int = 0

    def __post_init__(self) -> None:
        self.task = self.progress.add_task(self.label, total=self.total, note="")
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
        self.progress.update(self.task, completed=self.done, note=text)
        if not console.is_terminal and now - self.told >= LOG_SECONDS:
            self.told = now
            left = timedelta(seconds=round((self.total - self.done) / max(rate, 1e-9)))
            say(f"{self.label}: {self.done} of {self.total}, {text}, {left} left")


@contextmanager
def meter(label: str, total: int, unit: str = "dialogues") -> Iterator[Meter]:
    """A progress bar of `total` steps with its rate and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield Meter(progress, label, total, unit)


def say(text: str) -> None:
    """One line of information on standard error."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
