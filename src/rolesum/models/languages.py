"""Which languages a base reads, as far as the catalog says, and the refusal of dialogues in others."""

from collections.abc import Sequence

from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import ModelError, Problem
from rolesum.models.catalog import CATALOG, CatalogEntry, models_for_language
from rolesum.models.revisions import split_revision

_NAMES = {"zh": "Chinese", "en": "English"}


def catalog_entry(name: str) -> CatalogEntry | None:
    """The catalog's entry of a base that is named by alias or hub id, with a revision or without."""
    given = split_revision(name)[0]
    return next((entry for entry in CATALOG.values() if given in (entry.alias, entry.hub_id)), None)


def check_dialogue_languages(
    name: str, entry: CatalogEntry | None, dialogues: Sequence[Dialogue], noun: str = "dialogue", plural: str = ""
) -> None:
    """Raise ModelError for dialogues in a language that the catalog says the base `name` cannot read.

    `noun` is what the message calls one of them, with its plural where that is not the noun with an s.
    """
    if entry is None:
        return
    unread = [dialogue for dialogue in dialogues if dialogue.language not in entry.languages]
    if unread:
        language = unread[0].language
        count = counted(len(unread), noun, plural)
        what = f"{name} does not read {_NAMES.get(language, language)}, the language of {count}"
        readers = " or ".join(models_for_language(language))
        fix = f"leave them out with --skip, or use a base that reads it, without this adapter: --model {readers}"
        raise ModelError([Problem(what, unread[0].location, fix)])
