"""A system's summaries beside their references, read from the files in which systems leave them.

Three kinds of files: the predictions.jsonl of an evaluation (`read_predictions`), two files of texts or JSON lines, one
with predictions and one with references (`read_pairs`), and outputs of any system for the dialogues of a data set
(`read_system_outputs`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rolesum.counts import counted
from rolesum.dialogue import Dialogue, SummaryQuote, SummaryStatement
from rolesum.errors import DataError, Problem, UsageError
from rolesum.formats.source import Record, Source, is_valid_id, open_source
from rolesum.generation.statement_notes import quote_record, statement_record
from rolesum.roles import OVERALL, RoleAliases, resolve_role

# Where a line of JSON may keep its text.
PREDICTION_KEYS = ("prediction", "summary", "text")
REFERENCE_KEYS = ("references", "reference", "summary", "text")
NO_ROLE = "summary"

Part = TypeVar("Part")

_STATEMENTS, _QUOTES = TypeAdapter(tuple[SummaryStatement, ...]), TypeAdapter(tuple[SummaryQuote, ...])


@dataclass(frozen=True)
class Prediction:
    """One role's summary of one dialogue beside its references.

    `statements`, `dropped`, `quotes` and `support_threshold` are those of a RoleSummary; the threshold is None where
    nothing was verified.
    """

    id: str
    role: str
    prediction: str
    references: tuple[str, ...]
    tokens: int = 0
    finish_reason: str = ""
    statements: tuple[SummaryStatement, ...] = ()
    dropped: tuple[SummaryStatement, ...] = ()
    support_threshold: float | None = None
    quotes: tuple[SummaryQuote, ...] = ()

    @property
    def doubtful(self) -> tuple[SummaryStatement, ...]:
        """The statements whose support is under the threshold."""
        return tuple(one for one in self.statements if one.is_under(self.support_threshold))

    def as_json(self) -> dict[str, Any]:
        """The line of predictions.jsonl; with the statements and what belongs to them, where they were verified."""
        names = ("id", "role", "prediction", "references", "tokens", "finish_reason")
        value: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.support_threshold is None:
            return value
        value["statements"] = [self._exact_record(one) for one in self.statements]
        if self.dropped:
            value["dropped"] = [self._exact_record(one) for one in self.dropped]
        if self.quotes:
            value["quotes"] = [quote_record(one) for one in self.quotes]
        return {**value, "support_threshold": self.support_threshold}

    def _exact_record(self, one: SummaryStatement) -> dict[str, Any]:
        """The record with all digits of the support: figures are the same when it is read again."""
        return {**statement_record(one, self.support_threshold), "support": one.support}


def read_pairs(predictions: str | Path, references: str | Path) -> list[Prediction]:
    """Both files as pairs. Text files are aligned by line; JSON lines by id and role.

    Raises DataError with every line that has no partner, no text or no id.
    """
    predicted = open_source(predictions, may_be_blank=True)  # a system may have written nothing at all
    referenced = open_source(references)
    kinds = ["JSON" if _holds_json(source) else "text" for source in (predicted, referenced)]
    if len(set(kinds)) > 1:
        what = f"one file is {kinds[0]}, the other {kinds[1]}"
        raise DataError(what, predicted.name, "give two text files, or two JSON lines files")
    return _pairs_by_id(predicted, referenced) if kinds[0] == "JSON" else _pairs_by_line(predicted, referenced)


def _holds_json(source: Source) -> bool:
    """Whether a file holds JSON records; a text may begin with a brace or a bracket too."""
    return source.is_json and isinstance(source.first_record, dict) and bool(source.first_record)


def read_predictions(path: str | Path | Source) -> list[Prediction]:
    """The predictions that an evaluation wrote: JSON lines of id, role, prediction and references. Raises DataError."""
    source = path if isinstance(path, Source) else open_source(path)
    found: dict[tuple[str, str], Prediction] = {}
    problems: list[Problem] = []
    for record in source.records() if source.is_json else ():
        if isinstance(record, Problem):
            problems.append(record)
            continue
        try:
            one = _parse_prediction(record.value)
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


def _parse_prediction(value: Any) -> Prediction:
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
        **_parse_support(value, prediction),
    )


def _parse_support(value: Mapping[str, Any], prediction: str) -> dict[str, Any]:
    """The fields of a Prediction that say what was verified. Raises ValueError that says what is wrong."""
    threshold = value.get("support_threshold")
    if threshold is None:
        return {}
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise ValueError("support_threshold is not a number from 0 to 1")
    statements, dropped = (_parts(_STATEMENTS, value, name, "statement") for name in ("statements", "dropped"))
    quotes = _parts(_QUOTES, value, "quotes", "quote")
    for kind, places in (("statement", (*statements, *dropped)), ("quote", quotes)):
        for one in places:
            if not 0 <= one.start <= one.end <= len(prediction):
                raise ValueError(f"a {kind}'s place is outside its text: {one.start} to {one.end}")
    for one in (*statements, *dropped):
        if one.support is not None and not 0 <= one.support <= 1:
            raise ValueError(f"a support of {one.support} is not a number from 0 to 1")
    if any(turn < 0 for one in (*statements, *dropped) for turn in one.turns):
        raise ValueError("a statement's turns are counted from 0")
    if any(one.turn < 0 for one in quotes):
        raise ValueError("a quote's turn is counted from 0")
    return {"statements": statements, "dropped": dropped, "quotes": quotes, "support_threshold": float(threshold)}


def _parts(kind: TypeAdapter[Part], value: Mapping[str, Any], key: str, name: str) -> Part:
    """What a line has under a key. Raises ValueError that says what is wrong with which of these, called by `name`."""
    try:
        return kind.validate_python(value.get(key, ()))
    except ValidationError as error:
        problem = Problem.from_pydantic(error.errors()[0])
        raise ValueError(f"{name} {problem.where}: {problem.what}") from None


def _prediction_texts(
    source: Source, problems: list[Problem], custom_roles: RoleAliases | None = None
) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """(id, role) -> where it stands, and its one text. What is wrong goes to `problems`."""
    return _texts_by_key(source, PREDICTION_KEYS, problems, custom_roles)


def _pairs_by_line(predicted: Source, referenced: Source) -> list[Prediction]:
    left, right = (source.text.removesuffix("\n").split("\n") for source in (predicted, referenced))
    if len(left) != len(right):
        what = f"{counted(len(left), 'prediction')} but {counted(len(right), 'reference')}"
        raise DataError(
            what, f"{predicted.name}, {referenced.name}", "line N of one must belong to line N of the other"
        )
    empty = [number for number, line in enumerate(right, 1) if not line.strip()]
    if empty:
        raise DataError([Problem("the reference is empty", f"{referenced.name}:{number}") for number in empty])
    return [
        Prediction(str(number), NO_ROLE, prediction.strip(), (reference.strip(),))
        for number, (prediction, reference) in enumerate(zip(left, right, strict=True), 1)
    ]


def _pairs_by_id(predicted: Source, referenced: Source) -> list[Prediction]:
    problems: list[Problem] = []
    predictions = _texts_by_key(predicted, PREDICTION_KEYS, problems)
    references = _texts_by_key(referenced, REFERENCE_KEYS, problems)
    predicted_roles = {role for _, role in predictions}  # a system may write fewer roles than there are references for
    references = {key: found for key, found in references.items() if key[1] in predicted_roles or not predicted_roles}
    for key, place, here, there in (
        *((key, place, "reference", referenced) for key, (place, _) in predictions.items() if key not in references),
        *((key, place, "prediction", predicted) for key, (place, _) in references.items() if key not in predictions),
    ):
        problems.append(Problem(f"no {here} for id {key[0]}, role {key[1]}", place, f"add it to {there.name}"))
    if problems:
        raise DataError(problems)
    if not references:
        raise DataError("no texts to score", referenced.name, "see docs/formats.md for what a line may hold")
    return [
        Prediction(identity, role, predictions[identity, role][1][0], tuple(texts))
        for (identity, role), (_, texts) in references.items()
    ]


def _texts_by_key(
    source: Source,
    keys: tuple[str, ...],
    problems: list[Problem],
    custom_roles: RoleAliases | None = None,
) -> dict[tuple[str, str], tuple[str, list[str]]]:
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for record in source.records():
        if isinstance(record, Problem):
            problems.append(record)
            continue
        for key, texts in _texts_of_record(record, keys, problems, custom_roles):
            if key in found:
                problems.append(Problem(f"id {key[0]}, role {key[1]} stands twice", record.location, "remove one"))
            found[key] = (record.location, texts)
    return found


def _texts_of_record(
    record: Record,
    keys: tuple[str, ...],
    problems: list[Problem],
    custom_roles: RoleAliases | None,
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
        problem = _text_problem(texts, keys)
        if problem:
            problems.append(Problem(problem[0], place, problem[1]))
        rows.append(
            ((identity, _canonical_role(role, custom_roles)), texts)
        )  # also with a fault, so that its partner is not called lonely
    return rows


def _canonical_role(name: str, custom_roles: RoleAliases | None) -> str:
    """One name for a role's aliases; a name that is none stays."""
    try:
        return name if name == NO_ROLE else resolve_role(name, custom_roles)
    except UsageError:
        return name


