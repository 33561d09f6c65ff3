"""Agreement of the judge with people's ratings: rank correlations and Krippendorff's alpha."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rolesum.errors import DataError, Problem, UsageError
from rolesum.evaluation.llm_judge.judge import Verdict
from rolesum.evaluation.llm_judge.prompt import CRITERIA
from rolesum.formats.source import Record, Source, open_source
from rolesum.metrics.krippendorff import alpha_from_ratings
from rolesum.roles import resolve_role

# Where a row may keep each part; the second names are those of exported human judgments.
COLUMN_NAMES = {
    "id": ("id", "dialogue"),
    "role": ("role",),
    "criterion": ("criterion",),
    "rating": ("rating", "value"),
    "system": ("system",),
    "rater": ("rater", "annotator"),
}
REQUIRED_COLUMNS = ("id", "role", "criterion", "rating")
CRITERION_SYNONYMS = {"grammatical correctness": "grammar", "grammaticality": "grammar", "consistency": "faithfulness"}


@dataclass(frozen=True, slots=True)
class HumanRating:
    """One person's rating of one criterion of one summary; `system` and `rater` may be empty."""

    id: str
    role: str
    system: str
    criterion: str
    rater: str
    rating: float


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """The judge and the mean of the people's ratings over `pairs` summaries; None where a figure is undefined.

    `kendall` is tau-b. `alpha` is Krippendorff's, at the interval level, of judge and mean rating; `alpha_people` that
    of the people among themselves, None for fewer than two. `unrated` summaries have a verdict and no rating,
    `unjudged` ones a rating and no verdict.
    """

    criterion: str
    pairs: int
    raters: int
    judge_mean: float | None
    people_mean: float | None
    spearman: float | None
    kendall: float | None
    alpha: float | None
    alpha_people: float | None
    unrated: int
    unjudged: int

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def read_human_ratings(path: str) -> list[HumanRating]:
    """People's ratings from JSON lines or CSV: id, role, criterion, rating, and where there are, system and rater.

    Raises DataError with every row that lacks one, or whose rating is no number.
    """
    source = open_source(path)
    rows = _json_rows(source) if source.is_json else _csv_rows(source)
    ratings, problems = [], []
    for place, row in rows:
        try:
            ratings.append(_rating(row))
        except ValueError as error:
            fix = f"each row has {', '.join(REQUIRED_COLUMNS)}; one rating a row"
            problems.append(Problem(str(error), place, fix))
    if problems:
        raise DataError(problems)
    if not ratings:
        raise DataError("no ratings", source.name, "each row has id, role, criterion and rating")
    return ratings


