"""Trains on a few dialogues, from the base alone and from a bundled adapter, and scores both on a test set.

The dialogues represent a user's own data, so the adapter must not have been trained on their data set. They are drawn
from --train with a seed, a smaller number being a part of a larger one. Both sides train by the recipe `mine`, which
holds a tenth of them out and keeps the best pass; the base alone gets the learning rate 1e-3. Each row is one `rolesum
evaluate` on --test in a process of its own, beside the adapter as it is and the base zero-shot. What is in --work is
not computed again, so that a run that was cut goes on.
"""

import random
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from record import Job, arguments, probe, rows_before, write_record
from released import SHOWN, System, evaluated, role_row

from rolesum.atomic_io import atomic_write_text
from rolesum.counts import counted
from rolesum.formats import read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.models.adapter_metadata import read_adapter_metadata
from rolesum.models.bundled_adapters import adapter_path

NAME = "few_dialogues"
RECIPE = "mine"
DATA, ROLES = "tweetsumm", "user,agent"
TRAIN, TEST = "data/tweetsumm/derived_train.jsonl", "data/tweetsumm/derived_test.jsonl"
COUNTS = (12, 50, 200)
SEED = 1
BASE_RATE = "training.learning_rate=1.0e-3"


def systems(options: Namespace) -> list[System]:
    """What is scored: the adapter and its base as they are, then for each number of dialogues both after training."""
    base = _base(options)
    found = [
        System("zero-shot", f"{base}, zero-shot", ("--model", base)),
        System("adapter", f"{options.adapter}, as it is", ("--adapter", options.adapter)),
    ]
    for count in options.counts:
        for start, title in (("base", f"{base} alone"), ("adapter", options.adapter)):
            adapter = _run(start, count, options) / "adapter"
            what = f"{counted(count, 'dialogue')}, from {title}"
            found.append(System(f"{start}-{count}", what, ("--adapter", str(adapter))))
    return found


def main() -> int:
    options = _options()
    settings = {
        **{name: getattr(options, name) for name in ("dtype", "max_new_tokens", "limit", "adapter", "set")},
        **{name: getattr(options, name) for name in ("data", "train", "test", "roles")},
        "seed": SEED,
    }
    before = rows_before(options.results / f"{NAME}.json", settings)
    done = {(row["system"], row["role"]): row for row in before}
    machine = probe(options.device, options.dtype, base=_base(options))
    known = [system.name for system in systems(options)]
    known += [row["system"] for row in before if row["system"] not in known]  # of other --counts
    for system in systems(options):
        start, _, count = system.name.rpartition("-")
        if count.isdigit():
            _train(start, int(count), options)
        limit = ("--limit", str(options.limit)) if options.limit else ()
        asked = System(system.name, system.title, (*system.options, *limit, "--roles", options.roles))
        found = evaluated(options.test, options.data, asked, options)
        done |= {(system.name, role): role_row(options.data, system, role, found) for role in options.roles.split(",")}
        rows: list[Job] = sorted(done.values(), key=lambda row: known.index(row["system"]))
        headline = {f"rouge1_{row['role']}_{row['system']}": row["means"]["rouge1"] for row in rows}
        write_record(NAME, machine, settings, rows, headline, options.results, SHOWN[:-1])
    return 0


def _base(options: Namespace) -> str:
    return str(read_adapter_metadata(adapter_path(options.adapter)).get("base"))


def _run(start: str, count: int, options: Namespace) -> Path:
    return Path(options.work) / f"{start}-{count}"


def _train(start: str, count: int, options: Namespace) -> None:
    """Train on `count` dialogues, unless that is done; go on where it was cut."""
    run = _run(start, count, options)
    if (run / "adapter").is_dir():
        return
    dialogues = read_dialogues(options.train)
    if len(dialogues) < count:
        sys.exit(f"{options.train} has {counted(len(dialogues), 'dialogue')}, not {count}")
    data = options.work / f"train-{count}.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(SEED).sample(dialogues, len(dialogues))[:count]
    atomic_write_text(data, "".join(f"{to_json(one)}\n" for one in drawn))
    begins = [f"base_adapter={options.adapter}"]
    if start == "base":
        begins = ["base_adapter=null", f"base={_base(options)}", BASE_RATE]
    dtype = [f"dtype={options.dtype}"] if options.dtype != "auto" else []
    changes = [f"data.train.path={data}", f"roles=[{options.roles}]", *begins, *dtype, *options.set]
    command = ["rolesum", "train", RECIPE, "--out", str(run), "--device", options.device]
    command += [part for change in changes for part in ("--set", change)]
    command += ["--resume"] if (run / "checkpoints").is_dir() else []
    subprocess.run([sys.executable, "-m", *command], check=True)


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--counts", nargs="+", type=int, default=list(COUNTS), help="numbers of training dialogues")
    parser.add_argument("--train", default=TRAIN, help="the dialogues that are drawn from")
    parser.add_argument("--test", default=TEST, help="the dialogues that are scored")
    parser.add_argument("--data", default=DATA, help="what to call them in the table")
    parser.add_argument("--roles", default=ROLES, help="roles that they have summaries for, separated by commas")
    parser.add_argument("--adapter", default="rolesum-en-zh", help="the adapter that training starts from")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe of all runs")
    parser.add_argument("--limit", type=int, help="score the first N test dialogues only")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--work", type=Path, default=Path("runs/few"), help="where runs and evaluations are left")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
