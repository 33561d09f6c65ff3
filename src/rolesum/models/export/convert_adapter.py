"""Convert adapters trained on the authors' code of Baichuan or ChatGLM for the model as rolesum loads it.

A LoRA layer on a fused matrix becomes one for each of its parts: A is copied, B is cut where the matrix is. The
weights that it adds stay the same, number for number.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rolesum import strict_json
from rolesum.atomic_io import atomic_directory
from rolesum.counts import counted
from rolesum.errors import ModelError, Problem, UsageError
from rolesum.models.adapter_metadata import CONFIG_FILE, beyond_plain_lora, write_metadata
from rolesum.models.adapters import attach_adapter
from rolesum.models.architectures.chatglm import WEIGHT_NAMES
from rolesum.models.export.exporter import check_new_directory
from rolesum.models.loading import load_model
from rolesum.models.prompt_model import LoadedModel
from rolesum.os_errors import os_error

WEIGHTS, OLD_WEIGHTS = "adapter_model.safetensors", "adapter_model.bin"
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class FusedLayout:
    """Module names in the authors' code: the fused matrix, and the other layers' old names -> new names."""

    fused: str
    renamed: Mapping[str, str]


FUSED_LAYOUTS = {
    "baichuan": FusedLayout("self_attn.W_pack", {}),
    "chatglm": FusedLayout(
        "self_attention.query_key_value", {name.rstrip("."): ours.rstrip(".") for name, ours in WEIGHT_NAMES.items()}
    ),
}
_NEW_PARTS = tuple(f"self_attn.{part}_proj" for part in "qkv")


@dataclass(frozen=True, slots=True)
class ConversionResult:
    """What was written: LoRA layers before and after, and how far what they add to the weights differs."""

    path: Path
    base: str
    layers: int
    layers_before: int
    largest_difference: float


def convert_adapter(old: Path, out: Path, base: str, *, device: str = "cpu") -> ConversionResult:
    """Write the adapter in `old` for `base`, complete or not at all, and compare what the layers add.

    Raises UsageError, ModelError for what cannot be converted exactly, or ResourceError.
    """
    check_new_directory(out)
    config, tensors = _read(old)
    loaded = load_model(base, dtype="bfloat16", device=device)  # for its shapes and its fingerprint
    layout = FUSED_LAYOUTS.get(loaded.config.model_type)
    if layout is None:
        raise UsageError(f"{base} is not an original Baichuan or ChatGLM checkpoint", fix="give its base to --model")
    _check(config, old)
    new = _converted(tensors, layout, loaded, old)
    names = sorted({name.removeprefix(_PREFIX).partition(".lora_")[0].rpartition(".")[2] for name in new})
    config |= {"target_modules": names, "base_model_name_or_path": base, "task_type": "CAUSAL_LM"}
    metadata = {
        "rolesum": version("rolesum"),
        "recipe": f"converted from {old.name}",
        "base": base,
        "fingerprint": loaded.fingerprint,
    }
    try:
        with atomic_directory(out) as work:
            save_file(new, work / WEIGHTS, metadata={"format": "pt"})
            (work / CONFIG_FILE).write_text(strict_json.dumps(config, indent=1) + "\n", encoding="utf-8")
            write_metadata(work, metadata)
            if (old / "README.md").is_file():
                shutil.copyfile(old / "README.md", work / "README.md")
            difference = _difference(tensors, layout, loaded, work)
    except (OSError, SafetensorError) as error:
        raise os_error(error, "cannot write the adapter", out) from None
    return ConversionResult(out, base, len(new) // 2, len(tensors) // 2, difference)


def _read(old: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    file = old / CONFIG_FILE
    if not file.is_file():
        raise UsageError("no adapter here", str(old), "give the directory that holds adapter_config.json")
    try:
        config = dict(json.loads(file.read_text(encoding="utf-8")))
        if (old / WEIGHTS).is_file():
            return config, load_file(old / WEIGHTS)
        return config, dict(torch.load(old / OLD_WEIGHTS, weights_only=True, map_location="cpu"))
    except FileNotFoundError:
        raise ModelError(f"neither {WEIGHTS} nor {OLD_WEIGHTS}", str(old), "restore the adapter's weights") from None
    except Exception as error:  # JSON, safetensors and pickle each have errors of their own
        fix = "restore the adapter's files"
        raise os_error(error, "the adapter cannot be read", old, fix, kind=ModelError) from None


def _check(config: Mapping[str, Any], old: Path) -> None:
    problems = beyond_plain_lora(config)
    if problems:
        fix = "only plain LoRA layers can be converted exactly"
        raise ModelError([Problem(f"{one} is not converted", str(old / CONFIG_FILE), fix) for one in problems])


def _converted(
    tensors: Mapping[str, torch.Tensor], layout: FusedLayout, loaded: LoadedModel, old: Path
) -> dict[str, torch.Tensor]:
    other = {".lora_A.": ".lora_B.", ".lora_B.": ".lora_A."}
    alone = [
        name for name in tensors for one, two in other.items() if one in name and name.replace(one, two) not in tensors
    ]
    if alone:
        raise ModelError(f"{alone[0]} has no counterpart", str(old), "restore the adapter's weights")
    if not any(layout.fused in name for name in tensors):
        raise UsageError(
            "nothing of this adapter lies on a fused matrix: it needs no conversion", str(old), "use it as it is"
        )
    new: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        parts = _parts(name, layout)
        heights = [_height(loaded, part, old) for part in parts]
        if ".lora_B." in name and len(tensor) != sum(heights):
            what = f"{name} has {len(tensor)} rows, and {loaded.name} has {sum(heights)}"
            raise ModelError(what, str(old), "give the base that the adapter was trained on to --model")
        cut = torch.split(tensor, heights) if ".lora_B." in name else (tensor,) * len(parts)
        new |= {part: one.clone() for part, one in zip(parts, cut, strict=True)}
    odd = [name for name in new if ".lora_A." not in name and ".lora_B." not in name]
    if odd or not new:
        what = f"{counted(len(odd), 'tensor')} not of LoRA: {', '.join(odd[:3])}" if odd else "it has no weights"
        raise ModelError(what, str(old), "only plain LoRA layers can be converted exactly")
    return new


def _parts(name: str, layout: FusedLayout) -> list[str]:
    """The new names of an old LoRA tensor: three where it lies on the fused matrix."""
    for theirs, ours in layout.renamed.items():
        name = name.replace(theirs, ours)
    return [name.replace(layout.fused, part) for part in _NEW_PARTS] if layout.fused in name else [name]


def _height(loaded: LoadedModel, name: str, old: Path) -> int:
    """The rows of the matrix that a LoRA tensor's layer lies on."""
    path = name.removeprefix(_PREFIX).partition(".lora_")[0]
    try:
        return len(loaded.language_model.get_parameter(f"{path}.weight"))
    except AttributeError:
        fix = "give the base that the adapter was trained on to --model"
        raise ModelError(f"{loaded.name} has no layer {path}", str(old), fix) from None


def _difference(tensors: Mapping[str, torch.Tensor], layout: FusedLayout, loaded: LoadedModel, work: Path) -> float:
    """Attach what was written, and compare B A of its layers with B A of the old ones. Raises ModelError."""
    adapted = attach_adapter(loaded.language_model, work, loaded.fingerprint, loaded.name)
    state = {name.replace(".default", ""): one for name, one in adapted.state_dict().items() if ".lora_" in name}
    largest = 0.0
    for name, first in tensors.items():
        if ".lora_A." not in name:
            continue
        parts = _parts(name, layout)
        added = [state[part.replace(".lora_A.", ".lora_B.")].float() @ state[part].float() for part in parts]
        before = tensors[name.replace(".lora_A.", ".lora_B.")].float() @ first.float()
        largest = max(largest, float((torch.cat(added).cpu() - before).abs().max()))
    if not largest <= 1e-5:
        raise ModelError(f"the converted layers add other weights, by {largest:.3g}", fix="please report this")
    return largest
