"""Measures how well the model-free checks and a model's own probabilities find the false statements of the open set.

Each statement of the test split is scored as if it were the summary of its role: by the checks that flag it, and by the
mean and the lowest log-probability of its tokens after the dialogue and the role's instruction. With `--verify`, a
model is also asked whether the dialogue says it. A false statement is a positive. The threshold of a probability is the
best on the validation split. What a classifier finds that sees the statement and no dialogue is what the writers'
wording gives away: no detector should be judged without it.
"""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from record import Job, arguments, probe, rows_before, write_record

from rolesum.checks.words import tokenize
from rolesum.dialogue import Dialogue, detect_language
from rolesum.evaluation.detection.detectors import Detector, check_detectors, log_probability_detectors
from rolesum.evaluation.detection.figures import ThresholdProtocol, detector_figures, split_protocol
from rolesum.evaluation.detection.labels import TEST, VALIDATION, Labels, make_labels, read_labels
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.decoding.linear import prepare_for_generation
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.metrics.bootstrap import RESAMPLES, SEED, Floats
from rolesum.models.adapter_metadata import CONFIG_FILE, read_metadata
from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.models.loading import load_model
from rolesum.models.prompt_model import LoadedModel

NAME = "false_statements"
MODELS = {"en": ("rolesum-smollm2-135m", "smollm2-135m", "gemma3-270m"), "zh": ("gemma3-270m",)}
CHECKS = ("checks", "no evidence", "checks or no evidence")
WORDING = "wording alone (naive Bayes)"
Score = Callable[[Labels], list[Detector]]


def main() -> int:
    options = _options()
    settings = {"limit": options.limit, "splits": [VALIDATION, TEST], "resamples": RESAMPLES, "seed": SEED}
    before = rows_before(options.results / f"{NAME}.json", settings)
    rows = {(row["language"], row["detector"]): row for row in before}
    for language in options.languages:
        for names, score in detectors(language, options):
            if any(of == language and detector in names for of, detector in rows):
                continue
            rows |= {(language, row["detector"]): row for row in measure(language, score, options)}
            headline = {f"auroc_{of}_{detector}": row["auroc"] for (of, detector), row in rows.items()}
            machine = probe(options.device, options.dtype, base="smollm2-135m")
            shown = ("language", "detector", "statements", "auroc", "auroc_95%", "precision", "recall", "true_flagged")
            write_record(NAME, machine, settings, list(rows.values()), headline, options.results, shown)
    return 0


def detectors(language: str, options: Namespace) -> Iterator[tuple[tuple[str, ...], Score]]:
    """What gives scores, with the names of the detectors whose scores it gives."""
    yield CHECKS, check_scores
    train = f"sample:dialogues-{language}-train"

    def wording(labels: Labels) -> list[Detector]:
        return [Detector(WORDING, wording_scores(read_dialogues(train), [one.text for one in labels.summaries]))]

    yield (WORDING,), wording
    for model in options.verify:
        name = f"verify, {label_of(model)}"
        yield (name,), lambda labels, model=model, name=name: [verify_scores(labels, name, _engine(model, options))]
    for model in MODELS[language] if options.models is None else options.models:
        names = (f"mean log-probability, {model}", f"lowest log-probability, {model}")

        def scores(labels: Labels, model: str = model, names: tuple[str, ...] = names) -> list[Detector]:
            found = log_probability_detectors(labels, _engine(model, options))
            return [replace(one, name=name) for one, name in zip(found, names, strict=True)]

        yield names, scores


def check_scores(labels: Labels) -> list[Detector]:
    """The number of the checks' flags, and whether no turn supports the statement; one flag is enough."""
    _, flags, unsupported = (one.scores for one in check_detectors(labels))
    pairs = zip(CHECKS, (flags, unsupported, flags + unsupported), strict=True)
    return [Detector(name, scores, 1.0) for name, scores in pairs]


