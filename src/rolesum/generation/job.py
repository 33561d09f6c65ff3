"""Summarising as a user asks for it: load the model, check the dialogues, write, and lay the texts out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.generation.summarise import summarise
from rolesum.instructions.sets import check_language_name
from rolesum.progress import meter
from rolesum.recipe import load_recipe
from rolesum.roles import OVERALL, default_roles


def summarise_dialogues(
    dialogues: Sequence[Dialogue],
    *,
    model: str | None,
    adapter: Path | None,
    roles: Sequence[str] | None,
    language: str | None,
    max_new_tokens: int,
    definitions: Mapping[str, str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> list[list[RoleSummary]]:
    """Load the model and summarise. Without `roles`, each dialogue's own, of those that the adapter was trained for."""
    check_language_name(language)

    from rolesum.generation.transformers_engine import TransformersEngine
    from rolesum.models import load_model

    loaded = load_model(model, adapter=adapter, device=device, dtype=dtype)
    loaded.check_languages(list(dialogues))
    engine = TransformersEngine(loaded, loaded.layout(language, definitions=definitions))
    trained = loaded.note.get("roles")
    wanted: Sequence[str] | Sequence[Sequence[str]] | None = roles
    if not roles and trained:
        wanted = [tuple(role for role in default_roles(one) if role in trained) or (OVERALL,) for one in dialogues]
    with meter("summarise", len(dialogues)) as bar:
        return summarise(dialogues, engine, wanted, max_new_tokens=max_new_tokens, on_done=bar.advance)


@dataclass(frozen=True, slots=True)
class DeclaredRoles:
    """Custom roles: their aliases, and what is said of them in the instruction."""

    aliases: Mapping[str, Sequence[str]]
    definitions: Mapping[str, str]


def declared_roles(adapter: Path | None, recipe: str | None) -> DeclaredRoles:
    """The custom roles that an adapter was trained for, and those that a recipe declares."""
    aliases: dict[str, Sequence[str]] = {}
    definitions: dict[str, str] = {}
    if adapter is not None:
        from rolesum.models.adapters import read_note

        note = read_note(adapter)
        aliases |= note.get("aliases", {})
        definitions |= note.get("definitions", {})
    if recipe is not None:
        loaded = load_recipe(recipe)
        aliases |= loaded.aliases
        definitions |= loaded.definitions
    return DeclaredRoles(aliases, definitions)


def as_blocks(summaries: Sequence[Sequence[RoleSummary]]) -> str:
    """One block per role, each headed by its role; several dialogues are headed by their ids."""
    blocks = []
    for of_dialogue in summaries:
        if len(summaries) > 1:
            blocks.append(f"# {of_dialogue[0].dialogue_id}")
        blocks += [f"[{one.role}]\n{one.text}{_cut(one)}" for one in of_dialogue]
    return "\n\n".join(blocks) + "\n"


def as_json_lines(dialogues: Sequence[Dialogue], summaries: Sequence[Sequence[RoleSummary]]) -> str:
    """One line per dialogue, in input order: id, summaries by role, and the roles whose text the limit cut."""
    lines = []
    for dialogue, of_dialogue in zip(dialogues, summaries, strict=True):
        value: dict[str, object] = {"id": dialogue.id, "summaries": {one.role: one.text for one in of_dialogue}}
        if cut := [one.role for one in of_dialogue if one.finish_reason == "length"]:
            value["cut"] = cut
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    return "".join(lines)


def _cut(summary: RoleSummary) -> str:
    return " […cut by --max-new-tokens]" if summary.finish_reason == "length" else ""
