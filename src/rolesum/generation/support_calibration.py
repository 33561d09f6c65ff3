"""Fits the temperature of a model's answers about statements, and the support under which one is doubtful."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.metrics.calibration import (
    LOWEST,
    expected_calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
)
from rolesum.metrics.detection import auroc, best_threshold

if TYPE_CHECKING:
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.generation.verification import Verifier

FEWEST = 30  # of true and of false statements: with fewer nothing is fitted


@dataclass(frozen=True)
class SupportCalibration:
    """What was fitted to labeled statements, and how well it fits these.

    Attributes:
        temperature: The one with the lowest negative log-likelihood; 1 where the model made no error.
        threshold: The support under which a statement is doubtful: the one with the best balanced accuracy.
        dialogues: Those with statements.
        statements: Their number.
        auroc: The probability that a true statement has more support than a false one.
        balanced_accuracy: The mean of the shares of true statements at or over, and of false ones under the threshold.
        calibration_error: The expected calibration error of the support, in ten bins.
    """

    temperature: float
    threshold: float
    dialogues: int
    statements: int
    auroc: float
    balanced_accuracy: float
    calibration_error: float

    def as_json(self) -> dict[str, Any]:
        """What the metadata of an adapter keep."""
        fitted = ("dialogues", "statements", "auroc", "balanced_accuracy", "calibration_error")
        return {
            "temperature": self.temperature,
            "threshold": self.threshold,
            "fitted_on": {name: round(getattr(self, name), 4) for name in fitted},
        }


def too_few(dialogues: Sequence[Dialogue]) -> str:
    """Why nothing can be fitted to the statements of the dialogues: there are too few of a kind; else empty."""
    counts = Counter(one.supported for dialogue in dialogues for one in dialogue.statements)
    if min(counts[True], counts[False]) >= FEWEST:
        return ""
    return f"{counts[True]} true and {counts[False]} false statements, where {FEWEST} of each are needed"


def fitting_dialogues(dialogues: Sequence[Dialogue], engine: "TransformersEngine") -> list[Dialogue]:
    """The dialogues with statements that fit the engine's model with each of these."""

    def fits(dialogue: Dialogue) -> bool:
        prompt = engine.layout.verify_prompt(dialogue, [one.text for one in dialogue.statements])
        return engine.encode(0, prompt).max_row_tokens(1) <= engine.loaded.max_length

    return [one for one in dialogues if one.statements and fits(one)]


def calibrate_support(verifier: "Verifier", dialogues: Sequence[Dialogue]) -> SupportCalibration:
    """Fit the temperature and the threshold to the labeled statements of dialogues that were not trained on.

    Both are rounded to four digits. Raises DataError where there are too few statements; else as Verifier.log_odds.

    Example:
        >>> verifier = Verifier(TransformersEngine(load_model(adapter="runs/mine/adapter")))
        >>> found = calibrate_support(verifier, load_dialogues("validation.jsonl"))
        >>> store_verify("runs/mine/adapter", found.as_json())
    """
    if few := too_few(dialogues):
        what = f"the temperature and the threshold of support cannot be fitted to {few}"
        raise DataError(what, fix="give more dialogues with statements: docs/formats.md")
    labeled = [one for one in dialogues if one.statements]
    labels = np.array([one.supported for dialogue in labeled for one in dialogue.statements])
    found = verifier.log_odds(labeled, [[one.text for one in dialogue.statements] for dialogue in labeled])
    odds = np.array([one for of in found for one in of])
    temperature = round(fit_temperature(odds, labels.tolist()), 4)
    if temperature <= LOWEST:  # every answer is right: the likelihood grows without end as T falls
        temperature = 1.0
    support = sigmoid(odds / temperature)
    said, not_said = support[labels], support[~labels]
    threshold = round(best_threshold(said, not_said), 4)
    return SupportCalibration(
        temperature,
        threshold,
        dialogues=len(labeled),
        statements=len(labels),
        auroc=auroc(said, not_said),
        balanced_accuracy=float((np.mean(said >= threshold) + np.mean(not_said < threshold)) / 2),
        calibration_error=expected_calibration_error(reliability(support, labels.tolist())),
    )
