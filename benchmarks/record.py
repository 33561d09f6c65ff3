"""Measures how fast the machine multiplies a model's matrices, and writes down what a benchmark found.

Each side of a comparison runs in a process of its own (`run_child`, `answer`), so that its peak memory is its own. This
module does not import torch until it must: a child's count begins with what its parent held when it was started.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from rolesum.atomic_io import atomic_write_text

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "rolesum")

GEMM_ROWS = 2048  # tokens of the multiplied batch
GEMM_CALLS, GEMM_ROUNDS = 10, 15

Job = dict[str, Any]


class ChildFailed(RuntimeError):
    """A measured process ended without an answer; the message is its last word."""


def arguments(about: str) -> argparse.ArgumentParser:
    """A parser with the flags that all benchmarks have."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="auto: the fast one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the JSON")
    return parser


def run_child(script: str | Path, job: Job) -> Job:
    """Run `script --child` with the job on its stdin, and return the JSON of its last stdout line.

    Its stderr goes on to ours. Raises ChildFailed.
    """
    command = [sys.executable, str(script), "--child"]
    quiet = os.environ | {"PYTHONWARNINGS": "ignore::FutureWarning"}
    done = subprocess.run(command, input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=False, env=quiet)
    lines = done.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise ChildFailed(f"the process ended with code {done.returncode} and no answer") from None
    if "error" in found:
        raise ChildFailed(found["error"])
    return dict(found)


def answer(work: Callable[[Job], Job]) -> int:
    """In the child: do the job, and print what came of it with the peak memory as the last line."""
    try:
        found = work(json.load(sys.stdin))
        line = {**found, "peak_memory_gb": peak_memory() / 1e9}
    except Exception as error:
        traceback.print_exc()
        line = {"error": f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"}
    print("\n" + json.dumps(line), flush=True)
    return int("error" in line)


def peak_memory() -> int:
    """The most bytes that this process has held: of the GPU if it used one, else of main memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def probe(device: str, dtype: str, *, base: str = "", config: Mapping[str, Any] | None = None) -> Job:
    """The machine, the dtype that `auto` means on it, the versions, the size of the model's body and its GEMM rate.

    The model is a base by name, or a LlamaConfig's fields.
    """
    return run_child(__file__, {"device": device, "dtype": dtype, "base": base, "config": dict(config or {})})


def write_record(
    name: str,
    machine: Job,
    settings: Job,
    rows: Sequence[Job],
    headline: Mapping[str, Any],
    folder: Path,
    shown: Sequence[str] = (),
) -> None:
    """Write NAME.json into `folder`, whole or not at all, and print the rows as a table: all keys, or those `shown`."""
    record = {
        "name": name,
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": machine["device"],
        "gemm": machine["gemm"],
        "versions": machine["versions"],
        "settings": settings,
        "rows": list(rows),
        "headline": dict(headline),
    }
    atomic_write_text(folder / f"{name}.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    columns = [{key: row[key] for key in shown if key in row} for row in rows] if shown else rows
    print_rows(f"{name}, {machine['device']}, {machine['gemm']['dtype']}", columns)
    for key, value in headline.items():
        Console().print(f"{key}: {_shown(value)}", highlight=False)


def rows_before(path: Path, settings: Job) -> list[Job]:
    """The rows that an earlier run with the same settings left there, to go on from; exits where they are of others."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["settings"] != json.loads(json.dumps(settings)):
        sys.exit(f"{path} holds other settings: give its flags again to go on, or move it away to begin anew")
    return list(record["rows"])


def print_rows(title: str, rows: Sequence[Job]) -> None:
    """The rows, if any, as a table; its columns are all keys that a row has."""
    if not rows:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for column in columns:
        numbers = all(not isinstance(row.get(column), str) for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(_shown(row.get(column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def measure_machine(job: Job) -> Job:
    """In the child: what `probe` returns."""
    import torch

    from rolesum.models.loading import pick_dtype

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if job["device"] == "auto" else job["device"]
    device = torch.device(chosen)
    config = _model_config(job["base"], job["config"])
    dtype = pick_dtype(job["dtype"], device, config).dtype
    shapes = _linear_shapes(config)
    rate = _gemm_rate(shapes, dtype, device)
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else _processor(),
        "kind": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "body_parameters": sum(inputs * outputs * count for (inputs, outputs), count in shapes.items()),
        "gemm": {
            "gflops": round(rate / 1e9, 1),
            "dtype": str(dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "rows": GEMM_ROWS,
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
    }


def gemm_share(tokens_per_second: float, machine: Job) -> float:
    """The share of the measured GEMM rate that training uses.

    A token takes 4 FLOP per parameter of the frozen body: 2 forward, 2 for the gradient of the input.
    """
    return float(tokens_per_second * 4 * machine["body_parameters"] / (machine["gemm"]["gflops"] * 1e9))


def _model_config(base: str, config: Mapping[str, Any]) -> Any:
    """The config of `base`, or a Llama's with these values."""
    from transformers import LlamaConfig

    from rolesum.models.loading import load_prompt_model

    return LlamaConfig(**config) if config else load_prompt_model(base).config


def _linear_shapes(config: Any) -> Counter[tuple[int, int]]:
    """(inputs, outputs) -> how many such matrices the model has, embedding and head left out."""
    import torch
    from transformers import AutoModelForCausalLM

    from rolesum.models.lm_head import backbone

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = [module for module in backbone(model).modules() if isinstance(module, torch.nn.Linear)]
    return Counter((module.in_features, module.out_features) for module in linear)


def _gemm_rate(shapes: Counter[tuple[int, int]], dtype: Any, device: Any) -> float:
    """FLOP/s of one pass through all the matrices, each at the median of its rounds."""
    import torch

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    flop = seconds = 0.0
    for (inputs, outputs), count in shapes.items():
        x = torch.randn(GEMM_ROWS, inputs, dtype=dtype, device=device)
        weight = torch.randn(outputs, inputs, dtype=dtype, device=device)
        rounds = []
        for _ in range(GEMM_ROUNDS):
            finish()
            begin = time.perf_counter()
            for _ in range(GEMM_CALLS):
                torch.nn.functional.linear(x, weight)
            finish()
            rounds.append((time.perf_counter() - begin) / GEMM_CALLS)
        flop += count * 2 * GEMM_ROWS * inputs * outputs
        seconds += count * median(rounds)
    return flop / seconds


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or 'CPU'}, {os.cpu_count()} cores"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "–".join(_shown(one) for one in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(answer(measure_machine))
