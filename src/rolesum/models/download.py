"""Download models of the catalog or the hub, each whole or not at all, and find those already on this machine."""

import errno
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rolesum.atomic_io import remove_if_empty
from rolesum.console import format_bytes, log
from rolesum.errors import ModelError, ResourceError, RolesumError, UsageError, did_you_mean, error_summary
from rolesum.file_state import FileState, read_state
from rolesum.interrupts import kept
from rolesum.models.catalog import CATALOG, MARKER_FILE, CatalogEntry
from rolesum.models.converted import converted_models, model_dirs, record_file
from rolesum.models.gguf_header import read_gguf_header
from rolesum.models.revisions import known_commit, record_commit, split_revision
from rolesum.os_errors import errno_of, os_error

GGUF_SUFFIX = ".gguf"


def model_dir(entry: CatalogEntry) -> Path:
    """The directory of a model that is converted from a GGUF file, whether it is there yet or not."""
    return model_dirs() / entry.alias


def on_disk(entry: CatalogEntry) -> bool:
    """Whether the model can be loaded without a network."""
    return local_directory(entry) is not None


def local_directory(entry: CatalogEntry) -> Path | None:
    """The directory of a model that can be loaded without a network; None where it is not on disk."""
    if entry.gguf:
        return model_dir(entry) if (model_dir(entry) / MARKER_FILE).is_file() else None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(entry.hub_id, "config.json", revision=known_commit(entry.hub_id))
    return Path(config).parent if isinstance(config, str) else None


def pull(name: str, given: Sequence[Path] = ()) -> Path:
    """Make a model ready on this machine, and return its directory.

    Args:
        name: An alias of the catalog; a hub id, with @REVISION (a branch, a tag or a commit) to take another than the
            one that is pinned, or else was fetched first; or the path of a GGUF file, which is converted.
        given: Files fetched by hand, for a machine without a network: the GGUF file of an entry of the catalog, its
            wheels, or their directory.

    Raises:
        ResourceError: The download fails. What an entry's download has brought is kept, and the next call goes on
            with it.
        ModelError: A file is not the one expected, or cannot be converted; nothing is left of it.
    """
    if is_gguf(name):
        return _pull_gguf_file(Path(name))
    model, revision = split_revision(name)
    entry = CATALOG.get(model)
    if entry is None and "/" not in model:
        fix = f"{did_you_mean(name, CATALOG)}; or give a hub id, a GGUF file or a directory"
        raise UsageError(f'no model "{name}"', fix=fix)
    if entry is None or not entry.gguf:
        return _pull_from_hub(entry.hub_id if entry else model, revision)
    if revision:
        raise UsageError(f"{model} is pinned by its hash and has one version", fix=f"write {model}")
    return model_dir(entry) if on_disk(entry) else _pull_gguf(entry, given)


def is_gguf(name: str) -> bool:
    """Whether a model's name is the path of a GGUF file."""
    return name.lower().endswith(GGUF_SUFFIX) and not Path(name).is_dir()


def _pull_gguf(entry: CatalogEntry, given: Sequence[Path]) -> Path:
    """Fetch an entry's GGUF file, or go on with what an interrupted download left, and convert it."""
    from rolesum.models.gguf_sources import fetch_gguf, fetched_bytes

    target = model_dir(entry)
    folder = target.parent / f".{entry.alias}.download"
    with _storing(target), kept(lambda: f"{format_bytes(fetched_bytes(entry, folder))} are kept", folder):
        if on_disk(entry):  # another process was quicker
            return target
        folder.mkdir(exist_ok=True)
        try:
            _convert(fetch_gguf(entry, folder, given), target, entry, None)
            shutil.rmtree(folder)
        finally:
            remove_if_empty(folder)
    return target


def _pull_gguf_file(file: Path) -> Path:
    """Convert a GGUF file of the user's, once. A file of the catalog becomes that model."""
    if not file.is_file():
        raise ModelError("no such file", str(file), "give the path of a GGUF file")
    known = next((one for one in converted_models() if one.is_made_from(file)), None)
    if known is not None:
        return known.directory
    read_gguf_header(file)  # before the file is hashed
    state = read_state(file)
    entry = next((one for one in CATALOG.values() if one.gguf and one.gguf.sha256 == state.sha256), None)
    same = next((one for one in converted_models() if one.sha256 == state.sha256), None)  # under another name
    own = same.directory if same else model_dirs() / f"{_plain(file.stem)}-{state.sha256[:12]}"
    target = model_dir(entry) if entry else own
    with _storing(target):
        if (target / MARKER_FILE).is_file():
            record_file(target, state)
        else:
            _convert(file, target, entry, state)
    return target


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip(".-") or "model"


