"""Entailment: whether some turns of the dialogue say what each sentence of a summary says (Laban et al. 2022)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rolesum.checks.sentences import Sentence, split_sentences
from rolesum.checks.types import Flag
from rolesum.console import progress_bar
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.evaluation.model_metrics.encoder import LoadedCheckpoint, load_checkpoint
from rolesum.evaluation.model_metrics.model_score import ModelScore
from rolesum.evaluation.predictions import Prediction

METRIC_NAME = "entailment"
NO_SUPPORT: tuple[float, tuple[int, ...]] = (0.0, ())  # the support by a dialogue of no turns
LABELS = {
    "entailment": ("entailment", "entail", "entails", "entailed", "蕴含", "蕴涵"),
    "contradiction": ("contradiction", "contradict", "contradicts", "矛盾"),
}


@dataclass(frozen=True, slots=True)
class SentenceSupport:
    """How far the dialogue entails one sentence of a summary.

    `start` and `end` count characters of the summary; `turns` are the places (from 0) of the window that entails it
    most. `score` is that window's probability of entailment, 0 to 1, less the largest probability of contradiction of
    any window where that was asked for.
    """

    start: int
    end: int
    score: float
    turns: tuple[int, ...]


@dataclass(frozen=True)
class NliResult:
    """The support of each prediction's sentences, in the predictions' order."""

    metadata: Mapping[str, Any]
    per_prediction: Sequence[tuple[SentenceSupport, ...]] = field(repr=False)

    @property
    def means(self) -> list[float]:
        """Each prediction's mean over its sentences; NaN where it has none."""
        return [
            sum(one.score for one in sentences) / len(sentences) if sentences else math.nan
            for sentences in self.per_prediction
        ]

    def score(self, places: Sequence[int] | None = None) -> ModelScore:
        """The means in percent, of all predictions or of those in `places` (one role's)."""
        means = self.means
        chosen = range(len(means)) if places is None else places
        return ModelScore(METRIC_NAME, self.metadata, {METRIC_NAME: [100 * means[place] for place in chosen]})

    def flags(self, threshold: float = 0.5) -> list[tuple[Flag, ...]]:
        """For each prediction, its sentences whose score is below `threshold`."""
        return [
            tuple(
                Flag(METRIC_NAME, one.start, one.end, f"no turns entail this (best: {one.score:.2f})", one.turns)
                for one in sentences
                if one.score < threshold
            )
            for sentences in self.per_prediction
        ]

    def as_json(self) -> list[list[dict[str, Any]]]:
        """For each prediction its sentences as plain data."""
        return [
            [
                {"start": one.start, "end": one.end, "score": round(one.score, 4), "turns": list(one.turns)}
                for one in sentences
            ]
            for sentences in self.per_prediction
        ]


@dataclass(frozen=True, slots=True)
class TurnWindow:
    """The text of some turns; `turns` are their places in the dialogue, from 0."""

    turns: tuple[int, ...]
    text: str


def turn_windows(dialogue: Dialogue, longest: int, stride: int = 1) -> list[TurnWindow]:
    """All runs of 1 to `longest` turns that begin at every `stride`-th turn; the last turn is in a run of each size.

    A dialogue of fewer turns is its own longest run.
    """
    lines = [f"{turn.speaker}: {turn.text}" for turn in dialogue.turns]
    found = []
    for size in range(1, min(longest, len(lines)) + 1):
        last = len(lines) - size
        for begin in sorted({*range(0, last + 1, stride), last}):
            turns = tuple(range(begin, begin + size))
            found.append(TurnWindow(turns, "\n".join(lines[begin : begin + size])))
    return found


def nli_support(
    dialogues: Sequence[Dialogue],
    predictions: Sequence[Prediction],
    model: str | LoadedCheckpoint,
    *,
    turns: int = 3,
    stride: int = 1,
    contradiction: bool = False,
    entailment_label: str | None = None,
    device: str = "auto",
    batch_size: int = 32,
) -> NliResult:
    """Each summary sentence against every window of 1 to `turns` turns, as SummaC's zero-shot form does with sentences.

    `model` is a sequence classifier with a label for entailment. A longer window than the model reads is left out, a
    single turn that is longer is cut; both are counted in the facts. With `contradiction` the score is the largest
    entailment less the largest contradiction. Raises DataError for a prediction whose dialogue is not given, ModelError
    for a model without the labels. Laban et al., TACL 2022.
    """
    if turns < 1 or stride < 1:
        raise UsageError(f"windows of {turns} turns at every {stride}", fix="both are at least 1")
    by_id = {one.id: one for one in dialogues}
    if missing := dict.fromkeys(one.id for one in predictions if one.id not in by_id):
        what = f"no dialogue for {len(missing)} of the predictions' ids, first: {next(iter(missing))}"
        raise DataError(what, fix="give the data that was summarized")
    loaded = load_checkpoint(model, "AutoModelForSequenceClassification", device) if isinstance(model, str) else model
    judge = _EntailmentClassifier(loaded, *_columns(loaded, contradiction, entailment_label), batch_size)
    places: dict[str, list[int]] = {}
    for place, one in enumerate(predictions):
        places.setdefault(one.id, []).append(place)
    found: list[tuple[SentenceSupport, ...]] = [()] * len(predictions)
    with progress_bar(METRIC_NAME, len(places)) as bar:
        for identity, own in places.items():
            dialogue = by_id[identity]
            split = [split_sentences(predictions[place].prediction, dialogue.language) for place in own]
            supported = judge.support(
                turn_windows(dialogue, turns, stride), [one.text for each in split for one in each]
            )
            for place, sentences in zip(own, split, strict=True):
                found[place] = tuple(_supported(one, *supported.get(one.text, NO_SUPPORT)) for one in sentences)
            bar.advance(1)
    labels = judge.labels
    facts = {
        **loaded.metadata,
        "unit": "percent",
        "labels": labels,
        "score": "max entailment - max contradiction" if contradiction else "max entailment",
        "window_turns": turns,
        "window_stride": stride,
        "windows_skipped": judge.skipped,
        "inputs_truncated": judge.truncated,
        "inputs": judge.inputs,
    }
    return NliResult(facts, found)


