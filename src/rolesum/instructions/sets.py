"""Instruction sets: the sentences that ask for one role's summary, read from YAML."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError

LANGUAGES = ("en", "zh")


class InstructionSet(BaseModel):
    """One language's layout of a turn and its instruction per role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Named in every run, so that a result says how it was asked for.")
    version: int = Field(description="Raised with every change of wording.")
    language: str = Field(description="The language of the instructions: en or zh.")
    turn: str = Field(description="How one turn is written: {speaker} and {text}.")
    instructions: dict[str, str] = Field(description="Role -> instruction; {speakers} may stand in it.")
    custom: str = Field(description="The instruction for a role that has none of its own: {role} and {speakers}.")
    speakers: str = Field(description="How the speakers of a role are named inside an instruction.")
    separator: str = Field(description="What stands between two speakers' labels.")

    def dialogue_text(self, dialogue: Dialogue) -> str:
        """The whole dialogue, one turn a line."""
        return "\n".join(self.turn.format(speaker=turn.speaker, text=turn.text) for turn in dialogue.turns)

    def instruction(self, role: str, dialogue: Dialogue, definitions: Mapping[str, str] | None = None) -> str:
        """The sentence that asks for `role`'s summary of `dialogue`."""
        labels = dialogue.speakers(role)
        speakers = self.speakers.format(speakers=self.separator.join(labels)) if labels else ""
        definition = (definitions or {}).get(role, "")
        template = self.instructions.get(role, self.custom)
        return template.format(role=role, speakers=speakers, definition=f" {definition}" if definition else "").strip()


def check_language_name(language: str | None) -> None:
    """Raise UsageError for a language that has no built-in set; None stands for the dialogue's own."""
    if language is not None and language not in LANGUAGES:
        raise UsageError(f'no instructions in the language "{language}"', fix="use --language zh or --language en")


@cache
def instruction_set(language: str) -> InstructionSet:
    """The built-in set of a language."""
    check_language_name(language)
    text = resources.files(__package__).joinpath(f"{language}.yaml").read_text(encoding="utf-8")
    return InstructionSet.model_validate(yaml.safe_load(text))


def load_instruction_set(path: str | Path) -> InstructionSet:
    """A set of one's own from a YAML file of the same form as the built-in ones."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        chosen = InstructionSet.model_validate(data)
        if "{speaker}" not in chosen.turn or "{text}" not in chosen.turn:
            raise ValueError("turn needs both {speaker} and {text}")
        chosen.turn.format(speaker="", text="")
        chosen.speakers.format(speakers="")
        for template in (*chosen.instructions.values(), chosen.custom):
            template.format(role="", speakers="", definition="")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        fix = "write it like the built-in one: docs/formats.md, Instruction sets"
        raise UsageError(f"not an instruction set: {error}", str(path), fix) from None
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        fix = "the placeholders are {speaker}, {text}, {speakers}, {role}, {definition}: see docs/formats.md"
        raise UsageError(f"a template does not hold what it should: {error}", str(path), fix) from None
    return chosen
