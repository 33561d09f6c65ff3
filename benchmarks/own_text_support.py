"""Fits how the support of a model's own statements follows from its answer and from the likelihood of their tokens.

    rolesum evaluate --adapter NAME --data DATA --out RUN
    python benchmarks/own_text_support.py features RUN --data DATA --labels LABELS.jsonl --adapter NAME --out F.jsonl
    python benchmarks/own_text_support.py fit F.jsonl... [--write ADAPTER]
    python benchmarks/own_text_support.py measure F.jsonl... --adapter NAME
    python benchmarks/own_text_support.py support RUN --data DATA --adapter NAME --out PREDICTIONS.jsonl

LABELS has lines {"dialogue", "text", "label", "reader"}, as labeled_statements.py makes them; a statement counts where
all its readers agree. `features` goes on where it was stopped. `fit` prints the weights, and how well the support
tells true statements from others in dialogues that are left out of the fit, for each set of features that it compares.
`measure` says how well the weights of an adapter do on the features of other statements, beside its answer alone.
`support` writes the predictions of an older run with the support that the adapter gives them now.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from labeled_statements import agreed_labels
from numpy.typing import NDArray
from reading import read_lines
from record import Job

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.counts import counted
from rolesum.dialogue import Bundle, Dialogue, Example
from rolesum.errors import DataError, RolesumError, UsageError
from rolesum.evaluation.model_metrics.log_probability import summary_logprobs
from rolesum.evaluation.predictions import Prediction, read_predictions
from rolesum.formats import read_dialogues
from rolesum.generation.factory import EngineSpec
from rolesum.generation.own_text_support import (
    OwnTextWeights,
    logit,
    logprob_features,
    own_text_weights,
    statement_logprobs,
)
from rolesum.generation.support import find_support, open_verifier
from rolesum.generation.verification import Verifier
from rolesum.metrics.calibration import expected_calibration_error, reliability, sigmoid
from rolesum.metrics.detection import auroc, best_threshold
from rolesum.models.adapter_metadata import (
    adapter_directory,
    read_adapter_metadata,
    store_verify,
    verify_threshold,
)

FOLDS = 10
RIDGE = 1e-3
STEPS = 30
FEATURES = ("answer", "mean_logprob", "unlikely_tokens")
COMPARED = (("answer",), ("answer", "mean_logprob"), ("answer", "unlikely_tokens"), FEATURES)

Floats = NDArray[np.float64]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        {"features": write_features, "fit": fit, "measure": measure, "support": write_support}[options.what](options)
    except RolesumError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write_features(options: argparse.Namespace) -> None:
    """Append a line for each labeled statement of each dialogue that the file has none of."""
    labels = agreed_labels(read_lines(options.labels))
    known = {json.loads(line)["dialogue"] for line in _lines(options.out)}
    left = {dialogue for dialogue, _ in labels} - known
    with options.out.open("a", encoding="utf-8") as file:
        for dialogue, summaries, found in _statements(options, left):
            for one, of in zip(summaries, found, strict=True):
                for said, (answer, logprobs) in zip(one.statements, of, strict=True):
                    if (label := labels.get((dialogue.id, said.text))) is None or answer is None or not logprobs:
                        continue
                    about = {"dialogue": dialogue.id, "language": dialogue.language, "role": one.role}
                    values = zip(FEATURES, (logit(answer), *logprob_features(logprobs)), strict=True)
                    line = about | {"text": said.text} | {name: round(value, 5) for name, value in values}
                    file.write(strict_json.dumps(line | {"true": label}, ensure_ascii=False) + "\n")
            file.flush()


def write_support(options: argparse.Namespace) -> None:
    """Write the predictions of a run with the support of their statements by answer and tokens."""
    weights, answer_threshold = _weights(options.adapter), verify_threshold(read_adapter_metadata(options.adapter))

    def support(answer: float | None, logprobs: Sequence[float]) -> float | None:
        if answer is None:
            return None
        known = bool(logprobs)
        return weights.support(answer, logprobs) if known else weights.support_without_tokens(answer, answer_threshold)

    lines = list[Job]()
    for _, summaries, found in _statements(options, None):
        for one, of in zip(summaries, found, strict=True):
            said = [replace(each, support=support(*values)) for each, values in zip(one.statements, of, strict=True)]
            lines.append(replace(one, statements=tuple(said), support_threshold=weights.threshold).as_json())
    atomic_write_text(options.out, "".join(f"{strict_json.dumps(line, ensure_ascii=False)}\n" for line in lines))


# Of each statement of a summary: the support by the answer, and the log-probabilities of its tokens.
Found = list[tuple[float | None, list[float]]]


def _statements(
    options: argparse.Namespace, wanted: Set[str] | None
) -> Iterator[tuple[Dialogue, list[Prediction], list[Found]]]:
    """The dialogues of a run with their summaries and what is found of each one's statements; all, or those wanted."""
    written = read_predictions(options.run / "predictions.jsonl" if options.run.is_dir() else options.run)
    dialogues = {one.id: one for one in read_dialogues(options.data)}
    asked = [one for one in dict.fromkeys(each.id for each in written) if wanted is None or one in wanted]
    if unknown := [one for one in asked if one not in dialogues]:
        raise DataError(f"a summary of no dialogue of the data: {unknown[0]}", str(options.run), "name its --data")
    verifier = open_verifier(EngineSpec(adapter=adapter_directory(options.adapter)).open())
    if verifier is None:
        raise UsageError(f"{options.adapter} was not trained to verify statements", fix="name an adapter that was")
    for place, identity in enumerate(asked, 1):
        of = [one for one in written if one.id == identity]
        yield dialogues[identity], of, features(verifier, dialogues[identity], of)
        print(f"{place} of {counted(len(asked), 'dialogue')}", file=sys.stderr)


