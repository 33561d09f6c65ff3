"""Adapters in PEFT's format, with a note of the base that they belong to and of how they were asked.

The note, rolesum.json beside the weights, holds the base's fingerprint: an adapter on another base would run without
an error and write nonsense, so loading it there is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rolesum.atomic_io import atomic_directory
from rolesum.errors import ModelError, ResourceError
from rolesum.instructions import InstructionSet, SectionSet
from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.models.checkpoint import in_short, raise_tensor_problems
from rolesum.models.export.stock_layout import has_custom_class, write_original_layout
from rolesum.models.stored import read_tensor

if TYPE_CHECKING:
    from peft import PeftModel

METADATA_FILE = "rolesum.json"
CONFIG_FILE = "adapter_config.json"
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


def read_adapter_metadata(directory: str | Path) -> dict[str, Any]:
    """The adapter's note; empty for an adapter that rolesum did not make. Raises ModelError where none is there."""
    folder = Path(directory)
    if not (folder / CONFIG_FILE).is_file():
        fix = "give the directory that holds adapter_config.json, such as "
        fix += " or ".join(["runs/NAME/adapter", *bundled_adapters()])
        raise ModelError("no adapter here", str(folder), fix)
    return read_training_metadata(folder)


def read_training_metadata(weights: Path) -> dict[str, Any]:
    """The note in a directory of an adapter, or of a model that was tuned whole; empty where there is none."""
    note = weights / METADATA_FILE
    if not note.is_file():
        return {}
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        told = None
    # The mark of a model from the catalog has the same file name, and none of these.
    wanted = {"fingerprint": dict | None, "instructions": dict | None, "sections": dict | None, "roles": list | None}
    wanted |= dict.fromkeys(("instruction_sets", "definitions", "aliases"), dict)
    if not isinstance(told, dict) or not all(isinstance(told[key], wanted[key]) for key in wanted.keys() & told.keys()):
        raise ModelError("broken note of how this was trained", str(note), "restore it, or train again")
    return told


def attach_adapter(
    model: PreTrainedModel, directory: str | Path, fingerprint: Mapping[str, Any], base: str
) -> "PeftModel":
    """The model with a trained adapter on it. `print_` is the model's fingerprint and `base` its name.

    Raises ModelError where the adapter was trained on another base or its files are broken.
    """
    note = read_adapter_metadata(directory)
    trained_on = note.get("fingerprint")
    if trained_on is not None and trained_on != dict(fingerprint):
        differing = ", ".join(key for key in trained_on if trained_on[key] != fingerprint.get(key))
        fix = f"load it with --model {note.get('base')}"
        what = f"the adapter was trained on {note.get('base')}, not on {base} (they differ in {differing})"
        raise ModelError(what, str(directory), fix)
    try:
        from peft import PeftModel  # here: its import takes a second or more, and a base alone does not need it

        adapted = PeftModel.from_pretrained(model, str(directory))
        _check_adapter(adapted, Path(directory))
        return adapted
    except ModelError:
        raise
    except Exception as error:  # PEFT, safetensors, torch and JSON each have errors of their own
        said = in_short(error)
        fix = "give the base that it was trained on to --model, or restore the adapter's files"
        raise ModelError(f"the adapter cannot be loaded: {said}", str(directory), fix) from None


def _check_adapter(adapted: "PeftModel", directory: Path) -> None:
    """Raise ModelError where the stored tensors are not the adapted layers': PEFT loads what fits, without a word."""
    from peft import get_peft_model_state_dict

    config = adapted.peft_config["default"]
    if config.is_prompt_learning or getattr(config, "alora_invocation_tokens", None):
        what = f"rolesum does not use adapters of the kind {config.peft_type.value} with prompts or invocation tokens"
        raise ModelError(what, str(directory), "give a LoRA adapter")
    weights = directory / "adapter_model.safetensors"
    old = directory / "adapter_model.bin"
    stored = load_file(weights) if weights.is_file() else torch.load(old, weights_only=True, map_location="cpu")
    wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    faults = {
        "missing": wanted - set(stored),
        "surplus": {name for name in set(stored) - wanted if "lora_" in name or not wanted},
        "not finite": {name for name, one in stored.items() if not bool(torch.isfinite(one).all())},
    }
    fix = "restore the adapter's files; one on W_pack or query_key_value is for rolesum convert-adapter"
    raise_tensor_problems(faults, str(directory), fix)


def save_adapter(
    model: "PeftModel", directory: Path, metadata: Mapping[str, Any], card: str, state: dict[str, Any] | None = None
) -> None:
    """Write the adapter, its note and its card: whole, or not at all. `state` are its weights, if not the model's."""
    model.peft_config["default"].base_model_name_or_path = metadata["base"]  # PEFT keeps the path on this machine there
    with _saved(directory, "the adapter", metadata, card) as work:
        model.save_pretrained(work, state_dict=state, save_embedding_layers=False)  # auto would ask the hub


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    source: Path,
    directory: Path,
    metadata: Mapping[str, Any],
    card: str,
    state: dict[str, Any] | None = None,
) -> None:
    """Write a model whose own weights were trained, in the layout of its `source`, with note and card."""
    with _saved(directory, "the model", metadata, card) as work:
        if has_custom_class(model):
            write_original_layout(model, source, work, state)
        else:
            model.save_pretrained(work, state_dict=state)
            tokenizer.save_pretrained(work)


@contextmanager
def _saved(directory: Path, what: str, note: Mapping[str, Any], card: str) -> Iterator[Path]:
    """A directory to write weights into, which note and card join, whole or not at all."""
    try:
        with atomic_directory(directory) as work:
            yield work
            (work / METADATA_FILE).write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            (work / "README.md").write_text(card, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        fix = "free some disk space, then run the same command with --resume"
        raise ResourceError(f"cannot write {what}: {error}", str(directory), fix) from None


def custom_instructions(note: Mapping[str, Any]) -> InstructionSet | None:
    """The instruction set of one's own that the adapter was trained with; None for the built-in sets."""
    stored = note.get("instructions")
    return _instruction_set(stored, note) if stored else None


def instruction_sets(note: Mapping[str, Any]) -> dict[str, InstructionSet]:
    """Language -> the built-in set as it was worded when the adapter was trained with it."""
    return {language: _instruction_set(one, note) for language, one in note.get("instruction_sets", {}).items()}


def custom_sections(note: Mapping[str, Any]) -> SectionSet | None:
    """The sections and roles of one's own that the adapter was trained with."""
    stored = note.get("sections")
    try:
        return SectionSet.model_validate(stored) if stored else None
    except ValidationError:
        what = f"the adapter's sections are none that this rolesum reads (made by {note.get('rolesum')})"
        raise ModelError(what, METADATA_FILE, "use the version of rolesum that made it") from None


def _instruction_set(stored: Any, note: Mapping[str, Any]) -> InstructionSet:
    try:
        return InstructionSet.model_validate(stored)
    except ValidationError:
        what = f"the adapter's instruction set is not one that this rolesum reads (made by {note.get('rolesum')})"
        raise ModelError(what, METADATA_FILE, "use the version of rolesum that made it") from None
