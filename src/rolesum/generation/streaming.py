"""Summaries while they are written: tokens as they come, and a rolling summary of a transcript that grows."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import DataError
from rolesum.formats import ReadOptions, Source, find_dialogue
from rolesum.formats.options import DEFAULTS
from rolesum.generation.summarizer import Summarizer, block_heading, block_notes

Write = Callable[[str], None]

SECONDS = 2.0


class BlockStreamer:
    """One dialogue's blocks on a terminal: the first role's text grows, the others' wait for their turn."""

    def __init__(self, roles: Sequence[str], write: Write) -> None:
        self.roles, self.write = roles, write
        self.texts = ["" for _ in roles]
        self.shown = -1  # the role that is being shown

    def __call__(self, dialogue: int, role: int, added: str) -> None:
        """As OnText: the roles are computed side by side, so that the next block is there when one has ended."""
        self.texts[role] += added
        if self.shown < 0:
            self._open(0)
        elif role == self.shown:
            self.write(added)

    def end(self, summaries: Sequence[RoleSummary]) -> None:
        """Show what has not been shown."""
        for role, summary in enumerate(summaries):
            if role > self.shown:
                self._open(role)
            shown = self.texts[role].strip()
            rest = summary.text[len(shown) :] if summary.text.startswith(shown) else f"\n{summary.text}"
            self.write(f"{rest}{block_notes(summary)}\n")

    def _open(self, role: int) -> None:
        self.write(("\n" if role else "") + block_heading(self.roles[role]) + self.texts[role])
        self.shown = role


def stream(dialogue: Dialogue, writer: Summarizer, write: Write) -> None:
    """Show a dialogue's summaries as they come."""
    shown = BlockStreamer(writer.roles_for(dialogue), write)
    shown.end(writer.summarize([dialogue], on_text=shown)[0])


def watch_file(path: Path, writer: Summarizer, write: Write, options: ReadOptions = DEFAULTS) -> None:
    """Rolling summaries of the dialogue in a file that grows."""

    def read(source: Source) -> Dialogue:
        return find_dialogue(source, options=options)

    watch(path, read, lambda dialogue: stream(dialogue, writer, write), write)


def watch(
    path: Path,
    read: Callable[[Source], Dialogue],
    summarize: Callable[[Dialogue], None],
    write: Write,
    *,
    seconds: float = SECONDS,
    rounds: int | None = None,
) -> None:
    """Look at a file every `seconds`, and summarize anew once it holds new turns; until interrupted, or `rounds` times.

    A last line without its line break is still being written, and is left for the next time. A file that holds no
    dialogue yet is waited for.
    """
    known: tuple[object, ...] = ()
    told = ""
    while rounds is None or rounds > 0:
        text = _whole_lines(path)
        if text.strip():
            try:
                dialogue = read(Source(str(path), text))
            except DataError as error:
                if str(error) != told:
                    told = str(error)
                    write(f"waiting: {told}\n")
            else:
                if dialogue.turns != known:
                    known, told = dialogue.turns, ""
                    write(f"\n--- {datetime.now():%H:%M:%S}, {len(dialogue.turns)} turns ---\n")
                    summarize(dialogue)
        if rounds is not None:
            rounds -= 1
        if rounds is None or rounds:
            time.sleep(seconds)


def _whole_lines(path: Path) -> str:
    """The file up to its last line break. Raises DataError where it cannot be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror}", str(path), "check the path") from None
    return raw[: raw.rfind(b"\n") + 1].decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