def _supported(sentence: Sentence, score: float, turns: tuple[int, ...]) -> SentenceSupport:
    return SentenceSupport(sentence.start, sentence.end, score, turns)


def _labels(loaded: LoadedCheckpoint) -> dict[int, str]:
    """The classifier's labels by the position of their logit."""
    return {int(place): str(label) for place, label in (loaded.model.config.id2label or {}).items()}


def _columns(loaded: LoadedCheckpoint, contradiction: bool, named: str | None) -> tuple[int, int | None]:
    """The places of the labels in the model's output. Raises ModelError that lists the labels there are."""
    labels = _labels(loaded)
    entails = _column(labels, (named.lower(),) if named else LABELS["entailment"])
    contradicts = _column(labels, LABELS["contradiction"]) if contradiction else None
    if len(labels) < 2 or entails is None or (contradiction and contradicts is None):
        wanted = "contradiction" if entails is not None and len(labels) > 1 else named or "entailment"
        what = f"the model has no label {wanted}; it has: {', '.join(labels.values())}"
        raise ModelError(what, loaded.name, "name an NLI model, or set id2label in its config.json")
    return entails, contradicts


def _column(labels: Mapping[int, str], names: Sequence[str]) -> int | None:
    return next((place for place, label in labels.items() if label.strip().lower() in names), None)


@dataclass
class _EntailmentClassifier:
    """Scores pairs of window and sentence, and counts what it could not take whole."""

    loaded: LoadedCheckpoint
    entails: int
    contradicts: int | None
    batch_size: int
    skipped: int = 0
    truncated: int = 0
    inputs: int = 0

    @property
    def labels(self) -> dict[str, str]:
        names = _labels(self.loaded)
        both = {"entailment": self.entails, "contradiction": self.contradicts}
        return {name: names[place] for name, place in both.items() if place is not None}

    def support(
        self, windows: Sequence[TurnWindow], sentences: Sequence[str]
    ) -> dict[str, tuple[float, tuple[int, ...]]]:
        """For each sentence its score and the turns of its best window; the smaller window where two are equal."""
        rows = []
        for sentence in dict.fromkeys(sentences):
            for window in windows:
                encoded = self._encode(window, sentence)
                if encoded:
                    rows.append((sentence, window, encoded))
        self.inputs += len(rows)
        chances = self._chances([encoded for _, _, encoded in rows])
        best: dict[str, tuple[float, tuple[int, ...]]] = {}
        against: dict[str, float] = {}
        for (sentence, window, _), (entailed, contradicted) in zip(rows, chances, strict=True):
            if sentence not in best or entailed > best[sentence][0]:
                best[sentence] = (entailed, window.turns)
            against[sentence] = max(against.get(sentence, 0.0), contradicted)
        return {sentence: (score - against[sentence], turns) for sentence, (score, turns) in best.items()}

    def _encode(self, window: TurnWindow, sentence: str) -> Mapping[str, list[int]] | None:
        """Token ids of the pair; None for a window of several turns that does not fit."""
        whole: Mapping[str, list[int]] = self.loaded.tokenizer(window.text, sentence, verbose=False)
        if len(whole["input_ids"]) <= self.loaded.max_tokens:
            return whole
        if len(window.turns) > 1:
            self.skipped += 1
            return None
        self.truncated += 1
        cut: Mapping[str, list[int]] = self.loaded.tokenizer(
            window.text, sentence, truncation="longest_first", max_length=self.loaded.max_tokens
        )
        return cut

    def _chances(self, rows: Sequence[Mapping[str, list[int]]]) -> list[tuple[float, float]]:
        """Each row's probabilities of entailment and contradiction (0 where it is not asked for)."""
        found = [(0.0, 0.0)] * len(rows)
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
        for begin in range(0, len(order), self.batch_size):
            batch = order[begin : begin + self.batch_size]
            segments = {}
            if "token_type_ids" in rows[batch[0]]:
                segments["token_type_ids"] = [rows[place]["token_type_ids"] for place in batch]
            output = self.loaded.forward([rows[place]["input_ids"] for place in batch], **segments)
            chances = output.logits.float().softmax(dim=-1).cpu().tolist()
            for place, row in zip(batch, chances, strict=True):
                found[place] = row[self.entails], 0.0 if self.contradicts is None else row[self.contradicts]
        return found
