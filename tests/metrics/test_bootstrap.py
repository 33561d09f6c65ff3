import math
import random
import statistics
from itertools import product

import pytest

from rolesum.metrics.bleu import bleu
from rolesum.metrics.bootstrap import bootstrap_intervals, bootstrap_mean_interval, compare_paired, holm, mean, ratio
from rolesum.metrics.tokenizers import mteval

DRAW = random.Random(0)
VALUES = [DRAW.gauss(50, 12) for _ in range(800)]


def test_equal_values_leave_no_doubt():
    assert bootstrap_mean_interval([37.5] * 20) == (37.5, 37.5)


def test_the_interval_is_about_two_standard_errors_to_each_side_of_the_mean():
    low, high = bootstrap_mean_interval(VALUES)
    error = 1.96 * statistics.stdev(VALUES) / math.sqrt(len(VALUES))
    assert low == pytest.approx(statistics.mean(VALUES) - error, abs=0.15 * error)
    assert high == pytest.approx(statistics.mean(VALUES) + error, abs=0.15 * error)


def test_a_smaller_share_gives_a_narrower_interval_inside_the_wider_one():
    low, high = bootstrap_mean_interval(VALUES)
    inner_low, inner_high = bootstrap_mean_interval(VALUES, confidence=0.5)
    assert low < inner_low < inner_high < high


def test_more_pairs_give_a_narrower_interval():
    few, many = (bootstrap_mean_interval(VALUES[:count]) for count in (50, 800))
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])


def test_the_same_values_give_the_same_interval():
    assert bootstrap_mean_interval(VALUES) == bootstrap_mean_interval(list(VALUES))


def test_the_interval_stays_within_the_values():
    low, high = bootstrap_mean_interval([0.0, 100.0])
    assert (low, high) == (0.0, 100.0)


def test_an_interval_of_several_figures_is_that_of_each_alone():
    other = [value / 2 for value in VALUES]
    found = bootstrap_intervals({"one": mean(VALUES), "half": mean(other)})
    assert found["one"] == bootstrap_mean_interval(VALUES)
    assert found["half"] == pytest.approx([bound / 2 for bound in found["one"]])


def test_a_ratio_of_sums_is_not_the_mean_of_ratios_and_leaves_out_nothing():
    rate = ratio([1, 0, 3], [1, 10, 3])
    assert rate.value == pytest.approx(100 * 4 / 14)
    assert rate.subset([0, 2]).value == 100
    assert math.isnan(ratio([0, 0], [0, 0]).value)
    assert bootstrap_intervals({"nothing": ratio([0, 0], [0, 0])}) == {"nothing": None}


def test_a_mean_leaves_out_pairs_without_a_value():
    assert mean([1.0, float("nan"), 3.0]).value == 2.0


def test_a_resample_of_a_ratio_draws_pairs_and_not_cases():
    """One pair has all the cases: whether it is drawn decides between 0 and all."""
    low, high = bootstrap_intervals({"rate": ratio([50, 0], [100, 1])})["rate"]
    assert (low, high) == (0.0, 50.0)


def paired(a, b, **more):
    return compare_paired({"x": mean(a)}, {"x": mean(b)}, **more)["x"]


def test_a_system_against_itself_shows_no_difference():
    found = paired(VALUES, VALUES)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert (found.p_bootstrap, found.p_randomization) == (1.0, 1.0)
    assert (found.effect, found.wins, found.ties, found.losses) == (0, 0, 800, 0)


def test_a_clear_difference_has_small_p_values_its_interval_and_its_effect():
    noise = random.Random(1)
    better = [value + noise.gauss(2, 4) for value in VALUES]
    found = paired(VALUES, better)
    gaps = [b - a for a, b in zip(VALUES, better, strict=True)]
    assert found.difference == pytest.approx(statistics.mean(gaps))
    error = 1.96 * statistics.stdev(gaps) / math.sqrt(len(gaps))
    assert found.low == pytest.approx(found.difference - error, abs=0.1 * error)
    assert found.high == pytest.approx(found.difference + error, abs=0.1 * error)
    assert max(found.p_bootstrap, found.p_randomization) < 0.001
    assert found.effect == pytest.approx(statistics.mean(gaps) / statistics.stdev(gaps))
    assert (found.wins, found.losses) == (sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps))
    assert found.resamples == 10_000


def test_the_randomization_test_is_the_exact_one_on_few_pairs():
    """Of six pairs all 64 ways of swapping can be counted."""
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.5, 2.25, 4.0, 4.5, 5.125, 5.0]
    gaps = [right - left for left, right in zip(a, b, strict=True)]
    sums = [sum(sign * gap for sign, gap in zip(signs, gaps, strict=True)) for signs in product((1, -1), repeat=6)]
    exact = sum(abs(one) >= abs(sum(gaps)) - 1e-9 for one in sums) / len(sums)
    assert 0.05 < exact < 0.95
    assert paired(a, b).p_randomization == pytest.approx(exact, abs=0.015)


def test_p_values_without_a_difference_are_spread_evenly():
    """Of systems that differ by chance only, one in ten has a p-value below 0.1."""
    noise = random.Random(2)
    found = [
        paired([noise.gauss(0, 1) for _ in range(60)], [noise.gauss(0, 1) for _ in range(60)], resamples=1000)
        for _ in range(200)
    ]
    for p_values in ([one.p_bootstrap for one in found], [one.p_randomization for one in found]):
        assert 0.04 < sum(p_value < 0.1 for p_value in p_values) / 200 < 0.17
        assert 0.4 < statistics.mean(p_values) < 0.6


def test_a_rate_of_few_hits_is_not_made_sure_by_different_numbers_of_cases():
    """Three hits of one system and none of the other: chance puts all three on one side once in four times."""
    a = ratio([0] * 200, [3] * 200)
    b = ratio([1] * 3 + [0] * 197, [1] * 200)
    found = compare_paired({"rate": a}, {"rate": b})["rate"]
    assert found.difference == pytest.approx(1.5)
    assert found.p_randomization == pytest.approx(0.25, abs=0.02)
    assert found.low <= 0 < found.p_bootstrap


def test_a_rate_that_clearly_differs_is_found():
    a, b = ratio([1, 0] * 100, [2] * 200), ratio([1, 1] * 100, [2] * 200)
    found = compare_paired({"rate": a}, {"rate": b})["rate"]
    assert found.difference == pytest.approx(25)
    assert found.p_randomization < 0.001


def test_a_figure_of_the_corpus_is_compared_by_swapping_whole_pairs():
    made_a, made_b = ["the cat sat on the mat"] * 30, ["the cat sat on a mat"] * 30
    written = [["the cat sat on the mat"]] * 30
    a, b = (bleu(made, written, mteval) for made in (made_a, made_b))
    found = compare_paired({"bleu": a}, {"bleu": b}, resamples=1000)["bleu"]
    assert found.difference == pytest.approx(b.value - a.value)
    assert found.p_randomization < 0.01
    assert (found.effect, found.wins) == (None, None)


def test_the_effect_is_undefined_where_all_pairs_differ_alike():
    found = paired([1, 2, 3], [2, 3, 4])
    assert (found.effect, found.wins, found.losses) == (None, 3, 0)


def test_pairs_must_be_the_same():
    with pytest.raises(ValueError, match="2 pairs against 3"):
        paired([1, 2, 3], [1, 2])


def test_holm_multiplies_the_smallest_most_and_never_turns_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
