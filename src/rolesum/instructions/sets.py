"""Instruction sets: the sentences that ask for one role's summary or about a statement, read from YAML."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError
from rolesum.os_errors import os_error
from rolesum.roles import BRIEF

LANGUAGES = ("en", "zh")

# What a key is for, where that is not to write something of its name.
_TASKS = {
    "verify": "ask about a statement",
    "fields": "ask for fields",
    "field_value": "write a field as a statement",
}


class InstructionSet(BaseModel):
    """One language's layout of a turn and its instruction per role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Named in every run, so that a result says how it was asked for.")
    version: int = Field(description="Raised with every change of wording.")
    language: str = Field(description="The language of the instructions: en or zh.")
    turn: str = Field(description="How one turn is written: {speaker} and {text}.")
    instructions: dict[str, str] = Field(description="Role -> instruction; {speakers} may stand in it.")
    custom: str = Field(description="The instruction for a role that has none of its own: {role} and {speakers}.")
    section: str | None = Field(
        None,
        description="The instruction for a section (played by no speaker): {role}, {definition}. Built in if unset.",
    )
    example: str | None = Field(
        None, description="How an example stands before the dialogue: {dialogue} and {summaries}. Built in if unset."
    )
    speakers: str = Field(description="How the speakers of a role are named inside an instruction.")
    separator: str = Field(description="What stands between two speakers' labels.")
    part: str | None = Field(
        None, description="The label of one chunk's summary, where several are joined: {number} and {count}."
    )
    so_far: str | None = Field(None, description="The label of the summary of all that stands before a chunk.")
    verify: str | None = Field(
        None, description="Asks whether the dialogue says a statement: {statement}. Built in if unset."
    )
    answers: tuple[tuple[str, str], ...] | None = Field(
        None,
        description="How that is answered, (said, not said): the first pair of one token each. Built in if unset.",
    )

    fields: str | None = Field(
        None, description="Asks to fill in the fields of a JSON schema: {schema}. Built in if unset."
    )
    field_value: str | None = Field(
        None, description="A field's value as a statement: {field} and {value}. Built in if unset."
    )

    def dialogue_text(self, dialogue: Dialogue) -> str:
        """The whole dialogue, one turn a line."""
        return "\n".join(self.turn_texts(dialogue))

    def turn_texts(self, dialogue: Dialogue) -> list[str]:
        """The turns as they are written in the dialogue's text; there, a line break stands between two of them."""
        return [self.turn.format(speaker=turn.speaker, text=turn.text) for turn in dialogue.turns]

    def instruction(
        self, role: str, dialogue: Dialogue, definitions: Mapping[str, str] | None = None, title: str | None = None
    ) -> str:
        """The instruction for `role`'s summary of `dialogue`; a `title` replaces the role's name in it."""
        labels = dialogue.speakers(role)
        speakers = self.speakers.format(speakers=self.separator.join(labels)) if labels else ""
        definition = (definitions or {}).get(role, "")
        template = self._template(role)
        text = template.format(role=title or role, speakers=speakers, definition=f" {definition}" if definition else "")
        return text.strip()

    def _template(self, role: str) -> str:
        if role == BRIEF and role not in self.instructions and self.language in LANGUAGES:
            return instruction_set(self.language).instructions[role]  # "the brief's side" means nothing
        return self.instructions.get(role, self.custom)

    def section_instruction(self, title: str, definition: str) -> str:
        """The instruction for a section: what the whole dialogue says about one thing."""
        gap = "" if self.language == "zh" else " "
        return self._wording("section").format(role=title, definition=gap + definition).strip()

    def example_text(self, dialogue: Dialogue, summaries: Mapping[str, str]) -> str:
        """An example for the prompt: its dialogue and its summaries, each under its title."""
        headed = "\n".join(self.turn.format(speaker=title, text=text) for title, text in summaries.items())
        return self._wording("example").format(dialogue=self.dialogue_text(dialogue), summaries=headed)

    def verify_instruction(self, statement: str) -> str:
        """The question whether the dialogue says a statement."""
        return self._wording("verify").format(statement=statement)

    def fields_instruction(self, schema: str) -> str:
        """Asks to fill in the fields of a JSON schema."""
        return self._wording("fields").replace("{schema}", schema)  # the schema has braces of its own

    def field_statement(self, field: str, value: str) -> str:
        """A field's value as a sentence, for a field that says none of its own."""
        return self._wording("field_value").format(field=field, value=value)

    @property
    def answer_pairs(self) -> tuple[tuple[str, str], ...]:
        """The answers to that question, each as (said, not said). Raises UsageError where the set has none."""
        pairs = self.with_defaults().answers
        if not pairs:
            what = f'the instruction set "{self.name}" does not say how a question about a statement is answered'
            raise UsageError(what, fix="add the key answers to it: docs/formats.md")
        return pairs

    def with_defaults(self) -> "InstructionSet":
        """The set with the built-in wording of what it leaves out. An adapter saves this, word for word."""
        if self.language not in LANGUAGES:
            return self
        built_in = instruction_set(self.language)
        left_out = {key: getattr(built_in, key) for key, text in self if text is None}
        return self.model_copy(update={**left_out, "instructions": {BRIEF: self._template(BRIEF), **self.instructions}})

    def _wording(self, key: str) -> str:
        text = getattr(self.with_defaults(), key)
        if text is None:
            what = f'the instruction set "{self.name}" does not say how to {_TASKS.get(key, f"write a {key}")}'
            raise UsageError(what, fix=f"add the key {key} to it: docs/roles-and-sections.md")
        return str(text)

    def part_label(self, number: int, count: int) -> str:
        """The label of the summary of chunk `number` of `count`."""
        return self._wording("part").format(number=number, count=count)

    def so_far_label(self) -> str:
        """The label of the summary of everything before a chunk."""
        return self._wording("so_far")


