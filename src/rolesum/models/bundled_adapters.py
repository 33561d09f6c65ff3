"""The adapters that come with rolesum: their names and directories."""

from importlib import resources
from pathlib import Path

from rolesum.models.adapter_metadata import adapter_chain, read_metadata

DEFAULT_ADAPTER = "rolesum-en-zh"

_PREFIX = "rolesum-"
_FOLDER = Path(str(resources.files("rolesum.adapters")))


def bundled_adapters() -> dict[str, Path]:
    """Name -> directory of each adapter that comes with rolesum, such as rolesum-en-zh."""
    return {f"{_PREFIX}{entry.name}": entry for entry in sorted(_FOLDER.iterdir()) if (entry / "README.md").is_file()}


def adapter_for(base: str) -> Path | None:
    """The bundled adapter that was trained on a base of the catalog; None where there is none."""
    return next((path for path in bundled_adapters().values() if read_metadata(path).get("base") == base), None)


def bundled_name(adapter: Path) -> str | None:
    """The name of a bundled adapter's directory; None for any other."""
    return next((name for name, path in bundled_adapters().items() if path == adapter), None)


def default_adapter() -> Path | None:
    """The bundled adapter that is used where neither a model nor an adapter is named."""
    return bundled_adapters().get(DEFAULT_ADAPTER)


def license_notice(adapter: Path) -> str:
    """What the data of an adapter, and of those that it goes on from, restrict, to be shown to the user; else empty.

    Raises ModelError where its metadata cannot be read.
    """
    metadata = read_metadata(adapter)
    name = bundled_name(adapter) or str(adapter)
    notices = [f"{name} summarizes: {metadata['terms']}"] if metadata.get("terms") else []
    notices += [
        f"{name} goes on from {one['name']}: {one['terms']}" for one in adapter_chain(metadata) if "terms" in one
    ]
    return f"{'; '.join(notices)}; --adapter or --model takes another" if notices else ""


def adapter_path(name_or_path: str | Path) -> Path:
    """An adapter's directory, from its path or from the name of a bundled adapter."""
    path = Path(name_or_path)
    return path if path.exists() else bundled_adapters().get(str(name_or_path), path)
