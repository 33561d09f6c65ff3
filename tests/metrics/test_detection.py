import math
import random

import pytest

from rolesum.metrics.detection import auroc, best_threshold, precision_recall


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


def test_precision_and_recall_at_a_threshold():
    assert precision_recall([3, 2, 1], [2, 0], 2) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    precision, recall = precision_recall([1, 1], [0], 5)
    assert math.isnan(precision) and recall == 0
