"""Chooses among samples in every way that rolesum has, and writes what each way chose, beside the greedy summaries.

    python benchmarks/rerank.py --adapter runs/NAME/adapter --work runs/rerank
    python benchmarks/summary_reading.py sheets --data sample:dialogues-en-test --out reading \
        greedy=runs/rerank/greedy.jsonl support-8=runs/rerank/support-8.jsonl ...

An adapter that summarizes and verifies samples eight summaries for each role, and verifies the statements of all. By
support, by agreement (MBR), by the checks and by log-probability the first four are chosen among, then all eight.
`doubtful` is the share of summaries with a statement under the adapter's threshold: by the judge that chose by support,
so only readers can say what is true. What is in --work is not generated again.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from record import Job, answer, arguments, probe, run_child, write_record

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.checks.statements import split_statements
from rolesum.console import progress_bar
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import UsageError
from rolesum.evaluation.predictions import Prediction
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engine import Decoding, Generation
from rolesum.generation.rerank import best_text, get_reranker
from rolesum.generation.support import SupportFinder, open_verifier
from rolesum.metrics.bootstrap import bootstrap_intervals, ratio
from rolesum.metrics.scorers import default_scorer, score
from rolesum.models.bundled_adapters import adapter_path

NAME = "rerank"
GREEDY, SUPPORT, ALL_ROLES = "greedy", "support", "all"
CHOICES = ("mbr", "checks", "likeliest")
NUMBERS = (4, 8)
AT_ONCE = 4  # dialogues that are sampled together
SHOWN = ("system", "role", "summaries", "rouge1", "doubtful", "doubtful_95%", "lowest_support", "tokens")


@dataclass(frozen=True)
class Sampled:
    """The texts of a role of a dialogue, greedy and sampled, and by its text the support of each one's statements."""

    greedy: Generation
    samples: tuple[Generation, ...]
    support: dict[str, list[float]]

    def lowest(self, text: str) -> float:
        """The lowest support of a text's statements; one that could not be verified counts as 0, as no statement."""
        return min(self.support[text], default=0.0)


def main() -> int:
    options = _options()
    settings = {name: getattr(options, name) for name in ("data", "limit", "roles", "max_new_tokens", "temperature")}
    job = {**settings, "adapter": options.adapter, "device": options.device, "dtype": options.dtype}
    made = run_child(__file__, job | {"work": str(options.work)})
    dialogues = read_dialogues(options.data, ReadOptions(limit=options.limit))
    sampled = {one.id: _read(options.work, one.id) for one in dialogues}
    rows = []
    for system in systems():
        predictions = list(_predictions(system, dialogues, sampled))
        lines = (json.dumps(one.as_json(), ensure_ascii=False) + "\n" for one in predictions)
        atomic_write_text(options.work / f"{system}.jsonl", "".join(lines))
        rows += list(_rows(system, predictions, dialogues, sampled, made["threshold"]))
    headline = {f"doubtful_{row['system']}": row["doubtful"] for row in rows if row["role"] == ALL_ROLES}
    headline |= {"sampling_over_greedy": made["sampling_over_greedy"]}
    machine = probe(options.device, options.dtype, base=made["base"])
    name = f"{NAME}-{dialogues[0].language}"
    write_record(name, machine, settings | {"threshold": made["threshold"]}, rows, headline, options.results, SHOWN)
    return 0


def systems() -> list[str]:
    """The names of the ways: greedy, then each way of choosing with the number of samples."""
    return [GREEDY, *(f"{way}-{number}" for number in NUMBERS for way in (SUPPORT, *CHOICES))]


def choose(system: str, dialogue: Dialogue, role: str, sampled: Sampled) -> Generation:
    """What a system writes for a role of a dialogue."""
    if system == GREEDY:
        return sampled.greedy
    way, _, number = system.rpartition("-")
    texts = sampled.samples[: int(number)]
    if way != SUPPORT:
        return texts[get_reranker(way)(dialogue, role, texts)]

    def value(one: Generation) -> tuple[float, ...]:
        found = sampled.support[one.text]
        return (min(found), fmean(found)) if found else (-1.0, -1.0)

    return texts[best_text(texts, value)]


def _predictions(
    system: str, dialogues: Sequence[Dialogue], sampled: Mapping[str, Mapping[str, Sampled]]
) -> Iterator[Prediction]:
    for dialogue in dialogues:
        for role, one in sampled[dialogue.id].items():
            chosen = choose(system, dialogue, role, one)
            references = tuple(dialogue.summaries[role])
            yield Prediction(dialogue.id, role, chosen.text, references, chosen.tokens, chosen.finish_reason)


