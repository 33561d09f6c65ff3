"""The metadata that rolesum writes beside trained weights (rolesum.json): their base, roles and instructions.

It stands beside an adapter and beside a model whose own weights were trained. It holds the base's fingerprint, because
an adapter on another base would run without an error and write nonsense: loading it there is refused.
"""

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TypedDict, cast

from pydantic import ValidationError

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.errors import ModelError
from rolesum.instructions import InstructionSet, SectionSet

METADATA_FILE = "rolesum.json"
CONFIG_FILE = "adapter_config.json"
PROBE_FILE = "turn_probe.safetensors"  # see generation/turn_probe.py
ADAPTER_FOLDER, MODEL_FOLDER = "adapter", "model"  # in the directory of a run: what it trained
DEFAULT_THRESHOLD = 0.5  # of support, if the metadata have none


# Options of LoRA that change nothing of what A and B mean, or that are said by the tensors themselves.
HARMLESS_OPTIONS = {
    *(
        "task_type",
        "peft_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
    ),
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "runtime_config"),
    *("megatron_core", "qalora_group_size"),  # of options that are off
}


class AdapterMetadata(TypedDict, total=False):
    """The fields of rolesum.json. All are absent for weights that rolesum did not train."""

    rolesum: str  # the version that made it
    recipe: str
    base: str  # alias, hub id or directory, as the recipe names it
    base_revision: str | None  # the commit of a base from a hub
    fingerprint: dict[str, Any] | None  # see adapters.compute_fingerprint
    roles: list[str] | None
    data: list[str]  # what it was trained on: files, or the names of data sets
    license: str  # of the weights, as the hub names it: cc-by-nc-4.0
    terms: str  # what the data allow, as a clause that is shown to those who use the adapter
    base_adapter: dict[str, Any] | None  # the adapter, or the tuned base, that this one goes on from: base_adapter.py
    language: str | None
    instructions: dict[str, Any] | None  # the recipe's own instruction set
    instruction_sets: dict[str, Any]  # language -> the built-in set as it was worded then
    definitions: dict[str, str]  # custom role -> what it is
    aliases: dict[str, list[str]]
    sections: dict[str, Any] | None
    # Set if statements were trained on: the weight of an answer; temperature, threshold, and what they were fitted to.
    verify: dict[str, Any] | None


_TYPES: dict[str, Any] = {
    "fingerprint": dict | None,
    "instructions": dict | None,
    "sections": dict | None,
    "verify": dict | None,
    "roles": list | None,
    "data": list,
    "license": str,
    "terms": str,
    "base_adapter": dict | None,
    "instruction_sets": dict,
    "definitions": dict,
    "aliases": dict,
}


def adapter_directory(name_or_path: str | Path) -> Path:
    """An adapter's directory: from its path, from that of the run that trained it, or from a bundled adapter's name."""
    from rolesum.models.bundled_adapters import adapter_path  # here: it reads metadata itself

    path = adapter_path(name_or_path)
    inside = path / ADAPTER_FOLDER
    return inside if (inside / CONFIG_FILE).is_file() and not (path / CONFIG_FILE).is_file() else path


def read_adapter_metadata(directory: str | Path) -> AdapterMetadata:
    """An adapter's metadata; empty for an adapter that rolesum did not make. Raises ModelError if it is no adapter."""
    folder = adapter_directory(directory)
    if not (folder / CONFIG_FILE).is_file():
        from rolesum.models.bundled_adapters import bundled_adapters  # here: it reads metadata itself

        if (folder / MODEL_FOLDER / "config.json").is_file():
            fix = f"this run trained the whole model: --model {folder / MODEL_FOLDER}"
            raise ModelError("no adapter here", str(folder), fix)
        fix = "give the directory of a run, or the one that holds adapter_config.json, such as "
        fix += " or ".join(["runs/NAME", *bundled_adapters()])
        raise ModelError("no adapter here", str(folder), fix)
    return read_metadata(folder)


def beyond_plain_lora(config: Mapping[str, Any]) -> list[str]:
    """What an adapter_config.json asks for beyond LoRA's A and B with one rank and one scale: "use_dora: True".

    Every option that is not known to be harmless counts, those of later versions of PEFT too. For tools that read A and
    B only, and would leave the rest out without a word.
    """
    from peft import LoraConfig  # here: its import takes a second or more

    if (kind := config.get("peft_type", "LORA")) != "LORA":
        return [f"peft_type: {kind}"]
    defaults = LoraConfig().to_dict()  # type: ignore[no-untyped-call]  # not annotated
    harmless = {
        key: value for key, value in config.items() if key in HARMLESS_OPTIONS or value in (None, False, {}, [], "")
    }
    beyond = {key: value for key, value in config.items() if key not in harmless and value != defaults.get(key)}
    if beyond.get("init_lora_weights") in ("gaussian", "eva"):  # others change the base too
        del beyond["init_lora_weights"]
    targets = config.get("target_modules") or ()
    if named := {"embed_tokens", "lm_head"} & set(targets if not isinstance(targets, str) else ()):
        beyond["target_modules"] = sorted(named)
    return [f"{key}: {value!r}" for key, value in beyond.items()]


