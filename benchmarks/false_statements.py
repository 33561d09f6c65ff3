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
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from record import Job, arguments, probe, rows_before, write_record

from rolesum.checks import check_summary
from rolesum.checks.words import tokenize
from rolesum.dialogue import Bundle, Dialogue, Example, Statement, detect_language
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.metrics.detection import auroc, best_threshold, precision_recall
from rolesum.models.adapter_metadata import CONFIG_FILE, read_metadata
from rolesum.models.bundled_adapters import bundled_adapters

if TYPE_CHECKING:
    from rolesum.models.prompt_model import LoadedModel

NAME = "false_statements"
MODELS = {"en": ("rolesum-smollm2-135m", "smollm2-135m", "gemma3-270m"), "zh": ("gemma3-270m",)}
CHECKS = ("checks", "no evidence", "checks or no evidence")
WORDING = "wording alone (naive Bayes)"
RESAMPLES, SEED = 1000, 1
Scores = dict[str, list[float]]  # detector -> a score for each statement, higher for what is more likely false


@dataclass(frozen=True)
class Labeled:
    """A statement, the place of its dialogue in the split, and its score by each detector."""

    dialogue: int
    statement: Statement
    scores: dict[str, float]


def main() -> int:
    options = _options()
    settings = {"limit": options.limit, "splits": ["validation", "test"], "resamples": RESAMPLES, "seed": SEED}
    before = rows_before(options.results / f"{NAME}.json", settings)
    rows = {(row["language"], row["detector"]): row for row in before}
    for language in options.languages:
        for name, score in detectors(language, options):
            if any(of == language and detector in name for of, detector in rows):
                continue
            rows |= {(language, row["detector"]): row for row in _measured(language, score, options)}
            headline = {f"auroc_{of}_{detector}": row["auroc"] for (of, detector), row in rows.items()}
            machine = probe(options.device, options.dtype, base="smollm2-135m")
            shown = ("language", "detector", "statements", "auroc", "auroc_95%", "precision", "recall", "true_flagged")
            write_record(NAME, machine, settings, list(rows.values()), headline, options.results, shown)
    return 0


def detectors(
    language: str, options: Namespace
) -> Iterator[tuple[tuple[str, ...], Callable[[Sequence[Dialogue]], Scores]]]:
    """What gives scores, with the names of the detectors whose scores it gives."""
    yield CHECKS, check_scores
    yield (WORDING,), lambda dialogues: wording_scores(read_dialogues(f"sample:dialogues-{language}-train"), dialogues)
    for model in options.verify:
        name = f"verify, {label_of(model)}"
        yield (name,), lambda dialogues, model=model, name=name: {name: verify_scores(dialogues, model, options)}
    for model in MODELS[language] if options.models is None else options.models:
        names = (f"mean log-probability, {model}", f"lowest log-probability, {model}")

        def scores(dialogues: Sequence[Dialogue], model: str = model, names: tuple[str, ...] = names) -> Scores:
            mean, lowest = model_scores(dialogues, model, options)
            return dict(zip(names, (mean, lowest), strict=True))

        yield names, scores


def check_scores(dialogues: Sequence[Dialogue]) -> Scores:
    """The number of the checks' flags, and whether no turn supports the statement."""
    checked = [check_summary(one, said.role, said.text) for one in dialogues for said in one.statements]
    flags = [float(len(one.flags)) for one in checked]
    unsupported = [float(any(not evidence.turns for evidence in one.evidence)) for one in checked]
    both = [one + other for one, other in zip(flags, unsupported, strict=True)]
    return {"checks": flags, "no evidence": unsupported, "checks or no evidence": both}


def wording_scores(train: Sequence[Dialogue], dialogues: Sequence[Dialogue]) -> Scores:
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

    return {WORDING: [log_odds(said.text) for one in dialogues for said in one.statements]}


def _terms(text: str) -> set[str]:
    """The words of an English text or the characters of a Chinese one, and the pairs of neighbors."""
    words = tokenize(text, detect_language(text))
    return {*words, *(f"{one} {other}" for one, other in pairwise(words))}


def verify_scores(dialogues: Sequence[Dialogue], name: str, options: Namespace) -> list[float]:
    """The log-odds that the dialogue does not say each statement, by a model that is asked about it."""
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.generation.verification import Verifier

    verifier = Verifier(TransformersEngine(load_named(name, options)))
    odds = verifier.log_odds(dialogues, [[said.text for said in one.statements] for one in dialogues])
    return [-one for of in odds for one in of]


def load_named(name: str, options: Namespace) -> "LoadedModel":
    """A base by name, or an adapter by its directory or its bundled name, on its base."""
    from rolesum.models.loading import load_model

    adapter = name if (Path(name) / CONFIG_FILE).is_file() else bundled_adapters().get(name)
    return load_model(None if adapter else name, adapter=adapter, dtype=options.dtype, device=options.device)


