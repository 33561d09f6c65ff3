"""The temperature and the threshold that are fitted to labeled statements."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.verify_runs import many_statements, verify_adapter
from rolesum.errors import DataError
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.support_calibration import calibrate_support, too_few
from rolesum.generation.verification import Verifier
from rolesum.metrics.calibration import fit_temperature, sigmoid
from rolesum.models.loading import load_model

DIALOGUES = read_dialogues(many_statements())


class CenteredVerifier(Verifier):
    """A Verifier of whose answers about DIALOGUES half are yes: their median is taken from all log-odds."""

    center = 0.0

    def log_odds(self, dialogues, statements):
        return [[one - self.center for one in of] for of in super().log_odds(dialogues, statements)]


@pytest.fixture(scope="module")
def verifier():
    loaded = load_model(adapter=verify_adapter(), dtype="float32", device="cpu")
    centered = CenteredVerifier(TransformersEngine(loaded), temperature=1.0)
    centered.center = float(np.median(odds_of(centered)))
    return centered


def odds_of(verifier, dialogues=DIALOGUES):
    found = verifier.log_odds(dialogues, [[one.text for one in dialogue.statements] for dialogue in dialogues])
    return np.array([one for of in found for one in of])


def labeled(labels):
    """DIALOGUES whose statements have these labels."""
    given = iter(labels)
    return [
        replace(one, statements=tuple(replace(each, supported=bool(next(given))) for each in one.statements))
        for one in DIALOGUES
    ]


def test_the_threshold_has_the_best_balanced_accuracy_of_calibrated_support(verifier):
    odds = odds_of(verifier)
    labels = odds > 0
    order = np.argsort(odds)
    labels[order[[3, 20, 28, 35, 50, 60]]] ^= True  # errors, as many of each kind
    found = calibrate_support(verifier, labeled(labels))
    assert found.temperature == pytest.approx(fit_temperature(odds, labels.tolist()), abs=1e-4)
    support = sigmoid(odds / found.temperature)

    def balanced(threshold):
        return (np.mean(support[labels] >= threshold) + np.mean(support[~labels] < threshold)) / 2

    assert found.balanced_accuracy == pytest.approx(balanced(found.threshold))
    assert found.balanced_accuracy >= max(balanced(one) for one in np.linspace(0, 1, 501)) - 1e-9
    pairs = [(one > other) + 0.5 * (one == other) for one in support[labels] for other in support[~labels]]
    assert found.auroc == pytest.approx(np.mean(pairs)) and 0 <= found.calibration_error <= 1
    assert found.as_json()["fitted_on"]["statements"] == 64 and found.as_json()["threshold"] == found.threshold


def test_a_model_without_an_error_keeps_its_temperature(verifier):
    odds = odds_of(verifier)
    found = calibrate_support(verifier, labeled(odds > 0))
    assert found.temperature == 1.0 and found.auroc == found.balanced_accuracy == 1.0
    assert sigmoid(odds[odds < 0].max()) <= found.threshold <= sigmoid(odds[odds > 0].min())


def test_too_few_statements_of_a_kind_are_refused_before_anything_is_computed(verifier, monkeypatch):
    monkeypatch.setattr(verifier, "log_odds", lambda *_: pytest.fail("computed"))
    assert too_few(labeled([True] * 34 + [False] * 30)) == ""
    few = labeled([True] * 35 + [False] * 29)
    assert too_few(few).startswith("35 true and 29 false statements")
    with pytest.raises(DataError, match="35 true and 29 false statements"):
        calibrate_support(verifier, few)


def test_dialogues_without_statements_and_the_temperature_before_change_nothing():
    engine = TransformersEngine(load_model(adapter=verify_adapter(), dtype="float32", device="cpu"))
    more = [*DIALOGUES, replace(DIALOGUES[0], statements=())]
    found = [calibrate_support(Verifier(engine, temperature=one), of) for one, of in ((1.0, DIALOGUES), (5.0, more))]
    assert found[0] == found[1] and found[0].dialogues == 4 and found[0].statements == 64
