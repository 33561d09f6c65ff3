"""The models in the cache that were converted from GGUF files, and what each was made from.

A marker in a model's directory says it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.file_state import FileState, find_change
from rolesum.models.catalog import CATALOG, MARKER_FILE
from rolesum.models.revisions import cache_dir


@dataclass(frozen=True, slots=True)
class ConvertedModel:
    """A directory of a dequantized model, and the file that it was made from."""

    directory: Path
    alias: str | None  # of the catalog
    file_name: str
    quantization: str
    sha256: str  # of the file
    found_at: FileState | None  # of a file of the user's

    @property
    def origin(self) -> str:
        """What it was made from, such as "Q4_K_M GGUF model.gguf"."""
        return f"{self.quantization} GGUF {self.file_name}"

    def is_made_from(self, file: Path) -> bool:
        """Whether it was made from this file of the user's, as the file is now. An OSError passes through."""
        if self.found_at is None or self.found_at.path != str(file.absolute()):
            return False
        return find_change(self.found_at)[0] is None


def record_file(directory: Path, state: FileState) -> None:
    """Note that a converted model is that of a file of the user's, so that the file need not be hashed again."""
    marker = directory / MARKER_FILE
    facts = json.loads(marker.read_text(encoding="utf-8"))
    atomic_write_text(marker, strict_json.dumps({**facts, "found_at": state.as_json()}, indent=1) + "\n")


def model_dirs() -> Path:
    """The directory of all converted models."""
    return cache_dir() / "models"


def read_converted(directory: Path) -> ConvertedModel | None:
    """What the marker in a directory says; None where there is none, or none that can be read."""
    try:
        marker: dict[str, Any] = json.loads((directory / MARKER_FILE).read_text(encoding="utf-8"))
        alias = marker.get("alias")
        stated = marker.get("gguf") or _as_listed(str(alias))  # earlier versions wrote the alias alone
        found_at = FileState.from_json(marker["found_at"]) if marker.get("found_at") else None
        file_name, quantization, sha256 = (str(stated[name]) for name in ("file", "quantization", "sha256"))
        return ConvertedModel(directory, alias, file_name, quantization, sha256, found_at)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _as_listed(alias: str) -> dict[str, str]:
    source = CATALOG[alias].gguf
    return {"file": source.file_name, "quantization": source.quantization, "sha256": source.sha256} if source else {}


def converted_models() -> Iterator[ConvertedModel]:
    """All converted models in the cache, by the names of their directories."""
    folder = model_dirs()
    for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not directory.name.startswith(".") and (found := read_converted(directory)):
            yield found
