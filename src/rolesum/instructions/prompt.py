"""The one prompt layout: head, dialogue, instruction, tail, target.

The dialogue comes first and the instruction last, so that all roles of a dialogue share everything up to the end of
the dialogue (the prefix) and differ in a short branch. Training and inference build their prompts here and nowhere
else. Only control segments may become control tokens; whatever a person typed stays text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rolesum.dialogue import Dialogue, Example
from rolesum.instructions.sets import InstructionSet, instruction_set

Kind = Literal["control", "dialogue", "instruction", "target"]
ControlPiece = str | int  # trusted text, in which control tokens may stand by their surface, or a token id

# Between the dialogue and the instruction; part of the shared prefix.
DIALOGUE_END = "\n\n"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt that is tokenised by itself. Text kinds hold a str, control segments their pieces."""

    kind: Kind
    text: str = ""
    control: tuple[ControlPiece, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatForm:
    """How a model family wraps one user message: what stands before it, after it, and at the end of the answer."""

    head: tuple[ControlPiece, ...] = ()
    tail: tuple[ControlPiece, ...] = ()
    end: tuple[ControlPiece, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One dialogue's prompts for all its roles: the shared prefix and a branch per role, without targets."""

    dialogue: Dialogue
    roles: tuple[str, ...]
    prefix: tuple[Segment, ...]
    branches: tuple[tuple[Segment, ...], ...]


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """All that decides a prompt's text besides the dialogue: the family's chat form and the instructions.

    `instructions` is a set of one's own, or None for the built-in set of the dialogue's language; `language`
    overrules the dialogue's; `definitions` says what a custom role is.
    """

    chat: ChatForm
    instructions: InstructionSet | None = None
    language: str | None = None
    definitions: Mapping[str, str] | None = None

    def set_for(self, dialogue: Dialogue) -> InstructionSet:
        return self.instructions or instruction_set(self.language or dialogue.language)

    def prefix(self, dialogue: Dialogue) -> tuple[Segment, ...]:
        text = self.set_for(dialogue).dialogue_text(dialogue) + DIALOGUE_END
        return (Segment("control", control=self.chat.head), Segment("dialogue", text))

    def branch(self, dialogue: Dialogue, role: str) -> tuple[Segment, ...]:
        instruction = self.set_for(dialogue).instruction(role, dialogue, self.definitions)
        return (Segment("instruction", instruction), Segment("control", control=self.chat.tail))

    def target(self, example: Example) -> tuple[Segment, ...]:
        """What the model learns to write: the summary and the end of the answer. Both carry loss."""
        return (Segment("target", example.target), Segment("control", control=self.chat.end))

    def prompt(self, dialogue: Dialogue, roles: Sequence[str]) -> Prompt:
        branches = tuple(self.branch(dialogue, role) for role in roles)
        return Prompt(dialogue, tuple(roles), self.prefix(dialogue), branches)
