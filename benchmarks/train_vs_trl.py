"""Measures fine-tuning SmolLM2-135M on SAMSum: rolesum beside TRL's SFTTrainer, in speed, memory and validation loss.

Both train LoRA on the same token ids, with loss on the same target tokens, for one epoch with the same schedule, seed
and dtype, without noise and without gradient checkpointing. The peer is TRL's fastest variant.
"""

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import sides
from record import ChildFailed, Job, answer, arguments, gemm_share, probe, run_child, write_record

from rolesum.recipe_loading import load_recipe

NAME = "train_vs_trl"
RECIPE = "smollm2-samsum"


def main() -> int:
    options = _options()
    machine = probe(options.device, options.dtype, base=load_recipe(RECIPE).base)
    raw = sides.samsum_recipe(RECIPE, options, machine["dtype"])
    raw["training"]["epochs"] = 1
    raw["neftune"]["alpha"] = 0.0
    settings = {
        "recipe": RECIPE,
        "base": raw["base"],
        "examples": options.examples,
        "validation_examples": options.validation_limit,
        "trl_batch": options.batch,
        "dtype": machine["dtype"],
        "threads": machine["threads"],
        "neftune_alpha": 0,
        "lora": raw["lora"],
        "training": raw["training"],
    }
    rows: list[Job] = []
    with tempfile.TemporaryDirectory(prefix="train-vs-trl-") as work:
        for system, variant in [("rolesum", "token budget"), *(("TRL", variant) for variant in options.variants)]:
            job = {"recipe": raw, "device": machine["kind"], "batch": options.batch, "side": system.lower()}
            rows.append(_row(job | {"variant": variant}, system, variant, machine, Path(work)))
            write_record(NAME, machine, settings, rows, headline(rows), options.results)
    return 0


def headline(rows: list[Job]) -> dict[str, float | str]:
    """rolesum's figures divided by those of TRL's fastest variant."""
    ours, *theirs = rows
    measured = [row for row in theirs if "examples_per_second" in row]
    if not measured or "examples_per_second" not in ours:
        return {}
    peer = max(measured, key=lambda row: row["examples_per_second"])
    return {
        "peer": f"TRL, {peer['variant']}",
        "examples_ratio": ours["examples_per_second"] / peer["examples_per_second"],
        "memory_ratio": ours["peak_memory_gb"] / peer["peak_memory_gb"],
        "loss_ratio": ours["validation_loss"] / peer["validation_loss"],
        "gemm_share": ours["gemm_share"],
    }


def _row(job: Job, system: str, variant: str, machine: Job, work: Path) -> Job:
    """One side trained and its adapter's loss, each in a process of its own; the reason where it is not available."""
    out = str(work / f"{system}-{variant}".replace(" ", "-"))
    names = {"system": system, "variant": variant}
    try:
        found = run_child(__file__, job | {"out": out})
        loss = run_child(__file__, job | {"side": "loss", "adapter": found["adapter"]})
    except ChildFailed as error:
        return {**names, "note": f"not available: {error}"}
    rate = found["tokens"] / found["seconds"]
    return {
        **names,
        "examples_per_second": found["examples"] / found["seconds"],
        "tokens_per_second": rate,
        "seconds": found["seconds"],
        "steps": found["steps"],
        "examples_per_step": found["examples"] / found["steps"],
        "peak_memory_gb": found["peak_memory_gb"],
        "validation_loss": loss["validation_loss"],
        "gemm_share": gemm_share(rate, machine),
    }


def _options() -> Namespace:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, default=Path("data/samsum/train.json"), help="SAMSum's training file")
    parser.add_argument("--validation", type=Path, default=Path("data/samsum/val.json"), help="its validation file")
    parser.add_argument("--examples", type=int, default=400, help="the first N training examples")
    parser.add_argument("--validation-limit", type=int, default=100, help="the first N validation examples")
    parser.add_argument("--batch", type=int, default=8, help="TRL's examples per step; ours follow the token budget")
    parser.add_argument("--variants", nargs="+", choices=sides.TRL_VARIANTS, default=sides.TRL_VARIANTS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(sides.work) if "--child" in sys.argv else main())
