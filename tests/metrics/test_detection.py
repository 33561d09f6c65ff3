import math
import random

import numpy as np
import pytest

from rolesum.metrics import bootstrap
from rolesum.metrics.detection import (
    auroc,
    auroc_interval,
    best_threshold,
    decision_statistics,
)


def test_auroc_is_the_share_of_pairs_in_the_right_order_with_ties_counted_half():
    draw = random.Random(1)
    for _ in range(50):
        positives = [draw.randint(0, 5) for _ in range(draw.randint(1, 9))]
        negatives = [draw.randint(0, 5) for _ in range(draw.randint(1, 9))]
        pairs = [(one > other) + 0.5 * (one == other) for one in positives for other in negatives]
        assert auroc(positives, negatives) == pytest.approx(sum(pairs) / len(pairs))
    assert math.isnan(auroc([], [1.0])) and math.isnan(auroc([1.0], []))


def test_the_threshold_has_the_best_balanced_accuracy_of_all():
    draw = random.Random(2)
    for _ in range(50):
        positives = [draw.random() + 0.3 for _ in range(draw.randint(1, 9))]
        negatives = [draw.random() for _ in range(draw.randint(1, 9))]

        def balanced(threshold, positives=positives, negatives=negatives):
            found = sum(one >= threshold for one in positives) / len(positives)
            return found + sum(one < threshold for one in negatives) / len(negatives)

        best = max(balanced(one) for one in (*positives, *negatives, 2.0))
        assert balanced(best_threshold(positives, negatives)) == pytest.approx(best)
    with pytest.raises(ValueError, match="both groups"):
        best_threshold([], [1.0])


def labeled(count, seed=3):
    """Scores with ties, labels, and the groups of unequal size that they belong to."""
    draw = random.Random(seed)
    groups = [place if place < 12 else draw.randrange(12) for place in range(count)]
    positive = [draw.random() < 0.4 for _ in groups]
    scores = [draw.randint(0, 6) + positive[place] for place in range(count)]
    return scores, positive, groups


def resampled(groups):
    """For each of 1,000 seeded resamples of the groups, the places of all their scores."""
    chosen = np.random.default_rng(1)
    for _ in range(1000):
        drawn = chosen.integers(0, max(groups) + 1, max(groups) + 1)
        yield [place for one in drawn for place, group in enumerate(groups) if group == one]


def percentiles(figures):
    return pytest.approx(tuple(np.percentile(figures, [2.5, 97.5])))


def test_the_interval_of_an_auroc_resamples_groups_with_all_their_scores():
    scores, positive, groups = labeled(60)
    found = [
        auroc([scores[at] for at in places if positive[at]], [scores[at] for at in places if not positive[at]])
        for places in resampled(groups)
    ]
    assert auroc_interval(scores, positive, groups) == percentiles(found)


def test_the_interval_of_an_auroc_is_the_same_whatever_the_batches_of_resamples(monkeypatch):
    whole = auroc_interval(*labeled(60))
    monkeypatch.setattr(bootstrap, "MAX_ELEMENTS_PER_STEP", 7 * 4 * 60)
    assert auroc_interval(*labeled(60)) == whole


def test_an_auroc_without_positives_has_no_interval():
    assert auroc_interval([1.0, 2.0], [False, False], [0, 1]) is None


def test_figures_of_decisions_and_their_intervals_are_those_of_plain_counting():
    scores, positive, groups = labeled(60)
    called = [one >= 4 for one in scores]

    def figures(places):
        hits = sum(called[at] and positive[at] for at in places)
        false_alarms = sum(called[at] and not positive[at] for at in places)
        positives = sum(positive[at] for at in places)
        negatives = len(places) - positives
        return {
            "balanced_accuracy": (hits / positives + (negatives - false_alarms) / negatives) / 2,
            "precision": hits / (hits + false_alarms),
            "recall": hits / positives,
            "false_positive_rate": false_alarms / negatives,
        }

    statistics = decision_statistics(called, positive, groups)
    assert {name: one.value for name, one in statistics.items()} == pytest.approx(figures(range(60)))
    resamples = [figures(places) for places in resampled(groups)]
    for name, interval in bootstrap.bootstrap_intervals(statistics).items():
        assert interval == percentiles([one[name] for one in resamples])


def test_figures_without_cases_are_undefined():
    found = decision_statistics([False, False], [False, False], [0, 1])
    assert {name for name, one in found.items() if math.isnan(one.value)} == {
        "balanced_accuracy",
        "precision",
        "recall",
    }