def _rows(
    system: str,
    predictions: Sequence[Prediction],
    dialogues: Sequence[Dialogue],
    sampled: Mapping[str, Mapping[str, Sampled]],
    threshold: float,
) -> Iterator[Job]:
    """A row for each role and one for all: ROUGE-1, doubtful summaries, the mean lowest support, tokens."""
    by_id = {one.id: one for one in dialogues}
    for role in (*dict.fromkeys(one.role for one in predictions), ALL_ROLES):
        own = [one for one in predictions if role in (one.role, ALL_ROLES)]
        lowest = [sampled[one.id][one.role].lowest(one.prediction) for one in own]
        hits, cases = dict.fromkeys(by_id, 0), dict.fromkeys(by_id, 0)
        for one, value in zip(own, lowest, strict=True):
            hits[one.id] += value < threshold
            cases[one.id] += 1
        doubtful = ratio(list(hits.values()), list(cases.values()))
        pairs = [(one.prediction, one.references) for one in own]
        yield {
            "system": system,
            "role": role,
            "summaries": len(own),
            "rouge1": score(default_scorer(pairs), pairs).means["rouge1"],
            "doubtful": doubtful.value,
            "doubtful_95%": list(bootstrap_intervals({"doubtful": doubtful})["doubtful"] or ()),
            "lowest_support": fmean(lowest),
            "tokens": fmean(one.tokens for one in own),
        }


def child(job: Job) -> Job:
    """Write the texts and the support of the dialogues that are not in the directory of the work."""
    from rolesum.generation import summarize
    from rolesum.generation.factory import EngineSpec

    work = Path(job["work"])
    engine = EngineSpec(adapter=adapter_path(job["adapter"]), device=job["device"], dtype=job["dtype"]).open()
    verifier = open_verifier(engine)
    if verifier is None:
        raise UsageError(f"{job['adapter']} was not trained to verify statements", fix="name an adapter that was")
    greedy = Decoding(max_new_tokens=job["max_new_tokens"])
    sampling = Decoding(max_new_tokens=job["max_new_tokens"], temperature=job["temperature"])
    dialogues = read_dialogues(job["data"], ReadOptions(limit=job["limit"]))
    left = [one for one in dialogues if not _file(work, one.id).is_file()]
    times = {"greedy": 0.0, "sampled": 0.0}
    with progress_bar("sample", len(left)) as bar:
        for begin in range(0, len(left), AT_ONCE):
            together = left[begin : begin + AT_ONCE]
            texts: dict[tuple[str, str], tuple[Generation, ...]] = {}

            def keep(dialogue: Dialogue, role: str, found: Sequence[Generation], texts: dict[Any, Any] = texts) -> int:
                texts[dialogue.id, role] = tuple(found)
                return 0

            start = time.perf_counter()
            plain = summarize(together, engine, job["roles"], greedy)
            middle = time.perf_counter()
            summarize(together, engine, job["roles"], sampling, samples=max(NUMBERS), reranker=keep)
            times["greedy"] += middle - start
            times["sampled"] += time.perf_counter() - middle
            for dialogue, of in zip(together, plain, strict=True):
                _verify_and_write(work, dialogue, of, texts, SupportFinder(verifier))
            bar.advance(len(together))
    return {
        "base": str(verifier.engine.loaded.path),
        "threshold": verifier.summary_threshold,
        "sampling_over_greedy": times["sampled"] / times["greedy"] if left else None,
    }


def _verify_and_write(
    work: Path,
    dialogue: Dialogue,
    greedy: Sequence[RoleSummary],
    texts: Mapping[tuple[str, str], Sequence[Generation]],
    finder: SupportFinder,
) -> None:
    plain = {
        one.role: Generation(
            one.text, one.tokens, one.finish_reason, one.mean_logprob, token_logprobs=one.token_logprobs
        )
        for one in greedy
    }
    by_role = {role: (one, *texts[dialogue.id, role]) for role, one in plain.items()}
    spans = {one.text: split_statements(one.text, dialogue.language) for of in by_role.values() for one in of}
    answers = finder.find([dialogue], [[span.text for of in spans.values() for span in of]])[0]

    def support(one: Generation) -> list[float]:
        return [value or 0.0 for value in finder.of_text(one.text, one.token_logprobs, spans[one.text], answers)]

    record = {
        role: {
            "greedy": _without_tokens(plain[role]),
            "samples": [_without_tokens(sample) for sample in texts[dialogue.id, role]],
            "support": {one.text: support(one) for one in of},
        }
        for role, of in by_role.items()
    }
    atomic_write_text(_file(work, dialogue.id), strict_json.dumps(record, ensure_ascii=False) + "\n")


def _without_tokens(one: Generation) -> Job:
    return asdict(replace(one, token_logprobs=()))


def _read(work: Path, dialogue_id: str) -> dict[str, Sampled]:
    """What was written of a dialogue, by role."""
    found = json.loads(_file(work, dialogue_id).read_text(encoding="utf-8"))
    return {
        role: Sampled(Generation(**one["greedy"]), tuple(Generation(**each) for each in one["samples"]), one["support"])
        for role, one in found.items()
    }


def _file(work: Path, dialogue_id: str) -> Path:
    return work / "samples" / f"{dialogue_id}.json"


def _options() -> argparse.Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--adapter", required=True, help="directory of an adapter that summarizes and verifies")
    parser.add_argument("--data", default="sample:dialogues-en-test", help="file of dialogues with references")
    parser.add_argument("--limit", type=int, help="the first N dialogues; default: all")
    parser.add_argument("--roles", nargs="+", default=["overall", "user", "agent"])
    parser.add_argument("--max-new-tokens", type=int, default=128, help="length of a summary")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/rerank"), help="where texts are kept, and what was chosen"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(child) if "--child" in sys.argv else main())
