"""A dialogue that grows turn by turn and is summarized at any moment; what was computed of it is kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Unpack

from rolesum.dialogue import Dialogue, RoleSummary, Turn
from rolesum.errors import DataError, UsageError
from rolesum.formats.python_values import to_dialogue
from rolesum.generation.arguments import SummaryArguments
from rolesum.roles import RoleAliases

if TYPE_CHECKING:
    from rolesum.generation.decoding.kept_prefix import KeptPrefix

# Summarizes one dialogue with the arguments of a call, and with the keys of it that are kept.
SummarizeKept = Callable[[Dialogue, SummaryArguments, "KeptPrefix | None"], list[RoleSummary]]


class LiveDialogue:
    """A dialogue that grows, made by `Summarizer.live`.

        live = summarizer.live(speakers={"Anna": "user"})
        live.add("Anna", "My parcel is late.")
        print(live.summarize(roles=["user"])[0].text)

    Each summary is that of the whole dialogue so far, and computes only the tokens that are new since the last one.

    Attributes:
        turns: The turns so far.
    """

    def __init__(
        self,
        summarize: SummarizeKept,
        kept: "KeptPrefix | None",
        identity: str,
        speakers: Mapping[str, str],
        aliases: RoleAliases,
    ) -> None:
        """`kept` is None for an engine that keeps no keys: each summary then computes the whole dialogue."""
        self.turns: Sequence[Turn] = ()
        self._summarize, self._kept = summarize, kept
        self._identity, self._speakers, self._aliases = identity, speakers, aliases

    def add(self, speaker: str, text: str, time: str = "") -> None:
        """Append a turn. Raises DataError where it is none; then nothing is appended."""
        for name, value in (("speaker", speaker), ("text", text)):
            if not isinstance(value, str) or not value.strip():
                raise DataError(
                    f"the {name} of a turn is {value!r:.60}", self._identity, "give a text that is not empty"
                )
        grown = (*self.turns, Turn(speaker, text, time))
        self._read(grown)
        self.turns = grown

    @property
    def dialogue(self) -> Dialogue:
        """The dialogue so far. Raises UsageError where it has no turn."""
        if not self.turns:
            raise UsageError("the dialogue has no turn yet", fix='add one: live.add("Customer", "My parcel is late.")')
        return self._read(self.turns)

    def summarize(self, **arguments: Unpack[SummaryArguments]) -> list[RoleSummary]:
        """The summaries of the dialogue so far, one for each role. Arguments and errors are those of a call."""
        return self._summarize(self.dialogue, arguments, self._kept)

    @property
    def reused_tokens(self) -> int:
        """How many of the dialogue's tokens the last summary did not have to compute."""
        return self._kept.reused if self._kept else 0

    def close(self) -> None:
        """Free the memory of what was computed; another summary would compute the whole dialogue again."""
        if self._kept:
            self._kept.drop()

    def _read(self, turns: Sequence[Turn]) -> Dialogue:
        return to_dialogue(list(turns), self._identity, aliases=self._aliases, speakers=self._speakers)
