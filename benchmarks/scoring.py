"""Measures scoring: pairs per second of rolesum beside rouge-score called pair by pair and Hugging Face evaluate.

Every side scores the same pairs with the same recipe in a process of its own, three times; the fastest counts. The
figures must agree to 1e-9 or nothing is written.
"""

import argparse
import sys
import time
from importlib import metadata

from record import Job, answer, arguments, probe, run_child, write_record

NAME = "scoring"
ROUNDS = 3
SIDES = ("rolesum", "rouge-score", "evaluate")


def main() -> int:
    options = _options()
    rows: list[Job] = []
    for data, scorer in ((options.csds, "csds"), (options.samsum, "samsum")):
        pairs = _pairs(data)
        for side in SIDES:
            found = run_child(__file__, {"side": side, "scorer": scorer, "pairs": pairs, "metric": options.metric})
            means = {measure: round(value, 4) for measure, value in found["means"].items()}
            rows.append({"scorer": scorer, "side": side, **_speed(len(pairs), found), **means})
        _agree(rows[-len(SIDES) :])
    pairs = _pairs(options.csds)[:800]
    many = (pairs * (options.many // len(pairs) + 1))[: options.many]
    for threads in (1, 2):
        found = run_child(__file__, {"side": "all measures", "scorer": "csds", "pairs": many, "threads": threads})
        rows.append({"scorer": "csds", "side": f"all measures, {threads} threads", **_speed(len(many), found)})
    found = run_child(__file__, {"side": "all measures", "scorer": "csds", "pairs": pairs, "threads": 2})
    rows.append({"scorer": "csds", "side": "all measures, 2 threads", **_speed(len(pairs), found)})
    speed = {(row["scorer"], row["side"]): row["pairs_per_second"] for row in rows[: 2 * len(SIDES)]}
    headline = {
        f"vs_{peer.replace('-', '_')}_{scorer}": round(speed[scorer, "rolesum"] / speed[scorer, peer], 1)
        for peer in SIDES[1:]
        for scorer in ("csds", "samsum")
    }
    headline = {
        "vs_rouge_score": min(headline["vs_rouge_score_csds"], headline["vs_rouge_score_samsum"]),
        "vs_evaluate": min(headline["vs_evaluate_csds"], headline["vs_evaluate_samsum"]),
        **headline,
        "seconds_800_all_measures": round(rows[-1]["seconds"], 3),
        "seconds_many_all_measures": round(rows[-2]["seconds"], 1),
        "many": len(many),
    }
    machine = probe("cpu", "float32", base="smollm2-135m")
    machine["versions"] |= {name: metadata.version(name) for name in ("rouge-score", "sacrebleu", "evaluate", "numpy")}
    settings = {"rounds": ROUNDS, "measures": "ROUGE-1/2/L(sum)", "predictions": "the first three turns"}
    write_record(NAME, machine, settings, rows, headline, options.results)
    return 0


def _speed(count: int, found: Job) -> Job:
    return {
        "pairs": count,
        "seconds": found["seconds"],
        "pairs_per_second": count / found["seconds"],
        "peak_memory_gb": found["peak_memory_gb"],
    }


def _pairs(data: str) -> list[tuple[str, str]]:
    """Every role's reference beside a prediction that needs no model: the first three turns as one text."""
    from rolesum.formats import read_dialogues

    pairs = []
    for dialogue in read_dialogues(data):
        stop = "。" if dialogue.language == "zh" else " "
        lead = stop.join(turn.text for turn in dialogue.turns[:3])
        pairs += [(lead, texts[0]) for texts in dialogue.summaries.values()]
    return pairs


def _agree(rows: list[Job]) -> None:
    for measure in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        values = [row[measure] for row in rows if measure in row]
        if values and max(values) - min(values) > 2e-4:  # they are rounded to four places
            raise SystemExit(f"the sides disagree on {measure}: {values}")


def child(job: Job) -> Job:
    """One side's seconds and means."""
    pairs = [(made, written) for made, written in job["pairs"]]
    work = {
        "rolesum": _ours,
        "rouge-score": _pair_by_pair,
        "evaluate": _evaluate,
        "all measures": _all_measures,
    }[job["side"]]
    seconds, means = [], {}
    rounds = 1 if job["side"] == "all measures" and len(pairs) > 10_000 else ROUNDS
    for _ in range(rounds):
        begin = time.perf_counter()
        means = work(pairs, job)
        seconds.append(time.perf_counter() - begin)
    return {"seconds": min(seconds), "means": means}


def _ours(pairs: list[tuple[str, str]], job: Job) -> dict[str, float]:
    """ROUGE alone, as the other sides compute; one thread for up to a thousand pairs, two beyond, as in use."""
    from dataclasses import replace

    from rolesum.metrics import scorers

    scorers.SCORERS["rouge alone"] = replace(scorers.SCORERS[job["scorer"]], bleu_tokenize=None)
    return dict(scorers.score("rouge alone", [(made, (written,)) for made, written in pairs]).means)


def _all_measures(pairs: list[tuple[str, str]], job: Job) -> dict[str, float]:
    from rolesum.metrics import scorers

    scorers.THREADS = job["threads"]
    return dict(scorers.score(job["scorer"], [(made, (written,)) for made, written in pairs]).means)


def _pair_by_pair(pairs: list[tuple[str, str]], job: Job) -> dict[str, float]:
    from rouge_score import rouge_scorer

    chinese = job["scorer"] == "csds"
    measures = ["rouge1", "rouge2", "rougeLsum"] if chinese else ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    rouge = rouge_scorer.RougeScorer(measures, use_stemmer=not chinese, tokenizer=_Characters() if chinese else None)
    split = _split if chinese else str
    found = [rouge.score(split(written), split(made)) for made, written in pairs]
    return {measure: 100 * sum(one[measure].fmeasure for one in found) / len(found) for measure in measures}


def _evaluate(pairs: list[tuple[str, str]], job: Job) -> dict[str, float]:
    """Hugging Face evaluate's metric `rouge`, without its own bootstrap."""
    import evaluate

    chinese = job["scorer"] == "csds"
    split = _split if chinese else str
    measures = ["rouge1", "rouge2", "rougeLsum"] if chinese else ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    found = evaluate.load(job["metric"]).compute(
        predictions=[split(made) for made, _ in pairs],
        references=[split(written) for _, written in pairs],
        rouge_types=measures,
        use_aggregator=False,
        use_stemmer=not chinese,
        tokenizer=_Characters().tokenize if chinese else None,
    )
    return {measure: 100 * sum(found[measure]) / len(pairs) for measure in measures}


def _split(text: str) -> str:
    return text.replace("。", "。\n")


class _Characters:
    """rouge-score's tokenizer interface: every character but the newline."""

    def tokenize(self, text: str) -> list[str]:
        return [character for character in text if character != "\n"]


def _options() -> argparse.Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--csds", default="data/csds/test.json", help="dialogues with Chinese references")
    parser.add_argument("--samsum", default="data/samsum/test.json", help="dialogues with English references")
    parser.add_argument(
        "--metric", default="rouge", help="evaluate's: a name on its hub, or metrics/rouge of its source"
    )
    parser.add_argument("--many", type=int, default=100_000, help="pairs of the large run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(child) if "--child" in sys.argv else main())
