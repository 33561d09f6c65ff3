"""The catalog as a table: what is on disk, and what each family supports."""

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.models.catalog import CATALOG
from rolesum.models.download import on_disk
from rolesum.models.families import FAMILIES, OTHER, OTHER_ENCODER_DECODER, PLAIN, Family


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the catalog as it is on this machine."""

    alias: str
    parameters: str
    reads: tuple[str, ...]
    source: str
    on_disk: bool
    family: str
    shares_prefix: bool
    license: str
    note: str


def model_rows() -> list[ModelRow]:
    """The catalog, in its order."""
    families = {family.name: family for family in FAMILIES}
    rows = []
    for entry in CATALOG.values():
        rows.append(
            ModelRow(
                alias=entry.alias,
                parameters=entry.parameters,
                reads=entry.languages,
                source=entry.source,
                on_disk=on_disk(entry),
                family=entry.family,
                shares_prefix=families[entry.family].shares_prefix,
                license=entry.license,
                note=entry.note,
            )
        )
    return rows


def print_models(rows: list[ModelRow]) -> None:
    """Two tables: the models, and the families that decide how they are spoken to and trained."""
    said = {True: "yes", False: "no"}
    console = Console()
    models = Table("model", "size", "reads", "on disk", "family", "license", box=SIMPLE_HEAD)
    for row in rows:
        models.add_row(row.alias, row.parameters, " ".join(row.reads), said[row.on_disk], row.family, row.license)
    console.print(models)
    families = Table("family", "model_type", "chat form", "LoRA on linear", "shares prefix", box=SIMPLE_HEAD)
    for family in (*FAMILIES, OTHER, OTHER_ENCODER_DECODER):
        types = ", ".join(family.model_types) or f"any {family.name if family.encoder_decoder else 'other causal'}"
        families.add_row(family.name, types, _chat(family), _targets(family), said[family.shares_prefix])
    console.print(families)
    if adapters := bundled_adapters():
        console.print(f"Adapters that come with rolesum: {', '.join(adapters)}", highlight=False)
    console.print("Sources and notes: rolesum models --json", highlight=False)
    others = "Any other causal model, and encoder-decoders, work by hub id (owner/name) or directory."
    console.print(others, highlight=False)


def _chat(family: Family) -> str:
    if isinstance(family.chat, str):
        return {"template": "template", "frame": "source, target"}[family.chat]
    return "plain" if family.chat is PLAIN else "its authors'"


def _targets(family: Family) -> str:
    return "all" if isinstance(family.lora_targets, str) else f"{len(family.lora_targets)} a layer"
