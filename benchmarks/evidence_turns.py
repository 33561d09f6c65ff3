"""Measures how well each method finds the turns that say a true statement of rolesum-dialogues.

A method gives every turn a score (rolesum.generation.evidence), and the turns with the highest are compared with those
that the statement's writer named. Which attention heads count, and other settings of a method, are chosen on the
validation split of all languages together, by the mean of the three figures; the figures are the test split's. What a
model gives is kept in --work, a file for each method and dialogue, so that an interrupted run can continue.
"""

import hashlib
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from false_statements import label_of, load_named
from record import Job, arguments, probe, rows_before, write_record

from rolesum.checks.evidence import add_neighbors, find_turns, ngram_scores
from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Dialogue
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.metrics.bootstrap import bootstrap_intervals, ratio

if TYPE_CHECKING:
    from rolesum.generation.evidence import EvidenceFinder, EvidenceOptions
    from rolesum.models.prompt_model import LoadedModel

NAME = "evidence_turns"
LANGUAGES, SPLITS = ("en", "zh"), ("validation", "test")
METHODS = ("left-out", "masked", "attention", "gradient")  # those that a model computes
FIGURES = ("precision_1", "precision_2", "recall_3")
HEAD_COUNTS = (1, 2, 4, 8, 16, 32)  # of the best heads
NGRAM_WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
NEIGHBOR_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
SHOWN = ("language", "model", "method", "statements", *(f"{one}{end}" for one in FIGURES for end in ("", "_95%")))

Scores = list[list[float]]  # for each statement, the score of each turn
Arrays = dict[str, Any]  # what a model gives for a dialogue, by name


@dataclass(frozen=True)
class Case:
    """A dialogue with its true statements and the places of the turns that say each."""

    dialogue: Dialogue
    texts: tuple[str, ...]
    turns: tuple[frozenset[int], ...]

    def figures(self, rankings: Sequence[Sequence[int]]) -> np.ndarray:
        """FIGURES of each statement (statements, 3) for its turns in the order of their scores, the best first."""
        found = []
        for ranked, turns in zip(rankings, self.turns, strict=True):
            hits = [place in turns for place in ranked[:3]]
            found.append((sum(hits[:1]), sum(hits[:2]) / 2, sum(hits) / len(turns)))
        return np.array(found, dtype=float)


@dataclass(frozen=True)
class Setting:
    """A way to make scores from what a model gives for a dialogue, and what a row says of it."""

    choice: Mapping[str, Any]
    scores: Callable[[Case, Arrays], Scores]


Found = dict[tuple[str, str], list[tuple[Case, Arrays]]]  # by language and split


def main() -> int:
    options = _options()
    settings = {"limit": options.limit, "languages": options.languages, "splits": SPLITS}
    rows = {_key(row): row for row in rows_before(options.results / f"{NAME}.json", settings)}
    cases = {(of, split): read_cases(of, split, options.limit) for of in options.languages for split in SPLITS}
    rows |= {_key(row): row for row in rows_without_model(cases)}
    _write(list(rows.values()), settings, options)
    for name in options.adapter:
        loaded = load_named(name, options)
        for row in rows_of_model(label_of(name), loaded, cases, options):
            rows[_key(row)] = row
        _write(list(rows.values()), settings, options)
        del loaded
    return 0


def read_cases(language: str, split: str, limit: int | None = None) -> list[Case]:
    """The cases of a split of rolesum-dialogues."""
    return cases_of(read_dialogues(f"sample:dialogues-{language}-{split}", ReadOptions(limit=limit)))


def cases_of(dialogues: Sequence[Dialogue]) -> list[Case]:
    """The dialogues that have a true statement with turns."""
    found = []
    for dialogue in dialogues:
        if said := [one for one in dialogue.statements if one.supported and one.turns]:
            turns = tuple(frozenset(one.turns) for one in said)
            found.append(Case(dialogue, tuple(one.text for one in said), turns))
    return found


def rows_without_model(cases: Mapping[tuple[str, str], Sequence[Case]]) -> Iterator[Job]:
    """Rows of what bounds all methods (the named turns first, turns drawn at random) and of n-grams."""
    validation = [(case, Arrays()) for (_, split), of in cases.items() if split == "validation" for case in of]
    neighbors, reached = best_setting([_ngrams(weight) for weight in NEIGHBOR_WEIGHTS], validation)
    chosen = {"validation": dict(zip(FIGURES, reached, strict=True)), "choice": dict(neighbors.choice)}
    for language, of in ((language, of) for (language, split), of in cases.items() if split == "test"):
        ideal = [case.figures([sorted(turns) for turns in case.turns]) for case in of]
        yield _row(language, "", "ceiling", ideal)
        yield _row(language, "", "chance", [_chance(case) for case in of])
        yield _timed(language, "n-grams, as shown", of, shown_turns)
        yield _timed(language, "n-grams", of, lambda case: rankings(_ngrams(0.0).scores(case, {})))
        smoothed = _timed(language, "n-grams and neighbors", of, lambda case: rankings(neighbors.scores(case, {})))
        yield smoothed | chosen


