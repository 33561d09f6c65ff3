"""Measures how far exported models lie from the models that they were made from: each way, each architecture.

Every base gets a random adapter of rank 8 on all of its family's layers. Directories are read again by stock
transformers (originals by rolesum) in a fresh process; GGUF files run in llama.cpp.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from record import Job, arguments, probe, write_record

from rolesum.errors import ModelError, UsageError
from rolesum.models.adapters import save_adapter
from rolesum.models.export.exporter import export
from rolesum.models.export.gguf import export_gguf
from rolesum.models.loading import load_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from helpers.tiny_checkpoints import CONFIGS, write_tiny_checkpoint

NAME = "exports"
RANK, SCALE = 8, 0.02


def main() -> int:
    options = _options()
    rows: list[Job] = []
    with tempfile.TemporaryDirectory(prefix="exports-") as folder:
        work = Path(folder)
        for name in CONFIGS:
            write_tiny_checkpoint(name, work / name)
            rows += _of_base(f"{name}, tiny", str(work / name), work / f"{name}-out")
        for name in options.bases:
            rows += _of_base(name, name, work / f"{Path(name).name}-out")
    machine = probe("cpu", "float32", base="smollm2-135m")
    differences = [row["largest_difference"] for row in rows if row.get("weights") == "float32"]
    headline = {"largest_float32_difference": max(differences)}
    settings = {"rank": RANK, "adapter_scale": SCALE, "bases": options.bases, "threads": torch.get_num_threads()}
    write_record(NAME, machine, settings, rows, headline, options.results)
    return 0


def _of_base(label: str, base: str, work: Path) -> list[Job]:
    """All exports of one base with a random adapter; where there is none, a row that says why."""
    run = _random_run(base, work / "run")
    rows: list[Job] = []
    for to, dtype in [("adapter", "float32"), *((to, dtype) for to in ("merged", "llama") for dtype in _DTYPES)]:
        try:
            done = export(str(run), to, work / f"{to}-{dtype}", dtype=dtype)
        except ModelError as error:
            rows.append({"base": label, "to": to, "note": error.problems[0].what})
            break
        measured = {"largest_difference": done.largest_difference, "largest_logit": done.largest_logit}
        rows.append({"base": label, "to": to, "architecture": done.architecture, "weights": dtype, **measured})
    for precision in ("f32", "f16", "bf16", "q8_0"):
        try:
            file = export_gguf(str(run), work / f"{precision}.gguf", precision=precision)
        except (ModelError, UsageError) as error:
            rows.append({"base": label, "to": "gguf", "note": error.problems[0].what})
            break
        measured = {"largest_logp_difference": file.largest_difference, "mean_logp_difference": file.mean_difference}
        same = f"{file.same_texts} of {file.texts}"
        rows.append({"base": label, "to": "gguf", "weights": precision, "same_greedy_texts": same, **measured})
    return rows


_DTYPES = ("float32", "bfloat16")


def _random_run(base: str, run: Path) -> Path:
    loaded = load_model(base, device="cpu", dtype="float32")
    torch.manual_seed(0)
    targets = loaded.family.lora_targets
    config = LoraConfig(
        r=RANK, target_modules=targets if isinstance(targets, str) else list(targets), task_type="CAUSAL_LM"
    )
    model = get_peft_model(loaded.model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=SCALE)
    note = {"base": base, "fingerprint": loaded.fingerprint, "recipe": "random"}
    save_adapter(model, run / "adapter", note, "A random adapter.")
    return run


def _options() -> argparse.Namespace:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--bases", nargs="*", default=["smollm2-135m"], help="models beside the tiny ones")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
