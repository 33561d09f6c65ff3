"""Trains the released recipe on some of its examples, with one setting changed at a time, and scores each.

Every cell trains in a process of its own, on the same examples, with the same seed; then its loss on validation
dialogues is taken, and its greedy summaries of others are scored. Nothing here sees a test set: what this says may
choose a setting. The axis "curve" changes the number of examples. A cell is written down when it is done: a run
that was cut goes on. On a GPU, which a small model does not fill, several cells can go at once (`--jobs`).
"""

import json
import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sides
from record import Job, answer, arguments, probe, rows_before, run_child, write_record

from rolesum.atomic_io import atomic_write_text
from rolesum.dialogue import Dialogue
from rolesum.evaluation.evaluated_run import evaluation_results
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.instructions import PromptLayout, Segment
from rolesum.instructions.prompt import DIALOGUE_END
from rolesum.metrics.bootstrap import compare_paired, mean
from rolesum.recipe import Recipe
from rolesum.recipe_loading import load_recipe, parse_recipe

NAME = "ablations"
RECIPE = "rolesum-smollm2-135m"
BASE = "recipe"  # the cell that changes nothing
MEASURES = {"rouge1": "R-1", "rouge2": "R-2", "rougeL": "R-L"}
ROLES = ("overall", "user", "agent")
SHOWN = ("cell", "loss", *(f"{role}_R-L" for role in ROLES), "R-L_beside", "R-L_beside_95%", "names", "seconds")
# Of 1,000 examples: SAMSum dialogues (one each), TweetSumm dialogues (six each: two roles, three annotators), samples
# (three each).
PER_1000 = (500, 75, 16)
GENERIC = "generic instruction"
INSTRUCTION_FIRST = "instruction first"


@dataclass(frozen=True)
class Cell:
    """What is changed: keys of the recipe, how the prompt is written, or the number of examples."""

    axis: str
    overrides: tuple[str, ...] = ()
    prompt: str = ""
    examples: int = 0  # as many as --examples says
    finished: bool = False  # the released run itself is scored


CELLS = {
    BASE: Cell("recipe"),
    "seed 2": Cell("seed", ("training.seed=2",)),
    "learning rate 5e-4": Cell("learning rate", ("training.learning_rate=5.0e-4",)),
    "learning rate 2e-3": Cell("learning rate", ("training.learning_rate=2.0e-3",)),
    "2 epochs": Cell("epochs", ("training.epochs=2",)),
    "steps of 2 batches": Cell("batch", ("training.gradient_accumulation=2",)),
    "rank 4": Cell("LoRA", ("lora.rank=4", "lora.alpha=8")),
    "rank 64": Cell("LoRA", ("lora.rank=64", "lora.alpha=128")),
    "attention only": Cell("LoRA", ("lora.targets=[q_proj,k_proj,v_proj,o_proj]",)),
    "noise 0": Cell("NEFTune", ("neftune.alpha=0",)),
    "noise 10": Cell("NEFTune", ("neftune.alpha=10",)),
    "noise 15": Cell("NEFTune", ("neftune.alpha=15",)),
    GENERIC: Cell("prompt", prompt=GENERIC),
    INSTRUCTION_FIRST: Cell("prompt", prompt=INSTRUCTION_FIRST),
    "full fine-tuning": Cell("method", ("method=full", "training.learning_rate=5.0e-5")),
    **{f"{number:,} examples": Cell("curve", examples=number) for number in (250, 500, 1000, 2000)},
    "all examples": Cell("curve", finished=True),
}


class InstructionFirst(PromptLayout):
    """The layout turned round: nothing is shared but the head, and each branch holds instruction and dialogue."""

    def prefix(self, dialogue: Dialogue) -> tuple[Segment, ...]:
        return super().prefix(dialogue)[:1]

    def branch(self, dialogue: Dialogue, role: str) -> tuple[Segment, ...]:
        _, text = super().prefix(dialogue)
        asked, tail = super().branch(dialogue, role)
        above = replace(asked, text=asked.text.replace("above", "below") + DIALOGUE_END, continues=text.continues)
        below = replace(text, text=text.text.removesuffix(DIALOGUE_END), continues=True)
        return (above, below, tail)


