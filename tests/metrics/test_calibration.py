import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from rolesum.metrics.calibration import (
    HIGHEST,
    LOWEST,
    expected_calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
)


def labeled(temperature, count=4000, seed=1):
    """Log-odds that are `temperature` times too large, and labels that are drawn by the right ones."""
    draw = np.random.default_rng(seed)
    true = draw.normal(0.3, 2.0, count)
    return true * temperature, (draw.random(count) < sigmoid(true)).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_fitted_temperature_is_the_one_by_which_log_odds_are_too_large(temperature):
    odds, labels = labeled(temperature)
    assert fit_temperature(odds, labels) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("count", [3, 40])
def test_the_fitted_temperature_has_the_lowest_negative_log_likelihood(count):
    odds, labels = np.array([0.2, -4.0, 3.0] * count), [False, False, True] * count
    labels[0] = True
    signed = np.where(labels, odds, -odds)
    best = minimize_scalar(lambda t: np.logaddexp(0, -signed / t).mean(), bounds=(LOWEST, HIGHEST), method="bounded")
    assert fit_temperature(odds, labels) == pytest.approx(best.x, rel=1e-3)


def test_without_an_error_and_with_errors_alone_the_temperature_stops_at_its_bounds():
    assert fit_temperature([2.0, -1.0], [True, False]) == pytest.approx(LOWEST)
    assert fit_temperature([2.0, -1.0], [False, True]) == pytest.approx(HIGHEST)


def test_one_label_is_not_enough():
    with pytest.raises(ValueError, match="both labels"):
        fit_temperature([1.0, 2.0], [True, True])


@pytest.mark.parametrize("odds", [[np.nan, 1.0], [np.inf, 1.0], [1.0], [1.0, 2.0, 3.0]])
def test_log_odds_that_are_not_finite_or_not_one_a_label_are_refused(odds):
    with pytest.raises(ValueError, match="finite log-odds, one for each label"):
        fit_temperature(odds, [True, False])


def test_sigmoid_does_not_overflow():
    assert sigmoid([-1e5, 0.0, 1e5]).tolist() == [0.0, 0.5, 1.0]


def test_the_reliability_table_counts_every_example_once_in_the_bin_of_its_probability():
    probabilities = [0.0, 0.05, 0.1, 0.3, 0.3, 0.95, 1.0, 0.999]
    labels = [False, True, False, True, False, True, True, False]
    found = reliability(probabilities, labels)
    assert [(one.low, one.high, one.count) for one in found] == [
        (0.0, 0.1, 2),
        (0.1, 0.2, 1),
        (0.3, 0.4, 2),
        (0.9, 1.0, 3),
    ]
    assert [one.share for one in found] == pytest.approx([0.5, 0.0, 0.5, 2 / 3])
    assert [one.probability for one in found] == pytest.approx([0.025, 0.1, 0.3, 2.949 / 3])
    expected = (2 * abs(0.025 - 0.5) + 0.1 + 2 * 0.2 + 3 * abs(2.949 - 2) / 3) / 8
    assert expected_calibration_error(found) == pytest.approx(expected)


def test_the_calibration_error_of_right_probabilities_vanishes_and_that_of_others_does_not():
    odds, labels = labeled(3.0, count=20000)
    assert expected_calibration_error(reliability(sigmoid(odds / 3), labels)) < 0.015
    assert expected_calibration_error(reliability(sigmoid(odds), labels)) > 0.1
    assert np.isnan(expected_calibration_error(reliability([], [])))
