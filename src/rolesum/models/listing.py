"""The catalogue as a table: what is on disk, and what each family supports."""

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from rolesum.models.catalog import CATALOG
from rolesum.models.families import FAMILIES, OTHER
from rolesum.models.fetch import on_disk


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the catalogue as it is on this machine. `shares_prefix` is None where it is not read yet."""

    alias: str
    parameters: str
    reads: tuple[str, ...]
    source: str
    on_disk: bool
    family: str
    shares_prefix: bool | None
    licence: str
    note: str


def model_rows() -> list[ModelRow]:
    """The catalogue, in its order."""
    families = {family.name: family for family in FAMILIES}
    rows = []
    for entry in CATALOG.values():
        family = families.get(entry.family)
        rows.append(
            ModelRow(
                alias=entry.alias,
                parameters=entry.parameters,
                reads=entry.languages,
                source=entry.source,
                on_disk=on_disk(entry),
                family=entry.family,
                shares_prefix=family.shares_prefix if family else None,
                licence=entry.licence,
                note=entry.note,
            )
        )
    return rows


def print_models(rows: list[ModelRow]) -> None:
    """Two tables: the models, and the families that decide how they are spoken to and trained."""
    said = {True: "yes", False: "no", None: "not read yet"}
    console = Console()
    models = Table("model", "size", "reads", "on disk", "family", "licence", box=SIMPLE_HEAD)
    for row in rows:
        models.add_row(row.alias, row.parameters, " ".join(row.reads), said[row.on_disk], row.family, row.licence)
    console.print(models)
    families = Table("family", "model_type", "chat form", "LoRA on", "shares prefix", box=SIMPLE_HEAD)
    for family in (*FAMILIES, OTHER):
        chat = "the tokenizer's template" if family.chat == "template" else "plain"
        targets = "all linear" if isinstance(family.lora_targets, str) else f"{len(family.lora_targets)} linear a layer"
        types = ", ".join(family.model_types) or "any other causal"
        families.add_row(family.name, types, chat, targets, said[family.shares_prefix])
    console.print(families)
    unread = ", ".join(sorted({row.family for row in rows if row.shares_prefix is None}))
    console.print(f"Not read natively yet: {unread}. Sources and notes: rolesum models --json", highlight=False)
    console.print("Any other causal model works by its hub id (owner/name) or its directory.", highlight=False)
