"""Processes that run rolesum, forked from one that has imported it: importing torch anew takes seconds each time.

A child is a process of its own: it is signaled and killed like one, and has its own environment and standard streams.
A script's own child processes are forks too.
"""

import contextlib
import functools
import gc
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

# Imported in the process that children are forked from, which does nothing with them.
PRELOADED = [
    "rolesum.cli.main",
    "rolesum.demo",
    "rolesum.training",
    "rolesum.training.validation",
    "rolesum.generation.engines.transformers",
    "rolesum.server",
    "peft",
    "uvicorn",
    "uvicorn.protocols.http.h11_impl",
    "transformers.models.llama.modeling_llama",
]
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(PRELOADED)


def _enter(environment, folder, out, err):
    """Make the forked process what a new one would be."""
    gc.freeze()  # a collection that looked through what was imported would copy the memory that is shared
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in ((1, out), (2, err)):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, number)
        os.close(target)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", line_buffering=True) for number in (1, 2)
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from rolesum.console import console

    console.quiet = environment.get("RANK", "0") != "0"  # decided when the module is imported


def _command_line(arguments, before, *entered):
    _enter(*entered)
    if before:
        before()
    _run_command_line(arguments)


def _run_command_line(arguments):
    sys.argv = ["rolesum", *arguments]
    from rolesum.cli.main import run

    run()


def _run_as_main(program, arguments):
    """What `python program arguments` does, in a process that has been forked for it."""
    sys.argv = [program, *arguments]
    sys.path.insert(0, str(Path(program).parent))
    runpy.run_path(program, run_name="__main__")


def _script(arguments, before, *entered):
    _enter(*entered)
    subprocess.run = functools.partial(_run_forked, subprocess.run)
    _run_as_main(arguments[0], arguments[1:])


def _run_forked(run, command, **how):
    """Stands for subprocess.run in a script: what starts Python again is done by a fork, with the same streams."""
    command = [os.fspath(word) for word in command]
    as_command = command[1:3] == ["-m", "rolesum"]
    if command[0] != sys.executable or not (as_command or command[1].endswith(".py")):
        return run(command, **how)
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
        given.write(how.get("input", ""))
        given.seek(0)
        sys.stdout.flush()
        if not (child := os.fork()):
            code = 1
            try:
                os.dup2(given.fileno(), 0)
                sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
                if "stdout" in how:
                    os.dup2(said.fileno(), 1)
                os.environ.update(how.get("env") or {})
                if as_command:
                    _run_command_line(command[3:])
                else:
                    _run_as_main(command[1], command[2:])
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        done = subprocess.CompletedProcess(command, code, said.read() if "stdout" in how else None)
    if how.get("check"):
        done.check_returncode()
    return done


class Child:
    """A running `rolesum` command. `before` is a module-level function that the child calls first."""

    target = staticmethod(_command_line)

    def __init__(self, *arguments, env=None, cwd=None, before=None):
        self.arguments = [*map(str, arguments)]
        self.folder = Path(tempfile.mkdtemp(prefix="rolesum-child-"))
        self._out, self._err = self.folder / "stdout", self.folder / "stderr"
        self._out.touch()
        self._err.touch()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        entered = (environment, str(cwd or Path.cwd()), str(self._out), str(self._err))
        self.process = CHILDREN.Process(target=self.target, args=(self.arguments, before, *entered))
        self.process.start()

    @property
    def pid(self):
        return self.process.pid

    @property
    def stdout(self):
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self):
        return self._err.read_text(encoding="utf-8", errors="replace")

    def poll(self):
        return self.process.exitcode

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, seconds=300):
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.arguments, seconds, self.stdout, self.stderr)
        return self.process.exitcode

    def wait_for(self, text, seconds=120):
        """Until standard error holds a text. Fails where the child ends before."""
        until = time.monotonic() + seconds
        while text not in self.stderr:
            assert self.poll() is None and time.monotonic() < until, self.stderr
            time.sleep(0.02)


class Script(Child):
    """A running Python program: its path, and its arguments. What it starts by subprocess.run is forked too."""

    target = staticmethod(_script)


def _ended(child, seconds):
    code = child.wait(seconds)
    return subprocess.CompletedProcess(child.arguments, code, child.stdout, child.stderr)


def run_child(*arguments, seconds=300, **how):
    """Run a command to its end: exit status, standard output and standard error."""
    return _ended(Child(*arguments, **how), seconds)


def run_script(program, *arguments, seconds=300, **how):
    """Run a Python program to its end, as run_child does a command."""
    return _ended(Script(program, *arguments, **how), seconds)


def run_in_processes(count, *arguments, seconds=300, env=None, before=None):
    """What torchrun starts on one machine: `count` processes of one group; their output together."""
    from torch.distributed.elastic.utils.distributed import get_free_port

    group = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    group["MASTER_PORT"] = str(get_free_port())
    members = [
        Child(*arguments, env={**(env or {}), **group, "RANK": str(rank), "LOCAL_RANK": str(rank)}, before=before)
        for rank in range(count)
    ]
    until = time.monotonic() + seconds
    while any(one.poll() is None for one in members):
        if any(one.poll() for one in members) or time.monotonic() > until:
            ending = time.monotonic() + 3  # then, as torchrun ends the others where one has failed
            for one in members:
                one.process.join(max(0, ending - time.monotonic()))
                if one.poll() is None:
                    one.send_signal(signal.SIGTERM)
            break
        time.sleep(0.05)
    codes = [one.wait(30) for one in members]
    out, err = ("".join(getattr(one, name) for one in members) for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(members[0].arguments, next(filter(None, codes), 0), out, err)
