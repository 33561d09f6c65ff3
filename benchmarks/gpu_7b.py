"""Measures training at Baichuan2-7B's size on a GPU: rolesum with and without shared prefixes, and TRL's SFTTrainer.

The weights are random and so are the tokens: only shapes matter for speed and memory. Lengths are those of CSDS and
SAMSum in Baichuan2's own tokens. The hours are what the paper's data sets would take at the measured speed.
"""

import math
import sys
import tempfile
from argparse import Namespace
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sides
from record import ChildFailed, Job, answer, arguments, gemm_share, probe, run_child, write_record

NAME = "gpu_7b"
PAD = 0
TRL_VARIANTS = ("padding", "length-grouped", "padding-free", "packing")


@dataclass(frozen=True)
class Shape:
    """A data set's dialogues in tokens (means) and number, and the hours that the paper took on an RTX 4090."""

    prefix: int
    spread: float  # standard deviation of the prefix's logarithm
    branches: int
    branch: int  # instruction and target
    target: int
    dialogues: int
    paper_hours: float


SHAPES = {
    "csds": Shape(260, 0.39, 3, 46, 30, 9101, 6),
    "samsum": Shape(150, 0.70, 1, 40, 27, 14732, 4),
}


def main() -> int:
    import torch

    options = _options()
    if options.device != "cpu" and not torch.cuda.is_available():
        print("gpu_7b measures on a CUDA GPU, and there is none here (--device cpu tries the script out)")
        return 2
    config = _config(options)
    machine = probe(options.device, options.dtype, config=config)
    shapes = {name: asdict(SHAPES[name]) for name in options.shapes}
    if "csds" in shapes:
        given = {"prefix": options.prefix, "branch": options.branch, "target": options.target}
        shapes["csds"] |= {key: value for key, value in given.items() if value}
    settings = {
        "model": config,
        "shapes": shapes,
        "epochs": options.epochs,
        "dialogues": options.dialogues,
        "tokens_per_batch": options.tokens_per_batch,
        "gradient_checkpointing": options.gradient_checkpointing,
        "dtype": machine["dtype"],
    }
    rows: list[Job] = []
    for name, shape in shapes.items():
        layouts = ["shared prefix", "one example a row"] if shape["branches"] > 1 else ["one example a row"]
        for system, variant in [("rolesum", layout) for layout in layouts] + [("TRL", one) for one in options.trl]:
            job = settings | {"shape": shape, "device": machine["kind"], "side": system.lower(), "variant": variant}
            rows.append(_row(job, name, system, machine))
            write_record(NAME, machine, settings, rows, headline(rows), options.results)
    return 0


def headline(rows: list[Job]) -> dict[str, float]:
    """Per data set: rolesum beside TRL's fastest variant, what sharing gives, and the hours."""
    found: dict[str, float] = {}
    for data in dict.fromkeys(row["data"] for row in rows):
        measured = [row for row in rows if row["data"] == data and "examples_per_second" in row]
        ours = [row for row in measured if row["system"] == "rolesum"]
        theirs = [row for row in measured if row["system"] == "TRL"]
        if not ours:
            continue
        best = max(ours, key=lambda row: row["examples_per_second"])
        found |= {f"{data}_gemm_share": best["gemm_share"], f"{data}_hours": best["hours"]}
        by_layout = {row["variant"]: row["examples_per_second"] for row in ours}
        if len(by_layout) > 1:
            found[f"{data}_sharing_ratio"] = by_layout["shared prefix"] / by_layout["one example a row"]
        if theirs:
            peer = max(theirs, key=lambda row: row["examples_per_second"])
            found[f"{data}_examples_ratio"] = best["examples_per_second"] / peer["examples_per_second"]
            found[f"{data}_memory_ratio"] = best["peak_memory_gb"] / peer["peak_memory_gb"]
    return found


