"""Dialogues from Python values: a text, a dict in rolesum's JSON form, a list of turns, or a Dialogue."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rolesum import strict_json
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats import check_speakers, format_name, jsonl, plain, read_dialogues, resolve_roles
from rolesum.formats.options import ReadOptions
from rolesum.formats.source import Source, with_newlines
from rolesum.roles import RoleAliases, resolve_role, roles_of_speakers

DialogueValue = str | Dialogue | Mapping[str, Any] | Sequence[Turn] | Sequence[tuple[str, str]]

_FORMS = 'give a text of "Speaker: text" lines, a Dialogue, a dict of {id, turns}, or a list of (speaker, text)'


def is_dialogue(value: Any) -> bool:
    """Whether a value is meant as one dialogue, not as many: a list or tuple is one if it begins with a turn."""
    if isinstance(value, list | tuple):
        return bool(value) and _is_turn(value[0])
    return isinstance(value, str | Dialogue | Mapping)


def to_dialogue(
    value: Any, identity: str, *, aliases: RoleAliases | None = None, speakers: Mapping[str, str] | None = None
) -> Dialogue:
    """The dialogue that a value is, with every role under its one name.

    A text is read as a file of it would be. `identity` is the id of a value that has none. `aliases` are the names of
    custom roles; `speakers` maps labels to roles, over those that the value or the labels name. A Dialogue that was
    made in Python, not read, and has no roles gets those that its labels name. Raises DataError with all that is wrong
    with the dialogue, UsageError for a value that is none.
    """
    names = {role: tuple(others) for role, others in (aliases or {}).items()}
    given = {label: resolve_role(role, names) for label, role in (speakers or {}).items()}
    if isinstance(value, Dialogue):
        dialogue = _checked(value, aliases)
    elif isinstance(value, str):
        dialogue = _from_text(value, identity, names)
    elif isinstance(value, Mapping):
        dialogue = _from_json({"id": identity, **value}, names)
    elif isinstance(value, list | tuple) and value and all(map(_is_turn, value)):
        dialogue = _from_json({"id": identity, "turns": [_turn_json(one) for one in value]}, names)
    else:
        raise _no_dialogue(value, identity)
    resolved = resolve_roles(dialogue, names, given)
    if isinstance(resolved, Problem):
        raise DataError([replace(resolved, where=dialogue.location)])
    return resolved


def check_labels(dialogue: Dialogue, speakers: Mapping[str, str]) -> None:
    """Raise UsageError for a label in `speakers` that no turn of the dialogue has."""
    check_speakers(speakers, dialogue.speakers(), dialogue.location)


def _is_turn(value: Any) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, str) for one in value)
    return is_pair or isinstance(value, Turn)


def _turn_json(turn: Any) -> dict[str, str]:
    if isinstance(turn, Turn):
        return {"speaker": turn.speaker, "text": turn.text, **({"time": turn.time} if turn.time else {})}
    speaker, text = turn
    return {"speaker": speaker, "text": text}


def _from_text(text: str, identity: str, names: Mapping[str, tuple[str, ...]]) -> Dialogue:
    if not text.strip():
        raise DataError("the text is empty", identity, _FORMS)
    try:
        text.encode()
    except UnicodeEncodeError:
        what = "half of an emoji (a lone surrogate)"
        raise DataError(what, identity, "remove the character that begins with \\ud") from None
    source = Source(identity, with_newlines(text))
    try:
        form = format_name(source)
    except DataError:
        if source.is_json:
            raise
        form = plain.FORMAT.name  # it names the lines that have no speaker
    try:
        found = read_dialogues(source, ReadOptions(format=form, custom_roles=names))
    except DataError as error:
        if form == plain.FORMAT.name and "\n" not in text.strip():
            fix = f"{error.problems[0].fix}; to read a file, rolesum.load_dialogues(path)"
            raise DataError([replace(error.problems[0], fix=fix), *error.problems[1:]]) from None
        raise
    if len(found) > 1:
        raise DataError(f"the text holds {len(found)} dialogues", identity, "give each dialogue as a value of its own")
    return replace(found[0], source="")


def _from_json(value: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]) -> Dialogue:
    place = "dict"
    try:
        text = strict_json.dumps(dict(value), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"the dict is not JSON: {error}", place, "see docs/formats.md") from None
    (found,) = read_dialogues(Source(place, text), ReadOptions(format=jsonl.FORMAT.name, custom_roles=names))
    return replace(found, source="")


def _checked(dialogue: Dialogue, aliases: RoleAliases | None) -> Dialogue:
    turns = dialogue.turns
    if not (isinstance(turns, list | tuple) and turns and all(isinstance(one, Turn) for one in turns)):
        raise DataError("the turns of a Dialogue must be one Turn or more", f"dialogue {dialogue.id}", _FORMS)
    if dialogue.roles or dialogue.source:
        return dialogue
    return replace(dialogue, turns=tuple(turns), roles=roles_of_speakers(dialogue.speakers(), aliases))


def _no_dialogue(value: Any, identity: str) -> UsageError:
    fix = f"{_FORMS}; to read a file, rolesum.load_dialogues(path)"
    return UsageError(f"{value!r:.60} is no dialogue but of type {type(value).__name__}", identity, fix)
