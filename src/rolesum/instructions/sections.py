"""Section sets: custom roles and sections, read from YAML, each with what it is and, for all, examples.

A role is played by speakers, and its summary tells their side. No speaker plays a section: its summary is what the
whole dialogue says about one thing, such as the decisions of a meeting.
"""

import re
from importlib import resources
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem, UsageError, did_you_mean
from rolesum.instructions.sets import LANGUAGES, InstructionSet
from rolesum.os_errors import os_error
from rolesum.roles import ALIASES, BUILT_IN

PRESETS = "presets"

# A name stands in --roles a,b and --speaker "LABEL=a".
SECTION_NAME = re.compile(r"[^\s,，=]([^,，=\n]*[^\s,，=])?")

# A text for every language, or one text each.
Wording = str | dict[str, str]


class SectionEntry(BaseModel):
    """The definition of one role or section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Wording = Field("", description="What an instruction calls it; its name, if left out.")
    definition: Wording = Field("", description="What belongs in it: a sentence that is added to the instruction.")
    aliases: tuple[str, ...] = Field((), description="Other names; of a role, also labels of speakers who play it.")
    is_list: bool = Field(
        False, description="Whether a section is a list, one item a line: those of a long dialogue's parts are merged."
    )


class SectionExample(BaseModel):
    """A dialogue with its summaries, shown before the dialogue that is to be summarized."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Literal["en", "zh"] = Field(description="Shown with dialogues in this language only.")
    turns: tuple[dict[str, str], ...] = Field(min_length=1, description="One `speaker: text` each.")
    summaries: dict[str, str] = Field(min_length=1, description="Name of a role or section -> its summary.")


class SectionSet(BaseModel):
    """A set of custom roles and sections, in the order in which they are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Named in every run, so that a result says how it was asked for.")
    version: int = Field(description="Raised with every change of wording.")
    sections: dict[str, SectionEntry] = Field({}, description="What no speaker plays: name -> what belongs in it.")
    roles: dict[str, SectionEntry] = Field({}, description="What speakers play: name -> who that is.")
    examples: tuple[SectionExample, ...] = Field((), description="For the prompt; more make it longer for all.")

    @model_validator(mode="after")
    def _goes_together(self) -> "SectionSet":
        if problems := [*self._name_faults(), *self._wording_faults(), *self._example_faults()]:
            raise ValueError("; ".join(problems))
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.sections, *self.roles)

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Name -> aliases, for the readers and for --roles; a name may be a built-in role's alias, such as doctor."""
        return {name: entry.aliases for name, entry in self._entries}

    def names_for(self, dialogue: Dialogue) -> tuple[str, ...]:
        """What a dialogue can be summarized for: every section, and the roles of the set that some speaker plays."""
        return (*self.sections, *(role for role in self.roles if dialogue.speakers(role)))

    def instruction(self, name: str, dialogue: Dialogue, wording: InstructionSet) -> str:
        """The instruction for one role or section of the set, in the wording of an instruction set."""
        entry = self.sections.get(name) or self.roles[name]
        title, definition = self.title(name, wording.language), _in(wording.language, entry.definition)
        if name in self.sections:
            return wording.section_instruction(title, definition)
        return wording.instruction(name, dialogue, {name: definition}, title=title)

    def title(self, name: str, language: str) -> str:
        entry = self.sections.get(name) or self.roles[name]
        return _in(language, entry.title) or name.replace("-", " ")

    def examples_text(self, wording: InstructionSet) -> str:
        """The examples, which stand before every dialogue in the wording's language; "" if the set has none."""
        shown = [one for one in self.examples if one.language == wording.language]
        return "".join(
            wording.example_text(
                Dialogue("example", tuple(Turn(*pair) for turn in one.turns for pair in turn.items())),
                {self.title(name, wording.language): text.strip() for name, text in one.summaries.items()},
            )
            for one in shown
        )

    @property
    def _entries(self) -> tuple[tuple[str, SectionEntry], ...]:
        return (*self.sections.items(), *self.roles.items())

    def _name_faults(self) -> list[str]:
        faults = [] if self._entries else ["it names no section and no role"]
        built_in = {alias: role for role, aliases in ALIASES.items() for alias in (role, *aliases)}
        taken = {role: role for role in BUILT_IN}
        for name, entry in self._entries:
            own = {word.strip().lower(): word for word in (name, *entry.aliases)}
            for key, word in own.items():
                other = taken.get(key) or (built_in.get(key) if word == name else None)
                if not SECTION_NAME.fullmatch(word):
                    faults.append(f'"{word}" cannot be a name: it is empty, or has a comma or an equals sign in it')
                elif other is not None:
                    faults.append(f'"{word}" already means {other}')
            taken |= dict.fromkeys(own, name)
        return faults

    def _wording_faults(self) -> list[str]:
        return [
            f"the {key} of {name} needs a text for each of {', '.join(LANGUAGES)}, or one text for both"
            for name, entry in self._entries
            for key, text in (("title", entry.title), ("definition", entry.definition))
            if isinstance(text, dict) and set(text) != set(LANGUAGES)
        ]

    def _example_faults(self) -> list[str]:
        faults = [
            f'an example has a summary for "{name}", which the set does not name'
            for one in self.examples
            for name in one.summaries
            if name not in self.names
        ]
        if any(len(turn) != 1 for one in self.examples for turn in one.turns):
            faults.append("a turn of an example is one `speaker: text`")
        return faults


def load_sections(path_or_preset: str | Path) -> SectionSet:
    """Load a set from a YAML file, or a bundled set by its name. Raises UsageError with all problems."""
    path, place = Path(path_or_preset), str(path_or_preset)
    presets = preset_names()
    if place not in presets and not path.is_file():
        fix = f"give a YAML file or a preset; {did_you_mean(place, presets)}"
        raise UsageError(f"no sections at {place}", fix=fix)
    try:
        return SectionSet.model_validate(yaml.safe_load(_text(path, presets)))
    except ValidationError as error:
        fix = "see docs/roles-and-sections.md"
        raise UsageError([Problem.from_pydantic(detail, place, fix) for detail in error.errors()]) from None
    except OSError as error:
        raise os_error(error, "cannot be read", place, kind=UsageError) from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        fix = "quote texts that hold a colon; see docs/roles-and-sections.md"
        raise UsageError(f"cannot be read: {error}", place, fix) from None


def preset_names() -> tuple[str, ...]:
    """The names of the bundled sets."""
    folder = resources.files(__package__).joinpath(PRESETS)
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")))


def _text(path: Path, presets: tuple[str, ...]) -> str:
    if str(path) in presets:
        return resources.files(__package__).joinpath(PRESETS, f"{path}.yaml").read_text(encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _in(language: str, text: Wording) -> str:
    """The text in a language; the English text for a third language."""
    return text if isinstance(text, str) else text.get(language, text["en"])