def _timed(language: str, method: str, cases: Sequence[Case], rank: Callable[[Case], Sequence[Sequence[int]]]) -> Job:
    begin = time.perf_counter()
    ranked = [rank(case) for case in cases]
    seconds = time.perf_counter() - begin
    return _row(language, "", method, [case.figures(of) for case, of in zip(cases, ranked, strict=True)], seconds)


def _chance(case: Case) -> np.ndarray:
    """The expected figures of turns in random order."""
    count = len(case.dialogue.turns)
    return np.array([(len(of) / count, len(of) / count, min(3, count) / count) for of in case.turns])


def shown_turns(case: Case) -> list[tuple[int, ...]]:
    """The turns that the checks show as evidence: up to three, none where nothing supports the statement."""
    index = DialogueIndex(case.dialogue)
    return [find_turns(text, index) for text in case.texts]


def rankings(scores: Scores) -> list[list[int]]:
    """The turns by score, the highest first; of equal ones the earlier."""
    return [sorted(range(len(of)), key=lambda place: -of[place]) for of in scores]


def rows_of_model(
    label: str, loaded: "LoadedModel", cases: Mapping[tuple[str, str], Sequence[Case]], options: Namespace
) -> Iterator[Job]:
    """A row for each language and method of a model."""
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.generation.evidence import EvidenceFinder

    finder = EvidenceFinder(TransformersEngine(loaded))
    work = options.work / f"{Path(label).name}-{_digest(loaded)}"
    for method in options.methods:
        found = {
            (language, split): [
                (case, computed(finder, method, case, work / method / f"{language}-{split}-{case.dialogue.id}.npz"))
                for case in of
            ]
            for (language, split), of in cases.items()
        }
        validation = [one for (_, split), of in found.items() if split == "validation" for one in of]
        for name, settings in settings_of(method, validation):
            setting, reached = best_setting(settings, validation)
            for language in options.languages:
                test = found[language, "test"]
                values = [case.figures(rankings(setting.scores(case, arrays))) for case, arrays in test]
                seconds = sum(float(arrays["seconds"]) for _, arrays in test)
                row = _row(language, label, name, values, seconds)
                yield {**row, "validation": dict(zip(FIGURES, reached, strict=True)), "choice": dict(setting.choice)}


def _digest(loaded: "LoadedModel") -> str:
    """Names the weights and the dtype: scores of others are not taken for theirs."""
    weights = (loaded.adapter / "adapter_model.safetensors").read_bytes() if loaded.adapter else b""
    about = json.dumps([loaded.name, loaded.fingerprint, str(loaded.model.dtype)], sort_keys=True, default=str)
    return hashlib.sha256(about.encode() + weights).hexdigest()[:8]


def computed(finder: "EvidenceFinder", method: str, case: Case, path: Path) -> Arrays:
    """What the model gives for a dialogue by a method, with the seconds that it took; from `path`, if it is there."""
    if path.is_file():
        with np.load(path) as stored:
            return dict(stored)
    begin = time.perf_counter()
    found: Arrays
    if method == "attention":
        weights = finder.attention(case.dialogue, case.texts)
        found = {"answer": weights.answer.numpy(), "question": weights.question.numpy()}
    elif method == "gradient":
        found = {"products": finder.gradient(case.dialogue, case.texts).numpy()}
    else:
        score = finder.left_out if method == "left-out" else finder.masked
        found = {"scores": np.array(score(case.dialogue, case.texts))}
    found |= {"seconds": np.array(time.perf_counter() - begin), "spans": np.array(finder.turn_spans(case.dialogue))}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **found)
    unfinished.replace(path)
    return found


def settings_of(method: str, validation: Sequence[tuple[Case, Arrays]]) -> Iterator[tuple[str, list[Setting]]]:
    """The rows that a method gives, each with the settings among which the validation split chooses."""
    if method == "attention":
        yield from attention_settings(validation)
    elif method == "gradient":
        yield method, [Setting({"size": size, "per_token": each}, _gradient(size, each)) for size, each in _SIZES]
    else:
        yield method, [Setting({}, lambda _, arrays: arrays["scores"].tolist())]


# Signed products estimate the drop of the log-odds, their absolute values how much a turn matters in either direction.
_SIZES = [(size, each) for size in ("signed", "absolute") for each in (False, True)]


def _gradient(size: str, per_token: bool) -> Callable[[Case, Arrays], Scores]:
    def scores(_: Case, arrays: Arrays) -> Scores:
        products = np.abs(arrays["products"]) if size == "absolute" else arrays["products"]  # (statements, tokens)
        sums = np.stack([products[:, start:end].sum(-1) for start, end in arrays["spans"]], axis=-1)
        lengths = np.maximum(1, arrays["spans"][:, 1] - arrays["spans"][:, 0])
        return list((sums / lengths if per_token else sums).tolist())

    return scores


