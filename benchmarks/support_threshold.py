"""Measures what a threshold of support costs: how many true statements it marks, and how many false ones it catches.

An adapter that verifies is asked about each statement of the test split of rolesum-dialogues. A statement whose support
is under the threshold is marked. AUROC and calibration need no threshold. All intervals are over dialogues.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from false_statements import label_of, load_named
from numpy.typing import NDArray
from record import Job, arguments, print_rows, probe, rows_before, write_record

from rolesum.dialogue import Dialogue
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.metrics.bootstrap import RESAMPLES, SEED, bootstrap_intervals
from rolesum.metrics.calibration import expected_calibration_error, reliability
from rolesum.metrics.detection import auroc, auroc_interval, decision_statistics
from rolesum.models.adapter_metadata import verify_threshold

NAME = "support_threshold"
LANGUAGES = ("en", "zh")
THRESHOLDS = tuple(step / 10 for step in range(1, 10))
SHOWN = ("language", "model", "dialogues", "statements", "false", "auroc", "auroc_95%", "calibration_error")


@dataclass(frozen=True)
class Verified:
    """Statements with their support (n,), whether each is true (n,), and the number of its dialogue (n,)."""

    support: NDArray[np.float64]
    is_true: NDArray[np.bool_]
    groups: NDArray[np.int64]


def main() -> int:
    options = _options()
    settings = {"limit": options.limit, "split": "test", "resamples": RESAMPLES, "seed": SEED}
    rows = {_key(row): row for row in rows_before(options.results / f"{NAME}.json", settings)}
    for name in options.adapter:
        wanted = [one for one in options.languages if (one, label_of(name)) not in rows]
        if not wanted:
            continue
        verifier = Verifier(TransformersEngine(load_named(name, options)))
        for language in wanted:
            dialogues = read_dialogues(f"sample:dialogues-{language}-test", ReadOptions(limit=options.limit))
            row = {"language": language, "model": label_of(name), **row_of(verify(verifier, dialogues), verifier)}
            rows[_key(row)] = row
            _write(list(rows.values()), settings, options)
        del verifier
    return 0


def verify(verifier: Verifier, dialogues: Sequence[Dialogue]) -> Verified:
    """The support of all statements of the dialogues."""
    found = verifier.verify_all(dialogues, [[one.text for one in dialogue.statements] for dialogue in dialogues])
    labeled = [(number, one.supported) for number, dialogue in enumerate(dialogues) for one in dialogue.statements]
    _, groups = np.unique([number for number, _ in labeled], return_inverse=True)
    return Verified(np.array([one for of in found for one in of]), np.array([label for _, label in labeled]), groups)


def row_of(verified: Verified, verifier: Verifier) -> Job:
    """All figures of one adapter and language."""
    support, is_true, groups = verified.support, verified.is_true, verified.groups
    table = reliability(support, is_true.tolist())
    threshold = verify_threshold(verifier.engine.loaded.metadata)
    return {
        "dialogues": int(groups.max()) + 1,
        "statements": len(support),
        "false": int((~is_true).sum()),
        "auroc": auroc(support[is_true], support[~is_true]),
        "auroc_95%": list(auroc_interval(-support, ~is_true, groups) or ()),
        "calibration_error": expected_calibration_error(table),
        "temperature": verifier.temperature,
        "own_threshold": costs(verified, threshold),
        "thresholds": [costs(verified, one) for one in THRESHOLDS],
        "reliability": [asdict(one) for one in table],
    }


def costs(verified: Verified, threshold: float) -> Job:
    """What a threshold marks: the share of the true and of the false statements, and how much of it is false."""
    marked = verified.support < threshold
    statistics = decision_statistics(marked, ~verified.is_true, verified.groups)
    intervals = bootstrap_intervals(statistics)
    names = {"true_lost": "false_positive_rate", "false_caught": "recall", "marked_false": "precision"}
    row: Job = {"threshold": threshold}
    for name, figure in names.items():
        value, interval = statistics[figure].value, intervals[figure]
        row |= {name: None if np.isnan(value) else value, f"{name}_95%": list(interval) if interval else None}
    return row


def _key(row: Job) -> tuple[str, str]:
    return row["language"], row["model"]


def _write(rows: Sequence[Job], settings: Job, options: Namespace) -> None:
    headline = {
        f"{figure}_{row['language']}_{row['model']}": row[figure]
        for row in rows
        for figure in ("auroc", "calibration_error")
    }
    machine = probe(options.device, options.dtype, base="smollm2-135m")
    write_record(NAME, machine, settings, rows, headline, options.results, SHOWN)
    for row in rows:
        shown = [{key: one[key] for key in one if not key.endswith("%")} for one in row["thresholds"]]
        print_rows(f"{row['model']}, {row['language']}", shown)


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--adapter", nargs="+", required=True, help="directories of adapters that verify")
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=list(LANGUAGES))
    parser.add_argument("--limit", type=int, help="dialogues of each test split; default: all")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
