"""Turns from text in the form "Speaker: text", with a Latin or a full-width colon."""

import re

from rolesum.dialogue import Turn

# A label has no colon, is short, and is no clock time or URL scheme ("10:30", "https://…").
_LABELLED = re.compile(r"^(?P<speaker>[^:：\n]{1,60}?)\s*(?::(?!//)|：)\s*(?P<text>.*)$")
_NO_LABEL = re.compile(r"^[\d\s.,\-/]*$")
# A clock time in front of the label, as chat exports write it: "[10:30] Anna: …", "10:30:05 Anna: …".
_CLOCK = re.compile(r"^(\[\s*\d{1,2}:\d{2}(:\d{2})?\s*\]|\d{1,2}:\d{2}(:\d{2})?(?=\s+\S+.*[:：]))\s*")


def turns_of_text(text: str) -> tuple[list[Turn], list[int]]:
    """The turns of a text, and the numbers of the lines (from 1) that belong to no turn.

    A clock time in front of a label is dropped. A line without a label continues the turn before it. Blank lines and
    turns without text are dropped.
    """
    turns: list[Turn] = []
    stray: list[int] = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if not line.strip():
            continue
        found = _LABELLED.match(_CLOCK.sub("", line.strip()))
        if found and not _NO_LABEL.match(found["speaker"]):
            turns.append(Turn(found["speaker"].strip(), found["text"].strip()))
        elif turns:
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text} {line.strip()}".strip())
        else:
            stray.append(number)
    return [turn for turn in turns if turn.text], stray
