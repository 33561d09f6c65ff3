"""rolesum's own format: JSON lines of {id, turns, roles, summaries, statements, pairs, language, meta}.

See dialogue.schema.json. Statements name turns by their numbers from 1 in the file, by their places from 0 in memory.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rolesum import strict_json
from rolesum.dialogue import Dialogue, Pair, Statement, Turn
from rolesum.errors import Problem, did_you_mean
from rolesum.formats.source import Format, Record, Source, is_valid_id
from rolesum.roles import roles_of_speakers

FIELDS = ("id", "turns", "roles", "summaries", "statements", "pairs", "language", "meta")
_TURN_FIELDS = {"speaker", "text", "time"}
_STATEMENT_FIELDS = {"text", "role", "supported", "turns", "kind"}
_PAIR_FIELDS = {"role", "chosen", "rejected"}
_HINTS = 8  # unknown fields of a record for which one is sought that was meant


def matches(source: Source) -> bool:
    record = source.first_record if source.is_json else None
    turns = record.get("turns") if isinstance(record, dict) else None
    return isinstance(turns, list) and all(isinstance(turn, dict) for turn in turns)


def read(source: Source) -> Iterator[Dialogue | Problem]:
    for record in source.records():
        if isinstance(record, Problem):
            yield record
        else:
            yield from read_record(record)


def read_record(record: Record) -> Iterator[Dialogue | Problem]:
    """The dialogue of a record, or all that is wrong with it."""
    faults = _faults(record.value)
    if faults:
        identity = record.value.get("id") if isinstance(record.value, dict) else None
        place = f"{record.location}, id {identity}" if is_valid_id(identity) else record.location
        yield from (Problem(what, place, fix) for what, fix in faults)
    else:
        yield _dialogue(record)


def to_json(dialogue: Dialogue) -> str:
    """The line of a dialogue in this format."""
    value: dict[str, Any] = {
        "id": dialogue.id,
        "language": dialogue.language,
        "turns": [
            {"speaker": turn.speaker, "text": turn.text, **({"time": turn.time} if turn.time else {})}
            for turn in dialogue.turns
        ],
        "roles": dict(dialogue.roles),
        "summaries": {role: list(texts) for role, texts in dialogue.summaries.items()},
        "statements": [_statement_json(statement) for statement in dialogue.statements],
        "pairs": [{"role": one.role, "chosen": one.chosen, "rejected": one.rejected} for one in dialogue.pairs],
        "meta": dict(dialogue.meta),
    }
    # roles are written even where there are none: left out, they would be read off the labels
    return strict_json.dumps(
        {key: entry for key, entry in value.items() if entry or key == "roles"}, ensure_ascii=False
    )


def _dialogue(record: Record) -> Dialogue:
    value: Mapping[str, Any] = record.value
    kept = [(number, turn) for number, turn in enumerate(value["turns"], 1) if turn["text"].strip()]
    turns = tuple(Turn(turn["speaker"].strip(), turn["text"].strip(), turn.get("time", "").strip()) for _, turn in kept)
    places = {number: place for place, (number, _) in enumerate(kept)}
    written = value.get("summaries", {})
    summaries = {role: _texts(text) for role, text in written.items()}
    return Dialogue(
        id=str(value["id"]),
        turns=turns,
        roles=value["roles"] if "roles" in value else roles_of_speakers([turn.speaker for turn in turns]),
        summaries=summaries,
        language=value.get("language", ""),
        meta=value.get("meta", {}),
        source=record.location,
        statements=tuple(
            Statement(
                one["text"].strip(),
                one["role"].strip(),
                one["supported"],
                tuple(places[number] for number in one.get("turns", ())),
                one.get("kind", "").strip(),
            )
            for one in value.get("statements", ())
        ),
        pairs=tuple(
            Pair(one["role"].strip(), one["chosen"].strip(), one["rejected"].strip()) for one in value.get("pairs", ())
        ),
    )


def _texts(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _statement_json(statement: Statement) -> dict[str, Any]:
    value = {
        "text": statement.text,
        "role": statement.role,
        "supported": statement.supported,
        "turns": [place + 1 for place in statement.turns],
        "kind": statement.kind,
    }
    return {key: entry for key, entry in value.items() if entry or key == "supported"}


def _faults(value: Any) -> list[tuple[str, str]]:
    """What is wrong with a record, each with its fix; the same rules as dialogue.schema.json."""
    schema = "see docs/formats.md"
    if not isinstance(value, dict):
        return [("not a JSON object", schema)]
    unknown = [key for key in value if key not in FIELDS]
    faults = [
        (f'unknown field "{key}"', did_you_mean(key, FIELDS) if place < _HINTS else schema)
        for place, key in enumerate(unknown)
    ]
    if not is_valid_id(value.get("id")):
        faults.append(("no id", "give each dialogue an id that is a text or a whole number"))
    turns = value.get("turns")
    if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
        faults.append(_turn_fault(turns))
        turns = []
    elif not any(turn["text"].strip() for turn in turns):
        faults.append(("the dialogue has no turns", "mend or remove the record, or skip its id"))
    roles = value.get("roles", {})
    if not isinstance(roles, dict) or not all(isinstance(role, str) for role in roles.values()):
        faults.append(("roles must map a speaker to a role", schema))
    elif unheard := set(roles) - {turn["speaker"].strip() for turn in turns}:
        faults.append((f"roles name speakers without a turn: {', '.join(sorted(unheard))}", "check the spelling"))
    summaries = value.get("summaries", {})
    if not isinstance(summaries, dict) or not all(_is_summary(text) for text in summaries.values()):
        faults.append(("summaries must map a role to a text that is not empty, or a list of such", schema))
    faults += _statement_faults(value.get("statements", []), turns)
    faults += _pair_faults(value.get("pairs", []))
    if value.get("language", "en") not in ("en", "zh"):
        faults.append((f"unknown language {value['language']!r}", "en or zh, or leave it out"))
    if not isinstance(value.get("meta", {}), dict):
        faults.append(("meta must be an object", schema))
    return faults


def _turn_fault(turns: Any) -> tuple[str, str]:
    """What is wrong with the first broken turn, and the fix."""
    rule, schema = "turns must be a list of {speaker, text}, with a time where it is known", "see docs/formats.md"
    if not isinstance(turns, list):
        return rule, schema
    number, turn = next((number, turn) for number, turn in enumerate(turns, 1) if not _is_turn(turn))
    if not isinstance(turn, dict):
        return f"{rule}; turn {number} is no object", schema
    if unknown := sorted(map(str, set(turn) - _TURN_FIELDS)):
        listed = ", ".join(f'"{key[:40]}"' for key in unknown[:_HINTS])
        return f"{rule}; turn {number} has {listed} too", "remove what is not in the format, or keep it under meta"
    wrong = next(key for key in ("speaker", "text", "time") if not _is_turn_field(turn, key))
    return f"{rule}; turn {number} has no text under {wrong}", schema


def _is_turn_field(turn: dict[str, Any], key: str) -> bool:
    if key == "text":
        return isinstance(turn.get(key), str)
    return _is_text(turn.get(key, "unknown" if key == "time" else None))


def _is_turn(turn: Any) -> bool:
    return (
        isinstance(turn, dict)
        and set(turn) <= _TURN_FIELDS
        and all(_is_turn_field(turn, key) for key in ("speaker", "text", "time"))
    )


def _statement_faults(statements: Any, turns: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What is wrong with the statements; `turns` is empty if they could not be read."""
    if not isinstance(statements, list):
        return [("statements must be a list of {text, role, supported, turns, kind}", "see docs/formats.md")]
    faults = []
    for place, one in enumerate(statements, 1):
        if not _is_statement(one):
            what = f"statement {place} must be {{text, role, supported: true or false, turns: [numbers from 1], kind}}"
            faults.append((what, "see docs/formats.md"))
            continue
        for number in one.get("turns", []):
            if turns and (number > len(turns) or not turns[number - 1]["text"].strip()):
                faults.append((f"statement {place} names turn {number}, which is not there", "count turns from 1"))
    return faults


