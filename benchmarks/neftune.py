"""Measures what NEFTune's noise does to SAMSum summaries, scaled by each example's own length or as transformers does.

rolesum scales by the example's true length and leaves padding alone; transformers scales by the padded length of the
batch and noises the padding too. All else is equal: batches, order, seed and start. It takes hours: each setting is
written down when it is done, and a second run of the same command goes on from there.
"""

import math
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import sides
from record import Job, answer, arguments, print_rows, probe, rows_before, run_child, write_record

from rolesum.recipe_loading import load_recipe

NAME = "neftune"
RECIPE = "smollm2-samsum"
SETTINGS = (("none", 0), ("ours", 5), ("transformers", 5), ("ours", 10), ("transformers", 10))
MEASURES = ("rouge1", "rouge2", "rougeL")


def main() -> int:
    options = _options()
    machine = probe(options.device, options.dtype, base=load_recipe(RECIPE).base)
    raw = sides.samsum_recipe(RECIPE, options, machine["dtype"])
    settings = {
        "recipe": RECIPE,
        "base": raw["base"],
        "examples": options.examples,
        "validation_examples": options.validation_limit,
        "test_dialogues": options.test_limit,
        "max_new_tokens": options.max_new_tokens,
        "dtype": machine["dtype"],
        "lora": raw["lora"],
        "training": raw["training"],
    }
    rows = rows_before(options.results / f"{NAME}.json", settings)
    print_rows("done before", rows)
    for scaling, alpha in SETTINGS:
        if any(row["scaling"] == scaling and row["alpha"] == alpha for row in rows):
            continue
        job = {
            "recipe": raw | {"neftune": {"alpha": alpha}},
            "device": machine["kind"],
            "out": str(options.work / f"{scaling}-{alpha}"),
            "scaling": scaling,
            "alpha": alpha,
            "test_limit": options.test_limit,
            "max_new_tokens": options.max_new_tokens,
        }
        rows.append(_row(job))
        write_record(NAME, machine, settings, rows, headline(rows), options.results)
    return 0


def headline(rows: list[Job]) -> dict[str, float]:
    """Validation loss and ROUGE-L of each setting that is done."""
    found = {}
    for key, measure in (("loss", "validation_loss"), ("rougeL", "rougeL")):
        for row in rows:
            name = f"{key}_{row['scaling']}_{row['alpha']}" if row["alpha"] else f"{key}_alpha0"
            found[name] = row[measure]
    return found


def transformers_noise() -> Any:
    """A stand-in for rolesum's noise that does what transformers.integrations.neftune's hook does to an embedding.

    The magnitude is alpha / sqrt(padded length * width), the same for all rows, padding included; its attribute `terms`
    collects sqrt(true length / padded length) of every token, by which it is weaker than ours.
    """
    import torch

    def noise(
        example_lengths: torch.Tensor, seeds: torch.Tensor, width: int, alpha: float, dtype: torch.dtype
    ) -> torch.Tensor:
        rows, length = example_lengths.shape
        magnitude = alpha / math.sqrt(length * width)
        true = example_lengths[example_lengths > 0].float()
        terms.append((float((true / length).sqrt().sum()), len(true)))
        return torch.zeros(rows, length, width, dtype=dtype, device=example_lengths.device).uniform_(
            -magnitude, magnitude
        )

    terms: list[tuple[float, int]] = []
    noise.terms = terms  # type: ignore[attr-defined]
    return noise


def measure(job: Job) -> Job:
    """In the child: train one setting, or take its finished run, and summarize."""
    from rolesum.training import loss

    noise = transformers_noise()
    if job["scaling"] == "transformers":
        assert hasattr(loss, "neftune_noise"), "the noise has moved: this benchmark must follow it"
        loss.neftune_noise = noise
    run = sides.run_of(sides.recipe_of(job), job["out"], job["device"])
    terms = noise.terms
    strength = sum(total for total, _ in terms) / sum(count for _, count in terms) if terms else None
    return {"adapter": str(run.adapter), "strength": strength, **_rouge(job, run.adapter)}


def work(job: Job) -> Job:
    return sides.validation_loss(job) if job.get("side") == "loss" else measure(job)


def _rouge(job: Job, adapter: Path) -> Job:
    """ROUGE of the first validation dialogues' summaries, with its bootstrap intervals."""
    from rolesum.evaluation.evaluated_run import score_results
    from rolesum.evaluation.run import EvaluationTask, evaluate_model
    from rolesum.formats import ReadOptions
    from rolesum.generation import Decoding
    from rolesum.generation.factory import EngineSpec
    from rolesum.generation.summarizer_config import SummarizerConfig

    recipe = sides.recipe_of(job, validation=True)
    spec = EngineSpec(model=recipe.base, adapter=adapter, device=job["device"], dtype=recipe.dtype)
    options = ReadOptions(limit=job["test_limit"])
    task = EvaluationTask(recipe.data.validation.path, roles=recipe.roles, scorer="samsum", read_options=options)
    done = evaluate_model(task, SummarizerConfig(spec=spec, decoding=Decoding(max_new_tokens=job["max_new_tokens"])))
    found = score_results(done.scores[recipe.roles[0]])
    scorer = f"{found['scorer']} v{found['scorer_version']}"
    return {"means": found["means"], "intervals": found["intervals"], "scorer": scorer}


def _row(job: Job) -> Job:
    found = run_child(__file__, job)
    loss = run_child(__file__, job | {"side": "loss", "adapter": found["adapter"]})
    row = {"scaling": job["scaling"], "alpha": job["alpha"], "validation_loss": loss["validation_loss"]}
    for measure in MEASURES:
        row[measure] = found["means"][measure]
        row[f"{measure}_interval"] = found["intervals"][measure]
    return row | {"scorer": found["scorer"], "strength_beside_ours": found["strength"]}


def _options() -> Namespace:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, default=Path("data/samsum/train.json"), help="SAMSum's training file")
    parser.add_argument("--validation", type=Path, default=Path("data/samsum/val.json"), help="its validation file")
    parser.add_argument("--examples", type=int, default=2000, help="the first N training examples")
    parser.add_argument("--validation-limit", type=int, default=200, help="the first N, for the loss")
    parser.add_argument("--test-limit", type=int, default=200, help="the first N validation dialogues, for ROUGE")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--work", type=Path, default=Path("runs/neftune"), help="where the settings' runs are kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(work) if "--child" in sys.argv else main())
