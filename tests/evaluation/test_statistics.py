import math
import random
import statistics

import pytest

from rolesum.evaluation.statistics import bootstrap_interval

DRAW = random.Random(0)
VALUES = [DRAW.gauss(50, 12) for _ in range(800)]


def test_equal_values_leave_no_doubt():
    assert bootstrap_interval([37.5] * 20) == (37.5, 37.5)


def test_the_interval_is_about_two_standard_errors_to_each_side_of_the_mean():
    low, high = bootstrap_interval(VALUES)
    error = 1.96 * statistics.stdev(VALUES) / math.sqrt(len(VALUES))
    assert low == pytest.approx(statistics.mean(VALUES) - error, abs=0.15 * error)
    assert high == pytest.approx(statistics.mean(VALUES) + error, abs=0.15 * error)


def test_a_smaller_share_gives_a_narrower_interval_inside_the_wider_one():
    low, high = bootstrap_interval(VALUES)
    inner_low, inner_high = bootstrap_interval(VALUES, share=0.5)
    assert low < inner_low < inner_high < high


def test_more_pairs_give_a_narrower_interval():
    few, many = (bootstrap_interval(VALUES[:count]) for count in (50, 800))
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])


def test_the_same_values_give_the_same_interval():
    assert bootstrap_interval(VALUES) == bootstrap_interval(list(VALUES))


def test_the_interval_stays_within_the_values():
    low, high = bootstrap_interval([0.0, 100.0])
    assert (low, high) == (0.0, 100.0)
