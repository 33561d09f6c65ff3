"""Notes, once in a process, that what a model writes is a guess: it was not trained for a role, or for a language."""

from collections.abc import Iterable, Sequence

from rolesum.console import log
from rolesum.dialogue import Dialogue
from rolesum.generation.engine import Engine
from rolesum.generation.other_languages import other_language

# Adapter and role, or a language: a service has a Summarizer for every request.
_NOTED: set[tuple[str, str]] = set()


def note_untrained_roles(engine: Engine, roles: Iterable[str]) -> None:
    """Log the roles that the adapter was not trained for, each once in a process: their summaries are guesses."""
    model = engine.text_model
    trained = model.metadata.get("roles") if model else None
    if model is None or trained is None:
        return
    name = model.metadata.get("recipe") or model.name
    untrained = [role for role in dict.fromkeys(roles) if role not in trained]
    if new := [role for role in untrained if (name, role) not in _NOTED]:
        _NOTED.update((name, role) for role in new)
        task = f"trained for {', '.join(trained)}" if trained else "not trained to summarize"
        log(f"{name} was {task}: what it writes for {', '.join(new)} is a guess")


def note_other_languages(engine: Engine, dialogues: Sequence[Dialogue]) -> None:
    """Log a dialogue in a language that it is not asked about in, the first of each language in a process."""
    if engine.layout.instructions is not None:
        return  # the user's own, in a language that only the user knows
    for dialogue in dialogues:
        language = other_language(dialogue)
        if language and ("", language) not in _NOTED:
            _NOTED.add(("", language))
            what = f"{dialogue.location} seems to be in {language}"
            log(f"{what}: models are asked in English or Chinese, and what they write for it is a guess")
