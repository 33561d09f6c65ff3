"""The one prompt layout: head, dialogue, instruction, tail, target.

The dialogue comes first and the instruction last, so that all roles of a dialogue share everything up to the end of
the dialogue (the prefix) and differ in a short branch. Training and inference build their prompts here and nowhere
else. Only control segments may become control tokens; text that a person typed stays text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rolesum.dialogue import Dialogue, Example
from rolesum.instructions.asked import AskedInstruction
from rolesum.instructions.fields import FieldSchema
from rolesum.instructions.sections import SectionSet
from rolesum.instructions.sets import InstructionSet, instruction_set
from rolesum.roles import WHOLE_DIALOGUE

SegmentKind = Literal["control", "dialogue", "instruction", "target"]
ControlPiece = str | int  # trusted text, in which control tokens may stand by their surface, or a token id

# Stands between the dialogue and the instruction; part of the shared prefix.
DIALOGUE_END = "\n\n"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt that is tokenized by itself. Text segments hold a str, control segments their pieces.

    A segment that `continues` follows text: a tokenizer that puts a space before every text puts none there.
    """

    kind: SegmentKind
    text: str = ""
    control: tuple[ControlPiece, ...] = ()
    continues: bool = False


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The chat format of a model family: what stands around one user message and around the answer.

    Attributes:
        head: Stands before the message.
        tail: Stands between the message and the answer.
        answer_end: Ends the answer; the model writes it.
        answer_start: Begins the answer; the model writes it.
        no_space_after_head: Whether the message follows the head without the space that some tokenizers put there.
    """

    head: tuple[ControlPiece, ...] = ()
    tail: tuple[ControlPiece, ...] = ()
    answer_end: tuple[ControlPiece, ...] = ()
    answer_start: tuple[ControlPiece, ...] = ()
    no_space_after_head: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """One dialogue's prompts for all its roles: the shared prefix and a branch per role, without targets.

    `roles` is empty where the branches ask about statements or for fields. Where there is a `json_schema`, as JSON, an
    engine holds the texts of all branches to it.
    """

    dialogue: Dialogue
    roles: tuple[str, ...]
    prefix: tuple[Segment, ...]
    branches: tuple[tuple[Segment, ...], ...]
    json_schema: str | None = None


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """Everything that decides a prompt's text besides the dialogue: the chat format and the instructions.

    Attributes:
        chat_format: The family's chat format.
        instructions: A custom instruction set for every dialogue; None for the set of the dialogue's language.
        language: Overrides the dialogue's language in the choice of the instruction set.
        definitions: Custom role -> what it is.
        chat_formats: Language -> the chat format that replaces `chat_format` for dialogues in that language.
        instruction_sets: Language -> the instruction set that replaces the built-in one.
        sections: Custom roles and sections.
        asked: Role or section -> the instruction that a request words itself.
    """

    chat_format: ChatFormat
    instructions: InstructionSet | None = None
    language: str | None = None
    definitions: Mapping[str, str] | None = None
    chat_formats: Mapping[str, ChatFormat] | None = None
    instruction_sets: Mapping[str, InstructionSet] | None = None
    sections: SectionSet | None = None
    asked: Mapping[str, AskedInstruction] | None = None

    def needs_speaker(self, role: str) -> bool:
        """Whether a role needs a speaker who plays it; overall, brief and sections concern all speakers."""
        is_section = self.sections and role in self.sections.sections
        is_asked = self.asked and role in self.asked and self.asked[role].is_section
        return not (role in WHOLE_DIALOGUE or is_section or is_asked)

    def is_list(self, role: str) -> bool:
        """Whether a role is a section that is a list, one item a line."""
        entry = self.sections.sections.get(role) if self.sections else None
        return entry is not None and entry.is_list

    def chat_format_for(self, dialogue: Dialogue) -> ChatFormat:
        return (self.chat_formats or {}).get(dialogue.language, self.chat_format)

    def instruction_set_for(self, dialogue: Dialogue) -> InstructionSet:
        language = self.language or dialogue.language
        return self.instructions or (self.instruction_sets or {}).get(language) or instruction_set(language)

    def prefix(self, dialogue: Dialogue) -> tuple[Segment, ...]:
        chosen, form = self.instruction_set_for(dialogue), self.chat_format_for(dialogue)
        text = chosen.dialogue_text(dialogue) + DIALOGUE_END
        head = Segment("control", control=form.head)
        if self.sections and (examples := self.sections.examples_text(chosen)):
            shown = Segment("instruction", examples, continues=form.no_space_after_head)
            return (head, shown, Segment("dialogue", text, continues=True))
        return (head, Segment("dialogue", text, continues=form.no_space_after_head))

    def branch(self, dialogue: Dialogue, role: str) -> tuple[Segment, ...]:
        chosen = self.instruction_set_for(dialogue)
        if self.asked and role in self.asked:
            instruction = self.asked[role].text
        elif self.sections and role in self.sections.names:
            instruction = self.sections.instruction(role, dialogue, chosen)
        else:
            instruction = chosen.instruction(role, dialogue, self.definitions)
        tail = Segment("control", control=self.chat_format_for(dialogue).tail, continues=True)
        return (Segment("instruction", instruction, continues=True), tail)

    def verify_branch(self, dialogue: Dialogue, statement: str) -> tuple[Segment, ...]:
        """The question whether the dialogue says a statement, up to where the answer's one token follows."""
        form = self.chat_format_for(dialogue)
        question = self.instruction_set_for(dialogue).verify_instruction(statement)
        tail = Segment("control", control=form.tail, continues=True)
        return (Segment("instruction", question, continues=True), tail, *_answer_start(form))

    def fields_prompt(self, dialogue: Dialogue, fields: FieldSchema) -> Prompt:
        """The prompt with one branch, which asks for the fields of a schema; its text is held to that."""
        form, chosen = self.chat_format_for(dialogue), self.instruction_set_for(dialogue)
        instruction = chosen.fields_instruction(fields.shown(chosen.language))
        tail = Segment("control", control=form.tail, continues=True)
        branch = (Segment("instruction", instruction, continues=True), tail, *_answer_start(form))
        return Prompt(dialogue, (), self.prefix(dialogue), (branch,), fields.text)

    def target(self, example: Example) -> tuple[Segment, ...]:
        """What the model learns to write: the summary with the answer's start and end. All of it carries loss."""
        form = self.chat_format_for(example.dialogue)
        end = Segment("control", control=form.answer_end)
        return (*_answer_start(form), Segment("target", example.target), end)

    def prompt(self, dialogue: Dialogue, roles: Sequence[str]) -> Prompt:
        branches = tuple(self.branch(dialogue, role) for role in roles)
        return Prompt(dialogue, tuple(roles), self.prefix(dialogue), branches)

    def verify_prompt(self, dialogue: Dialogue, statements: Sequence[str]) -> Prompt:
        """The prompt with a branch for each statement."""
        branches = tuple(self.verify_branch(dialogue, statement) for statement in statements)
        return Prompt(dialogue, (), self.prefix(dialogue), branches)


def _answer_start(form: ChatFormat) -> tuple[Segment, ...]:
    return (Segment("control", control=form.answer_start),) if form.answer_start else ()
