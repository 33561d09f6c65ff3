"""Measures the service under load: 1, 8 and 64 clients for a minute each, beside other servers of the same weights.

Every side answers the same chat requests (one user message: dialogue and instruction) through OpenAI's API, greedily,
in a process of its own. Of ours also what they do not have is measured: one request for three roles. Told are answers
a second, latency, what was refused or lost, and the memory over time. A side that is not there is left out and told.
The dialogues are more than a side can answer: who keeps the keys of a prompt that was asked before gains nothing by it.
"""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import httpx
import psutil
from record import Job, arguments, print_rows, probe, write_record

from generation import SLOTS, merged

NAME = "serve_load"
CLIENTS = (1, 8, 64)
SIDES = ("rolesum", "rolesum-3-roles", "llamacpp-q8_0", "llamacpp-f16", "vllm")
SHOWN = ("side", "clients", "answers", "per_second", "tokens_per_second", "p50", "p95", "refused", "lost", "memory_gb")
STARTED = re.compile(r"serving .*: (http://\S+)")
CONTEXT = 4096  # tokens of a slot of llama.cpp, and of vLLM

Request = tuple[str, Job]  # the path and the body


def main() -> int:
    options = _options()
    machine = probe("cpu", options.dtype, base="smollm2-135m")
    weights = merged(options.run, options.work)
    rows: list[Job] = []
    for side in options.sides:
        with _server(side, options, weights) as server:
            if server is None:
                rows.append({"side": side, "note": "not installed"})
                continue
            requests = cycle(_requests(side, server.model, options))
            with ThreadPoolExecutor(8) as pool:  # what is done once, when the first requests come
                list(pool.map(lambda one: _ask(server.url, one), islice(requests, 8)))
            for clients in options.clients:
                rows.append({"side": side, **_load(server, requests, clients, options.seconds)})
                print_rows(f"{side}, {clients} clients", [{key: rows[-1][key] for key in SHOWN}])
    names = ("seconds", "max_new_tokens", "dialogues", "sides")
    settings = {name: getattr(options, name) for name in names} | {"slots": SLOTS}
    write_record(NAME, machine, settings, rows, _headline(rows), options.results, SHOWN)
    return 0


@dataclass(frozen=True)
class _Server:
    """A running side: where it answers, its process, and what its model is called."""

    url: str
    process: psutil.Process
    model: str

    @property
    def memory(self) -> float:
        """Resident memory of the process and its children, in GB."""
        family = (self.process, *self.process.children(recursive=True))
        return sum(one.memory_info().rss for one in family) / 1e9


def _load(server: _Server, requests: Iterator[Request], clients: int, seconds: float) -> Job:
    """So many clients, each with one request at a time, until the time is over; all that was begun is waited for."""
    seen: list[tuple[float, int]] = []
    refused, lost = count(), count()
    memory = [server.memory]
    end = time.monotonic() + seconds

    def client() -> None:
        with httpx.Client(timeout=600, trust_env=False) as connection:
            while time.monotonic() < end:
                begun = time.monotonic()
                try:
                    status, tokens = _ask(server.url, next(requests), connection)
                except httpx.HTTPError:
                    next(lost)
                    continue
                if status == 429:
                    next(refused)
                    time.sleep(0.2)
                elif status != 200:
                    next(lost)
                else:
                    seen.append((time.monotonic() - begun, tokens))

    begun = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(seconds / 12)
        memory.append(server.memory)
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    times = sorted(one for one, _ in seen)
    return {
        "clients": clients,
        "answers": len(seen),
        "per_second": len(seen) / took,
        "tokens_per_second": sum(tokens for _, tokens in seen) / took,
        "p50": _share(times, 0.5),
        "p95": _share(times, 0.95),
        "refused": next(refused),
        "lost": next(lost),
        "memory_gb": memory[-1],
        "memory_over_time_gb": [round(one, 3) for one in memory],
    }


def _share(times: list[float], share: float) -> float | None:
    return times[min(len(times) - 1, int(share * len(times)))] if times else None


def _ask(url: str, request: Request, client: httpx.Client | None = None) -> tuple[int, int]:
    """The status and the tokens of the answer."""
    path, body = request
    post = client.post if client else partial(httpx.post, timeout=600, trust_env=False)
    answer = post(f"{url}{path}", json=body)
    if not answer.is_success:
        return answer.status_code, 0
    found = answer.json()
    tokens = (
        found["usage"]["completion_tokens"] if "usage" in found else sum(one["tokens"] for one in found["summaries"])
    )
    return answer.status_code, tokens