def main() -> int:
    options = _options()
    machine = probe(options.device, options.dtype, base=load_recipe(RECIPE).base)
    settings = {
        **{name: getattr(options, name) for name in ("loss_dialogues", "dialogues", "max_new_tokens")},
        "recipe": load_recipe(RECIPE).model_dump(mode="json", exclude={"data", "name", "note", "validation"}),
        "dtype": machine["dtype"],
        "per_1000": PER_1000,
        "examples": options.examples,
    }
    options.work.mkdir(parents=True, exist_ok=True)
    _write_validation(options)
    done = {row["cell"]: row for row in rows_before(options.results / f"{NAME}.json", settings)}
    wanted = [name for name in options.cells or CELLS if name not in done and _is_new(name, options)]
    with ThreadPoolExecutor(options.jobs) as pool:
        cells = {pool.submit(run_child, __file__, _job(name, options, machine)): name for name in wanted}
        for cell in as_completed(cells):
            if failed := cell.exception():
                print(f"{cells[cell]}: {failed}", file=sys.stderr)
                continue
            done[cells[cell]] = _row(cells[cell], cell.result())
            rows = [done[one] | _beside(done[one], done.get(BASE)) for one in CELLS if one in done]
            write_record(NAME, machine, settings, rows, _headline(rows), options.results, SHOWN)
    return int(any(cell.exception() for cell in cells))


def _is_new(name: str, options: Namespace) -> bool:
    """Whether a cell is there to be computed: the released run must be, and the recipe's own number is its cell."""
    cell = CELLS[name]
    return (options.run / "adapter").is_dir() if cell.finished else cell.examples != options.examples


def child(job: Job) -> Job:
    """Train a cell, or take a finished run, and summarize both validation sets."""
    from rolesum.evaluation.evaluate import add_checks, evaluate
    from rolesum.generation import Decoding
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models import load_model, loading

    if job["prompt"] == INSTRUCTION_FIRST:
        assert hasattr(loading, "PromptLayout"), "the layout is made elsewhere: this benchmark must follow"
        loading.PromptLayout = InstructionFirst
    recipe = parse_recipe(job["recipe"], job["cell"])
    run, loss = _finished(job, recipe) if job["finished"] else _trained(job, recipe)
    whole = recipe.method == "full"
    loaded = load_model(
        str(run.model) if whole else recipe.base,
        adapter=None if whole else run.adapter,
        device=job["device"],
        dtype=job["dtype"],
    )
    engine = TransformersEngine(loaded)
    roles: dict[str, Any] = {}
    for path, limit in job["scored"]:
        dialogues = read_dialogues(path, ReadOptions(limit=limit))
        done = add_checks(
            evaluate(
                engine,
                dialogues,
                roles=ROLES,
                decoding=Decoding(max_new_tokens=job["max_new_tokens"]),
                label=job["cell"],
            ),
            dialogues,
        )
        for role, found in evaluation_results(done)["roles"].items():
            roles[role] = found | {"rougeL": [float(one) for one in done.scores[role].per_pair["rougeL"]]}
    costs = json.loads(run.environment.read_text(encoding="utf-8"))["costs"]
    return {"loss": loss, "costs": costs | (_size(run) if job["finished"] else {}), "roles": roles}


def _trained(job: Job, recipe: Recipe) -> tuple[Any, float]:
    """The cell's run, new or gone on with, and its last validation loss."""
    run = sides.run_of(recipe, job["out"], job["device"])
    logged = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    return run, [line["eval_loss"] for line in logged if "eval_loss" in line][-1]


def _finished(job: Job, recipe: Recipe) -> tuple[Any, float]:
    """A run that was trained elsewhere, and its adapter's loss on the same validation dialogues."""
    from rolesum.training import Run

    run = Run(Path(job["finished"]))
    return run, sides.validation_loss(job | {"adapter": str(run.adapter)})["validation_loss"]


def _size(run: Any) -> Job:
    """What a finished run trained on: its own record tells of its last start only, and of that the seconds."""
    from rolesum.models.loading import load_prompt_model
    from rolesum.training.data import read_training_data

    recipe = load_recipe(run.recipe)
    data = read_training_data(recipe, load_prompt_model(recipe.base))
    epochs = recipe.training.epochs
    return {"examples": epochs * data.examples, "tokens": epochs * data.tokens, "seconds": None}


