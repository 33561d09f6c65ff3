"""The checkpoints of a run: how one gets its name, which are whole, and how they go."""

import json
import re
import shutil
from pathlib import Path

from rolesum.atomic_io import flush_to_disk, flush_tree_to_disk, remove_if_empty

UNFINISHED = ".unfinished"
KEPT = 2
# Written last into a checkpoint: the size of every other file.
SIZES = "sizes.json"

_NAME = re.compile(r"checkpoint-(\d+)")


def finish_checkpoint(written: Path, folder: Path) -> None:
    """Give a written checkpoint its place in `folder`, whole or not at all, and drop those older than the last two."""
    (written / SIZES).write_text(json.dumps(_sizes(written)), encoding="utf-8")
    flush_tree_to_disk(written)
    finished = folder / written.name
    shutil.rmtree(finished, ignore_errors=True)
    written.rename(finished)
    remove_if_empty(written.parent)
    flush_to_disk(folder)
    for older in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(older, ignore_errors=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """All that bear a checkpoint's name, the newest last."""
    found = [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=_step)


def is_complete(checkpoint: Path) -> bool:
    """Whether all of its files are there, as long as they were, and of the step that its name says."""
    try:
        sizes = json.loads((checkpoint / SIZES).read_text(encoding="utf-8"))
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        return sizes == _sizes(checkpoint) and state["global_step"] == _step(checkpoint)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def remove_checkpoints(folder: Path) -> None:
    """Remove what training wrote there, and the folder if nothing else lies in it."""
    for one in [*list_checkpoints(folder), folder / UNFINISHED]:
        shutil.rmtree(one, ignore_errors=True)
    remove_if_empty(folder)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = [file for file in checkpoint.rglob("*") if file.is_file() and file.name != SIZES]
    return {file.relative_to(checkpoint).as_posix(): file.stat().st_size for file in sorted(files)}