def _convert(gguf: Path, target: Path, entry: CatalogEntry | None, state: FileState | None) -> None:
    from rolesum.models.gguf_import import GGUFOrigin, convert_gguf

    header = read_gguf_header(gguf)
    found_at = state.as_json() if state else None
    if entry is not None and entry.gguf is not None:
        source = entry.gguf
        origin = GGUFOrigin(source.file_name, source.sha256, source.size, entry.alias, found_at)
    else:
        origin = GGUFOrigin(gguf.name, state.sha256 if state else "", gguf.stat().st_size, None, found_at)
    convert_gguf(header, target, origin)


@contextmanager
def _storing(target: Path) -> Iterator[None]:
    """One process at a time makes a model in the cache. Raises ResourceError where it cannot be written."""
    from filelock import FileLock, Timeout
    from safetensors import SafetensorError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / f".{target.name}.lock")  # stays: others may wait for it
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"waiting for another process that makes {target.name} …")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except (OSError, SafetensorError) as error:
        raise os_error(error, f"could not store {target.name}", target, then="or set ROLESUM_CACHE") from None


def _is_whole(snapshot: Path) -> bool:
    """Whether a directory holds a config and all the weights that it speaks of."""
    indexes = list(snapshot.glob("*.index.json"))
    wanted = {name for index in indexes for name in json.loads(index.read_text())["weight_map"].values()}
    weights = [*snapshot.glob("*.safetensors"), *snapshot.glob("pytorch_model*.bin")]
    return (snapshot / "config.json").is_file() and bool(weights) and wanted <= {file.name for file in weights}


def _pull_from_hub(hub_id: str, revision: str) -> Path:
    """All files of one commit: of the one that is known, or of the one that `revision` (or main) is now."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    commit = known_commit(hub_id, revision)
    with suppress(Exception):  # nothing of it is here, or the name is no hub id: told below
        here = _only_snapshot(hub_id) if commit is None and not revision else None
        here = here or Path(snapshot_download(hub_id, revision=commit or revision or None, local_files_only=True))
        if _is_whole(here):
            record_commit(hub_id, revision, here.name)
            return here
    try:
        if commit is None and not HF_HUB_OFFLINE:
            commit = HfApi().model_info(hub_id, revision=revision or None).sha
        names = [] if HF_HUB_OFFLINE else HfApi().list_repo_files(hub_id, revision=commit)
        safe = not names or any(name.endswith(".safetensors") for name in names)
        weights = "*.safetensors" if safe else "pytorch_model*.bin"  # Baichuan2 was published so only
        patterns = ["*.json", weights, "*.model", "*.txt", "*.jinja", "tokenizer*"]
        found = Path(snapshot_download(hub_id, revision=commit or revision or None, allow_patterns=patterns))
    except GatedRepoError:
        fix = f"accept its license at https://huggingface.co/{hub_id}, then run `hf auth login`"
        raise ModelError(f"{hub_id} asks for a license to be accepted", fix=fix) from None
    except RevisionNotFoundError:
        what = f"the hub has no revision {revision or commit} of {hub_id}"
        raise ModelError(what, fix="name a branch, a tag or a commit of it") from None
    except RepositoryNotFoundError:
        raise ModelError(f"the hub has no model {hub_id}", fix="check its name; private ones need a login") from None
    except HFValidationError:
        raise ModelError(f'"{hub_id}" is not a hub id', fix="a hub id is owner/name; or give a directory") from None
    except Exception as error:  # the network fails in many ways, each library with errors of its own
        fix = f"without a network: copy the model's directory here and give its path in place of {hub_id}"
        raise _hub_error(error, hub_id, fix) from None
    record_commit(hub_id, revision, found.name)
    return found


def _only_snapshot(hub_id: str) -> Path | None:
    """The directory in the hub's cache of a model of which one revision is there whole; None for none or several."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    snapshots = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type="model") / "snapshots"
    whole = [one for one in snapshots.glob("*") if _is_whole(one)]
    return whole[0] if len(whole) == 1 else None


def _hub_error(error: Exception, hub_id: str, fix: str) -> RolesumError:
    """The error for a download that failed: of the disk, or else of the network."""
    what = f"could not fetch {hub_id} from the hub"
    if errno_of(error) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EMFILE):
        return os_error(error, what, then="HF_HOME names another place for the files")
    return ResourceError(f"{what}: {error_summary(error)}", fix=fix)
