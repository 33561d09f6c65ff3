"""Measures how fast dialogues are summarized: rolesum beside transformers' generate, llama.cpp and vLLM.

All sides run the same tuned weights, greedily, on the same prompts by token ids, with the same limit of new tokens,
each in a process of its own. A cell (data, number of roles, side) that has been measured is kept under --work, so that
a run that was cut goes on. vLLM has an environment of its own: --vllm-python names its Python.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import ChildFailed, Job, answer, arguments, print_rows, probe, run_child, write_record

NAME = "generation"
ROLES = {1: ("user",), 3: ("overall", "user", "agent")}
SETS = ("tweetsumm", "csds-length")
SIDES = ("rolesum", "generate", "llamacpp-q8_0", "llamacpp-f16", "vllm")
SLOTS = 8


def main() -> int:
    options = _options()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    model = merged(options.run, work)
    rows, machine = [], probe(options.device, options.dtype, base="smollm2-135m")
    for data in options.sets:
        for count in ROLES:
            for side in options.sides:
                rows.append(_cell(options, model, data, count, side, machine["dtype"]))
                print_rows(f"{data}, {count} roles", rows[-1:])
    same = _cell(options, model, options.sets[0], 3, "equality", "float32")
    first = _first_token(options.run)
    headline = {**_headline(rows), "equal_texts": same.get("equal"), "first_token_seconds": first}
    settings = {name: getattr(options, name) for name in ("dialogues", "max_new_tokens", "batch", "sets", "sides")}
    write_record(NAME, machine, {**settings, "slots": SLOTS}, [*rows, same], headline, options.results)
    return 0


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--run", type=Path, required=True, help="a trained run on smollm2-135m, such as runs/sample")
    parser.add_argument("--tweetsumm", type=Path, required=True, help="TweetSumm's test or training file")
    parser.add_argument("--csds", type=Path, required=True, help="CSDS's test file, for the lengths of its dialogues")
    parser.add_argument("--dialogues", type=int, nargs="+", default=[200], help="of each set, or one for all")
    parser.add_argument("--max-new-tokens", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32, help="prompts of one batch of generate")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--vllm-python", type=Path, help="the Python of an environment with rolesum and vLLM")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-generation"), help="kept between runs")
    found = parser.parse_args()
    if len(found.dialogues) not in (1, len(found.sets)):
        parser.error("--dialogues takes one number, or one for each of --sets")
    return found


def _cell(options: argparse.Namespace, model: dict[str, str], data: str, count: int, side: str, dtype: str) -> Job:
    dialogues = dict(zip(options.sets, options.dialogues * len(options.sets), strict=False))[data]
    kept = options.work / f"{data}-{count}-{side}-{dialogues}-{dtype}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    row: Job = {"data": data, "dialogues": dialogues, "roles": count, "side": side}
    job = {
        **row,
        **model,
        "dtype": dtype,
        "device": options.device,
        "dialogues": dialogues,
        "max_new_tokens": options.max_new_tokens,
        "batch": options.batch,
        "tweetsumm": str(options.tweetsumm),
        "csds": str(options.csds),
    }
    if side == "vllm" and not options.vllm_python:
        return row | {"note": "no --vllm-python"}
    try:
        python = options.vllm_python if side == "vllm" else None
        row |= _other_python(python, job) if python else run_child(__file__, job)
    except ChildFailed as error:
        return row | {"note": str(error)}
    kept.write_text(json.dumps(row), encoding="utf-8")
    return row


def _other_python(python: Path, job: Job) -> Job:
    # vLLM in one process, so that its memory is counted; its cache of 2 GiB, as much as rolesum's.
    settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2"}
    command, env = [str(python), __file__, "--child"], settings | os.environ
    done = subprocess.run(command, input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=False, env=env)
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise ChildFailed(f"the process ended with code {done.returncode} and no answer") from None
    if "error" in found:
        raise ChildFailed(found["error"])
    return dict(found)


def merged(run: Path, work: Path) -> dict[str, str]:
    """The run's weights, merged: a directory, and GGUF files of both precisions."""
    paths = {"model": work / "merged", "q8_0": work / "q8_0.gguf", "f16": work / "f16.gguf"}
    # In processes of their own: what a parent has held counts as its children's peak.
    if not paths["model"].exists():
        _export(run, "--to", "merged", "--out", paths["model"], "--dtype", "float32")
    for precision in ("q8_0", "f16"):
        if not paths[precision].exists():
            _export(run, "--to", "gguf", "--out", paths[precision], "--precision", precision)
    return {name: str(path) for name, path in paths.items()}


