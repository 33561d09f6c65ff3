"""Run detectors over labeled summaries: read the labels, score, measure, and write the record."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text, check_writable
from rolesum.dialogue import Dialogue, detect_language
from rolesum.errors import UsageError
from rolesum.evaluation.detection.detectors import (
    Detector,
    check_detectors,
    entailment_detectors,
    judge_detectors,
    log_probability_detectors,
    make_verifier,
    verify_detectors,
)
from rolesum.evaluation.detection.figures import (
    DetectorFigures,
    ThresholdProtocol,
    detector_figures,
    halves_protocol,
    split_protocol,
)
from rolesum.evaluation.detection.labels import (
    TEST,
    VALIDATION,
    LabeledSummary,
    Labels,
    check_classes,
    make_labels,
    read_labels,
)
from rolesum.evaluation.model_metrics.compute import ModelMetricOptions
from rolesum.evaluation.run import about_model, readable
from rolesum.formats import ReadOptions, open_source
from rolesum.generation.factory import EngineSpec
from rolesum.generation.preflight import base_name, check_before_loading
from rolesum.metrics.bootstrap import RESAMPLES, SEED
from rolesum.models.languages import catalog_entry, check_dialogue_languages

if TYPE_CHECKING:
    from rolesum.generation.engines.transformers import TransformersEngine

RECORD, SCORES = "detection.json", "detection.jsonl"


@dataclass(frozen=True)
class DetectionTask:
    """Which labels, and which detectors beside the checks. `spec` is the model that verifies and gives probabilities.

    Attributes:
        labels: File of labels, or of dialogues with statements.
        validation: Labels to fit the thresholds on; without it the column split says which, or two halves are used.
        spec: The model; None for no detector that needs one.
        models: The classifier of entailment and the judge, where they are wanted.
        roles: Only summaries for these roles; None for all.
        read_options: How the labels are read.
        out: Directory for the record and the scores of each summary.
        command: The command line, for the record.
    """

    labels: str
    validation: str | None = None
    spec: EngineSpec | None = None
    models: ModelMetricOptions = field(default_factory=ModelMetricOptions)
    roles: Sequence[str] | None = None
    read_options: ReadOptions = field(default_factory=ReadOptions)
    out: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.spec and self.spec.engine != "transformers":
            what = f"statements and log-probabilities need the engine transformers, not {self.spec.engine}"
            raise UsageError(what, fix="leave out --engine")


@dataclass(frozen=True)
class DetectionResult:
    """The figures of each detector, the labels and scores behind them, and how they were made."""

    metadata: dict[str, Any]
    figures: list[DetectorFigures]
    labels: Labels = field(repr=False)
    detectors: list[Detector] = field(repr=False)
    protocol: ThresholdProtocol = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """The record."""
        return {**self.metadata, "detectors": [one.as_json() for one in self.figures]}

    def score_lines(self) -> Iterator[str]:
        """A line of JSON for each measured summary: its label and its score by each detector."""
        for place in self.protocol.measured:
            one = self.labels.summaries[place]
            scores = {each.name: float(each.scores[place]) for each in self.detectors}
            said = {"id": one.id, "system": one.system, "role": one.role, "error": one.has_error}
            value = {**said, "kinds": list(one.kinds), "scores": scores}
            yield strict_json.dumps(value, ensure_ascii=False)


def evaluate_labels(task: DetectionTask) -> DetectionResult:
    """Measure how well each detector finds the wrong summaries; with `task.out`, write the record and the scores.

    Raises DataError for labels that nothing can be measured on, ModelError for a language that the model does not read.
    """
    if task.out:
        check_writable(task.out / RECORD)
    labels, protocol, about = _read(task)
    detectors = check_detectors(labels)
    if task.spec:
        about["model"], found = _model_detectors(task.spec, labels)
        detectors += found
    if task.models.nli:
        found, about["entailment"] = entailment_detectors(labels, task.models.nli, task.models.device)
        detectors += found
    if task.models.judge:
        found, about["judge"] = judge_detectors(labels, task.models)
        detectors += found
    done = DetectionResult(
        about, [detector_figures(one, labels, protocol) for one in detectors], labels, detectors, protocol
    )
    if task.out:
        atomic_write_text(task.out / SCORES, "".join(f"{line}\n" for line in done.score_lines()))
        record = strict_json.dumps(done.as_json(), indent=1, ensure_ascii=False)
        atomic_write_text(task.out / RECORD, f"{record}\n")
    return done


def _read(task: DetectionTask) -> tuple[Labels, ThresholdProtocol, dict[str, Any]]:
    """The labels, those of the validation file included, how thresholds are fixed, and what the record says of both."""
    about: dict[str, Any] = {"command": readable(task.command), "rolesum": metadata.version("rolesum")}
    labels = _labels(task, "labels", task.labels, about)
    if task.validation is not None:
        if any(one.split for one in labels.summaries):
            fix = "leave out --labels-validation, or the column split"
            raise UsageError("the labels have a split of their own", task.labels, fix)
        fitted = _labels(task, "validation", task.validation, about)
        chosen = [(labels, TEST), (fitted, VALIDATION)]
        labels = make_labels(replace(one, split=split) for of, split in chosen for one in of.summaries)
    by_split = len({one.split for one in labels.summaries}) > 1
    protocol = split_protocol(labels) if by_split else halves_protocol(labels)
    if by_split:
        for split in (VALIDATION, TEST):
            check_classes([one for one in labels.summaries if one.split == split], f"{task.labels}, split {split}")
    measured = [labels.summaries[place] for place in protocol.measured]
    about |= {
        "summaries": len(measured),
        "dialogues": len({id(one.dialogue) for one in measured}),
        "errors": sum(one.has_error for one in measured),
        "kinds": dict(sorted(Counter(kind for one in measured for kind in one.kinds).items())),
        "systems": dict(sorted(Counter(one.system for one in measured if one.system).items())),
        "thresholds": protocol.description,
        "fitted_on": len(labels.summaries) - len(measured) if by_split else None,
        "interval": {"confidence": 0.95, "over": "dialogues", "resamples": RESAMPLES, "seed": SEED},
        "numpy": metadata.version("numpy"),
    }
    return labels, protocol, about


def _labels(task: DetectionTask, name: str, path: str, about: dict[str, Any]) -> Labels:
    """The labels of a file for the roles of the task; its name and digest go to `about`."""
    source = open_source(path, task.read_options.encoding)
    about[name] = readable(source.name)
    about[f"{name}_sha256"] = hashlib.sha256(source.text.encode()).hexdigest()
    labels = read_labels(source, task.read_options)
    chosen = Labels(tuple(one for one in labels.summaries if not task.roles or one.role in task.roles))
    check_classes(chosen.summaries, source.name)
    return chosen


def _model_detectors(spec: EngineSpec, labels: Labels) -> tuple[dict[str, Any], list[Detector]]:
    """What the model is, and its detectors: verify, where it can be asked about statements, and log-probabilities."""
    roles = [tuple(dict.fromkeys(labels.summaries[place].role for place in places)) for places in labels.by_dialogue]
    check_before_loading(spec, labels.dialogues, roles)
    if base := base_name(spec):
        check_dialogue_languages(
            base, catalog_entry(base), _in_other_languages(labels.summaries), "summary", "summaries"
        )
    engine = cast("TransformersEngine", spec.open())
    about = {**about_model(spec, engine), "fingerprint": engine.loaded.fingerprint}
    detectors = list[Detector]()
    verifier = make_verifier(labels, engine)
    if isinstance(verifier, str):
        about["verify"] = {"left_out": verifier}
    else:
        about["verify"] = {"trained": verifier.is_trained, "temperature": verifier.temperature}
        detectors += verify_detectors(labels, verifier)
    return about, [*detectors, *log_probability_detectors(labels, engine)]


def _in_other_languages(summaries: Sequence[LabeledSummary]) -> list[Dialogue]:
    """The dialogues of summaries that are in another language than theirs, under the language and id of these."""
    return [
        replace(one.dialogue, id=one.id, source=one.source, language=language)
        for one in summaries
        if (language := detect_language(one.text)) != one.dialogue.language
    ]
