"""Processes with stock transformers and nothing of rolesum: each forked from one that has imported it, and fresh."""

import json
import os
import subprocess
import sys

# Runs a program for each line of standard input, [program, arguments], in a fork of itself; answers its exit code.
FORKING = """
import gc, json, os, runpy, sys
import torch, transformers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.models.llama import modeling_llama
gc.collect()
gc.freeze()
for line in sys.stdin:
    program, arguments, said = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
        sys.argv = [program, *arguments]
        code = 1
        try:
            runpy.run_path(program, run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class StockProcesses:
    """Stands for the module `subprocess` where a Python program is run: `run([python, "-P", program, *arguments])`."""

    def __init__(self, folder):
        self.folder, self.calls = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, command, **_):
        _, flag, program, *arguments = map(os.fspath, command)
        assert flag == "-P"
        self.calls += 1
        said = self.folder / f"stderr-{self.calls}"
        self.process.stdin.write(json.dumps([program, arguments, str(said)]) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(command, code, "", said.read_text(encoding="utf-8"))

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
