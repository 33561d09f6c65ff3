"""Streaming to a terminal: summaries as they are generated, and a rolling summary of a transcript that grows."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rolesum.console import log
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import DataError
from rolesum.formats import ReadOptions, Source, find_dialogue
from rolesum.formats.options import DEFAULTS
from rolesum.generation.long_dialogues.strategies import part_note
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summary_output import block_heading, block_notes
from rolesum.os_errors import cannot_read

Write = Callable[[str], None]

POLL_SECONDS = 2.0


class BlockStreamer:
    """Writes the blocks of one dialogue: the first role's text as it grows, then those of the others."""

    def __init__(self, roles: Sequence[str], write: Write) -> None:
        self.roles, self.write = roles, write
        self.texts = ["" for _ in roles]
        self.shown = -1  # the role that is being shown

    def __call__(self, dialogue: int, role: int, added: str) -> None:
        """As OnText. The roles are generated in parallel, so the next block is ready, or nearly so, when one ends."""
        self.texts[role] += added
        if self.shown < 0:
            self._open(0)
        elif role == self.shown:
            self.write(added)

    def end(self, summaries: Sequence[RoleSummary]) -> None:
        """Write what has not been written yet, and the notes after each text."""
        for role, summary in enumerate(summaries):
            if role > self.shown:
                self._open(role)
            shown = self.texts[role].strip()
            rest = summary.text[len(shown) :] if summary.text.startswith(shown) else f"\n{summary.text}"
            self.write(f"{rest}{block_notes(summary, quoted=True)}\n")

    def _open(self, role: int) -> None:
        self.write(("\n" if role else "") + block_heading(self.roles[role]) + self.texts[role])
        self.shown = role


def stream(dialogue: Dialogue, summarizer: Summarizer, write: Write) -> None:
    """Write a dialogue's summaries as they are generated; the parts read of a long one go to standard error."""
    shown = BlockStreamer(summarizer.roles_for(dialogue), write)
    shown.end(summarizer.summarize([dialogue], on_text=shown, on_part=lambda *parts: log(part_note(*parts)))[0])


def watch_file(path: Path, summarizer: Summarizer, write: Write, options: ReadOptions = DEFAULTS) -> None:
    """Write rolling summaries of the dialogue in a file that grows; each computes only what is new in it."""
    keeping = summarizer.keeping_prefix()

    def read(source: Source) -> Dialogue:
        return find_dialogue(source, options=options)

    watch(path, read, lambda dialogue: stream(dialogue, keeping, write), write)


def watch(
    path: Path,
    read: Callable[[Source], Dialogue],
    summarize: Callable[[Dialogue], None],
    write: Write,
    *,
    seconds: float = POLL_SECONDS,
    rounds: int | None = None,
) -> None:
    """Read a file every `seconds`, and summarize it again when it has new turns; until interrupted, or `rounds` times.

    A last line without a line break is still being written, and is left for the next round. A file without a dialogue
    is read again in the next round.
    """
    known: tuple[object, ...] = ()
    reported = ""
    while rounds is None or rounds > 0:
        text = _whole_lines(path)
        if text.strip():
            try:
                dialogue = read(Source(str(path), text))
            except DataError as error:
                if str(error) != reported:
                    reported = str(error)
                    write(f"waiting: {reported}\n")
            else:
                if dialogue.turns != known:
                    known, reported = dialogue.turns, ""
                    write(f"\n--- {datetime.now():%H:%M:%S}, {counted(len(dialogue.turns), 'turn')} ---\n")
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
        raise cannot_read(error, path) from None
    return raw[: raw.rfind(b"\n") + 1].decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
