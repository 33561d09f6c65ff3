"""A report on this machine: what rolesum would compute with and why, what is installed and on disk, how fast it is."""

import os
import platform
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from rolesum.console import format_bytes
from rolesum.errors import RolesumError
from rolesum.models.adapter_metadata import ADAPTER_FOLDER, CONFIG_FILE
from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.models.catalog import CATALOG, DEFAULT_MODEL
from rolesum.models.converted import converted_models
from rolesum.models.download import local_directory
from rolesum.models.revisions import cache_dir

# The shape of the default base's MLP, for a machine on which no base is yet.
_DEFAULT_SHAPE = (1536, 8960)
_EXTRA = re.compile(r"""^(?P<package>[\w.-]+)(?P<extras>\[.*?\])?.*?;.*\bextra == ['"](?P<extra>[\w-]+)['"]""")


def examine(
    *,
    base: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads_reason: str = "",
    seconds: float = 2.0,
) -> dict[str, Any]:
    """The report as a JSON object; with `seconds` of 0 without the speed test.

    `base` is the model whose dtype and speed are reported: a name of the catalog or a directory, by default the default
    model. Raises ResourceError where the device is not there, UsageError for a dtype that is none.
    """
    import torch

    from rolesum.models.checkpoint import load_config
    from rolesum.models.dtype_choice import choose_dtype, model_shape
    from rolesum.models.loading import dtype_by_name, pick_device
    from rolesum.models.speed_test import measure_speed

    name, chosen = base or DEFAULT_MODEL, pick_device(device)
    directory, shape = _directory_of(name), _DEFAULT_SHAPE
    config = load_config(directory) if directory else None
    if config is not None:
        shape = model_shape(config)
    choice = choose_dtype(chosen, shape) if dtype == "auto" else dtype_by_name(dtype)
    report = {
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in ("rolesum", "torch", "transformers", "peft")},
            "platform": platform.platform(),
        },
        "device": _device_facts(chosen),
        "dtype": {"for": name, "on_disk": directory is not None, "chosen": choice.name, "reason": choice.reason},
        "threads": {"count": torch.get_num_threads(), "reason": threads_reason},
        "memory": {"bytes": psutil.virtual_memory().total, "free": psutil.virtual_memory().available},
        "models": models_on_disk(),
        "adapters": [
            {"name": one, "path": str(path)} for one, path in (bundled_adapters() | _runs(Path.cwd())).items()
        ],
        "extras": installed_extras(),
        "cache": _cache_facts(),
    }
    speed = measure_speed(chosen, choice.dtype, shape, seconds) if seconds else None
    return report | {"speed": asdict(speed) if speed else None}


def models_on_disk() -> list[dict[str, Any]]:
    """The models that can be loaded without a network, with their directories and sizes in bytes."""
    found = {entry.alias: path for entry in CATALOG.values() if (path := local_directory(entry))}
    found |= {str(one.directory): one.directory for one in converted_models() if one.alias is None}
    return [{"name": name, "path": str(path), "bytes": _size(path)} for name, path in found.items()]


def installed_extras(requirements: list[str] | None = None) -> list[dict[str, Any]]:
    """The extras of rolesum, each with its packages that are absent; it is installed where none is.

    `requirements` are those of rolesum's metadata, unless others are given.
    """
    extras: dict[str, list[str]] = {}
    for line in requirements if requirements is not None else metadata.requires("rolesum") or []:
        if found := _EXTRA.match(line):
            extras.setdefault(found["extra"], []).append(found["package"])
    listed = []
    for name, packages in sorted(extras.items()):
        absent = [one for one in packages if _version(one) is None]
        listed.append({"name": name, "installed": not absent, "absent": absent})
    return listed


def format_report(report: Mapping[str, Any]) -> str:
    """The report as lines of text."""
    versions, dtype, memory, cache = (report[key] for key in ("versions", "dtype", "memory", "cache"))
    where = "" if dtype["on_disk"] else ", which is not on disk yet"
    lines = [
        f"rolesum {versions['rolesum']}, Python {versions['python']}, torch {versions['torch']}, "
        f"transformers {versions['transformers']}, {versions['platform']}",
        f"device: {report['device']['name']} ({report['device']['details']})",
        f"dtype: {dtype['chosen']} for {dtype['for']}{where}: {dtype['reason']}",
        f"threads: {report['threads']['count']}: {report['threads']['reason']}",
        f"memory: {format_bytes(memory['bytes'])}, {format_bytes(memory['free'])} free",
        f"cache: {cache['path']}, {format_bytes(cache['bytes'])}; {format_bytes(cache['free'])} free on its disk",
        "models on disk:",
        *(f"  {one['name']}  {format_bytes(one['bytes'])}  {one['path']}" for one in report["models"]),
        *(["  none; rolesum summarize fetches the default one"] if not report["models"] else []),
        "adapters:",
        *(f"  {one['name']}  {one['path']}" for one in report["adapters"]),
        "extras:",
        *(f"  {_extra_line(one)}" for one in report["extras"]),
    ]
    if speed := report["speed"]:
        inner, outer = speed["shape"]
        lines.append(
            f"speed in {speed['dtype']}, matrices of {inner} x {outer}: {speed['flops'] / 1e9:,.0f} GFLOP/s with many "
            f"tokens (reading), {speed['bytes_per_second'] / 1e9:,.1f} GB of weights a second with one (writing)"
        )
    return "\n".join(lines)


def _extra_line(one: Mapping[str, Any]) -> str:
    if one["installed"]:
        return f"{one['name']}: installed"
    return f"{one['name']}: absent ({', '.join(one['absent'])}); pip install 'rolesum[{one['name']}]'"


def _directory_of(name: str) -> Path | None:
    if name in CATALOG:
        return local_directory(CATALOG[name])
    return Path(name) if (Path(name) / "config.json").is_file() else None


def _device_facts(device: Any) -> dict[str, str]:
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        details = f"{torch.cuda.get_device_name(device)}, {format_bytes(total)}, {format_bytes(free)} free"
        return {"name": str(device), "details": details}
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
        return {"name": "cpu", "details": f"{able.get('cpu_name') or platform.processor()}, {cores} physical cores"}
    return {"name": str(device), "details": platform.machine()}


def _cache_facts() -> dict[str, Any]:
    folder = cache_dir()
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return {"path": str(folder), "bytes": _size(folder), "free": shutil.disk_usage(there).free}


def _runs(directory: Path) -> dict[str, Path]:
    """The adapters of the runs in a directory: "runs/NAME" -> its adapter's directory."""
    found = sorted(directory.glob(f"runs/*/{ADAPTER_FOLDER}/{CONFIG_FILE}"))
    return {str(one.parent.parent.relative_to(directory)): one.parent for one in found}


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # removed meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def base_of(model: str | None, adapter: Path | None) -> str | None:
    """The base that commands with these options compute with, for `examine`; None for the default model."""
    from rolesum.models.adapter_metadata import read_adapter_metadata

    if model is not None and model not in bundled_adapters():
        return model
    folder = adapter or (bundled_adapters()[model] if model else None)
    if folder is None:
        return None
    with suppress(RolesumError):  # `rolesum summarize` says what is wrong with it
        return read_adapter_metadata(folder).get("base")
    return None