def read_metadata(directory: Path) -> AdapterMetadata:
    """The metadata in the directory of an adapter or of a fully tuned model; empty where there is none.

    Raises ModelError for a file that is broken.
    """
    file = directory / METADATA_FILE
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found[key], _TYPES[key]) for key in _TYPES.keys() & found):
        raise ModelError("broken note of how this was trained", str(file), "restore it, or train again")
    return cast(AdapterMetadata, found)


def write_metadata(directory: Path, metadata: Mapping[str, Any]) -> None:
    """Write the metadata into the directory of the weights."""
    (directory / METADATA_FILE).write_text(_to_json(metadata), encoding="utf-8")


def _to_json(metadata: Mapping[str, Any]) -> str:
    return strict_json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"


def adapter_chain(metadata: AdapterMetadata) -> list[Mapping[str, Any]]:
    """The metadata's entries for the adapters (or tuned bases) that this one was trained from, the nearest first."""
    chain: list[Mapping[str, Any]] = []
    adapter = metadata.get("base_adapter")
    while isinstance(adapter, dict):
        chain.append({"name": "an adapter", **adapter})
        adapter = adapter.get("base_adapter")
    return chain


def custom_instructions(metadata: AdapterMetadata) -> InstructionSet | None:
    """The recipe's own instruction set that the adapter was trained with; None for the built-in sets."""
    stored = metadata.get("instructions")
    return _instruction_set(stored, metadata) if stored else None


def instruction_sets(metadata: AdapterMetadata) -> dict[str, InstructionSet]:
    """Language -> the built-in instruction set as it was worded when the adapter was trained with it."""
    return {language: _instruction_set(one, metadata) for language, one in metadata.get("instruction_sets", {}).items()}


def custom_sections(metadata: AdapterMetadata) -> SectionSet | None:
    """The recipe's own sections and roles that the adapter was trained with."""
    stored = metadata.get("sections")
    try:
        return SectionSet.model_validate(stored) if stored else None
    except ValidationError:
        what = f"the adapter's sections are none that this rolesum reads (made by {metadata.get('rolesum')})"
        raise ModelError(what, METADATA_FILE, "use the version of rolesum that made it") from None


def verify_temperature(metadata: AdapterMetadata) -> float:
    """The temperature of the probabilities that the adapter gives statements; 1 where none was fitted.

    Raises ModelError for anything but a number over 0.
    """
    found = (metadata.get("verify") or {}).get("temperature", 1.0)
    if not isinstance(found, int | float) or isinstance(found, bool) or not (isfinite(found) and found > 0):
        what = f"verify.temperature: {found!r} is not a number over 0"
        raise ModelError(what, METADATA_FILE, "fit it again, or remove it")
    return float(found)


def verify_threshold(metadata: AdapterMetadata) -> float:
    """The support, 0 to 1, under which a statement is doubtful; DEFAULT_THRESHOLD where none was stored.

    Raises ModelError for anything but a number from 0 to 1.
    """
    found = (metadata.get("verify") or {}).get("threshold", DEFAULT_THRESHOLD)
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= 1:
        what = f"verify.threshold: {found!r} is not a number from 0 to 1"
        raise ModelError(what, METADATA_FILE, "choose it again, or remove it")
    return float(found)


def store_verify(directory: str | Path, values: Mapping[str, Any]) -> None:
    """Write temperature, threshold or other facts about verifying statements into the metadata of trained weights.

    Raises ModelError where there are none, or where they were not trained to verify.
    """
    folder = Path(directory)
    metadata = read_metadata(folder)
    if not metadata.get("verify"):
        raise ModelError("these weights were not trained to verify statements", str(folder), "train with verify")
    verify = {**(metadata["verify"] or {}), **values}
    atomic_write_text(folder / METADATA_FILE, _to_json({**metadata, "verify": verify}))


def _instruction_set(stored: Any, metadata: AdapterMetadata) -> InstructionSet:
    try:
        return InstructionSet.model_validate(stored)
    except ValidationError:
        what = f"the adapter's instruction set is not one that this rolesum reads (made by {metadata.get('rolesum')})"
        raise ModelError(what, METADATA_FILE, "use the version of rolesum that made it") from None