def _requests(side: str, model: str, options: Namespace) -> list[Request]:
    """A chat for each dialogue: it and the instruction for its overall summary; or a request for three roles."""
    from rolesum.formats import ReadOptions, read_dialogues
    from rolesum.instructions import instruction_set

    dialogues, wording = read_dialogues(options.tweetsumm, ReadOptions(limit=options.dialogues)), instruction_set("en")
    if side == "rolesum-3-roles":
        turns = [[{"speaker": turn.speaker, "text": turn.text} for turn in one.turns] for one in dialogues]
        whole = [{"turns": each, "roles": dict(one.roles)} for each, one in zip(turns, dialogues, strict=True)]
        roles, most = ["overall", "user", "agent"], {"max_new_tokens": options.max_new_tokens}
        return [("/v1/summaries", {"dialogue": one, "roles": roles, "options": most}) for one in whole]
    texts = [f"{wording.dialogue_text(one)}\n\n{wording.instruction('overall', one)}" for one in dialogues]
    how = {"model": model, "max_tokens": options.max_new_tokens, "temperature": 0}
    return [("/v1/chat/completions", {**how, "messages": [{"role": "user", "content": text}]}) for text in texts]


def _server(side: str, options: Namespace, weights: dict[str, str]) -> AbstractContextManager[_Server | None]:
    """A running side, or None where it is not installed."""
    if side == "vllm":
        return _vllm(options, weights["model"])
    if side.startswith("llamacpp"):
        return _llamacpp(weights[side.removeprefix("llamacpp-")])
    return _rolesum(options, weights["model"])


@contextmanager
def _rolesum(options: Namespace, model: str) -> Iterator[_Server | None]:
    command = [sys.executable, "-m", "rolesum", "serve", "--port", "0", "--store", str(options.work / "batches.sqlite")]
    with _process(
        [*command, "--model", model, "--dtype", options.dtype, "--max-concurrent-requests", "128"]
    ) as process:
        for line in process.stderr or ():
            if found := STARTED.search(line):
                _drain(process)
                _wait(f"{found[1]}/ready")
                yield _Server(found[1], psutil.Process(process.pid), Path(model).name)
                return
        raise RuntimeError("rolesum serve did not start")


@contextmanager
def _llamacpp(gguf: str) -> Iterator[_Server | None]:
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        yield None
        return
    with _process([sys.executable, __file__, "--llamacpp", gguf]) as process:
        url = next((line.split()[1] for line in process.stdout or () if line.startswith("listening ")), "")
        _drain(process)
        _wait(f"{url}/health")
        yield _Server(url, psutil.Process(process.pid), "model")


def _llamacpp_child(gguf: str) -> int:
    """llama.cpp's own server, in this process."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.port = gguf, SLOTS * CONTEXT, SLOTS, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.use_jinja, params.verbosity = True, 0
    server = xllamacpp.Server(params)
    print(f"listening {server.listening_address}", flush=True)
    threading.Event().wait()
    return 0


@contextmanager
def _vllm(options: Namespace, model: str) -> Iterator[_Server | None]:
    if not options.vllm_python:
        yield None
        return
    port = _free_port()
    serve = [str(options.vllm_python), "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    settings = ["--port", str(port), "--dtype", options.dtype, "--max-model-len", str(CONTEXT)]
    # Its cache of 2 GiB, as much as rolesum's.
    with _process([*serve, *settings], {"VLLM_CPU_KVCACHE_SPACE": "2"}) as process:
        _drain(process)
        _wait(f"http://127.0.0.1:{port}/health", 600)
        yield _Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid), model)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _drain(process: "subprocess.Popen[str]") -> None:
    """Read on what a server prints, lest it waits for a reader."""
    for pipe in (process.stdout, process.stderr):
        threading.Thread(target=lambda pipe=pipe: list(pipe), daemon=True).start()


@contextmanager
def _process(command: list[str], env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, **pipes)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(url: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"nothing answers at {url}")


def _headline(rows: list[Job]) -> Job:
    """rolesum's answers a second over each peer's by clients, and what three roles cost over one."""
    found = {(row["side"], row["clients"]): row for row in rows if "clients" in row}
    headline: Job = {"lost": sum(row["lost"] for (side, _), row in found.items() if side.startswith("rolesum"))}
    for (side, clients), row in found.items():
        ours = found.get(("rolesum", clients))
        if ours and side == "rolesum-3-roles":
            headline[f"three_roles_over_one_{clients}"] = ours["per_second"] / row["per_second"]
        elif ours and side != "rolesum":
            headline[f"vs_{side}_{clients}"] = ours["per_second"] / row["per_second"]
    return headline


def _options() -> Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--run", type=Path, required=True, help="a trained run on smollm2-135m, such as runs/demo")
    parser.add_argument("--tweetsumm", type=Path, required=True, help="TweetSumm's training file, which is long enough")
    parser.add_argument("--dialogues", type=int, default=1000)
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max-new-tokens", type=int, default=60)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--vllm-python", type=Path, help="the Python of an environment with vLLM")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/benchmark-generation"), help="the weights are kept there"
    )
    found = parser.parse_args()
    if found.dtype == "auto":
        found.dtype = "bfloat16"  # of every side, whatever its own default is
    found.work.mkdir(parents=True, exist_ok=True)
    return found


if __name__ == "__main__":
    sys.exit(_llamacpp_child(sys.argv[2]) if sys.argv[1:2] == ["--llamacpp"] else main())
