import math

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.evaluation.breakdown import SMALL_GROUP, breakdown_by_dialogue, dialogue_length, group_ranges
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.predictions import Prediction
from rolesum.metrics.bootstrap import bootstrap_mean_interval


def chat(number, turns, speakers=2):
    spoken = tuple(Turn(f"P{place % speakers}", "two words") for place in range(turns))
    return Dialogue(id=str(number), turns=spoken, summaries={"overall": ("a b c d",)})


def evaluation(dialogues, write):
    predictions = [Prediction(one.id, "overall", write(one), one.summaries["overall"]) for one in dialogues]
    return Evaluation(tuple(predictions), score_roles(predictions, "samsum"), {})


@pytest.mark.parametrize(
    ("sizes", "ranges"),
    [
        ([], []),
        ([7, 7, 7], [(7, 7)]),
        ([2, 2, 2, 3, 5], [(2, 2), (3, 3), (5, 5)]),
        (list(range(1, 9)), [(1, 2), (3, 4), (5, 6), (7, 8)]),
        ([2] * 90 + [3, 4, 5, 6, 7], [(2, 2), (3, 7)]),
    ],
)
def test_ranges_part_sizes_by_quantiles(sizes, ranges):
    assert group_ranges(sizes) == ranges


@pytest.mark.parametrize("sizes", [[1, 5, 5, 9, 100, 2, 2], [3, 1, 4, 1, 5, 9, 2, 6], [*range(50), 1000]])
def test_every_size_is_in_one_range_and_the_ranges_end_at_sizes_that_occur(sizes):
    ranges = group_ranges(sizes)
    assert all(sum(low <= size <= high for low, high in ranges) == 1 for size in sizes)
    assert (ranges[0][0], ranges[-1][1]) == (min(sizes), max(sizes))


def test_length_is_in_words_or_in_chinese_characters():
    assert dialogue_length(Dialogue("1", (Turn("A", "three short words"), Turn("B", "one")))) == 4
    assert dialogue_length(Dialogue("1", (Turn("用户", "我 的灯"), Turn("客服", "坏了。")))) == 6


def test_groups_have_the_means_and_intervals_of_their_own_pairs():
    dialogues = [chat(number, turns=number % 2 + 1) for number in range(2 * SMALL_GROUP)]
    found = evaluation(dialogues, lambda one: "a b c d" if len(one.turns) == 1 else "a b x y"[: 3 + int(one.id) % 5])
    groups = breakdown_by_dialogue(found, dialogues)["overall"]["turns"]
    assert [(one["label"], one["pairs"], one["small"]) for one in groups] == [
        ("1", SMALL_GROUP, False),
        ("2", SMALL_GROUP, False),
    ]
    values = found.scores["overall"].per_pair["rouge1"][1::2]
    assert groups[0]["mean"] == 100
    assert groups[1]["mean"] == pytest.approx(math.fsum(values) / len(values), abs=0.01)
    assert groups[1]["interval"] == pytest.approx(bootstrap_mean_interval(values), abs=0.01)


def test_small_groups_are_marked_and_one_pair_has_no_interval():
    dialogues = [chat(0, turns=9), *(chat(number, turns=2) for number in range(1, 30))]
    groups = breakdown_by_dialogue(evaluation(dialogues, lambda one: "a b"), dialogues)["overall"]["turns"]
    assert [(one["pairs"], one["small"]) for one in groups] == [(29, False), (1, True)]
    assert groups[1]["interval"] is None


def test_what_all_dialogues_share_is_no_grouping():
    dialogues = [chat(number, turns=3) for number in range(5)]
    assert breakdown_by_dialogue(evaluation(dialogues, lambda one: "a"), dialogues) == {"overall": {}}


def test_dialogues_that_are_not_at_hand_are_left_out():
    dialogues = [chat(number, turns=number + 1) for number in range(6)]
    found = evaluation(dialogues, lambda one: "a")
    assert breakdown_by_dialogue(found, []) == {"overall": {}}
    assert sum(one["pairs"] for one in breakdown_by_dialogue(found, dialogues[:3])["overall"]["turns"]) == 3