def wording_scores(train: Sequence[Dialogue], texts: Sequence[str]) -> Floats:
    """The log-odds of a naive Bayes classifier over the words and word pairs of a statement, without its dialogue."""
    counts = {label: Counter[str]() for label in (True, False)}
    for said in (said for one in train for said in one.statements):
        counts[said.supported].update(_terms(said.text))
    known = counts[True].keys() | counts[False].keys()
    total = {label: of_label.total() + len(known) for label, of_label in counts.items()}

    def log_odds(text: str) -> float:
        terms = [term for term in _terms(text) if term in known]
        return sum(
            np.log((counts[False][term] + 1) / total[False]) - np.log((counts[True][term] + 1) / total[True])
            for term in terms
        )

    return np.array([log_odds(text) for text in texts])


def _terms(text: str) -> set[str]:
    """The words of an English text or the characters of a Chinese one, and the pairs of neighbors."""
    words = tokenize(text, detect_language(text))
    return {*words, *(f"{one} {other}" for one, other in pairwise(words))}


def verify_scores(labels: Labels, name: str, engine: TransformersEngine) -> Detector:
    """The log-odds that the dialogue does not say each statement, by a model that is asked about it as a whole."""
    asked = [[labels.summaries[place].text for place in places] for places in labels.by_dialogue]
    scores = np.zeros(len(labels.summaries))
    for places, odds in zip(labels.by_dialogue, Verifier(engine).log_odds(labels.dialogues, asked), strict=True):
        scores[places] = [-one for one in odds]
    return Detector(name, scores)


def _engine(name: str, options: Namespace) -> TransformersEngine:
    return TransformersEngine(load_named(name, options))


def load_named(name: str, options: Namespace) -> LoadedModel:
    """A base by name, or an adapter by its directory or its bundled name, on its base."""
    adapter = name if (Path(name) / CONFIG_FILE).is_file() else bundled_adapters().get(name)
    base = None if adapter else name
    loaded = load_model(base, adapter=adapter, dtype=options.dtype, device=options.device, attach=False)
    prepare_for_generation(loaded)
    return loaded


def label_of(name: str) -> str:
    """A model's name in the table: an adapter's directory has that of its recipe."""
    folder = Path(name)
    return str(read_metadata(folder).get("recipe", name)) if (folder / CONFIG_FILE).is_file() else name


def measure(language: str, score: Score, options: Namespace) -> list[Job]:
    """A row for each detector that `score` gives."""
    read = {
        split: read_labels(f"sample:dialogues-{language}-{split}", ReadOptions(limit=options.limit))
        for split in (TEST, VALIDATION)
    }
    labels = make_labels(replace(one, split=split) for split, of_split in read.items() for one in of_split.summaries)
    protocol = split_protocol(labels)
    return [{"language": language} | _row(one, labels, protocol) for one in score(labels)]


def _row(detector: Detector, labels: Labels, protocol: ThresholdProtocol) -> Job:
    """The figures of one detector; those by kind compare the false statements of a kind with all true ones."""
    found = detector_figures(detector, labels, protocol)
    return {
        "detector": found.name,
        "statements": len(protocol.measured),
        "auroc": found.auroc.value,
        "auroc_95%": found.auroc.interval and list(found.auroc.interval),
        "threshold": found.thresholds[0],
        "precision": None if np.isnan(found.precision.value) else found.precision.value,
        "recall": found.recall.value,
        "true_flagged": found.false_positive_rate.value,
        "kinds": {
            kind: {"statements": one.summaries, "auroc": one.auroc, "recall": one.recall.value}
            for kind, one in found.kinds.items()
        },
    }


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--languages", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--models", nargs="*", help="bases or adapters, for log-probabilities; default: by language")
    parser.add_argument("--verify", nargs="+", default=[], help="bases or adapters that are asked about each statement")
    parser.add_argument("--limit", type=int, help="dialogues of each split; default: all")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