def _rating(row: Mapping[str, Any]) -> HumanRating:
    """The rating in a row. Raises ValueError that says what is wrong."""
    part = {
        name: next((str(row[key]).strip() for key in keys if row.get(key) not in (None, "")), "")
        for name, keys in COLUMN_NAMES.items()
    }
    if lacking := [name for name in REQUIRED_COLUMNS if not part[name]]:
        raise ValueError(f"no {', '.join(lacking)}")
    if row.get("other"):
        raise ValueError("a preference between two systems, not a rating")
    try:
        value = float(part["rating"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"the rating {part['rating']!r} is no number")
    criterion = part["criterion"].lower()
    criterion = CRITERION_SYNONYMS.get(criterion, criterion)
    return HumanRating(part["id"], _role(part["role"]), part["system"], criterion, part["rater"], value)


def check_human_ratings(systems: Sequence[str], ratings: Sequence[HumanRating]) -> None:
    """Refuse ratings that cannot be held against verdicts on `systems`: other systems, or other criteria.

    Worth calling before the judge is paid. Raises UsageError, DataError.
    """
    named = dict.fromkeys(one.system for one in ratings)
    if "" in named and len(systems) != 1:
        raise UsageError("the ratings name no system, and several were judged", fix="add the column system")
    if "" not in named and not named.keys() & set(systems):
        what = f"the ratings are of {', '.join(named)}, not of {', '.join(systems)}"
        raise UsageError(what, fix="keep this system's rows, and leave their column system empty")
    if not any(one.criterion in CRITERIA for one in ratings if one.system in ("", *systems)):
        criteria = ", ".join(dict.fromkeys(one.criterion for one in ratings))
        raise DataError(f"the ratings are on {criteria}", fix=f"the judge rates {', '.join(CRITERIA)}")


def judge_agreement(verdicts: Mapping[str, Sequence[Verdict]], ratings: Sequence[HumanRating]) -> list[JudgeAgreement]:
    """For each criterion that both know, how judge and people agree. `verdicts` maps a system to its verdicts.

    Ratings that name no system belong to the only one. Raises as check_ratings does.
    """
    check_human_ratings(list(verdicts), ratings)
    only = next(iter(verdicts))
    judged = {
        (system, one.id, one.role, criterion): float(score)
        for system, several in verdicts.items()
        for one in several
        for criterion, score in one.scores.items()
    }
    people: dict[tuple[str, str, str, str], dict[str, list[float]]] = {}
    for one in ratings:
        key = (one.system or only, one.id, one.role, one.criterion)
        if one.system in ("", *verdicts):
            people.setdefault(key, {}).setdefault(one.rater, []).append(one.rating)
    criteria = [name for name in CRITERIA if any(key[3] == name for key in people)]
    return [_agreement(criterion, judged, people) for criterion in criteria]


def _agreement(
    criterion: str,
    judged: Mapping[tuple[str, str, str, str], float],
    people: Mapping[tuple[str, str, str, str], Mapping[str, Sequence[float]]],
) -> JudgeAgreement:
    judge_scores = {key: value for key, value in judged.items() if key[3] == criterion}
    human_scores = {
        key: {rater: sum(several) / len(several) for rater, several in by.items()}
        for key, by in people.items()
        if key[3] == criterion
    }
    both = sorted(judge_scores.keys() & human_scores.keys())
    a = [judge_scores[key] for key in both]
    b = [sum(human_scores[key].values()) / len(human_scores[key]) for key in both]
    raters = sorted({rater for key in both for rater in human_scores[key]})
    table = [[human_scores[key].get(rater, math.nan) for key in both] for rater in raters]
    return JudgeAgreement(
        criterion,
        len(both),
        len(raters),
        sum(a) / len(a) if a else None,
        sum(b) / len(b) if b else None,
        *_ranks(a, b),
        alpha_from_ratings([a, b], "interval"),
        alpha_from_ratings(table, "interval") if len(raters) > 1 else None,
        len(judge_scores.keys() - human_scores.keys()),
        len(human_scores.keys() - judge_scores.keys()),
    )


def _ranks(a: Sequence[float], b: Sequence[float]) -> tuple[float | None, float | None]:
    """Spearman's rho and Kendall's tau-b; None where one side does not vary."""
    if len(set(a)) < 2 or len(set(b)) < 2:
        return None, None
    try:
        from scipy import stats
    except ImportError:
        raise UsageError("agreement needs scipy, which is not installed", fix="pip install 'rolesum[openai]'") from None
    return float(stats.spearmanr(a, b).statistic), float(stats.kendalltau(a, b).statistic)


def _json_rows(source: Source) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    problems = []
    for record in source.records():
        if isinstance(record, Record) and isinstance(record.value, dict):
            found.append((record.location, record.value))
        else:
            problems.append(record if not isinstance(record, Record) else Problem("not an object", record.location))
    if problems:
        raise DataError(problems)
    return found


def _csv_rows(source: Source) -> list[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(source.text))
    return [(f"{source.name}:{reader.line_num}", row) for row in reader]


def _role(name: str) -> str:
    try:
        return resolve_role(name)
    except UsageError:
        return name