def _text_problem(texts: list[Any], keys: tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong with the texts of one role, and the fix."""
    if not texts or not all(isinstance(one, str) for one in texts):
        return f"no text under {' or '.join(keys)}", "add it"
    if keys == PREDICTION_KEYS and len(texts) > 1:
        return "several predictions for one role", "give one"
    if keys == REFERENCE_KEYS and not all(one.strip() for one in texts):
        return "the reference is empty", "add its text, or leave the record out"
    return None


def read_system_outputs(
    given: Sequence[str],
    dialogues: Sequence[Dialogue],
    roles: Sequence[str] | None = None,
    custom_roles: RoleAliases | None = None,
    limit: int | None = None,
) -> list[Prediction]:
    """Each of `given` is a JSON lines file with ids, or ROLE=FILE: texts of which line N belongs to dialogue N.

    The references are the dialogues'. JSON lines without a role are overall summaries. With `limit` only the first
    dialogues count; a text may have a line for each of them, or for all. Raises DataError with every output without a
    dialogue or reference, and every reference of an output's role without an output.
    """
    chosen = dialogues[:limit]
    outputs: dict[tuple[str, str], tuple[str, str]] = {}  # (id, role) -> place, text
    problems: list[Problem] = []
    for one in given:
        name, sign, path = one.partition("=")
        by_line = bool(sign) and not Path(one).is_file()
        found = (
            _outputs_by_line(name, path, dialogues, chosen, custom_roles)
            if by_line
            else _outputs_by_id(one, problems, custom_roles)
        )
        for key, (place, text) in found.items():
            if key in outputs:
                problems.append(Problem(f"a second output for id {key[0]}, role {key[1]}", place, "give one"))
            outputs[key] = place, text
    wanted = tuple(roles or dict.fromkeys(role for _, role in outputs))
    answer = []
    known = {one.id for one in dialogues}
    if outputs and not any(identity in known for identity, _ in outputs):
        (identity, _), (place, _) = next(iter(outputs.items()))
        what = f"no output is of a dialogue of the data: first {identity}, the data's first {dialogues[0].id}"
        raise DataError(what, place, "name the --data that was summarized")
    for dialogue in chosen:
        for role in wanted:
            references, key = dialogue.summaries.get(role, ()), (dialogue.id, role)
            if references and key in outputs:
                answer.append(Prediction(dialogue.id, role, outputs[key][1], tuple(references)))
            elif references:
                problems.append(
                    Problem(f"no output for role {role}", dialogue.location, "add it, or ask for other --roles")
                )
            elif key in outputs:
                problems.append(Problem(f"no reference for role {role}", dialogue.location, "leave the output out"))
    problems += [
        Problem(f"no dialogue with id {identity}", place, "leave the output out, or name its --data")
        for (identity, role), (place, _) in outputs.items()
        if identity not in known and role in wanted
    ]
    if problems:
        raise DataError(problems)
    if not answer:
        raise DataError("no outputs to score", ", ".join(given), "check the files and --roles")
    return answer


def _outputs_by_line(
    name: str,
    path: str,
    dialogues: Sequence[Dialogue],
    chosen: Sequence[Dialogue],
    custom_roles: RoleAliases | None,
) -> dict[tuple[str, str], tuple[str, str]]:
    role = resolve_role(name, custom_roles)
    source = open_source(path, may_be_blank=True)
    lines = source.text.removesuffix("\n").split("\n")
    if len(lines) not in (len(dialogues), len(chosen)):
        all_of_them = f", or all {len(dialogues)}" if len(chosen) < len(dialogues) else ""
        what = f"{counted(len(lines), 'line')} for {counted(len(chosen), 'dialogue')}{all_of_them}"
        raise DataError(what, source.name, "line N must belong to dialogue N of --data; see also --limit")
    return {
        (dialogue.id, role): (f"{source.name}:{number}", line.strip())
        for number, (dialogue, line) in enumerate(zip(dialogues, lines, strict=False), 1)
    }


def _outputs_by_id(
    path: str, problems: list[Problem], custom_roles: RoleAliases | None
) -> dict[tuple[str, str], tuple[str, str]]:
    source = open_source(path)
    if not _holds_json(source):
        fix = "name the role of a text file, as in --predictions user=FILE; or give JSON lines with ids"
        raise UsageError("a text file without a role", source.name, fix)
    return {
        (identity, OVERALL if role == NO_ROLE else role): (place, texts[0] if texts else "")
        for (identity, role), (place, texts) in _prediction_texts(source, problems, custom_roles).items()
    }
