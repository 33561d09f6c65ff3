"""Measures what a shared prefix saves: CSDS's three roles trained from one row per dialogue, or from three.

The same dialogues are trained once with shared prefixes and once without, and a fixed set of other dialogues is
computed in both layouts with the same weights: the two losses must be equal.
"""

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import sides
from record import Job, answer, arguments, gemm_share, probe, run_child, write_record

from rolesum.formats import ReadOptions, read_dialogues
from rolesum.recipe_loading import load_recipe

NAME = "bundles"
RECIPE = "baichuan2-7b-csds"
LAYOUTS = {"shared prefix": True, "one example a row": False}


def main() -> int:
    options = _options()
    machine = probe(options.device, options.dtype, base=options.base)
    raw = _recipe(options, machine["dtype"])
    job = {"recipe": raw, "device": machine["kind"]}
    same = run_child(__file__, job | {"side": "same weights"})

    rows: list[Job] = []
    with tempfile.TemporaryDirectory(prefix="bundles-") as work:
        for layout, share in LAYOUTS.items():
            shared = raw | {"training": raw["training"] | {"share_prefix": share}}
            one = job | {"recipe": shared, "out": str(Path(work) / f"share-{share}")}
            found = run_child(__file__, one | {"side": "rolesum"})
            loss = run_child(__file__, one | {"side": "loss", "adapter": found["adapter"]})
            rows.append(_row(layout, found, loss, same[layout], machine))
    shared_row, alone = rows
    figures = {
        "examples_ratio": shared_row["examples_per_second"] / alone["examples_per_second"],
        "loss_difference": abs(same["shared prefix"] / same["one example a row"] - 1),
    }
    settings = {
        "recipe": RECIPE,
        "base": options.base,
        "dialogues": options.dialogues,
        "validation_dialogues": options.validation_dialogues,
        "dtype": machine["dtype"],
        "threads": machine["threads"],
        "neftune_alpha": 0,
        "lora": raw["lora"],
        "training": raw["training"],
    }
    write_record(NAME, machine, settings, rows, figures, options.results)
    return 0


def same_weights(job: Job) -> Job:
    """In the child: the summed loss of the validation set in both layouts, under one untrained adapter."""
    import torch

    from rolesum.models import load_model
    from rolesum.training.collate import collate
    from rolesum.training.data import read_validation_data
    from rolesum.training.forward import training_forward
    from rolesum.training.prepare_model import prepare_model

    recipe = sides.recipe_of(job, validation=True)
    loaded = load_model(recipe.base, dtype=recipe.dtype, device=job["device"])
    model = prepare_model(loaded.model, loaded.family, recipe).eval()
    found: Job = {}
    for layout, share in LAYOUTS.items():
        options = recipe.training.model_copy(update={"share_prefix": share})
        data = read_validation_data(recipe.model_copy(update={"training": options}), loaded)
        assert data is not None, "the recipe has a validation set"
        total = 0.0
        with torch.no_grad(), training_forward(model, loaded.family, 0.0, loaded.device):
            for draws in data.batches:
                batch = collate([(draw, data.encoded[draw.index]) for draw in draws], pad_id=0)
                total += float(model(**{name: tensor.to(loaded.device) for name, tensor in batch.items()}))
        found[layout] = total
    return found


def work(job: Job) -> Job:
    return same_weights(job) if job["side"] == "same weights" else sides.work(job)


def _row(layout: str, found: Job, loss: Job, same: float, machine: Job) -> Job:
    rate = found["tokens"] / found["seconds"]
    return {
        "layout": layout,
        "examples_per_second": found["examples"] / found["seconds"],
        "tokens_per_second": rate,
        "tokens": found["tokens"],
        "seconds": found["seconds"],
        "steps": found["steps"],
        "peak_memory_gb": found["peak_memory_gb"],
        "validation_loss": loss["validation_loss"],
        "same_weights_summed_loss": same,
        "gemm_share": gemm_share(rate, machine),
    }


def _recipe(options: Namespace, dtype: str) -> Job:
    """The recipe's settings on another base, for one epoch; validated on the dialogues behind the trained ones."""
    path = str(options.data)
    trained = [dialogue.id for dialogue in read_dialogues(path, ReadOptions(limit=options.dialogues))]
    raw = load_recipe(RECIPE).model_dump(mode="json")
    raw |= {"base": options.base, "dtype": dtype, "neftune": {"alpha": 0.0}}
    raw["data"]["train"] |= {"path": path, "limit": options.dialogues}
    raw["data"]["validation"] |= {"path": path, "limit": options.validation_dialogues, "skip": trained}
    raw["lora"]["dropout"] = 0.0  # its masks would differ between the layouts
    raw["training"] |= {
        "epochs": 1,
        "tokens_per_batch": options.tokens_per_batch,
        "gradient_accumulation": options.gradient_accumulation,
    }
    return raw


def _options() -> Namespace:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/csds/test.json"), help="a CSDS file")
    parser.add_argument("--base", default="gemma3-270m", help="a base that reads Chinese")
    parser.add_argument("--dialogues", type=int, default=100, help="the first N are trained")
    parser.add_argument("--validation-dialogues", type=int, default=24, help="the next N are the fixed set")
    parser.add_argument("--tokens-per-batch", type=int, default=4096)
    parser.add_argument("--gradient-accumulation", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(work) if "--child" in sys.argv else main())