def _job(name: str, options: Namespace, machine: Job) -> Job:
    cell = CELLS[name]
    chats, service, samples = (math.ceil(share * (cell.examples or options.examples) / 1000) for share in PER_1000)
    samsum = {"path": f"{options.samsum}/train.json", "limit": chats, "skip": ["13828807"]}
    samsum["apart_from"] = [f"{options.samsum}/{part}.json" for part in ("val", "test")]
    raw = load_recipe(RECIPE, cell.overrides).model_dump(mode="json")
    raw["name"] = name.replace(" ", "-")
    raw["dtype"] = machine["dtype"]
    raw["data"] = {
        "train": samsum,
        "mix": [
            {"path": f"{options.tweetsumm}/derived_train.jsonl", "limit": service},
            {"path": "sample:en-train", "limit": samples},
        ],
        "validation": {"path": str(_validation(options))},
    }
    raw["validation"] = {"per_epoch": 1}
    if cell.prompt == GENERIC:
        raw["instructions"] = str(_generic(options))
    return {
        "cell": name,
        "recipe": raw,
        "prompt": cell.prompt,
        "device": machine["kind"],
        "dtype": machine["dtype"],
        "out": str(options.work / raw["name"]),
        "finished": str(options.run) if cell.finished else "",
        "scored": [
            (f"{options.samsum}/val.json", options.dialogues[0]),
            (f"{options.tweetsumm}/derived_valid.jsonl", options.dialogues[1]),
        ],
        "max_new_tokens": options.max_new_tokens,
    }


def _row(name: str, found: Job) -> Job:
    """A cell's figures. Behind each stands its 95 % interval; `R-L_of_each` are those of the summaries, in order."""
    row: Job = {"axis": CELLS[name].axis, "cell": name, "loss": found["loss"]}
    for role in ROLES:
        scored = found["roles"][role]
        for measure, heading in MEASURES.items():
            row[f"{role}_{heading}"] = scored["means"][measure]
            row[f"{role}_{heading}_95%"] = scored["intervals"][measure]
    names = [found["roles"][role]["checks"]["name"] for role in ROLES]
    row["names"] = 100 * sum(one["hits"] for one in names) / max(1, sum(one["cases"] for one in names))
    row["cut"] = sum(found["roles"][role]["truncated_by_limit"] for role in ROLES)
    row |= {key: found["costs"][key] for key in ("examples", "tokens", "seconds")}
    row["R-L_of_each"] = " ".join(f"{one:.2f}" for role in ROLES for one in found["roles"][role]["rougeL"])
    return row


def _beside(row: Job, base: Job | None) -> Job:
    """The mean difference of R-L to the unchanged recipe's, with the interval of the paired bootstrap."""
    if base is None or base is row:
        return {}
    both = ({"R-L": mean([float(one) for one in of["R-L_of_each"].split()])} for of in (base, row))
    compared = compare_paired(*both)["R-L"]
    return {"R-L_beside": compared.difference, "R-L_beside_95%": [compared.low, compared.high]}


def _headline(rows: Sequence[Job]) -> Job:
    return {f"loss_{row['cell'].replace(' ', '_')}": row["loss"] for row in rows}


def _validation(options: Namespace) -> Path:
    return Path(options.work / "validation.jsonl")


def _write_validation(options: Namespace) -> None:
    """The dialogues whose loss is taken: the last of both validation sets, so that few of them are scored too."""
    chats = read_dialogues(f"{options.samsum}/val.json")[-options.loss_dialogues[0] :]
    service = read_dialogues(f"{options.tweetsumm}/derived_valid.jsonl")[-options.loss_dialogues[1] :]
    atomic_write_text(_validation(options), "".join(to_json(one) + "\n" for one in (*chats, *service)))


def _generic(options: Namespace) -> Path:
    """An instruction set that asks for every role in the words for the overall summary."""
    import yaml

    from rolesum.instructions import instruction_set

    built_in = instruction_set("en")
    asked = built_in.instructions["overall"]
    same = built_in.model_copy(update={"name": "generic-en", "instructions": dict.fromkeys(ROLES, asked)})
    atomic_write_text(options.work / "generic.yaml", yaml.safe_dump(same.model_dump(), sort_keys=False))
    return Path(options.work / "generic.yaml")


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--samsum", default="data/samsum", help="the directory of SAMSum's files")
    parser.add_argument("--tweetsumm", default="data/tweetsumm", help="the directory of TweetSumm's files")
    parser.add_argument("--examples", type=int, default=1000, help="about how many a cell trains on")
    parser.add_argument("--jobs", type=int, default=1, help="how many cells go at once")
    parser.add_argument("--cells", nargs="+", choices=CELLS, metavar="CELL", help="only these, by their names")
    parser.add_argument(
        "--loss-dialogues", nargs=2, type=int, default=(100, 50), metavar="N", help="the last N of each, for the loss"
    )
    parser.add_argument(
        "--dialogues", nargs=2, type=int, default=(200, 108), metavar="N", help="the first N of each, for ROUGE"
    )
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--run", type=Path, default=Path("runs") / RECIPE, help="the released recipe's finished run")
    parser.add_argument("--work", type=Path, default=Path("runs/ablations"), help="where runs are left")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(child) if "--child" in sys.argv else main())
