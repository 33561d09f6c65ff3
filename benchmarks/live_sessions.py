"""Measures what the next summary of a dialogue that grows costs, with and without the keys that are kept.

Bundled dialogues are joined to one long one. At several lengths a turn is appended and a summary asked for: once with
the keys of the dialogue so far, and once without, as if the whole dialogue was sent anew. The summary has one role and
one token, so that the cost is that of reading. Told are seconds, and the processor's seconds, which other programs on
the machine change less; of several repeats, each with another turn, the median.
"""

import time
from collections.abc import Sequence
from statistics import median

from record import Job, arguments, probe, write_record

from rolesum import Dialogue, Turn
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.async_engine import AsyncEngine, EngineClient
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model

NAME = "live_sessions"
LENGTHS = (500, 1000, 2000)
SHOWN = ("tokens", "way", "computed_tokens", "seconds", "processor_seconds", "cached_mb")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens of the dialogue")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    machine = probe(options.device, options.dtype, base=options.model)
    engine = TransformersEngine(load_model(options.model, dtype=options.dtype, device=options.device))
    turns = [turn for one in read_dialogues("sample:dialogues-en-train", ReadOptions(limit=60)) for turn in one.turns]
    shared = AsyncEngine(engine)
    rows: list[Job] = []
    for length in options.lengths:
        first = _turns_of(engine, turns, length)
        pairs = [_next_summary(shared, turns, first + step) for step in range(options.repeats)]
        for way, found in zip(("kept", "anew"), zip(*pairs, strict=True), strict=True):
            rows.append({"tokens": length, "way": way, **{key: median(one[key] for one in found) for key in found[0]}})
            print(rows[-1], flush=True)
    shared.close()
    settings = {name: getattr(options, name) for name in ("model", "lengths", "repeats")}
    kept, anew = (one["processor_seconds"] for one in rows[-2:])
    headline = {f"anew_over_kept_at_{rows[-1]['tokens']}": round(anew / kept, 1)}
    write_record(NAME, machine, settings, rows, headline, options.results, SHOWN)


def _turns_of(engine: TransformersEngine, turns: Sequence[Turn], tokens: int) -> int:
    """How many turns have so many tokens, or few more."""
    count = 1
    while len(engine.encode(0, engine.layout.prompt(_dialogue(turns[:count]), ["overall"])).prefix) < tokens:
        count += max(1, count // 20)
    return count


def _dialogue(turns: Sequence[Turn]) -> Dialogue:
    return Dialogue("d", tuple(turns), language="en")


def _next_summary(shared: AsyncEngine, turns: Sequence[Turn], count: int) -> tuple[Job, Job]:
    """The cost of the summary of so many turns where the keys of all but the last are kept, and where none are."""
    client = shared.client()
    client.kept = shared.new_kept_prefix()
    assert client.kept is not None
    _timed(client, turns[: count - 1])
    kept = _timed(client, turns[:count])
    client.kept.drop()
    return kept, _timed(client, turns[:count])


def _timed(client: EngineClient, turns: Sequence[Turn]) -> Job:
    assert client.kept is not None
    prompt = client.layout.prompt(_dialogue(turns), ["overall"])
    begun, processor = time.perf_counter(), time.process_time()
    client.generate([prompt], Decoding(max_new_tokens=1))
    return {
        "seconds": round(time.perf_counter() - begun, 3),
        "processor_seconds": round(time.process_time() - processor, 3),
        "computed_tokens": client.kept.computed,
        "cached_mb": round(client.kept.num_bytes / 1e6, 1),
    }


if __name__ == "__main__":
    main()
