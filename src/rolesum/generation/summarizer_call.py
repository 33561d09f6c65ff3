"""One call of a Summarizer: its dialogues are read, and its work is canceled where it does not come to its end."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from rolesum.dialogue import Dialogue, ExtractedFields, RoleSummary
from rolesum.formats.python_values import check_labels, is_dialogue, to_dialogue
from rolesum.generation.async_engine import EngineClient

if TYPE_CHECKING:
    from rolesum.generation.summarizer import Summarizer

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SummarizerCall:
    """One call of a Summarizer: a Summarizer with the call's configuration, on the engine that all calls share."""

    summarizer: "Summarizer"
    client: EngineClient
    speakers: Mapping[str, str]

    def read(self, value: Any, number: int | None = None) -> Dialogue:
        """The dialogue that a value is; the one with a `number` is one of many, of which some lack a speaker."""
        identity = "dialogue" if number is None else f"dialogue-{number}"
        aliases = self.summarizer.config.aliases
        found = to_dialogue(value, identity, aliases=aliases, speakers=self.speakers)
        if number is None:
            check_labels(found, self.speakers)
        return found

    def one(self, value: Any) -> list[RoleSummary]:
        """The summaries of one dialogue."""
        return self._summarize([self.read(value)])[0]

    def parts(self, values: Iterable[Any], size: int) -> Iterator[list[list[RoleSummary]]]:
        """The summaries of each dialogue, `size` dialogues at a time."""
        numbered = enumerate(values, 1)
        while part := [self.read(value, number) for number, value in islice(numbered, max(size, 1))]:
            yield self._summarize(part)

    def any(self, value: Any) -> list[RoleSummary] | list[list[RoleSummary]]:
        """The summaries of one dialogue, or of each of a list."""
        if not is_dialogue(value) and isinstance(value, list | tuple):
            return [found for part in self.parts(value, len(value)) for found in part]
        return self.one(value)

    def fields(self, dialogues: Sequence[Dialogue]) -> list[ExtractedFields]:
        """The fields of each dialogue, by the schema of the configuration."""
        return self._run(self.summarizer.extract_fields, dialogues)

    def _summarize(self, dialogues: Sequence[Dialogue]) -> list[list[RoleSummary]]:
        return self._run(self.summarizer.summarize, dialogues)

    def _run(self, work: Callable[[Sequence[Dialogue]], Result], dialogues: Sequence[Dialogue]) -> Result:
        try:
            return work(dialogues)
        except BaseException:  # Ctrl-C too: the texts are no longer needed
            self.client.cancel()
            raise
