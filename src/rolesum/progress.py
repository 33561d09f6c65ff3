"""Progress on standard error: what is done, at what rate, how long it will take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

console = Console(stderr=True)


@dataclass
class Meter:
    """One progress bar; `note` is free text behind it, such as a loss or a rate."""

    progress: Progress
    task: TaskID

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.progress.update(self.task, advance=steps, note=note)

    def at(self, done: int, note: str = "") -> None:
        self.progress.update(self.task, completed=done, note=note)


@contextmanager
def meter(label: str, total: int) -> Iterator[Meter]:
    """A progress bar of `total` steps, gone from the screen's bottom when it ends and left as one line above."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield Meter(progress, progress.add_task(label, total=total, note=""))


def say(text: str) -> None:
    """One line of information on standard error."""
    console.print(text, highlight=False, soft_wrap=True)