def check_language_name(language: str | None) -> None:
    """Raise UsageError for a language without a built-in set; None means the dialogue's own language."""
    if language is not None and language not in LANGUAGES:
        raise UsageError(f'no instructions in the language "{language}"', fix="use --language zh or --language en")


@cache
def instruction_set(language: str) -> InstructionSet:
    """The built-in set of a language."""
    check_language_name(language)
    text = resources.files(__package__).joinpath(f"{language}.yaml").read_text(encoding="utf-8")
    return InstructionSet.model_validate(yaml.safe_load(text))


def load_instruction_set(path: str | Path) -> InstructionSet:
    """Load a custom set from a YAML file, in the format of the built-in ones."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        chosen = InstructionSet.model_validate(data)
        if "{speaker}" not in chosen.turn or "{text}" not in chosen.turn:
            raise ValueError("turn needs both {speaker} and {text}")
        chosen.turn.format(speaker="", text="")
        chosen.speakers.format(speakers="")
        (chosen.part or "").format(number=1, count=1)
        if chosen.verify is not None and "{statement}" not in chosen.verify:
            raise ValueError("verify needs {statement}")
        (chosen.verify or "").format(statement="")
        for template in (*chosen.instructions.values(), chosen.custom):
            template.format(role="", speakers="", definition="")
        (chosen.section or "").format(role="", definition="")
        (chosen.example or "").format(dialogue="", summaries="")
        if chosen.fields is not None and "{schema}" not in chosen.fields:
            raise ValueError("fields needs {schema}")
        (chosen.field_value or "").format(field="", value="")
    except OSError as error:
        raise os_error(error, "cannot read the instruction set", path, kind=UsageError) from None
    except (UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        fix = "write it like the built-in one: docs/formats.md, Instruction sets"
        raise UsageError(f"not an instruction set: {error}", str(path), fix) from None
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        known = (
            "{speaker}, {text}, {speakers}, {role}, {definition}, {number}, {count}, {statement}, {schema}, {field}, "
        )
        known += "{value}"
        fix = f"the placeholders are {known}: see docs/formats.md"
        raise UsageError(f"a template does not hold what it should: {error}", str(path), fix) from None
    return chosen
