"""Export a trained run or a base as one GGUF file, and compare it in llama.cpp where that is installed."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from rolesum.atomic_io import check_writable, make_temp_dir
from rolesum.errors import ModelError, UsageError, did_you_mean
from rolesum.models.checkpoint import read_config
from rolesum.models.export import llamacpp, parity
from rolesum.models.export.exporter import ParityProbe, find_source, load_source, write_model
from rolesum.models.export.gguf_writer import PRECISIONS, gguf_incompatibility, write_gguf
from rolesum.models.export.stock_layout import STOCK_TYPES
from rolesum.models.loading import load_prompt_model
from rolesum.models.transformers_logging import quiet_transformers
from rolesum.os_errors import os_error

# The largest difference of a likely token's log-probability that is rounding; more is an error.
LOGPROB_TOLERANCE = {"f32": 0.01, "f16": 0.5, "bf16": 1.5, "q8_0": 4.0}
_CONTEXT, _NEW_TOKENS = 900, 40


@dataclass(frozen=True, slots=True)
class GGUFExportResult:
    """The file, and how llama.cpp's output compares with transformers'; None where llama.cpp is not installed."""

    path: Path
    precision: str
    bytes: int
    texts: int | None  # greedy texts that were compared
    same_texts: int | None  # of these, alike token for token
    largest_difference: float | None  # of a likely token's log-probability
    mean_difference: float | None


def export_gguf(
    given: str, out: Path, *, precision: str = "f16", model: str | None = None, device: str = "cpu"
) -> GGUFExportResult:
    """Write `given` (see export.find_source) as the GGUF file `out`, whole or not at all, and run it in llama.cpp.

    The weights are merged in float32 for f32, else in the base's own dtype. Raises UsageError, ModelError or
    ResourceError; a ModelError too where llama.cpp's probabilities differ by more than rounding.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision}", fix=did_you_mean(precision, PRECISIONS))
    if out.exists() or out.is_symlink():
        raise UsageError("this is there already", str(out), "give another --out")
    check_writable(out)
    source = find_source(given, model)
    kind = load_prompt_model(source.base, source.adapter).config.model_type
    if STOCK_TYPES.get(kind) != "llama":
        what = f"cannot be written as GGUF: only Llamas are written so far, and this is of the type {kind}"
        raise ModelError(what, given, "run it with transformers or vLLM: --to llama or --to merged")
    loaded, _ = load_source(source, "llama", "float32" if precision == "f32" else None, device)
    prompts = ParityProbe.from_model(loaded, "float32", native=False).prompts
    with _work_directory(out) as work, quiet_transformers():
        plain, file = work / "plain", work / out.name
        write_model(loaded, "llama", plain)
        del loaded
        if reason := gguf_incompatibility(read_config(plain)):
            fix = "use --to llama: transformers and vLLM read it"
            raise ModelError(f"cannot be written as GGUF: {reason}", given, fix)
        write_gguf(plain, file, precision)
        checked = _compare_in_llama_cpp(plain, file, prompts, precision) if _can_check(plain) else (None,) * 4
        file.replace(out)
    return GGUFExportResult(out, precision, out.stat().st_size, *checked)


@contextmanager
def _work_directory(out: Path) -> Iterator[Path]:
    """A directory beside the target, as /tmp may be too small for the weights. OSError becomes ResourceError."""
    try:
        folder = make_temp_dir(out)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise os_error(error, "cannot write", out) from None


def _can_check(plain: Path) -> bool:
    """Whether llama.cpp is installed, and the model fits the memory a second time, in float32."""
    stored = sum(file.stat().st_size for file in plain.glob("*.safetensors"))
    size = 4 if read_config(plain).get("dtype") == "float32" else 2
    return llamacpp.is_installed() and stored * (4 / size + 1) < psutil.virtual_memory().available


def _compare_in_llama_cpp(
    plain: Path, file: Path, prompts: Sequence[list[int]], precision: str
) -> tuple[int, int, float, float]:
    """Prompts, how many of their greedy texts are alike, and the largest and mean difference of log-probabilities.

    Transformers, in float32, reads what llama.cpp wrote: its own greedy text is the same where each of its tokens is
    the likeliest there.
    """
    there = llamacpp.LlamaCpp(file, _CONTEXT + _NEW_TOKENS + 1, torch.get_num_threads())
    here: PreTrainedModel = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32, local_files_only=True)
    here.eval()  # type: ignore[no-untyped-call]  # not annotated
    same, differences = 0, []
    for ids in prompts:
        ids = ids[-_CONTEXT:]
        new, likely = there.greedy(ids, _NEW_TOKENS)
        scores = parity.last_logits(here, [*ids, *new], len(new) + 1)[:-1].log_softmax(-1)
        same += scores.argmax(-1).tolist() == new
        differences += [abs(one["logprob"] - float(scores[at, one["id"]])) for at in likely for one in likely[at]]
    if not differences or max(differences) > LOGPROB_TOLERANCE[precision]:
        what = f"llama.cpp's log-probabilities differ by up to {max(differences, default=float('nan')):.3g}"
        raise ModelError(f"{what}, more than {precision} rounds", str(file), "nothing was written; please report this")
    return len(prompts), same, max(differences), sum(differences) / len(differences)
