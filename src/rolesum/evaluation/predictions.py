"""Any system's outputs beside the dialogues that they summarize: what is scored without running a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.pairs import NO_ROLE, read_texts
from rolesum.evaluation.prediction import Prediction
from rolesum.formats.source import open_source
from rolesum.roles import OVERALL, resolve_role


def read_system_outputs(
    given: Sequence[str],
    dialogues: Sequence[Dialogue],
    roles: Sequence[str] | None = None,
    custom_roles: Mapping[str, Sequence[str]] | None = None,
    limit: int | None = None,
) -> list[Prediction]:
    """Each of `given` is a JSON lines file with ids, or ROLE=FILE: texts of which line N belongs to dialogue N.

    The references are the dialogues'. JSON lines without a role are overall summaries. With `limit` only the first
    dialogues count; a text may have a line for each of them, or for all. Raises DataError with every output without a
    dialogue or reference, and every reference of an output's role without an output.
    """
    chosen = dialogues[:limit]
    made: dict[tuple[str, str], tuple[str, str]] = {}  # (id, role) -> place, text
    problems: list[Problem] = []
    for one in given:
        name, sign, path = one.partition("=")
        by_line = bool(sign) and not Path(one).is_file()
        found = (
            _by_line(name, path, dialogues, chosen, custom_roles) if by_line else _by_id(one, problems, custom_roles)
        )
        for key, (place, text) in found.items():
            if key in made:
                problems.append(Problem(f"a second output for id {key[0]}, role {key[1]}", place, "give one"))
            made[key] = place, text
    wanted = tuple(roles or dict.fromkeys(role for _, role in made))
    answer = []
    known = {one.id for one in dialogues}
    if made and not any(identity in known for identity, _ in made):
        (identity, _), (place, _) = next(iter(made.items()))
        what = f"no output is of a dialogue of the data: first {identity}, the data's first {dialogues[0].id}"
        raise DataError(what, place, "name the --data that was summarized")
    for dialogue in chosen:
        for role in wanted:
            references, key = dialogue.summaries.get(role, ()), (dialogue.id, role)
            if references and key in made:
                answer.append(Prediction(dialogue.id, role, made[key][1], tuple(references)))
            elif references:
                problems.append(
                    Problem(f"no output for role {role}", dialogue.location, "add it, or ask for other --roles")
                )
            elif key in made:
                problems.append(Problem(f"no reference for role {role}", dialogue.location, "leave the output out"))
    problems += [
        Problem(f"no dialogue with id {identity}", place, "leave the output out, or name its --data")
        for (identity, role), (place, _) in made.items()
        if identity not in known and role in wanted
    ]
    if problems:
        raise DataError(problems)
    if not answer:
        raise DataError("no outputs to score", ", ".join(given), "check the files and --roles")
    return answer


def _by_line(
    name: str,
    path: str,
    dialogues: Sequence[Dialogue],
    chosen: Sequence[Dialogue],
    custom_roles: Mapping[str, Sequence[str]] | None,
) -> dict[tuple[str, str], tuple[str, str]]:
    role = resolve_role(name, custom_roles)
    source = open_source(path)
    lines = source.text.removesuffix("\n").split("\n")
    if len(lines) not in (len(dialogues), len(chosen)):
        all_of_them = f", or all {len(dialogues)}" if len(chosen) < len(dialogues) else ""
        what = f"{len(lines)} lines for {len(chosen)} dialogues{all_of_them}"
        raise DataError(what, source.name, "line N must belong to dialogue N of --data; see also --limit")
    return {
        (dialogue.id, role): (f"{source.name}:{number}", line.strip())
        for number, (dialogue, line) in enumerate(zip(dialogues, lines, strict=False), 1)
    }


def _by_id(
    path: str, problems: list[Problem], custom_roles: Mapping[str, Sequence[str]] | None
) -> dict[tuple[str, str], tuple[str, str]]:
    source = open_source(path)
    if not source.is_json:
        fix = "name the role of a text file, as in --predictions user=FILE; or give JSON lines with ids"
        raise UsageError("a text file without a role", source.name, fix)
    return {
        (identity, OVERALL if role == NO_ROLE else role): (place, texts[0] if texts else "")
        for (identity, role), (place, texts) in read_texts(source, problems, custom_roles).items()
    }
