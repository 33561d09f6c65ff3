"""Measures a decoding step on a CPU by the way the linear layers compute it, and what the way costs in likelihood.

A dialogue's summaries are decoded in 1, 3, 4 and 8 rows by an adapter on its base: as PEFT computes it, with the
adapter merged into the base, and as `rolesum summarize` does it, on the base's 4-bit weights. The time of a step is
that of many steps less that of one. The negative log-likelihood is that of the references of some test dialogues, after
a prefill as in decoding: all products of the instruction and of the reference are computed in the way that is measured.
Each way runs in a process of its own.
"""

import sys
import time
from copy import deepcopy
from statistics import median
from typing import TYPE_CHECKING

from record import Job, answer, arguments, probe, run_child, write_record

if TYPE_CHECKING:
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models.prompt_model import LoadedModel

NAME = "decode_step"
WAYS = {"PEFT": "the adapter not merged, as PEFT computes it", "merged": "the adapter merged into the base"}
WAYS |= {"four bits": "the base's 4-bit weights, with the adapter not merged"}
ROWS = (1, 3, 4, 8)
LANGUAGES = ("en", "zh")


def main() -> int:
    if "--child" in sys.argv:
        return answer(_measured)
    parser = arguments(__doc__)
    parser.add_argument("--adapter", default="rolesum-en-zh", help="a bundled adapter's name, or a directory")
    parser.add_argument("--steps", type=int, default=32, help="steps that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="measurements, of which the median counts")
    parser.add_argument("--limit", type=int, default=8, help="dialogues of each language for the likelihood")
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("adapter", "steps", "rounds", "limit", "dtype")}
    rows = [{"way": way, **run_child(__file__, {"way": way, **settings})} for way in WAYS]
    ours, peft = rows[-1], rows[0]
    headline = {f"peft_over_four_bits_{count}": peft[f"ms_{count}"] / ours[f"ms_{count}"] for count in ROWS}
    headline |= {f"nll_difference_{of}": ours[f"nll_{of}"] - peft[f"nll_{of}"] for of in LANGUAGES}
    write_record(NAME, probe("cpu", options.dtype, base=ours["base"]), settings, rows, headline, options.results)
    return 0


def _measured(job: Job) -> Job:
    from rolesum.errors import ModelError
    from rolesum.generation.decoding import linear
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models.adapter_metadata import adapter_directory
    from rolesum.models.export.merging import merge
    from rolesum.models.int4_weights import read_int4_weights
    from rolesum.models.loading import load_model

    begun = time.perf_counter()
    ours, adapter = job["way"] == "four bits", adapter_directory(job["adapter"])
    loaded = load_model(adapter=adapter, dtype=job["dtype"], device="cpu", attach=not ours)
    if job["way"] == "merged":
        loaded.model = merge(loaded.model)
    elif ours:
        if not read_int4_weights(loaded.path):
            raise ModelError(f"{loaded.path} has no 4-bit weights", fix="delete it: it is fetched again")
        linear.prepare_for_generation(loaded)
    found: Job = {"base": loaded.name, "load_seconds": time.perf_counter() - begun}
    engine = TransformersEngine(loaded)
    for count in ROWS:
        found[f"ms_{count}"] = 1000 * median(_step(engine, count, job["steps"]) for _ in range(job["rounds"]))
    return found | {f"nll_{of}": likelihood(loaded, f"sample:dialogues-{of}-test", job["limit"]) for of in LANGUAGES}


def _step(engine: "TransformersEngine", rows: int, steps: int) -> float:
    """Seconds of one step of so many rows: one role's summary, sampled so often."""
    from dataclasses import replace

    from rolesum.formats import ReadOptions, read_dialogues
    from rolesum.generation.engine import Decoding

    dialogue = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=1))[0]
    one = engine.layout.prompt(dialogue, ["overall"])
    prompt = replace(one, roles=one.roles * rows, branches=one.branches * rows)
    seconds = []
    for length in (1, 1 + steps):
        decoding = Decoding(max_new_tokens=length, min_new_tokens=length, temperature=1.0)
        begun = time.perf_counter()
        engine.generate([prompt], decoding)
        seconds.append(time.perf_counter() - begun)
    return (seconds[1] - seconds[0]) / steps


def likelihood(loaded: "LoadedModel", data: str, limit: int) -> float:
    """Negative log-likelihood of the references in nats a token.

    A dialogue is computed once, as a prefill is; the tokens behind it are read together, by the products of few rows.
    """
    import torch

    from rolesum.dialogue import make_bundle
    from rolesum.formats import ReadOptions, read_dialogues
    from rolesum.generation.decoding import linear
    from rolesum.training.encode import encode_bundles

    dialogues = read_dialogues(data, ReadOptions(limit=limit))
    bundles = [make_bundle(one, ("overall", "user", "agent", "brief"), "first") for one in dialogues]
    encoded = encode_bundles(bundles, loaded.layout(), loaded.encoder, max_length=loaded.max_length)
    few, total, tokens = linear.MAX_INT4_ROWS, 0.0, 0
    with torch.inference_mode():
        for bundle in encoded.bundles:
            prefix = loaded.model(input_ids=torch.tensor([bundle.prefix]), logits_to_keep=1).past_key_values
            linear.MAX_INT4_ROWS = sys.maxsize
            for branch in bundle.branches:
                ids = torch.tensor([branch.ids])
                out = loaded.model(input_ids=ids, past_key_values=deepcopy(prefix), logits_to_keep=branch.targets + 1)
                wanted = ids[0, -branch.targets :, None]
                total -= float(out.logits[0, :-1].float().log_softmax(-1).gather(-1, wanted).sum())
                tokens += branch.targets
            linear.MAX_INT4_ROWS = few
    return total / tokens


if __name__ == "__main__":
    sys.exit(main())
