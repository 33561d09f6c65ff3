"""The catalog as JSON objects and as tables: what is on disk, and what each family supports."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.models.catalog import CATALOG
from rolesum.models.converted import ConvertedModel, converted_models
from rolesum.models.download import local_directory
from rolesum.models.families import FAMILIES, OTHER, OTHER_ENCODER_DECODER, PLAIN, Family
from rolesum.models.revisions import known_commit, recorded_revisions

if TYPE_CHECKING:
    from rolesum.models.dtype_choice import DtypeChoice

_FAMILIES = {family.name: family for family in FAMILIES}


def describe_models() -> list[dict[str, Any]]:
    """The catalog in its order, as JSON objects, with what is on disk on this machine; then GGUF files of the user's.

    `dequantized_from` names the file that a model's weights are taken from where they are not the published ones.
    `dtype` is what --dtype auto takes for a model that is on disk, and `dtype_reason` says why.
    """
    found = {entry.alias: local_directory(entry) for entry in CATALOG.values()}
    listed = [
        {
            "alias": entry.alias,
            "parameters": entry.parameters,
            "reads": entry.languages,
            "source": entry.source,
            "revision": f"sha256:{entry.gguf.sha256}" if entry.gguf else known_commit(entry.hub_id),
            "dequantized_from": f"{entry.gguf.quantization} GGUF {entry.gguf.file_name}" if entry.gguf else None,
            "on_disk": found[entry.alias] is not None,
            **_dtype_facts(found[entry.alias]),
            "family": entry.family,
            "shares_prefix": _FAMILIES[entry.family].shares_prefix,
            "license": entry.license,
            "note": entry.note,
        }
        for entry in CATALOG.values()
    ]
    own = [
        {
            **dict.fromkeys(listed[0]),
            "alias": str(one.directory),
            "source": one.found_at.path if one.found_at else None,
            "revision": f"sha256:{one.sha256}",
            "dequantized_from": one.origin,
            "on_disk": True,
            **_dtype_facts(one.directory),
        }
        for one in _own_files()
    ]
    return [*listed, *own]


def dtype_here(directory: Path) -> "DtypeChoice":
    """The dtype that --dtype auto takes for a model's directory on this machine. Raises ModelError."""
    from rolesum.models.checkpoint import load_config  # here: they import torch
    from rolesum.models.loading import pick_device, pick_dtype

    return pick_dtype("auto", pick_device("auto"), load_config(directory))


def _dtype_facts(directory: Path | None) -> dict[str, str | None]:
    choice = dtype_here(directory) if directory else None
    return {"dtype": choice.name if choice else None, "dtype_reason": choice.reason if choice else None}


def _own_files() -> list[ConvertedModel]:
    return [one for one in converted_models() if one.alias is None]


def print_models() -> None:
    """Print two tables: the models of the catalog, and the families that decide how they are prompted and trained."""
    yes_no = {True: "yes", False: "no"}
    console = Console()
    heads = ("size", "reads", "on disk", "weights", "family", "license")
    choices: dict[str, DtypeChoice] = {}
    models = Table(Column("model", no_wrap=True), *heads, box=SIMPLE_HEAD)
    for entry in CATALOG.values():
        directory = local_directory(entry)
        if directory:
            choices[entry.alias] = dtype_here(directory)
        reads, here = " ".join(entry.languages), yes_no[directory is not None]
        weights = entry.gguf.quantization if entry.gguf else "own"
        models.add_row(entry.alias, entry.parameters, reads, here, weights, entry.family, entry.license)
    console.print(models)
    families = Table("family", "model_type", "chat form", "LoRA on linear", "shares prefix", box=SIMPLE_HEAD)
    for family in (*FAMILIES, OTHER, OTHER_ENCODER_DECODER):
        types = ", ".join(family.model_types) or f"any {family.name if family.encoder_decoder else 'other causal'}"
        families.add_row(family.name, types, _chat(family), _targets(family), yes_no[family.shares_prefix])
    console.print(families)
    console.print(
        "Weights: the model's own, or dequantized from a GGUF file of the precision that is named", highlight=False
    )
    for name, choice in choices.items():
        console.print(f"{name} is computed in {choice.name} here: {choice.reason}", highlight=False, soft_wrap=True)
    for one in _own_files():
        console.print(f"Converted from {one.origin}: {one.directory}", highlight=False, soft_wrap=True)
    if adapters := bundled_adapters():
        console.print(f"Adapters that come with rolesum: {', '.join(adapters)}", highlight=False)
    for name, commit in recorded_revisions().items():
        console.print(f"Revision of {name}: {commit}", highlight=False)
    console.print("Sources and notes: rolesum models --json", highlight=False)
    others = "Any other causal model, and encoder-decoders, work by hub id (owner/name), directory or GGUF file."
    console.print(others, highlight=False)


def _chat(family: Family) -> str:
    if isinstance(family.chat, str):
        return {"template": "template", "frame": "source, target"}[family.chat]
    return "plain" if family.chat is PLAIN else "its authors'"


def _targets(family: Family) -> str:
    return "all" if isinstance(family.lora_targets, str) else f"{len(family.lora_targets)} a layer"