def features(verifier: Verifier, dialogue: Dialogue, summaries: Sequence[Prediction]) -> list[Found]:
    """The support by the answer of each statement of each summary, and the log-probabilities of its tokens."""
    (support,) = find_support(verifier, [dialogue], [[said.text for one in summaries for said in one.statements]])
    bundle = Bundle(dialogue, tuple(Example(dialogue, one.role, one.prediction) for one in summaries))
    (of_bundle,) = summary_logprobs(verifier.engine.loaded, verifier.layout, [bundle])
    found = []
    for one, logprobs in zip(summaries, of_bundle, strict=True):
        ids = verifier.engine.loaded.tokenizer.encode(one.prediction, add_special_tokens=False)
        if len(ids) + 1 != len(logprobs):  # the end of the text is scored too
            raise DataError(f"the summary for {one.role} is not tokenized as it is trained on", dialogue.id)
        tokens = list(zip(verifier.token_texts(ids), logprobs[:-1], strict=True))
        own = statement_logprobs(one.prediction, tokens, one.statements)
        found.append([(support[said.text], of) for said, of in zip(one.statements, own, strict=True)])
    return found


def fit(options: argparse.Namespace) -> None:
    """Print what each set of features gives, and the weights of all; write these if asked to."""
    rows = [json.loads(line) for file in options.files for line in _lines(file)]
    if not rows:
        raise DataError("no statement to fit to", str(options.files[0]), "write features first")
    labels = np.array([row["true"] for row in rows])
    groups = np.array([row["dialogue"] for row in rows])
    languages = np.array([row["language"] for row in rows])
    for names in COMPARED:
        odds = left_out_odds(_values(rows, names), labels, groups)
        shown = [
            f"{language} {auroc(odds[labels & (languages == language)], odds[~labels & (languages == language)]):.3f}"
            for language in sorted(set(languages))
        ]
        print(f"AUROC of dialogues left out, {', '.join(names)}: {', '.join(shown)}")
    support = sigmoid(left_out_odds(_values(rows, FEATURES), labels, groups))
    error = expected_calibration_error(reliability(support, labels.tolist()))
    weights = fit_logistic(_values(rows, FEATURES), labels).round(4).tolist()
    found = OwnTextWeights(*weights, threshold=round(best_threshold(support[labels], support[~labels]), 1))
    count = f"{counted(len(rows), 'statement')} of {counted(len(set(groups)), 'dialogue')}, {labels.sum()} true"
    print(f"{found}, fitted to {count}; calibration error of dialogues left out {error:.3f}")
    if options.write:
        fitted = {"dialogues": len(set(groups.tolist())), "statements": len(rows)}
        store_verify(options.write, {"own_text": {**asdict(found), "fitted_on": fitted}})


