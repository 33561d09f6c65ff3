"""Scores the small released adapter, and what stands beside it, on the test sets of docs/results.md.

The default adapter was trained on none of them: its rows say how well it summarizes dialogues of other kinds.

Each row is one `rolesum evaluate`, in a process of its own, and its figures are those of the results.json that it left.
A row whose results are in --work is not computed again, and rows that an earlier run wrote stay, so that a run that was
cut goes on.
"""

import json
import shlex
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from record import Job, arguments, probe, rows_before, write_record

from rolesum.formats import read_dialogues
from rolesum.metrics.published import references_hash
from rolesum.models.bundled_adapters import DEFAULT_ADAPTER

NAME = "released"
ENGLISH_BASE, CHINESE_BASE = "smollm2-135m", "gemma3-270m"
# data set -> the file that is scored, in the data set's directory
FILES = {"samsum": "test.json", "tweetsumm": "derived_test.jsonl", "csds": "test.json"}
CHECKS = (
    *("role_led", "role_slip", "attribution", "unsupported"),
    *("number", "amount", "time", "placeholder", "name", "repetition", "duplicate"),
)
TUNED = "tuned"
# The recipes that tune a larger base on a data set: `rolesum train NAME` before, or there is no such row.
TUNED_LARGER = "tuned-0.5b"
LARGER = {"samsum": "qwen2.5-coder-0.5b-samsum", "csds": "qwen2.5-coder-0.5b-csds"}
# On CSDS also with the most typical of eight samples, by the ROUGE of the data's own scorer.
MBR = ("--samples", "8", "--temperature", "0.7", "--top-k", "50", "--choose", "mbr:csds")
SHOWN = ("data", "role", "title", "pairs", "scorer", "truncated_by_limit", "dialogues_per_second", "command")


@dataclass(frozen=True)
class System:
    """A row of the tables: what it is called, and the options of `rolesum evaluate` that make it."""

    name: str
    title: str
    options: tuple[str, ...]


def systems(data: str, asked: Namespace) -> list[System]:
    """What is scored on a data set."""
    base = CHINESE_BASE if data == "csds" else ENGLISH_BASE
    copied = {"samsum": ("lead-3", "longest-3"), "tweetsumm": ("lead-1", "longest-1"), "csds": ("lead-3", "longest-3")}
    adapter = asked.chinese_adapter if data == "csds" else asked.adapter
    options = ("--adapter", str(adapter))
    tuned = [System(TUNED, f"{base}, tuned", options)] if adapter else []
    if adapter and data == "csds":
        tuned.append(System("tuned-mbr", f"{base}, tuned, MBR of 8", (*options, *MBR)))
    if data in LARGER:
        tuned.append(System(TUNED_LARGER, "qwen2.5-coder-0.5b, tuned", ("--adapter", larger_adapter(data))))
    return [
        System("zero-shot", f"{base}, zero-shot", ("--model", base)),
        *(System(name, name, ("--engine", name)) for name in copied[data]),
        System("default", f"{DEFAULT_ADAPTER}, not trained on it", ("--adapter", DEFAULT_ADAPTER)),
        *tuned,
    ]


def larger_adapter(data: str) -> str:
    """Where the recipe of the larger base leaves its adapter."""
    return f"runs/{LARGER[data]}/adapter"


def main() -> int:
    options = _options()
    folders = {"samsum": options.samsum, "tweetsumm": options.tweetsumm, "csds": options.csds}
    settings = {name: getattr(options, name) for name in ("dtype", "max_new_tokens")}
    before = rows_before(options.results / f"{NAME}.json", settings)
    done = {(row["data"], row["system"], row["role"]): row for row in before}
    for data in options.data:
        hashes = _hashes(f"{folders[data]}/{FILES[data]}")
        for system in systems(data, options):
            if options.systems and system.name not in options.systems:
                continue
            if not options.systems and system.name == TUNED_LARGER and not Path(larger_adapter(data)).is_dir():
                continue
            found = evaluated(f"{folders[data]}/{FILES[data]}", data, system, options)
            for role in found["roles"]:
                row = role_row(data, system, role, found) | {"references_sha256": hashes[role]}
                done[data, system.name, role] = row
    machine = probe(options.device, options.dtype, base=ENGLISH_BASE)
    known = {data: [system.name for system in systems(data, options)] for data in FILES}
    rows = sorted(
        done.values(), key=lambda row: (list(FILES).index(row["data"]), known[row["data"]].index(row["system"]))
    )
    headline = {f"rouge1_{row['data']}_{row['role']}_{row['system']}": row["means"]["rouge1"] for row in rows}
    write_record(NAME, machine, settings, rows, headline, options.results, SHOWN)
    return 0


def evaluated(file: str, data: str, system: System, options: Namespace) -> Job:
    """The results.json of a row: from an earlier run of the same command, or new."""
    out = options.work / f"{data}-{system.name}"
    written = ["--data", file, *system.options, "--max-new-tokens", str(options.max_new_tokens), "--out", str(out)]
    command = ["rolesum", "evaluate", *written]
    results = out / "results.json"
    done = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    if done.get("command") != shlex.join(command):
        subprocess.run([sys.executable, "-m", *command], check=True)
        done = json.loads(results.read_text(encoding="utf-8"))
    return dict(done)


def _hashes(file: str) -> dict[str, str]:
    """What tells each role's references, by which published rows of the same data are found."""
    dialogues = read_dialogues(file)
    roles = {role for dialogue in dialogues for role in dialogue.summaries}
    first = {role: [one.summaries[role][0] for one in dialogues if role in one.summaries] for role in roles}
    return {role: references_hash(references) for role, references in first.items()}


def role_row(data: str, system: System, role: str, results: Job) -> Job:
    """One role of one system: its figures with their 95 % intervals, and its checks with the references' own."""
    found = results["roles"][role]
    return {
        "data": data,
        "system": system.name,
        "title": system.title,
        "role": role,
        "pairs": found["pairs"],
        "scorer": f"{found['scorer']} v{found['scorer_version']}",
        "means": found["means"],
        "intervals": found["intervals"],
        "checks": {name: found["checks"][name] for name in CHECKS if found["checks"][name]["value"] is not None},
        "truncated_by_limit": found["truncated_by_limit"],
        "dialogues_per_second": results["dialogues_per_second"],
        "command": results["command"],
    }


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=FILES, default=list(FILES), help="which test sets")
    parser.add_argument("--systems", nargs="+", help="which of a data set's systems, by name: zero-shot, tuned …")
    for data in FILES:
        parser.add_argument(f"--{data}", default=f"data/{data}", help=f"the directory of {data}'s files")
    parser.add_argument("--adapter", default="rolesum-smollm2-135m", help="the English adapter; '' for none")
    parser.add_argument("--chinese-adapter", default=Path("runs/gemma3-270m-csds/adapter"), help="'' for none")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--work", type=Path, default=Path("runs/released"), help="where evaluations are left")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
