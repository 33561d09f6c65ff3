"""Measures what verifying the statements of summaries adds to the time of writing them.

The summaries of some dialogues are written alone; with each statement behind the prefix that was computed for its
summary ("follow-up"); and with the dialogues computed again for their statements when all summaries are written
("separate"). Each way has a process of its own and is timed several times; loading is not counted.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import chain
from statistics import median
from typing import Any

from record import Job, answer, arguments, probe, run_child, write_record

NAME = "verification"
WAYS = ("alone", "follow-up", "separate")
SHOWN = ("way", "seconds", "share", "summaries", "statements", "summary_tokens", "peak_memory_gb")


def main() -> int:
    options = _options()
    names = ("base", "adapter", "data", "limit", "max_new_tokens", "rounds", "device", "dtype")
    settings = {name: getattr(options, name) for name in names}
    found = {way: run_child(__file__, settings | {"way": way}) for way in WAYS}
    alone = median(found["alone"]["seconds"])
    rows = [
        {"way": way, **one, "seconds": median(one["seconds"]), "share": median(one["seconds"]) / alone - 1}
        for way, one in found.items()
    ]
    texts, probabilities = ([row.pop(name) for row in rows] for name in ("texts", "probabilities"))
    same = texts[1] == texts[2]
    pairs = zip(probabilities[1], probabilities[2], strict=True) if same else ()
    headline = {
        "share_follow_up": rows[1]["share"],
        "share_separate": rows[2]["share"],
        "largest_difference": max((abs(one - other) for one, other in pairs), default=None),
        "equal_texts": same,
    }
    machine = probe(options.device, options.dtype, base=found["alone"]["base"])
    write_record(NAME, machine, settings, rows, headline, options.results, SHOWN)
    return 0


def child(job: Job) -> Job:
    """Write the summaries in one way, as often as there are rounds after one that is not counted."""
    from rolesum.formats import ReadOptions, read_dialogues
    from rolesum.generation import Decoding
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.generation.support import statements
    from rolesum.generation.verification import Verifier
    from rolesum.models import load_model
    from rolesum.roles import default_roles

    loaded = load_model(job["base"], adapter=job["adapter"], device=job["device"], dtype=job["dtype"])
    engine, decoding = TransformersEngine(loaded), Decoding(max_new_tokens=job["max_new_tokens"])
    verifier = Verifier(engine)
    dialogues = read_dialogues(job["data"], ReadOptions(limit=job["limit"]))
    prompts = [engine.layout.prompt(one, default_roles(one)) for one in dialogues]

    def split(number: int, texts: Sequence[str]) -> list[list[str]]:
        return [statements(text, dialogues[number]) for text in texts]

    def summarize() -> tuple[Sequence[Sequence[Any]], list[float]]:
        """The summaries and the probabilities of all their statements, in order."""
        if job["way"] == "follow-up":
            verified = verifier.follow_up(split)
            made = engine.generate(prompts, decoding, follow_up=verified)
            each = chain.from_iterable(verified.probabilities[number] for number in range(len(prompts)))
            return made, [one for of in each for one in of if one is not None]
        made = engine.generate(prompts, decoding)
        if job["way"] == "alone":
            return made, []
        said = [split(number, [one.text for one in of]) for number, of in enumerate(made)]
        flat = [list(chain.from_iterable(of)) for of in said]
        return made, list(chain.from_iterable(verifier.verify_all(dialogues, flat)))

    seconds = []
    for _ in range(job["rounds"] + 1):
        begin = time.perf_counter()
        made, probabilities = summarize()
        seconds.append(time.perf_counter() - begin)
    texts = [[one.text for one in of] for of in made]
    return {
        "base": str(loaded.path),
        "seconds": seconds[1:],
        "summaries": sum(map(len, texts)),
        "statements": sum(len(each) for number, of in enumerate(texts) for each in split(number, of)),
        "summary_tokens": sum(one.tokens for of in made for one in of),
        "texts": texts,
        "probabilities": probabilities,
    }


def _options() -> argparse.Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--base", default=None, help="alias, hub id or directory; default: the adapter's")
    parser.add_argument("--adapter", required=True, help="directory of an adapter that summarizes and verifies")
    parser.add_argument("--data", default="sample:dialogues-en-test", help="file of dialogues")
    parser.add_argument("--limit", type=int, default=24, help="the first N dialogues")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="length of a summary")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is timed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(child) if "--child" in sys.argv else main())