def measure(options: argparse.Namespace) -> None:
    """Print for each file how well the adapter's support, and that by its answer alone, tell what is true."""
    metadata = read_adapter_metadata(options.adapter)
    weights = _weights(options.adapter)
    by_own = np.array([weights.answer, weights.mean_logprob, weights.unlikely_tokens])
    for file in options.files:
        rows = [json.loads(line) for line in _lines(file)]
        labels, values = np.array([row["true"] for row in rows]), _values(rows, FEATURES)
        print(f"{file.stem}: {counted(len(rows), 'statement')}, {labels.sum()} true")
        for name, odds, threshold in (
            ("answer", values[:, 0], verify_threshold(metadata)),
            ("support", weights.constant + values @ by_own, weights.threshold),
        ):
            marked = sigmoid(odds) < threshold
            shares = {
                "of the true": marked[labels],
                "of the others": marked[~labels],
                "true of the unmarked": labels[~marked],
            }
            shown = ", ".join(f"{what} {100 * share.mean():.0f} %" for what, share in shares.items())
            print(f"  {name}: AUROC {auroc(odds[labels], odds[~labels]):.3f}; marked under {threshold}: {shown}")


def left_out_odds(values: Floats, labels: NDArray[np.bool_], groups: NDArray[np.str_]) -> Floats:
    """The log-odds of each statement by the weights that are fitted without its fold of dialogues."""
    order = np.random.default_rng(1).permutation(np.unique(groups))
    odds = np.zeros(len(labels))
    for fold in range(FOLDS):
        out = np.isin(groups, order[fold::FOLDS])
        constant, *weights = fit_logistic(values[~out], labels[~out])
        odds[out] = constant + values[out] @ np.array(weights)
    return odds


def fit_logistic(values: Floats, labels: NDArray[np.bool_]) -> Floats:
    """The constant and the weights of a logistic regression, by Newton's method with a small ridge."""
    design = np.column_stack([np.ones(len(values)), values])
    weights = np.zeros(design.shape[1])
    ridge = RIDGE * np.eye(len(weights))
    for _ in range(STEPS):
        likely = sigmoid(design @ weights)
        gradient = design.T @ (labels - likely) - ridge @ weights
        curvature = (design * (likely * (1 - likely))[:, None]).T @ design + ridge
        weights = weights + np.linalg.solve(curvature, gradient)
    return weights


def _weights(adapter: str) -> OwnTextWeights:
    weights = own_text_weights(read_adapter_metadata(adapter))
    if weights is None:
        raise DataError("the adapter has no weights of own texts", adapter, "fit them, and --write them")
    return weights


def _values(rows: Sequence[Job], names: Sequence[str]) -> Floats:
    return np.array([[row[name] for name in names] for row in rows], dtype=float)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    features = commands.add_parser("features", help="what the support may follow from, of each labeled statement")
    features.add_argument("--labels", type=Path, nargs="+", required=True, help="the labels of statements")
    support = commands.add_parser("support", help="the predictions of a run with the support that they have now")
    for one in (features, support):
        one.add_argument("run", type=Path, help="an evaluation's directory or predictions.jsonl, with statements")
        one.add_argument("--data", required=True, help="the dialogues of the summaries: a file, or sample:NAME")
        one.add_argument("--adapter", required=True, help="the one that wrote the summaries")
        one.add_argument("--out", type=Path, required=True, help="the file; that of features is continued")
    fitting = commands.add_parser("fit", help="the weights")
    fitting.add_argument("files", type=Path, nargs="+", help="what `features` wrote")
    measured = commands.add_parser("measure", help="how well an adapter's weights do on labeled statements")
    measured.add_argument("files", type=Path, nargs="+", help="what `features` wrote")
    measured.add_argument("--adapter", required=True, help="the one that has the weights, and wrote the summaries")
    fitting.add_argument("--write", type=Path, help="an adapter's directory, whose metadata get the weights")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