def measure(job: Job) -> Job:
    """In the child: train one epoch of synthetic bundles with one side."""
    import torch

    from rolesum.training.encode import EncodedBundle

    bundles: list[EncodedBundle] = synthetic_bundles(
        job["shape"], job["dialogues"], job["model"]["vocab_size"], job["tokens_per_batch"]
    )
    device = torch.device(job["device"])
    model = random_model(job["model"], device, getattr(torch, job["dtype"]))
    examples = sum(len(bundle.branches) for bundle in bundles)
    seconds, steps, tokens = (_rolesum if job["side"] == "rolesum" else _trl)(job, model, bundles)
    return {"seconds": seconds, "steps": steps, "tokens": tokens, "examples": examples}


def synthetic_bundles(shape: Job, count: int, vocabulary: int, budget: int) -> list[Any]:
    """Bundles of random tokens with a data set's lengths: the same in every process."""
    import numpy as np

    from rolesum.training.encode import EncodedBranch, EncodedBundle

    random = np.random.default_rng(1)
    center = math.log(shape["prefix"]) - shape["spread"] ** 2 / 2  # so that the mean is the one wanted
    longest = budget - shape["branches"] * shape["branch"]
    lengths = np.clip(random.lognormal(center, shape["spread"], count), 16, longest).astype(int)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(random.integers(PAD + 1, vocabulary, length).tolist())

    return [
        EncodedBundle(
            str(index),
            index,
            ids(int(length)),
            tuple(
                EncodedBranch(f"role-{number}", ids(shape["branch"]), shape["target"])
                for number in range(shape["branches"])
            ),
        )
        for index, length in enumerate(lengths)
    ]


def random_model(config: Job, device: Any, dtype: Any) -> Any:
    """A Llama of the given shape with random weights, made where it is used, frozen."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(1)
    with device:
        model = AutoModelForCausalLM.from_config(LlamaConfig(**config), dtype=dtype, attn_implementation="sdpa")
    return model.requires_grad_(False)


def _rolesum(job: Job, model: Any, bundles: list[Any]) -> tuple[float, int, int]:
    """Seconds, steps and computed tokens of rolesum's trainer."""
    from dataclasses import replace
    from functools import partial

    from transformers import PrinterCallback

    from rolesum.models.families import family_of
    from rolesum.training.batching import optimizer_steps, token_budget_batches
    from rolesum.training.collate import collate
    from rolesum.training.distributed import DistributedContext
    from rolesum.training.forward import training_forward
    from rolesum.training.prepare_model import prepare_model
    from rolesum.training.run_directory import Run
    from rolesum.training.trainer import BundleDataset, RoleTrainer
    from rolesum.training.training_arguments import training_arguments

    recipe = _recipe(job)
    if job["variant"] != "shared prefix":
        single = [replace(bundle, branches=(branch,)) for bundle in bundles for branch in bundle.branches]
        bundles = [replace(bundle, index=index) for index, bundle in enumerate(single)]
    lengths = [bundle.tokens for bundle in bundles]
    steps = optimizer_steps(token_budget_batches(lengths, recipe.training.tokens_per_batch, seed=1, epochs=1), 1)
    family = family_of(job["model"] | {"model_type": "llama"})
    adapted = prepare_model(model, family, recipe)
    clock = sides.step_clock(model.device)
    settings = training_arguments(
        Run(Path(tempfile.gettempdir())),  # nothing is saved
        recipe,
        DistributedContext(),
        on_cpu=model.device.type == "cpu",
        bf16=False,
        steps=len(steps),
        micro_batches=1,
    )
    with training_forward(adapted, family, 0.0, model.device):
        trainer = RoleTrainer(
            model=adapted,
            args=settings,
            train_dataset=BundleDataset(bundles),
            callbacks=[clock],
            steps=steps,
            epochs=1,
            collate=partial(collate, pad_id=PAD),
            context=DistributedContext(),
        )
        trainer.pop_callback(PrinterCallback)
        _warm_up(adapted.get_base_model(), job)
        trainer.train()
    return clock.seconds, len(steps), sum(lengths)


