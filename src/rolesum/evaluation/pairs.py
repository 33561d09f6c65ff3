"""Predictions and references from files: line-aligned texts, or JSON lines joined by id and role."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.prediction import Prediction
from rolesum.formats.source import Record, Source, is_valid_id, open_source
from rolesum.roles import resolve_role

# Where a line of JSON may keep its text.
PREDICTION_KEYS = ("prediction", "summary", "text")
REFERENCE_KEYS = ("references", "reference", "summary", "text")
NO_ROLE = "summary"


def read_pairs(predictions: str | Path, references: str | Path) -> list[Prediction]:
    """Both files as pairs. Text files are aligned by line; JSON lines by id and role.

    Raises DataError with every line that has no partner, no text or no id.
    """
    made, written = open_source(predictions), open_source(references)
    if made.is_json != written.is_json:
        kinds = {True: "JSON", False: "text"}
        what = f"one file is {kinds[made.is_json]}, the other {kinds[written.is_json]}"
        raise DataError(what, made.name, "give two text files, or two JSON lines files")
    return _by_id(made, written) if made.is_json else _by_line(made, written)


def read_predictions(path: str | Path) -> list[Prediction]:
    """The predictions that an evaluation wrote: JSON lines of id, role, prediction and references. Raises DataError."""
    source = open_source(path)
    found: dict[tuple[str, str], Prediction] = {}
    problems: list[Problem] = []
    for record in source.records() if source.is_json else ():
        if isinstance(record, Problem):
            problems.append(record)
            continue
        try:
            one = _written(record.value)
        except ValueError as error:
            fix = "give id, role, prediction and references; or name the dialogues with --data"
            problems.append(Problem(str(error), record.location, fix))
            continue
        if (one.id, one.role) in found:
            problems.append(Problem(f"id {one.id}, role {one.role} stands twice", record.location, "remove one"))
        found[one.id, one.role] = one
    if problems:
        raise DataError(problems)
    if not found:
        raise DataError("no JSON lines of predictions", source.name, "name a file that rolesum evaluate --out wrote")
    return list(found.values())


def _written(value: Any) -> Prediction:
    """The prediction of one line, whose role is taken as it stands. Raises ValueError that says what is wrong."""
    if not isinstance(value, dict) or not is_valid_id(value.get("id")):
        raise ValueError("no id")
    references = value.get("references", value.get("reference"))
    references = [references] if isinstance(references, str) else references
    if not isinstance(references, list) or not references:
        raise ValueError("no references")
    if not all(isinstance(one, str) and one.strip() for one in references):
        raise ValueError("a reference is no text, or empty")
    prediction, role = value.get("prediction"), value.get("role", NO_ROLE)
    if not isinstance(prediction, str) or not isinstance(role, str):
        raise ValueError("prediction or role is no text")
    tokens, reason = value.get("tokens", 0), value.get("finish_reason", "")
    return Prediction(
        str(value["id"]),
        role,
        prediction,
        tuple(references),
        tokens if isinstance(tokens, int) else 0,
        reason if isinstance(reason, str) else "",
    )


def read_texts(
    source: Source, problems: list[Problem], custom_roles: Mapping[str, Sequence[str]] | None = None
) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """(id, role) -> where it stands, and its one text. What is wrong goes to `problems`."""
    return _texts(source, PREDICTION_KEYS, problems, custom_roles)


def _by_line(made: Source, written: Source) -> list[Prediction]:
    left, right = (source.text.removesuffix("\n").split("\n") for source in (made, written))
    if len(left) != len(right):
        what = f"{len(left)} predictions but {len(right)} references"
        raise DataError(what, f"{made.name}, {written.name}", "line N of one must belong to line N of the other")
    empty = [number for number, line in enumerate(right, 1) if not line.strip()]
    if empty:
        raise DataError([Problem("the reference is empty", f"{written.name}:{number}") for number in empty])
    return [
        Prediction(str(number), NO_ROLE, prediction.strip(), (reference.strip(),))
        for number, (prediction, reference) in enumerate(zip(left, right, strict=True), 1)
    ]


def _by_id(made: Source, written: Source) -> list[Prediction]:
    problems: list[Problem] = []
    predictions = _texts(made, PREDICTION_KEYS, problems)
    references = _texts(written, REFERENCE_KEYS, problems)
    made_roles = {role for _, role in predictions}  # a system may write fewer roles than there are references for
    references = {key: found for key, found in references.items() if key[1] in made_roles or not made_roles}
    for key, place, here, there in (
        *((key, place, "reference", written) for key, (place, _) in predictions.items() if key not in references),
        *((key, place, "prediction", made) for key, (place, _) in references.items() if key not in predictions),
    ):
        problems.append(Problem(f"no {here} for id {key[0]}, role {key[1]}", place, f"add it to {there.name}"))
    if problems:
        raise DataError(problems)
    if not references:
        raise DataError("no texts to score", written.name, "see docs/formats.md for what a line may hold")
    return [
        Prediction(identity, role, predictions[identity, role][1][0], tuple(texts))
        for (identity, role), (_, texts) in references.items()
    ]


def _texts(
    source: Source,
    keys: tuple[str, ...],
    problems: list[Problem],
    custom_roles: Mapping[str, Sequence[str]] | None = None,
) -> dict[tuple[str, str], tuple[str, list[str]]]:
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for record in source.records():
        if isinstance(record, Problem):
            problems.append(record)
            continue
        for key, texts in _of_record(record, keys, problems, custom_roles):
            if key in found:
                problems.append(Problem(f"id {key[0]}, role {key[1]} stands twice", record.location, "remove one"))
            found[key] = (record.location, texts)
    return found


def _of_record(
    record: Record,
    keys: tuple[str, ...],
    problems: list[Problem],
    custom_roles: Mapping[str, Sequence[str]] | None,
) -> list[tuple[tuple[str, str], list[str]]]:
    """The texts of one line: either one role's, or all of a line with a `summaries` object."""
    value: Any = record.value
    if not isinstance(value, dict) or not is_valid_id(value.get("id")):
        problems.append(Problem("no id", record.location, "each line needs an id"))
        return []
    identity = str(value["id"])
    by_role: Mapping[str, Any] | None = value.get("summaries")
    if not isinstance(by_role, dict):
        text = next((value[key] for key in keys if key in value), None)
        by_role = {str(value.get("role", NO_ROLE)): text}
    rows = []
    for role, text in by_role.items():
        texts = text if isinstance(text, list) else [text]
        place = f"{record.location}, id {identity}"
        fault = _fault(texts, keys)
        if fault:
            problems.append(Problem(fault[0], place, fault[1]))
        rows.append(
            ((identity, _role(role, custom_roles)), texts)
        )  # also with a fault, so that its partner is not called lonely
    return rows


def _role(name: str, custom_roles: Mapping[str, Sequence[str]] | None) -> str:
    """One name for a role's aliases; a name that is none stays."""
    try:
        return name if name == NO_ROLE else resolve_role(name, custom_roles)
    except UsageError:
        return name


def _fault(texts: list[Any], keys: tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong with the texts of one role, and the fix."""
    if not texts or not all(isinstance(one, str) for one in texts):
        return f"no text under {' or '.join(keys)}", "add it"
    if keys == PREDICTION_KEYS and len(texts) > 1:
        return "several predictions for one role", "give one"
    if keys == REFERENCE_KEYS and not all(one.strip() for one in texts):
        return "the reference is empty", "add its text, or leave the record out"
    return None
