"""Scores by kind of dialogue: by its length, its number of turns and its number of speakers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rolesum.dialogue import Dialogue
from rolesum.evaluation.evaluation import Evaluation
from rolesum.metrics.bootstrap import bootstrap_mean_interval
from rolesum.metrics.scorers import Score

MAX_GROUPS = 4  # groups of about one size; a grouping with as few values as this has a group for each
SMALL_GROUP = 20  # fewer pairs than this make a group whose mean says little


def dialogue_length(dialogue: Dialogue) -> int:
    """Characters without blanks for Chinese, words for other languages; the speakers' labels are not counted."""
    words = [word for turn in dialogue.turns for word in turn.text.split()]
    return sum(map(len, words)) if dialogue.language == "zh" else len(words)


DIMENSIONS: Mapping[str, Callable[[Dialogue], int]] = {
    "length": dialogue_length,
    "turns": lambda dialogue: len(dialogue.turns),
    "speakers": lambda dialogue: len(dialogue.speakers()),
}


def main_measure(score: Score) -> str:
    """The measure that plots and cases go by: ROUGE-1, or the scorer's first."""
    return "rouge1" if "rouge1" in score.per_pair else next(iter(score.per_pair))


def breakdown_by_dialogue(
    evaluation: Evaluation, dialogues: Sequence[Dialogue]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Role -> grouping -> groups from small to large, of the main measure.

    A group is plain data: `label`, `low` and `high` (both inside), `pairs`, `mean`, `interval` (95 %, None for a single
    pair) and `small`. A grouping whose dialogues are all alike, or whose dialogues are not at hand, is left out.
    """
    by_id = {one.id: one for one in dialogues}
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for role, score in evaluation.scores.items():
        ids = [one.id for one in evaluation.predictions if one.role == role]
        values = score.per_pair[main_measure(score)]
        known = [(by_id[identity], value) for identity, value in zip(ids, values, strict=True) if identity in by_id]
        groupings = {
            name: _groups([size(dialogue) for dialogue, _ in known], [value for _, value in known])
            for name, size in DIMENSIONS.items()
        }
        found[role] = {name: groups for name, groups in groupings.items() if len(groups) > 1}
    return found


def group_ranges(sizes: Sequence[int], groups: int = MAX_GROUPS) -> list[tuple[int, int]]:
    """Ranges of whole numbers, both ends inside, that part `sizes` by their quantiles; together they cover all."""
    ordered = sorted(sizes)
    distinct = sorted(set(ordered))
    if len(distinct) <= groups:
        return [(size, size) for size in distinct]
    tops = sorted({ordered[len(ordered) * part // groups - 1] for part in range(1, groups)} | {ordered[-1]})
    return list(zip([ordered[0], *(top + 1 for top in tops[:-1])], tops, strict=True))


def _groups(sizes: Sequence[int], values: Sequence[float]) -> list[dict[str, Any]]:
    groups = []
    for low, high in group_ranges(sizes) if sizes else ():
        inside = [value for size, value in zip(sizes, values, strict=True) if low <= size <= high]
        groups.append(
            {
                "label": str(low) if low == high else f"{low}–{high}",
                "low": low,
                "high": high,
                "pairs": len(inside),
                "mean": round(sum(inside) / len(inside), 2),
                "interval": [round(end, 2) for end in bootstrap_mean_interval(inside)] if len(inside) > 1 else None,
                "small": len(inside) < SMALL_GROUP,
            }
        )
    return groups
