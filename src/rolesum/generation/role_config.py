"""What an adapter, a recipe or a set of sections says of roles: custom roles and sections, their names and meanings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rolesum.instructions import SectionSet, load_sections
from rolesum.recipe_loading import load_recipe


@dataclass(frozen=True, slots=True)
class RoleConfig:
    """What an adapter, a recipe or a set of sections declares: custom roles, sections, a long-dialogue strategy."""

    aliases: Mapping[str, Sequence[str]]
    definitions: Mapping[str, str]
    sections: SectionSet | None = None
    long_dialogues: str | None = None


def load_role_config(adapter: Path | None, recipe: str | None, sections: str | None = None) -> RoleConfig:
    """The custom roles that an adapter was trained for, with those that a recipe or a set of sections declares."""
    aliases: dict[str, Sequence[str]] = {}
    definitions: dict[str, str] = {}
    chosen: SectionSet | None = None
    long_dialogues = None
    if adapter is not None:
        from rolesum.models.adapter_metadata import custom_sections, read_adapter_metadata

        note = read_adapter_metadata(adapter)
        aliases |= note.get("aliases", {})
        definitions |= note.get("definitions", {})
        chosen = custom_sections(note)
    if recipe is not None:
        loaded = load_recipe(recipe)
        aliases |= loaded.aliases
        definitions |= loaded.definitions
        chosen, long_dialogues = loaded.section_set or chosen, loaded.long_dialogues
    if sections is not None:
        chosen = load_sections(sections)
        aliases |= chosen.aliases
    return RoleConfig(aliases, definitions, chosen, long_dialogues)