def label_of(name: str) -> str:
    """A model's name in the table: an adapter's directory has that of its recipe."""
    folder = Path(name)
    return str(read_metadata(folder).get("recipe", name)) if (folder / CONFIG_FILE).is_file() else name


def model_scores(dialogues: Sequence[Dialogue], name: str, options: Namespace) -> tuple[list[float], list[float]]:
    """The negated mean and lowest log-probability of each statement's tokens, the end of the answer included."""
    import torch

    from rolesum.training.encode import encode_bundles

    loaded = load_named(name, options)
    bundles = [Bundle(one, tuple(Example(one, said.role, said.text) for said in one.statements)) for one in dialogues]
    encoded = encode_bundles(bundles, loaded.layout(), loaded.encoder, max_length=loaded.max_length)
    mean, lowest = list[float](), list[float]()
    with torch.inference_mode():
        for bundle in encoded.bundles:
            prefix = torch.tensor([bundle.prefix], device=loaded.device)
            cache = loaded.model(input_ids=prefix, logits_to_keep=1, use_cache=True).past_key_values
            cache.batch_repeat_interleave(len(bundle.branches))
            longest = max(len(branch.ids) for branch in bundle.branches)
            rows = [[*branch.ids, *[0] * (longest - len(branch.ids))] for branch in bundle.branches]  # padded behind
            ids = torch.tensor(rows, device=loaded.device)
            logits = loaded.model(input_ids=ids, past_key_values=cache, use_cache=True).logits
            for row, branch in enumerate(bundle.branches):
                first, end = len(branch.ids) - branch.targets, len(branch.ids)
                logprobs = logits[row, first - 1 : end - 1].float().log_softmax(-1)
                chosen = logprobs.gather(-1, ids[row, first:end, None])[:, 0]
                mean.append(-float(chosen.mean()))
                lowest.append(-float(chosen.min()))
    return mean, lowest


def _measured(language: str, score: Callable[[Sequence[Dialogue]], Scores], options: Namespace) -> list[Job]:
    """A row for each detector that `score` gives."""
    of_split = {}
    for split in ("validation", "test"):
        dialogues = read_dialogues(f"sample:dialogues-{language}-{split}", ReadOptions(limit=options.limit))
        scores = score(dialogues)
        said = [(place, one) for place, dialogue in enumerate(dialogues) for one in dialogue.statements]
        of_split[split] = [
            Labeled(place, one, {name: values[number] for name, values in scores.items()})
            for number, (place, one) in enumerate(said)
        ]
    names = list(of_split["test"][0].scores)
    return [{"language": language} | _row(name, of_split["validation"], of_split["test"]) for name in names]


def _row(name: str, validation: Sequence[Labeled], test: Sequence[Labeled]) -> Job:
    """The figures of one detector; those by kind compare the false statements of a kind with all true ones."""
    threshold = best_threshold(*_groups(validation, name)) if name not in CHECKS else 1.0
    false, true = _groups(test, name)
    precision, recall = precision_recall(false, true, threshold)
    kinds = sorted({one.statement.kind for one in test if one.statement.kind})
    by_kind = {}
    for kind in kinds:
        of_kind = [one.scores[name] for one in test if one.statement.kind == kind]
        recall_of_kind = precision_recall(of_kind, true, threshold)[1]
        by_kind[kind] = {"statements": len(of_kind), "auroc": auroc(of_kind, true), "recall": recall_of_kind}
    return {
        "detector": name,
        "statements": len(test),
        "auroc": auroc(false, true),
        "auroc_95%": _interval(test, name),
        "threshold": threshold,
        "precision": None if np.isnan(precision) else precision,
        "recall": recall,
        "true_flagged": precision_recall(true, false, threshold)[1],
        "kinds": by_kind,
    }


def _groups(labeled: Sequence[Labeled], name: str) -> tuple[list[float], list[float]]:
    """The scores of the false statements, and of the true ones."""
    false = [one.scores[name] for one in labeled if not one.statement.supported]
    return false, [one.scores[name] for one in labeled if one.statement.supported]


def _interval(test: Sequence[Labeled], name: str) -> list[float]:
    """The 95 % percentile bootstrap interval of the AUROC; dialogues are resampled, with all their statements."""
    by_dialogue: dict[int, list[Labeled]] = {}
    for one in test:
        by_dialogue.setdefault(one.dialogue, []).append(one)
    places, draw = list(by_dialogue), np.random.default_rng(SEED)
    found = []
    for _ in range(RESAMPLES):
        drawn = [one for place in draw.choice(places, len(places)) for one in by_dialogue[place]]
        found.append(auroc(*_groups(drawn, name)))
    return [float(one) for one in np.percentile(found, [2.5, 97.5])]


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--languages", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--models", nargs="*", help="bases or adapters, for log-probabilities; default: by language")
    parser.add_argument("--verify", nargs="+", default=[], help="bases or adapters that are asked about each statement")
    parser.add_argument("--limit", type=int, help="dialogues of each split; default: all")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
