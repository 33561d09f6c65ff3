"""Evaluate an engine on a data file: predictions, scores per role with intervals, and a report."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rolesum.dialogue import Dialogue, language_of
from rolesum.errors import DataError
from rolesum.evaluation.prediction import Prediction
from rolesum.evaluation.scorers import DEFAULT_SCORER, Score, check_language, get_scorer, score
from rolesum.evaluation.statistics import bootstrap_interval
from rolesum.files import write_whole
from rolesum.generation import Engine, summarise
from rolesum.progress import Meter, meter


@dataclass(frozen=True)
class Evaluation:
    """All predictions of a system, and its scores per role. `about` names system, data and versions."""

    predictions: tuple[Prediction, ...]
    scores: Mapping[str, Score]
    about: Mapping[str, Any]

    def results(self) -> dict[str, Any]:
        """What results.json holds."""
        return {
            **self.about,
            "roles": {role: _role_results(score_, self._of(role)) for role, score_ in self.scores.items()},
        }

    def _of(self, role: str) -> list[Prediction]:
        return [one for one in self.predictions if one.role == role]


def evaluate(
    engine: Engine,
    dialogues: Sequence[Dialogue],
    *,
    roles: Sequence[str] | None = None,
    scorer: str | None = None,
    max_new_tokens: int,
    about: Mapping[str, Any] | None = None,
    label: str = "summarise",
) -> Evaluation:
    """Summarise each dialogue for the roles that it has references for (of `roles`, if given), and score.

    The scorer follows the references' language unless named. Raises DataError where there is nothing to compare with.
    """
    groups: dict[tuple[str, ...], list[int]] = {}  # roles to write -> places in `dialogues`
    for place, dialogue in enumerate(dialogues):
        wanted = tuple(role for role in roles or dialogue.summaries if role in dialogue.summaries)
        if wanted:
            groups.setdefault(wanted, []).append(place)
    if not groups:
        has = sorted({role for dialogue in dialogues for role in dialogue.summaries}) or ["none"]
        what = f"no reference summaries for {', '.join(roles) if roles else 'any role'}; the data has: {', '.join(has)}"
        raise DataError(what, fix="ask for other --roles, or use rolesum summarize where there are no references")
    total = sum(map(len, groups.values()))
    references = [
        ("", dialogues[place].summaries[role])
        for wanted, places in groups.items()
        for place in places
        for role in wanted
    ]
    name = scorer or DEFAULT_SCORER[language_of(" ".join(text for _, several in references for text in several))]
    check_language(get_scorer(name), references)  # before hours of work, not after
    by_place: dict[int, list[Prediction]] = {}
    begin = time.monotonic()
    with meter(label, total) as bar:
        for wanted, places in groups.items():
            group = [dialogues[place] for place in places]
            by_place |= zip(places, _predict(engine, group, wanted, max_new_tokens, bar), strict=True)
    predictions = tuple(one for place in sorted(by_place) for one in by_place[place])
    told = {
        "engine": engine.name,
        "max_new_tokens": max_new_tokens,
        "dialogues": total,
        "dialogues_per_second": round(total / (time.monotonic() - begin), 3),
        "rolesum": metadata.version("rolesum"),
    }
    return Evaluation(predictions, score_roles(predictions, name), {**(about or {}), **told})


def score_roles(predictions: Sequence[Prediction], scorer: str) -> dict[str, Score]:
    """Each role's score, in order of appearance."""
    roles = dict.fromkeys(one.role for one in predictions)
    return {
        role: score(scorer, [(one.prediction, one.references) for one in predictions if one.role == role])
        for role in roles
    }


def write_evaluation(evaluation: Evaluation, directory: Path) -> None:
    """Write predictions.jsonl and results.json."""
    lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in evaluation.predictions)
    write_whole(directory / "predictions.jsonl", lines)
    write_whole(directory / "results.json", json.dumps(evaluation.results(), indent=1, ensure_ascii=False) + "\n")


def score_results(found: Score) -> dict[str, Any]:
    """A score as plain data: recipe, versions, means, and 95 % intervals of the ROUGE measures."""
    return {
        "scorer": found.scorer,
        "scorer_version": found.version,
        "libraries": dict(found.libraries),
        "references": found.references,
        "pairs": len(next(iter(found.per_pair.values()))),
        "means": {measure: round(value, 2) for measure, value in found.means.items()},
        "intervals": {
            measure: [round(bound, 2) for bound in bootstrap_interval(values)]
            for measure, values in found.per_pair.items()
        },
    }


def _role_results(found: Score, predictions: Sequence[Prediction]) -> dict[str, Any]:
    cut = sum(one.finish_reason == "length" for one in predictions)
    empty = sum(not one.prediction for one in predictions)
    return {**score_results(found), "cut_by_limit": cut, "empty": empty}


def _predict(
    engine: Engine, group: Sequence[Dialogue], wanted: Sequence[str], max_new_tokens: int, bar: Meter
) -> list[list[Prediction]]:
    """For each dialogue of the group, a prediction per wanted role."""
    written = summarise(group, engine, wanted, max_new_tokens=max_new_tokens, on_done=bar.advance)
    return [
        [
            Prediction(
                dialogue.id, one.role, one.text, tuple(dialogue.summaries[one.role]), one.tokens, one.finish_reason
            )
            for one in summaries
        ]
        for dialogue, summaries in zip(group, written, strict=True)
    ]
