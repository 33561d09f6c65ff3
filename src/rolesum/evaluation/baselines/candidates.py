"""The candidates of extraction: one role's turns, and the summary text of the chosen ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rolesum.dialogue import Dialogue, Turn
from rolesum.roles import WHOLE_DIALOGUE


@dataclass(frozen=True)
class Candidates:
    """One role of one dialogue. `turns` are the candidates: that role's turns, or all of them for overall and brief."""

    dialogue: Dialogue
    role: str

    @cached_property
    def places(self) -> list[int]:
        """The places (from 0) of the candidates among the dialogue's turns."""
        turns, roles = self.dialogue.turns, self.dialogue.roles
        whole = self.role in WHOLE_DIALOGUE
        return [place for place, turn in enumerate(turns) if whole or roles.get(turn.speaker) == self.role]

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self.dialogue.turns[place] for place in self.places)

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """Each candidate as it is written: the speaker's label and the text, without a full stop in Chinese."""
        if self.dialogue.language == "zh":
            return tuple(f"{turn.speaker}：{turn.text.rstrip('。')}" for turn in self.turns)
        return tuple(f"{turn.speaker}: {turn.text}" for turn in self.turns)

    def text(self, chosen: Sequence[int]) -> str:
        """The chosen candidates in dialogue order: joined by "。" as CSDS's authors do, else a line each."""
        separator = "。" if self.dialogue.language == "zh" else "\n"
        return separator.join(self.pieces[place] for place in sorted(chosen))
