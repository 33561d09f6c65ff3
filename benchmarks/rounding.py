"""Measures what rounding does to greedy texts: how many change with what is computed beside them, by dtype.

Each dialogue is summarized for three roles by itself, and then all of them in one batch, in bfloat16 and in float32. A
text that differs was decided by rounding.
"""

import sys

import torch
from record import Job, arguments, probe, write_record

from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engine import Decoding
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model

NAME = "rounding"
ROLES = ("overall", "user", "agent")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--base", default=None, help="alias, hub id or directory; default: the adapter's")
    parser.add_argument("--adapter", required=True, help="directory of a LoRA adapter")
    parser.add_argument("--data", default="sample:en-test", help="file of dialogues")
    parser.add_argument("--limit", type=int, default=24, help="number of dialogues")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="length of a summary")
    options = parser.parse_args()
    rows = [_measured(options, dtype) for dtype in ("bfloat16", "float32")]
    headline = {f"changed_{row['dtype']}": row["changed"] for row in rows}
    settings = {name: getattr(options, name) for name in ("adapter", "data", "limit", "max_new_tokens", "device")}
    machine = probe(options.device, "float32", base=options.base or "smollm2-135m")
    write_record(NAME, machine, settings | {"threads": torch.get_num_threads()}, rows, headline, options.results)
    return 0


def _measured(options: object, dtype: str) -> Job:
    given = vars(options)
    loaded = load_model(given["base"], adapter=given["adapter"], dtype=dtype, device=given["device"])
    engine = TransformersEngine(loaded)
    dialogues = read_dialogues(given["data"], ReadOptions(limit=given["limit"]))
    prompts = [engine.layout.prompt(one, ROLES) for one in dialogues]
    decoding = Decoding(max_new_tokens=given["max_new_tokens"])
    alone = [engine.generate([prompt], decoding)[0] for prompt in prompts]
    batch = engine.generate(prompts, decoding)
    pairs = [pair for one, other in zip(alone, batch, strict=True) for pair in zip(one, other, strict=True)]
    changed = sum(one.text != other.text for one, other in pairs)
    return {"dtype": dtype, "texts": len(pairs), "changed": changed}


if __name__ == "__main__":
    sys.exit(main())
