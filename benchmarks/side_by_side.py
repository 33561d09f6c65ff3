"""Times one `rolesum summarize` and two at once on the same cores, as they wait by default and as OpenMP's threads do.

Each is a cold process of the default adapter on one dialogue, with its statements verified; the longer of the two
counts. The model must be on disk; the first process, which reads it into memory, is not counted.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import Job, arguments, probe, write_record

from rolesum.formats import find_dialogue
from rolesum.formats.jsonl import to_json

NAME = "side_by_side"
# As rolesum sets it, and what libgomp takes where nothing is set.
WAYS = {"rolesum's": {}, "OpenMP's": {"GOMP_SPINCOUNT": "300000"}}


def main() -> int:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--data", default="sample:dialogues-en-test", help="the file of the dialogue")
    parser.add_argument("--id", default="en-0113", help="the dialogue")
    parser.add_argument("--rounds", type=int, default=2, help="measurements, of which the fastest counts")
    options = parser.parse_args()
    rows: list[Job] = []
    with tempfile.TemporaryDirectory() as folder:
        chat = Path(folder) / "chat.jsonl"
        chat.write_text(to_json(find_dialogue(options.data, options.id)) + "\n", encoding="utf-8")
        _seconds(chat, 1, {})
        for way, environment in WAYS.items():
            one, two = (min(_seconds(chat, count, environment) for _ in range(options.rounds)) for count in (1, 2))
            rows.append({"waiting": way, "one_seconds": one, "two_seconds": two, "two_over_one": two / one})
    headline = {"two_processes_over_one": rows[0]["two_over_one"], "by_openmp": rows[1]["two_over_one"]}
    settings = {name: getattr(options, name) for name in ("data", "id", "rounds")}
    machine = probe(options.device, options.dtype, base="qwen2.5-coder-1.5b")
    write_record(NAME, machine, settings, rows, headline, options.results)
    return 0


def _seconds(chat: Path, count: int, environment: dict[str, str]) -> float:
    """The time until so many commands, begun together, have ended."""
    command = [sys.executable, "-m", "rolesum", "summarize", str(chat), "--quiet"]
    begun = time.perf_counter()
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **environment}) for _ in range(count)
    ]
    if any(one.wait() for one in started):
        sys.exit("rolesum summarize failed")
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
