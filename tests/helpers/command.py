"""The command line in the test's own process: importing torch anew for each call costs seconds."""

import contextlib
import io
import subprocess
import sys
from unittest import mock

from rolesum.cli import main


def rolesum(*arguments, stdin="", cwd="."):
    """The command's entry point: exit code, standard output and standard error."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["rolesum", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
    ):
        try:
            main.run()
        except SystemExit as ended:
            code = ended.code or 0
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
