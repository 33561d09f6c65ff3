"""Which revision of a hub's model is used: the one that is named, pinned in the catalog, or was fetched first.

A branch such as main moves. The commit that a name stood for when it was first fetched is recorded in revisions.json of
the model cache, and used from then on, so that all files of a model are of one revision, and later runs use the same.
"""

import json
import os
import re
from pathlib import Path

import platformdirs

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.errors import ModelError
from rolesum.models.catalog import CATALOG

REVISIONS_FILE = "revisions.json"
COMMIT = re.compile(r"[0-9a-f]{40}")


def split_revision(name: str) -> tuple[str, str]:
    """A model's name without its revision, and the revision: "owner/name@v1" gives "owner/name" and "v1"."""
    model, _, revision = name.partition("@")
    return model, revision


def cache_dir() -> Path:
    """Where converted models and the revisions of others are kept: $ROLESUM_CACHE, or the user's cache directory."""
    chosen = os.environ.get("ROLESUM_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("rolesum"))


def recorded_revisions() -> dict[str, str]:
    """Name as it was given ("owner/name" or "owner/name@branch") -> the commit that it stands for here."""
    file = cache_dir() / REVISIONS_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) and COMMIT.fullmatch(one) for one in found.values()):
        fix = "restore it, or remove it: models are then pinned to what they are when they are next used"
        raise ModelError("not a file of revisions", str(file), fix)
    return found


def known_commit(hub_id: str, revision: str = "") -> str | None:
    """The commit that a name stands for without asking the hub, or None."""
    if revision:
        return revision if COMMIT.fullmatch(revision) else recorded_revisions().get(f"{hub_id}@{revision}")
    pinned = next((entry.revision for entry in CATALOG.values() if entry.hub_id == hub_id and entry.revision), None)
    return pinned or recorded_revisions().get(hub_id)


def record_commit(hub_id: str, revision: str, commit: str) -> None:
    """Record what a name stands for, unless it is a commit itself or is recorded already."""
    if not COMMIT.fullmatch(commit) or known_commit(hub_id, revision) == commit:
        return
    known = recorded_revisions()
    known[f"{hub_id}@{revision}" if revision else hub_id] = commit
    text = strict_json.dumps(known, indent=1, sort_keys=True) + "\n"
    atomic_write_text(cache_dir() / REVISIONS_FILE, text)


def commit_of(directory: Path) -> str | None:
    """The commit of a model's directory in the hub's cache; None for any other directory."""
    path = directory.absolute()
    return path.name if path.parent.name == "snapshots" and COMMIT.fullmatch(path.name) else None
