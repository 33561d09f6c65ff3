"""LoRA adapters in PEFT's format: attach one to its base, save one, and save a fully tuned model.

Each is saved with its metadata (see adapter_metadata) and its model card.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from rolesum.atomic_io import atomic_directory
from rolesum.errors import ModelError
from rolesum.file_state import unchanged_while_read
from rolesum.models.adapter_metadata import AdapterMetadata, read_adapter_metadata, write_metadata
from rolesum.models.checkpoint import raise_tensor_problems, read_tensor
from rolesum.models.export.stock_layout import has_custom_class, write_original_layout
from rolesum.models.protocols import Tokenizer
from rolesum.os_errors import os_error

if TYPE_CHECKING:
    from peft import PeftModel

_HASHED_VALUES = 4096


def compute_fingerprint(model: PreTrainedModel, checkpoint: Path) -> dict[str, Any]:
    """What tells one base from another: architecture, sizes, and a hash of some weights, in any dtype the same.

    The weights of a model in 4 bits or in float16 are read from its checkpoint, so that all forms have one fingerprint.
    """
    config = model.config.get_text_config()
    matrices = [(name, parameter) for name, parameter in sorted(model.named_parameters()) if parameter.dim() >= 2]
    if getattr(config, "norm_head", False):  # normalized after it is rounded to the dtype that is loaded
        matrices = [(name, parameter) for name, parameter in matrices if name != "lm_head.weight"]
    digest = hashlib.sha256()
    for name, parameter in (matrices[0], matrices[len(matrices) // 2], matrices[-1]):
        other = parameter.dtype not in (torch.float32, torch.bfloat16)  # in bits, or rounded to float16 first
        values = read_tensor(checkpoint, name, config) if other else parameter.detach()
        some = values.flatten()[:_HASHED_VALUES].to("cpu", torch.bfloat16)
        digest.update(some.view(torch.int16).numpy().tobytes())
    return {
        "architecture": type(model).__name__,
        "vocabulary": config.vocab_size,
        "hidden": config.hidden_size,
        "layers": config.num_hidden_layers,
        "weights": digest.hexdigest(),
    }


def attach_adapter(
    model: PreTrainedModel, directory: str | Path, fingerprint: Mapping[str, Any], base: str
) -> "PeftModel":
    """The model with a trained adapter on it. `fingerprint` is the model's and `base` its name.

    Raises ModelError where the adapter was trained on another base or its files are broken.
    """
    metadata = read_adapter_metadata(directory)
    check_fingerprint(metadata, fingerprint, base, directory, f"load it with --model {metadata.get('base')}")
    with _loading(directory, "give the base that it was trained on to --model, or restore the adapter's files"):
        from peft import PeftModel  # here: its import takes a second or more, and a base alone does not need it

        adapted = PeftModel.from_pretrained(model, str(directory))
        _check_tensors(_stored_tensors(Path(directory)), adapted, Path(directory))
        if read_adapter_metadata(directory) != metadata:
            raise ModelError("it changed while it was read", str(directory), "run the same command again")
    return adapted


def is_plain_lora(layer: torch.nn.Module) -> bool:
    """Whether a layer is an unquantized linear one with one unmerged LoRA adapter.

    Not plain are adapters with DoRA or a bias of their own.
    """
    from peft.tuners.lora import Linear

    if not isinstance(layer, Linear) or type(layer.base_layer) is not torch.nn.Linear:
        return False
    adapters = layer.active_adapters
    return (
        len(adapters) == 1
        and adapters[0] in layer.lora_A
        and not layer.merged
        and not layer.disable_adapters
        and adapters[0] not in layer.lora_variant
        and not layer.lora_bias[adapters[0]]
    )


def load_adapter_weights(adapted: "PeftModel", directory: Path) -> None:
    """Put a stored adapter's weights into layers that were made by its config, each in the layer's dtype.

    Raises ModelError where they are not those layers' or cannot be read.
    """
    with _loading(directory, "name the base that it was trained on in the recipe, or restore the adapter's files"):
        from peft import set_peft_model_state_dict

        stored = _stored_tensors(directory)
        _check_tensors(stored, adapted, directory)
        set_peft_model_state_dict(adapted, stored)


def check_fingerprint(
    metadata: AdapterMetadata, fingerprint: Mapping[str, Any], base: str, directory: str | Path, fix: str
) -> None:
    """Raise ModelError where an adapter was trained on another base than the one of this fingerprint.

    The fingerprint may be a part of one. An adapter that says nothing of its base is not checked.
    """
    trained_on = metadata.get("fingerprint")
    if trained_on is None:
        return
    if differing := [key for key, value in fingerprint.items() if trained_on.get(key) != value]:
        what = f"the adapter was trained on {metadata.get('base')}, not on {base}"
        raise ModelError(f"{what} (they differ in {', '.join(differing)})", str(directory), fix)


@contextmanager
def _loading(directory: str | Path, fix: str) -> Iterator[None]:
    """Raises ModelError for whatever goes wrong inside, and where the adapter's files change meanwhile."""
    try:
        with unchanged_while_read(Path(directory), "run the same command again"):
            yield
    except ModelError:
        raise
    except Exception as error:  # PEFT, safetensors, torch and JSON each have errors of their own
        raise os_error(error, "the adapter cannot be loaded", directory, fix, kind=ModelError) from None