def _is_statement(value: Any) -> bool:
    if not isinstance(value, dict) or not {"text", "role", "supported"} <= set(value) <= _STATEMENT_FIELDS:
        return False
    turns = value.get("turns", [])
    return (
        all(_is_text(value[key]) for key in ("text", "role", "kind") if key in value)
        and isinstance(value["supported"], bool)
        and isinstance(turns, list)
        and all(isinstance(number, int) and not isinstance(number, bool) and number >= 1 for number in turns)
    )


def _pair_faults(pairs: Any) -> list[tuple[str, str]]:
    """What is wrong with the pairs: a pair without a difference too, which the schema cannot say."""
    if not isinstance(pairs, list):
        return [("pairs must be a list of {role, chosen, rejected}", "see docs/formats.md")]
    faults = []
    for place, one in enumerate(pairs, 1):
        if not (isinstance(one, dict) and set(one) == _PAIR_FIELDS and all(map(_is_text, one.values()))):
            faults.append((f"pair {place} must be {{role, chosen, rejected}}, three texts", "see docs/formats.md"))
        elif one["chosen"].split() == one["rejected"].split():
            what = f"pair {place}, for {one['role']}: the chosen and the rejected summary are the same"
            faults.append((what, "remove the pair"))
    return faults


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_summary(text: Any) -> bool:
    texts = text if isinstance(text, list) and text else [text]
    return all(isinstance(entry, str) and entry.strip() for entry in texts)


FORMAT = Format(
    "rolesum",
    "rolesum: JSON lines of {id, turns: [{speaker, text, time}], roles, summaries, statements, pairs, language, meta}",
    matches,
    read,
)
