"""Compute the model-based metrics that the user asked for, by role."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rolesum.checks.types import Flag
from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError
from rolesum.evaluation.llm_judge.endpoint import JudgeEndpoint
from rolesum.evaluation.llm_judge.judge import JudgeResult, judge_summaries
from rolesum.evaluation.model_metrics.bertscore import bertscore
from rolesum.evaluation.model_metrics.encoder import load_encoder, parse_model_layer
from rolesum.evaluation.model_metrics.model_score import ModelScore
from rolesum.evaluation.model_metrics.moverscore import moverscore
from rolesum.evaluation.model_metrics.nli import NliResult, nli_support
from rolesum.evaluation.predictions import Prediction


@dataclass(frozen=True)
class ModelMetricOptions:
    """Which measures are wanted. Models are directories, hub ids or aliases; "MODEL@LAYER" also names a layer."""

    bertscore: str | None = None
    bertscore_baseline: str | None = None
    moverscore: str | None = None
    nli: str | None = None
    judge: str | None = None
    judge_model: str | None = None
    judge_cache: Path | None = None
    judge_prices: tuple[float, float] | None = None
    concurrency: int = 4
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.judge and not self.judge_model:
            raise UsageError("--judge needs the model's name", fix="add --judge-model NAME")
        if (self.judge_cache or self.judge_prices) and not self.judge:
            raise UsageError("--judge-cache and --judge-prices need a judge", fix="add --judge and --judge-model")
        if "" in (self.bertscore, self.moverscore, self.nli, self.judge):
            raise UsageError("a model or endpoint is named by an empty text", fix="name it, or leave the option out")
        if self.judge_model and not self.judge:
            raise UsageError("--judge-model needs the endpoint", fix="add --judge http://localhost:8000/v1")
        if self.bertscore_baseline and not self.bertscore:
            raise UsageError("--bertscore-baseline needs a model", fix="add --bertscore MODEL")
        for spec in (self.bertscore, self.moverscore):
            if spec:
                parse_model_layer(spec)
        if self.judge and self.judge_model:
            JudgeEndpoint(self.judge, self.judge_model)

    @property
    def any_requested(self) -> bool:
        return any((self.bertscore, self.moverscore, self.nli, self.judge))


@dataclass(frozen=True)
class ModelMetricScores:
    """Scores by role and measure; and what entailment and the judge say of each prediction, in their order."""

    scores: dict[str, dict[str, ModelScore]]
    nli: NliResult | None = field(default=None, repr=False)
    verdicts: JudgeResult | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Role -> measure -> facts, means and intervals, as plain data."""
        return {role: {name: one.as_json() for name, one in by.items()} for role, by in self.scores.items()}

    def flags(self) -> list[tuple[Flag, ...]]:
        """For each prediction, the sentences that no turns entail; empty without entailment."""
        return self.nli.flags() if self.nli else []


def compute_model_metrics(
    wanted: ModelMetricOptions, predictions: Sequence[Prediction], dialogues: Sequence[Dialogue] = ()
) -> ModelMetricScores:
    """Compute the wanted measures role by role. Entailment and the judge need the `dialogues`. Raises as each does."""
    if (wanted.nli or wanted.judge) and not dialogues:
        raise UsageError("--nli and --judge read the dialogues, and there are none", fix="name them with --data")
    roles = dict.fromkeys(one.role for one in predictions)
    places = {role: [place for place, one in enumerate(predictions) if one.role == role] for role in roles}
    pairs = {role: [(predictions[at].prediction, predictions[at].references) for at in places[role]] for role in roles}
    scores: dict[str, dict[str, ModelScore]] = {role: {} for role in roles}
    if wanted.bertscore:
        name, layer = parse_model_layer(wanted.bertscore)
        encoder = load_encoder(name, wanted.device)
        for role in roles:
            scores[role]["bertscore"] = bertscore(pairs[role], encoder, layer=layer, rescale=wanted.bertscore_baseline)
    if wanted.moverscore:
        name, layer = parse_model_layer(wanted.moverscore)
        encoder = load_encoder(name, wanted.device)
        for role in roles:
            scores[role]["moverscore"] = moverscore(pairs[role], encoder, layer=layer)
    supported = nli_support(dialogues, predictions, wanted.nli, device=wanted.device) if wanted.nli else None
    if supported:
        for role in roles:
            scores[role]["entailment"] = supported.score(places[role])
    verdicts = None
    if wanted.judge and wanted.judge_model:
        endpoint = JudgeEndpoint(wanted.judge, wanted.judge_model)
        verdicts = judge_summaries(
            dialogues,
            predictions,
            endpoint,
            cache=wanted.judge_cache,
            concurrency=wanted.concurrency,
            prices=wanted.judge_prices,
        )
        for role in roles:
            scores[role]["judge"] = verdicts.score(places[role])
    return ModelMetricScores(scores, supported, verdicts)