def _export(run: Path, *arguments: Any) -> None:
    subprocess.run([sys.executable, "-m", "rolesum", "export", str(run), *map(str, arguments)], check=True)


def _headline(rows: list[Job]) -> Job:
    """rolesum's dialogues per second divided by each peer's, where it leads least; what three roles cost over one."""
    rate = {(row["data"], row["roles"], row["side"]): row.get("dialogues_per_second") for row in rows}
    cells = sorted({(row["data"], row["roles"]) for row in rows})
    found: Job = {}
    for peer, sides in {
        "generate": ("generate",),
        "llamacpp": ("llamacpp-q8_0", "llamacpp-f16"),
        "vllm": ("vllm",),
    }.items():
        ratios = [
            ours / max(theirs)
            for cell in cells
            if (ours := rate.get((*cell, "rolesum")))
            and (theirs := [one for side in sides if (one := rate.get((*cell, side)))])
        ]
        if ratios:
            found[f"vs_{peer}"] = min(ratios)
    costs = [
        one / three
        for data in {data for data, _ in cells}
        if (one := rate.get((data, 1, "rolesum"))) and (three := rate.get((data, 3, "rolesum")))
    ]
    if costs:
        found["three_roles_over_one"] = max(costs)
    return found


def _first_token(run: Path) -> float:
    """Seconds from the start of `rolesum summarize` on one dialogue to its first word; the best of three."""
    chat = "Customer: My parcel is late, it should have been here on Monday.\nAgent: I am sorry, I will check.\n"
    command = [sys.executable, "-m", "rolesum", "summarize", "-", "--adapter", str(run / "adapter"), "--stream"]
    found = []
    for _ in range(3):
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ)
        assert child.stdin and child.stdout
        child.stdin.write(chat.encode())
        child.stdin.close()
        child.stdout.readline()  # the heading comes with the first word
        child.stdout.read(1)
        found.append(time.perf_counter() - begin)
        child.stdout.read()
        child.wait()
    return min(found)


# --- in the child


def work(job: Job) -> Job:
    """One cell: the dialogues, written by one side."""
    dialogues = _dialogues(job)
    if job["side"] == "equality":
        return _equality(job, dialogues[:8])
    write = {"rolesum": _by_rolesum, "generate": _by_generate, "vllm": _by_vllm}.get(job["side"], _by_llamacpp)
    seconds, tokens = write(job, dialogues)
    return {
        "dialogues_per_second": len(dialogues) / seconds,
        "new_tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "new_tokens": tokens,
    }


def _dialogues(job: Job) -> list[Any]:
    from rolesum.formats import read_dialogues

    chats = read_dialogues(job["tweetsumm"])
    if job["data"] == "tweetsumm":
        return chats[: job["dialogues"]]
    return _of_length(chats, [len(one.turns) for one in read_dialogues(job["csds"])][: job["dialogues"]])


def _of_length(chats: list[Any], turns: list[int]) -> list[Any]:
    """English dialogues with as many turns as CSDS's have: TweetSumm's turns one after another, parted anew."""
    from itertools import cycle, islice

    from rolesum.dialogue import Dialogue

    stream = cycle([turn for one in chats for turn in one.turns])
    roles = dict(chats[0].roles)
    return [Dialogue(f"long-{n}", tuple(islice(stream, count)), roles, language="en") for n, count in enumerate(turns)]


def _prompts(side: Any, dialogues: list[Any], count: int) -> list[Any]:
    layout = side.layout()
    return [layout.prompt(dialogue, ROLES[count]) for dialogue in dialogues]


def _timed(engine: Any, prompts: list[Any], job: Job) -> tuple[float, int]:
    from rolesum.generation import Decoding

    engine.generate(prompts[:1], Decoding(max_new_tokens=2))  # whatever an engine does once
    begin = time.perf_counter()
    found = engine.generate(prompts, Decoding(max_new_tokens=job["max_new_tokens"]))
    seconds = time.perf_counter() - begin
    return seconds, sum(one.tokens for row in found for one in row)


