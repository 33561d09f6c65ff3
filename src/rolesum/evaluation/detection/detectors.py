"""Detectors of wrong summaries: each gives every summary a score, higher for what is more likely wrong.

The scores are in the order of the labels. Those of the checks that are yes or no have their threshold; the others get
one that is fitted (see figures.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from rolesum.checks.index import DialogueIndex
from rolesum.checks.runner import check_indexed
from rolesum.checks.statements import split_statements
from rolesum.dialogue import Bundle, Example
from rolesum.errors import ModelError
from rolesum.evaluation.detection.labels import Labels
from rolesum.evaluation.llm_judge.endpoint import JudgeEndpoint
from rolesum.evaluation.llm_judge.judge import judge_summaries
from rolesum.evaluation.model_metrics.compute import ModelMetricOptions
from rolesum.evaluation.model_metrics.log_probability import summary_logprobs
from rolesum.evaluation.model_metrics.nli import nli_support
from rolesum.evaluation.predictions import Prediction
from rolesum.metrics.bootstrap import Floats
from rolesum.metrics.calibration import sigmoid

if TYPE_CHECKING:
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.generation.verification import Verifier

JUDGED = ("faithfulness", "accuracy")  # the judge's criteria that a false statement hurts


@dataclass(frozen=True)
class Detector:
    """The scores of one detector: (summaries,), NaN where it has none.

    A summary is called wrong where its score is at or above the threshold; None: the threshold is to be fitted.
    """

    name: str
    scores: Floats = field(repr=False)
    threshold: float | None = None


def check_detectors(labels: Labels) -> list[Detector]:
    """The model-free checks: whether any flags the summary, how many flags, and sentences that no turn supports."""
    flags, unsupported = np.zeros(len(labels.summaries)), np.zeros(len(labels.summaries))
    for dialogue, places in zip(labels.dialogues, labels.by_dialogue, strict=True):
        index = DialogueIndex(dialogue)
        for place in places:
            one = labels.summaries[place]
            checked = check_indexed(index, one.role, one.text)
            flags[place] = len(checked.flags)
            unsupported[place] = any(not evidence.turns for evidence in checked.evidence)
    return [
        Detector("checks, any flag", np.minimum(flags, 1), 1.0),
        Detector("checks, number of flags", flags),
        Detector("checks, no evidence", unsupported, 1.0),
    ]


def make_verifier(labels: Labels, engine: "TransformersEngine") -> "Verifier | str":
    """The model as a verifier, or why it cannot be asked about statements."""
    from rolesum.generation.verification import Verifier

    try:
        verifier = Verifier(engine)
        for dialogue in {one.language: one for one in labels.dialogues}.values():  # the answers are by language
            engine.loaded.encoder.answer_ids(engine.layout.instruction_set_for(dialogue).answer_pairs)
        return verifier
    except ModelError as error:
        return error.problems[0].what


def verify_detectors(labels: Labels, verifier: "Verifier") -> list[Detector]:
    """1 minus the lowest and the mean probability that the dialogue says a statement of the summary."""
    statements = [
        [one.text for one in split_statements(summary.text, summary.dialogue.language)] or [summary.text]
        for summary in labels.summaries
    ]
    asked = [[text for place in places for text in statements[place]] for places in labels.by_dialogue]
    doubts: list[list[float]] = [[] for _ in statements]  # 1 - p, which the sigmoid of -z has with all its digits
    for places, odds in zip(labels.by_dialogue, verifier.log_odds(labels.dialogues, asked), strict=True):
        of_dialogue = iter(sigmoid([-one / verifier.temperature for one in odds]).tolist())
        for place in places:
            doubts[place] = [next(of_dialogue) for _ in statements[place]]
    return [
        Detector("verify, lowest support", np.array([max(of) for of in doubts])),
        Detector("verify, mean support", np.array([fmean(of) for of in doubts])),
    ]


def log_probability_detectors(labels: Labels, engine: "TransformersEngine") -> list[Detector]:
    """The mean and the lowest log-probability of the summary's tokens under the model, negated."""
    bundles = [
        Bundle(
            dialogue,
            tuple(Example(dialogue, labels.summaries[at].role, labels.summaries[at].text) for at in places),
        )
        for dialogue, places in zip(labels.dialogues, labels.by_dialogue, strict=True)
    ]
    mean, lowest = np.zeros(len(labels.summaries)), np.zeros(len(labels.summaries))
    found = summary_logprobs(engine.loaded, engine.layout, bundles)
    for places, of_dialogue in zip(labels.by_dialogue, found, strict=True):
        for place, logprobs in zip(places, of_dialogue, strict=True):
            mean[place], lowest[place] = -fmean(logprobs), -min(logprobs)
    return [Detector("log-probability, mean", mean), Detector("log-probability, lowest", lowest)]


def entailment_detectors(labels: Labels, model: str, device: str) -> tuple[list[Detector], dict[str, Any]]:
    """1 minus the lowest and the mean entailment of the summary's sentences, and which classifier it was."""
    dialogues, predictions = _numbered(labels)
    found = nli_support(dialogues, predictions, model, device=device)
    lowest = [min((one.score for one in of), default=np.nan) for of in found.per_prediction]
    detectors = [
        Detector("entailment, lowest", 1 - np.array(lowest)),
        Detector("entailment, mean", 1 - np.array(found.means)),
    ]
    return detectors, dict(found.metadata)


def judge_detectors(labels: Labels, options: ModelMetricOptions) -> tuple[list[Detector], dict[str, Any]]:
    """The judge's ratings of faithfulness and accuracy, negated, and who judged; a verdict that failed has none."""
    assert options.judge and options.judge_model
    found = judge_summaries(
        *_numbered(labels),
        JudgeEndpoint(options.judge, options.judge_model),
        cache=options.judge_cache,
        concurrency=options.concurrency,
        prices=options.judge_prices,
    )
    detectors = [
        Detector(f"judge, {name}", -np.array([one.scores.get(name, np.nan) for one in found.verdicts], dtype=float))
        for name in JUDGED
    ]
    return detectors, dict(found.metadata)


def _numbered(labels: Labels) -> tuple[list[Any], Sequence[Prediction]]:
    """The dialogues with their places for ids, by which the predictions name them: two files may have one id."""
    dialogues = [replace(one, id=str(place)) for place, one in enumerate(labels.dialogues)]
    pairs = zip(labels.summaries, labels.groups, strict=True)
    return dialogues, [Prediction(str(group), one.role, one.text, ()) for one, group in pairs]
