"""Scores baselines, bases and tuned models on the test split of rolesum-dialogues, in both languages.

Each row is one `rolesum evaluate`, in a process of its own. The systems `tuned-N` are trained first, by the recipe
dialogues-smollm2-135m on N of the English training dialogues, drawn with a seed. A row whose results are in --work is
not computed again, so that a run that was cut goes on.
"""

import random
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from record import arguments, probe, rows_before, write_record
from released import SHOWN, System, evaluated, role_row

from rolesum.atomic_io import atomic_write_text
from rolesum.counts import counted
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json

NAME = "dialogue_baselines"
RECIPE = "dialogues-smollm2-135m"
LANGUAGES = ("en", "zh")
ROLES = ("overall", "user", "agent", "brief")
TUNED_ON = (100, 400)
SEED = 1
SMALL_BASE, HALF_BASE, BASE, OTHER_BASE = "smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "gemma3-270m"
HALF, HALF_RECIPE = "half", "dialogues-qwen2.5-coder-0.5b"
SMALL_ADAPTER, ADAPTER = "rolesum-smollm2-135m", "rolesum-en-zh"


def systems(language: str, work: Path) -> list[System]:
    """What is scored in a language. The small adapter and its base read English only."""
    copied = [System(name, name, ("--engine", name)) for name in ("lead-3", "longest-3", "textrank")]
    other = System("gemma3-270m", "gemma3-270m, zero-shot", ("--model", OTHER_BASE))
    both = [
        System("zero-shot", f"{BASE}, zero-shot", ("--model", BASE)),
        System(HALF, f"{HALF_BASE}, tuned on both", ("--adapter", str(work / HALF / "adapter"))),
        System("default", f"{ADAPTER}, bundled", ("--adapter", ADAPTER)),
    ]
    if language == "zh":
        return [*copied, other, *both]
    return [
        *copied,
        System("smollm2-135m", f"{SMALL_BASE}, zero-shot", ("--model", SMALL_BASE)),
        other,
        System("bundled", f"{SMALL_ADAPTER}, bundled", ("--adapter", SMALL_ADAPTER)),
        *(
            System(
                f"tuned-{count}", f"{SMALL_BASE}, tuned on {count}", ("--adapter", str(_run(count, work) / "adapter"))
            )
            for count in TUNED_ON
        ),
        *both,
    ]


def main() -> int:
    options = _options()
    settings = {"dtype": options.dtype, "max_new_tokens": options.max_new_tokens, "roles": ROLES, "seed": SEED}
    before = rows_before(options.results / f"{NAME}.json", settings)
    done = {(row["data"], row["system"], row["role"]): row for row in before}
    machine = probe(options.device, options.dtype, base=SMALL_BASE)
    for language in options.languages:
        data = f"dialogues_{language}"
        for system in systems(language, options.work):
            if options.systems and system.name not in options.systems:
                continue
            if system.name == HALF:
                _train_half(options)
            elif system.name.startswith("tuned-"):
                _train(int(system.name.removeprefix("tuned-")), options)
            asked = System(system.name, system.title, (*system.options, "--roles", ",".join(ROLES)))
            found = evaluated(f"sample:dialogues-{language}-test", data, asked, options)
            done |= {(data, system.name, role): role_row(data, system, role, found) for role in ROLES}
            known = [(f"dialogues_{of}", one.name) for of in LANGUAGES for one in systems(of, options.work)]
            rows = sorted(done.values(), key=lambda row: known.index((row["data"], row["system"])))
            headline = {f"rouge1_{row['data']}_{row['role']}_{row['system']}": row["means"]["rouge1"] for row in rows}
            write_record(NAME, machine, settings, rows, headline, options.results, SHOWN[:-1])
    return 0


def _run(count: int, work: Path) -> Path:
    return work / f"tuned-{count}"


def _train(count: int, options: Namespace) -> None:
    """Train on `count` dialogues, unless that is done; go on where it was cut."""
    run = _run(count, options.work)
    if (run / "adapter").is_dir():
        return
    dialogues = read_dialogues("sample:dialogues-en-train")
    if len(dialogues) < count:
        sys.exit(f"the training split has {counted(len(dialogues), 'dialogue')}, not {count}")
    chosen = random.Random(SEED).sample(dialogues, count)
    data = options.work / f"train-{count}.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    atomic_write_text(data, "".join(f"{to_json(one)}\n" for one in chosen))
    command: list[str] = ["rolesum", "train", RECIPE, "--set", f"data.train.path={data}", "--out", str(run)]
    command += ["--set", f"dtype={options.dtype}"] if options.dtype != "auto" else []
    command += ["--resume"] if (run / "checkpoints").is_dir() else []
    subprocess.run([sys.executable, "-m", *command], check=True)


def _train_half(options: Namespace) -> None:
    """Train the smaller base on all dialogues of both languages, unless that is done; go on where it was cut."""
    run = options.work / HALF
    if (run / "adapter").is_dir():
        return
    command = ["rolesum", "train", HALF_RECIPE, "--out", str(run)]
    command += ["--resume"] if (run / "checkpoints").is_dir() else []
    subprocess.run([sys.executable, "-m", *command], check=True)


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=list(LANGUAGES))
    parser.add_argument("--systems", nargs="+", help="which systems, by name: lead-3, bundled, tuned-100 …")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--work", type=Path, default=Path("runs/dialogues"), help="where runs and evaluations are left")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