def _by_rolesum(job: Job, dialogues: list[Any]) -> tuple[float, int]:
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models.loading import load_model

    loaded = load_model(job["model"], dtype=job["dtype"], device=job["device"])
    return _timed(TransformersEngine(loaded), _prompts(loaded, dialogues, job["roles"]), job)


def _by_generate(job: Job, dialogues: list[Any]) -> tuple[float, int]:
    """Batches of prompts in input order, padded on the left; every role is a prompt of its own."""
    from rolesum.models.loading import load_model

    loaded = load_model(job["model"], dtype=job["dtype"], device=job["device"])
    prompts = _prompts(loaded, dialogues, job["roles"])
    begin, tokens = time.perf_counter(), 0
    encode = loaded.encoder.encode
    ids = [[*encode(one.prefix), *encode(branch)] for one in prompts for branch in one.branches]
    for start in range(0, len(ids), job["batch"]):
        tokens += sum(map(len, _generated(loaded, ids[start : start + job["batch"]], job["max_new_tokens"])))
    return time.perf_counter() - begin, tokens


def _generated(loaded: Any, batch: list[list[int]], most: int) -> list[list[int]]:
    """The new ids of a batch by the library's generate, each up to the stop that ended it."""
    import torch

    longest = max(map(len, batch))
    pad = [[0] * (longest - len(row)) for row in batch]
    ids = torch.tensor([[*before, *row] for before, row in zip(pad, batch, strict=True)], device=loaded.device)
    mask = torch.tensor([[*before, *[1] * len(row)] for before, row in zip(pad, batch, strict=True)])
    stops = list(loaded.stop_ids)
    made = loaded.model.generate(
        ids,
        attention_mask=mask.to(loaded.device),
        max_new_tokens=most,
        do_sample=False,
        num_beams=1,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )
    new = made[:, longest:].tolist()
    ends = [next((place + 1 for place, token in enumerate(row) if token in stops), len(row)) for row in new]
    return [row[:end] for row, end in zip(new, ends, strict=True)]


def _by_llamacpp(job: Job, dialogues: list[Any]) -> tuple[float, int]:
    from rolesum.generation.factory import EngineSpec

    gguf = Path(job[job["side"].removeprefix("llamacpp-")])
    engine = EngineSpec("llamacpp", model=job["model"], gguf=gguf, concurrency=SLOTS, device="cpu").open()
    return _timed(engine, [engine.layout.prompt(one, ROLES[job["roles"]]) for one in dialogues], job)


def _by_vllm(job: Job, dialogues: list[Any]) -> tuple[float, int]:
    from rolesum.generation.factory import EngineSpec

    engine = EngineSpec("vllm", model=job["model"], dtype=job["dtype"]).open()
    return _timed(engine, [engine.layout.prompt(one, ROLES[job["roles"]]) for one in dialogues], job)


def _equality(job: Job, dialogues: list[Any]) -> Job:
    """In float32 rolesum's tokens are those of generate, run on one prompt at a time. Raises AssertionError."""
    from rolesum.generation import Decoding
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models.loading import load_model

    loaded = load_model(job["model"], dtype="float32", device=job["device"])
    engine, prompts = TransformersEngine(loaded), _prompts(loaded, dialogues, job["roles"])
    decoding = Decoding(max_new_tokens=job["max_new_tokens"])
    requests = [engine.make_request(number, prompt, decoding) for number, prompt in enumerate(prompts)]
    ended = list(engine.new_scheduler().run(requests))
    ours = {one.hypothesis.key: one.hypothesis.ids for one in ended}
    for one in (request.prompt for request in requests):
        for number, branch in enumerate(one.branches):
            alone = _generated(loaded, [[*one.prefix, *branch]], job["max_new_tokens"])[0]
            assert ours[one.index, number] == alone, f"dialogue {dialogues[one.index].id}, branch {number} differs"
    return {"equal": len(ours)}


if __name__ == "__main__":
    sys.exit(answer(work) if "--child" in sys.argv else main())