def _trl(job: Job, model: Any, bundles: list[Any]) -> tuple[float, int, int]:
    """Seconds, steps and computed tokens of a variant of SFTTrainer."""
    from peft import LoraConfig
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    from rolesum.models.families import family_of

    recipe = _recipe(job)
    options = recipe.training
    rows = sides.trl_rows(bundles)
    tokens = sum(len(row["input_ids"]) for row in rows)
    batch = max(1, options.tokens_per_batch * len(rows) // tokens)  # as many examples as fill the token budget
    words = WordLevel({"<pad>": PAD, "<end>": PAD + 1}, unk_token="<end>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), pad_token="<pad>", eos_token="<end>")
    targets = list(family_of({"model_type": "llama"}).lora_targets)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM")
    settings = {
        "num_train_epochs": 1,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.schedule,
        "seed": options.seed,
        "gradient_checkpointing": options.gradient_checkpointing,
        **sides.variant_options(job["variant"], batch, options.tokens_per_batch),
    }
    trainer, clock = sides.sft_trainer(model, tokenizer, lora, rows, settings)
    _warm_up(trainer.model.get_base_model(), job)
    trainer.train()
    return clock.seconds, trainer.state.global_step, tokens


def _recipe(job: Job) -> Any:
    """The paper's LoRA settings, without dropout, as a recipe; the data it names is never read."""
    from rolesum.recipe_loading import parse_recipe

    training = {
        "learning_rate": 2e-4,
        "tokens_per_batch": job["tokens_per_batch"],
        "gradient_checkpointing": job["gradient_checkpointing"],
    }
    raw = {
        "name": NAME,
        "base": "random",
        "data": {"train": {"path": "none"}},
        "lora": {"rank": 16, "alpha": 32},
        "neftune": {"alpha": 0},
        "training": training,
    }
    return parse_recipe(raw, "the benchmark")


def _warm_up(causal_lm: Any, job: Job) -> None:
    """One forward and backward outside the clock, which loads the GPU's kernels."""
    import torch

    from rolesum.models.lm_head import backbone

    ids = torch.ones(1, job["tokens_per_batch"] // 2, dtype=torch.long, device=causal_lm.device)
    causal_lm.train()
    backbone(causal_lm)(input_ids=ids, use_cache=False)[0].float().mean().backward()
    causal_lm.zero_grad()


def _row(job: Job, data: str, system: str, machine: Job) -> Job:
    shape = job["shape"]
    names = {"data": data, "system": system, "variant": job["variant"]}
    try:
        found = run_child(__file__, job)
    except ChildFailed as error:
        return {**names, "note": f"not available: {error}"}
    rate = found["tokens"] / found["seconds"]
    examples = found["examples"] / found["seconds"]
    return {
        **names,
        "examples_per_second": examples,
        "tokens_per_second": rate,
        "seconds": found["seconds"],
        "steps": found["steps"],
        "peak_memory_gb": found["peak_memory_gb"],
        "gemm_share": gemm_share(rate, machine),
        "hours": shape["dialogues"] * shape["branches"] * job["epochs"] / examples / 3600,
        "paper_hours_4090": shape["paper_hours"],
    }


def _config(options: Namespace) -> Job:
    """Baichuan2-7B's shape, or a smaller one, as LlamaConfig takes it."""
    heads = min(32, options.hidden // 16)
    return {
        "hidden_size": options.hidden,
        "num_hidden_layers": options.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": options.hidden * 43 // 16,  # 11,008 of 4,096
        "vocab_size": options.vocab,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }


def _options() -> Namespace:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--trl", nargs="*", choices=TRL_VARIANTS, default=TRL_VARIANTS, help="TRL's variants")
    parser.add_argument("--prefix", type=int, help="CSDS: mean tokens of a dialogue, in place of 260")
    parser.add_argument("--branch", type=int, help="CSDS: tokens of an instruction and its target, in place of 46")
    parser.add_argument("--target", type=int, help="CSDS: tokens of a target, in place of 30")
    parser.add_argument("--dialogues", type=int, default=400, help="how many are measured, of each data set")
    parser.add_argument("--epochs", type=int, default=3, help="assumed for the hours; the paper's are not known")
    parser.add_argument("--tokens-per-batch", type=int, default=4096)
    parser.add_argument("--gradient-checkpointing", action="store_true", help="on both sides")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--vocab", type=int, default=125696)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(answer(measure) if "--child" in sys.argv else main())