def attention_settings(validation: Sequence[tuple[Case, Arrays]]) -> Iterator[tuple[str, list[Setting]]]:
    """All heads, those of one layer, the best ones, and these with n-grams and neighbors."""
    from rolesum.generation.evidence import EvidenceOptions

    layers, heads = validation[0][1]["answer"].shape[1:3]
    ways = [(queries, per_token) for queries in ("answer", "question") for per_token in (False, True)]

    def over(chosen: tuple[tuple[int, int], ...]) -> list[Setting]:
        options = [EvidenceOptions(one, chosen, how, each) for one, each in ways for how in ("mean", "max")]
        return [_attention(one) for one in options]

    yield "attention, all heads", over(())
    by_layer = [tuple((layer, head) for head in range(heads)) for layer in range(layers)]
    yield "attention, one layer", [setting for chosen in by_layer for setting in over(chosen)]
    best = []
    for queries, per_token in ways:
        alone = [((layer, head),) for layer in range(layers) for head in range(heads)]
        of_head = {
            one: float(_reached(_attention(EvidenceOptions(queries, one, "mean", per_token)), validation).mean())
            for one in alone
        }
        ordered = [pair for (pair,) in sorted(of_head, key=lambda one: -of_head[one])]
        counts = [count for count in HEAD_COUNTS if count <= len(ordered)]
        best += [EvidenceOptions(queries, tuple(ordered[:count]), "mean", per_token) for count in counts]
    yield "attention, best heads", [_attention(one) for one in best]
    chosen, _ = best_setting([_attention(one) for one in best], validation)
    weights = product(NGRAM_WEIGHTS, NEIGHBOR_WEIGHTS)
    yield "n-grams, attention and neighbors", [_with_ngrams(chosen, *both) for both in weights]


def _attention(options: "EvidenceOptions") -> Setting:
    import torch

    from rolesum.generation.evidence import TurnAttention

    def scores(_: Case, arrays: Arrays) -> Scores:
        weights = TurnAttention(torch.from_numpy(arrays["answer"]), torch.from_numpy(arrays["question"]))
        return weights.scores(arrays["spans"].tolist(), options)

    return Setting(asdict(options), scores)


def _ngrams(neighbor_weight: float) -> Setting:
    def scores(case: Case, _: Arrays) -> Scores:
        return add_neighbors(ngram_scores(case.texts, DialogueIndex(case.dialogue)), neighbor_weight)

    return Setting({"neighbor_weight": neighbor_weight}, scores)


def _with_ngrams(attention: Setting, ngram_weight: float, neighbor_weight: float) -> Setting:
    from rolesum.generation.evidence import combine

    def scores(case: Case, arrays: Arrays) -> Scores:
        ngrams = ngram_scores(case.texts, DialogueIndex(case.dialogue))
        return add_neighbors(combine(ngrams, attention.scores(case, arrays), ngram_weight), neighbor_weight)

    weights = {"ngram_weight": ngram_weight, "neighbor_weight": neighbor_weight}
    return Setting({**attention.choice, **weights}, scores)


def best_setting(
    settings: Sequence[Setting], validation: Sequence[tuple[Case, Arrays]]
) -> tuple[Setting, tuple[float, ...]]:
    """The setting with the highest mean of the figures, the first of several, and its figures."""
    reached = [_reached(setting, validation) for setting in settings]
    best = max(range(len(settings)), key=lambda place: float(reached[place].mean()))
    return settings[best], tuple(map(float, reached[best]))


def _reached(setting: Setting, validation: Sequence[tuple[Case, Arrays]]) -> np.ndarray:
    """The means of the figures (3,) over all statements."""
    values = [case.figures(rankings(setting.scores(case, arrays))) for case, arrays in validation]
    return np.asarray(np.concatenate(values).mean(0))


def _row(language: str, model: str, method: str, values: Sequence[np.ndarray], seconds: float | None = None) -> Job:
    """The figures of a method with their 95 % intervals; dialogues are resampled, with all their statements."""
    counts = [len(of) for of in values]
    statistics = {
        name: ratio([of[:, place].sum() for of in values], counts, scale=1.0) for place, name in enumerate(FIGURES)
    }
    intervals = bootstrap_intervals(statistics)
    row: Job = {"language": language, "model": model, "method": method, "statements": sum(counts)}
    for name in FIGURES:
        row |= {name: statistics[name].value, f"{name}_95%": list(intervals[name] or ())}
    return row | {"seconds_per_statement": None if seconds is None else seconds / sum(counts)}


def _key(row: Job) -> tuple[str, str, str]:
    return row["language"], row["model"], row["method"]


def _write(rows: Sequence[Job], settings: Job, options: Namespace) -> None:
    names = {(row["language"], row["model"], row["method"]): row["precision_2"] for row in rows}
    headline = {f"precision_2_{'_'.join(filter(None, key))}": figure for key, figure in names.items()}
    machine = probe(options.device, options.dtype, base="smollm2-135m")
    write_record(NAME, machine, settings, rows, headline, options.results, (*SHOWN, "seconds_per_statement"))


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=list(LANGUAGES))
    parser.add_argument(
        "--adapter", nargs="+", default=[], help="adapters that verify, or bases; default: n-grams only"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="those of a model")
    parser.add_argument("--limit", type=int, help="dialogues of each split; default: all")
    parser.add_argument("--work", type=Path, default=Path("runs/evidence"), help="where a model's scores are left")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
