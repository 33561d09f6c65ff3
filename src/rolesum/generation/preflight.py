"""What can be refused before a model is fetched and loaded: roles that nobody plays, languages that it cannot read."""

from collections.abc import Sequence

from rolesum.dialogue import Dialogue
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.strategies import Roles, check_roles, roles_of_each
from rolesum.instructions import ChatFormat, PromptLayout
from rolesum.models.adapter_metadata import read_adapter_metadata
from rolesum.models.catalog import DEFAULT_MODEL
from rolesum.models.languages import catalog_entry, check_dialogue_languages


def check_before_loading(
    spec: EngineSpec, dialogues: Sequence[Dialogue], roles: Sequence[str] | Roles | None = None
) -> None:
    """Raise what the loaded model would raise for these dialogues, at once.

    `roles` are those that are asked for, of every dialogue or of each, if any. Raises DataError for roles that no
    speaker plays, ModelError for a language that the catalog says the base cannot read.
    """
    if roles:
        layout = PromptLayout(
            ChatFormat(), spec.instructions, definitions=spec.definitions, sections=spec.sections, asked=spec.asked
        )
        check_roles(dialogues, roles_of_each(dialogues, roles), layout)
    if base := base_name(spec):
        check_dialogue_languages(base, catalog_entry(base), dialogues)


def base_name(spec: EngineSpec) -> str | None:
    """The name of a spec's base; None for an endpoint whose model is not known."""
    if spec.model is not None:
        return spec.model
    if spec.adapter is not None:
        return read_adapter_metadata(spec.adapter).get("base")
    return None if spec.engine == "openai" else DEFAULT_MODEL
