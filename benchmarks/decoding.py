"""Measures what decoding does to summaries: greedy, beams, sampling, and a choice among samples by two ways.

For each strategy: ROUGE, repetition, numbers and names that the dialogue does not say, and dialogues per second. The
samples are written once and serve both choices. What a strategy wrote is kept in --work: a run that was cut goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from record import Job, answer, arguments, probe, run_child, write_record

from rolesum.atomic_io import atomic_write_text
from rolesum.dialogue import Dialogue
from rolesum.evaluation.check_rates import check_predictions
from rolesum.evaluation.predictions import Prediction
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Generation
from rolesum.generation.rerank import get_reranker
from rolesum.metrics.bootstrap import bootstrap_intervals
from rolesum.metrics.scorers import score
from rolesum.roles import OVERALL

NAME = "decoding"
SCORER = "samsum"
MEASURES = {"rouge1": "R-1", "rouge2": "R-2", "rougeL": "R-L"}
# The checks' rates in percent: 4-grams that stand in the summary before, numbers and names that the dialogue lacks.
CHECKS = {"repetition": "repeated", "number": "numbers", "name": "names"}

CHOICES = ("mbr", "checks")


def main() -> int:
    options = _options()
    settings = {
        **{name: getattr(options, name) for name in ("base", "adapter", "data", "limit", "max_new_tokens", "dtype")},
        **{name: getattr(options, name) for name in ("temperature", "samples", "beams", "seed", "device")},
    }
    strategies: dict[str, Job] = {
        "greedy": {},
        f"{options.beams} beams": {"beams": options.beams},
        f"sampling at {options.temperature}": {"temperature": options.temperature},
        f"{options.samples} samples": {"temperature": options.temperature, "samples": options.samples},
    }
    written = {name: _written(name, options.work, settings | {"strategy": one}) for name, one in strategies.items()}
    dialogues = read_dialogues(options.data, ReadOptions(limit=options.limit))
    *single, several = strategies
    rows = [_row(name, dialogues, [texts[0] for texts in written[name][0]], written[name][1]) for name in single]
    spents: dict[str, float] = {}
    for choice in CHOICES:
        made, seconds = written[several]
        begin = time.perf_counter()
        pick = get_reranker(choice)
        chosen = [texts[pick(one, OVERALL, texts)] for one, texts in zip(dialogues, made, strict=True)]
        spent = time.perf_counter() - begin
        rows.append(_row(f"{choice} of {several}", dialogues, chosen, seconds + spent))
        spents[f"choice_seconds_{choice}"] = spent
    machine = probe(options.device, options.dtype, base=options.base)
    headline = dict(spents)
    for row in rows:
        name = row["strategy"].replace(" ", "_")
        headline[f"rougeL_{name}"] = row["R-L"]
        headline[f"cost_{name}"] = rows[0]["per_second"] / row["per_second"]  # in greedy's time
    write_record(NAME, machine, settings | {"scorer": SCORER}, rows, headline, options.results)
    return 0


def _written(name: str, work: Path, job: Job) -> tuple[list[list[Generation]], float]:
    """The texts of a strategy, one list a dialogue, and the seconds that they took; kept from before if it is there."""
    kept = work / f"{name.replace(' ', '-')}.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if found.get("job") != job:
        found = run_child(__file__, job | {"name": name}) | {"job": job}
        atomic_write_text(kept, json.dumps(found, ensure_ascii=False))
    return [[Generation(**one) for one in texts] for texts in found["texts"]], found["seconds"]


def child(job: Job) -> Job:
    """Write a strategy's texts. Loading is not counted."""
    from rolesum.console import DIALOGUES_BEFORE_ETA, progress_bar
    from rolesum.generation import Decoding
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models import load_model

    loaded = load_model(job["base"], adapter=job["adapter"], device=job["device"], dtype=job["dtype"])
    engine = TransformersEngine(loaded)
    samples = job["strategy"].get("samples", 1)
    how = {name: value for name, value in job["strategy"].items() if name != "samples"}
    dialogues = read_dialogues(job["data"], ReadOptions(limit=job["limit"]))
    prompts = [engine.layout.prompt(dialogue, [OVERALL] * samples) for dialogue in dialogues]
    decoding = Decoding(max_new_tokens=job["max_new_tokens"], seed=job["seed"], **how)
    begin = time.perf_counter()
    with progress_bar(job["name"], len(prompts), steps_before_eta=DIALOGUES_BEFORE_ETA) as bar:
        made = engine.generate(prompts, decoding, bar.advance)
    return {"seconds": time.perf_counter() - begin, "texts": [[asdict(one) for one in texts] for texts in made]}


def _row(strategy: str, dialogues: Sequence[Dialogue], texts: Sequence[Generation], seconds: float) -> Job:
    """A strategy's figures; behind each stands its 95 % interval over the dialogues."""
    predictions = [
        Prediction(dialogue.id, OVERALL, one.text, dialogue.summaries[OVERALL], one.tokens, one.finish_reason)
        for dialogue, one in zip(dialogues, texts, strict=True)
    ]
    scored = score(SCORER, [(one.prediction, one.references) for one in predictions])
    bounds = bootstrap_intervals({name: scored.statistics[name] for name in MEASURES})
    rates = check_predictions(predictions, dialogues)[OVERALL].rates
    row: Job = {"strategy": strategy}
    for name, heading in MEASURES.items():
        row[heading] = scored.means[name]
        row[f"{heading}_95%"] = list(bounds[name] or ())
    for name, heading in CHECKS.items():
        rate = rates[name]
        row[heading] = rate.value
        row[f"{heading}_95%"] = [] if rate.low is None else [rate.low, rate.high]
    row["tokens"] = sum(one.tokens for one in texts) / len(texts)
    row["cut"] = sum(one.finish_reason == "length" for one in texts)
    row["per_second"] = len(texts) / seconds
    return row


def _options() -> argparse.Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--base", default="smollm2-135m", help="the model")
    parser.add_argument("--adapter", help="a fine-tuned adapter on it; without, the model as it is")
    parser.add_argument("--data", default="data/samsum/val.json", help="dialogues with English references for overall")
    parser.add_argument("--limit", type=int, default=200, help="the first N dialogues")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--samples", type=int, default=8, help="texts to choose from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/decoding"), help="where texts are kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(child) if "--child" in sys.argv else main())
