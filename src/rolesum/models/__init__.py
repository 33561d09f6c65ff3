"""Models: the catalog, families as rows of facts, loading, tokens, adapters, attention masks.

Names are resolved here, so that the catalog can be listed without importing torch.
"""

from typing import TYPE_CHECKING, Any

from rolesum.models.catalog import CATALOG, DEFAULT_MODEL, CatalogEntry
from rolesum.models.download import on_disk, pull

if TYPE_CHECKING:
    from rolesum.models.loading import load_model
    from rolesum.models.prompt_model import LoadedModel

__all__ = ["CATALOG", "DEFAULT_MODEL", "CatalogEntry", "LoadedModel", "load_model", "on_disk", "pull"]


def __getattr__(name: str) -> Any:
    if name == "load_model":
        from rolesum.models.loading import load_model

        return load_model
    if name == "LoadedModel":
        from rolesum.models.prompt_model import LoadedModel

        return LoadedModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