def weights_digest(directory: Path) -> str:
    """The SHA-256 digest of an adapter's weights. Raises ModelError where they cannot be read."""
    try:
        with _weights_file(directory).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        fix = "restore the adapter's files"
        raise os_error(error, "the adapter cannot be read", directory, fix, kind=ModelError) from None


def _weights_file(directory: Path) -> Path:
    weights = directory / "adapter_model.safetensors"
    return weights if weights.is_file() else directory / "adapter_model.bin"


def _stored_tensors(directory: Path) -> dict[str, torch.Tensor]:
    weights = _weights_file(directory)
    if weights.suffix == ".safetensors":
        return load_file(weights)
    return dict(torch.load(weights, weights_only=True, map_location="cpu"))


def _check_tensors(stored: Mapping[str, torch.Tensor], adapted: "PeftModel", directory: Path) -> None:
    """Raise ModelError where the stored tensors are not the adapted layers': PEFT loads what fits, without a word."""
    from peft import get_peft_model_state_dict

    config = adapted.peft_config["default"]
    if config.is_prompt_learning or getattr(config, "alora_invocation_tokens", None):
        kind = getattr(config.peft_type, "value", config.peft_type)
        what = f"rolesum does not use adapters of the kind {kind} with prompts or invocation tokens"
        raise ModelError(what, str(directory), "give a LoRA adapter")
    wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    faults = {
        "missing": wanted - set(stored),
        "surplus": {name for name in set(stored) - wanted if "lora_" in name or not wanted},
        "not finite": {name for name, one in stored.items() if not bool(torch.isfinite(one).all())},
    }
    fix = "restore the adapter's files; one on W_pack or query_key_value is for rolesum convert-adapter"
    raise_tensor_problems(faults, str(directory), fix)


def save_adapter(
    model: "PeftModel",
    directory: Path,
    metadata: Mapping[str, Any],
    card: str,
    state: dict[str, Any] | None = None,
    files: Sequence[Path] = (),
) -> None:
    """Write the adapter, its metadata, its card and copies of `files`, whole or not at all.

    `state` replaces the model's own weights.
    """
    model.peft_config["default"].base_model_name_or_path = metadata["base"]  # PEFT keeps the path on this machine there
    with _saved(directory, "the adapter", metadata, card, files) as work:
        model.save_pretrained(str(work), state_dict=state, save_embedding_layers=False)  # auto would ask the hub


def save_model(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    source: Path,
    directory: Path,
    metadata: Mapping[str, Any],
    card: str,
    state: dict[str, Any] | None = None,
    files: Sequence[Path] = (),
) -> None:
    """Write a model whose own weights were trained, in the layout of its `source`, with metadata, card and `files`."""
    with _saved(directory, "the model", metadata, card, files) as work:
        if has_custom_class(model):
            write_original_layout(model, source, work, state)
        else:
            model.save_pretrained(work, state_dict=state)
            tokenizer.save_pretrained(work)


@contextmanager
def _saved(directory: Path, what: str, metadata: Mapping[str, Any], card: str, files: Sequence[Path]) -> Iterator[Path]:
    """A directory to write weights into, to which the other files are added; written whole or not at all."""
    try:
        with atomic_directory(directory) as work:
            yield work
            write_metadata(work, metadata)
            (work / "README.md").write_text(card, encoding="utf-8")
            for file in files:
                shutil.copyfile(file, work / file.name)
    except (OSError, SafetensorError) as error:
        then = "then run the same command with --resume"
        raise os_error(error, f"cannot write {what}", directory, then=then) from None
