"""Errors of the operating system: each gets the advice for its own cause, however a library wraps it."""

import errno
import os
import sqlite3

import pytest

from rolesum.errors import DataError, ModelError, ResourceError
from rolesum.os_errors import cannot_read, errno_of, os_error

resource = pytest.importorskip("resource", reason="limits of a process are Unix's")

ADVICE = [
    (errno.ENOSPC, "free some disk space", ResourceError),
    (errno.EDQUOT, "your quota", ResourceError),
    (errno.EFBIG, "ulimit -f", ResourceError),
    (errno.EMFILE, "ulimit -n", ResourceError),
    (errno.ENFILE, "fs.file-max", ResourceError),
    (errno.EIO, "check the disk", ResourceError),
    (errno.ENOMEM, "free some memory", ResourceError),
    (errno.EACCES, "owner and permissions", DataError),
    (errno.EPERM, "owner and permissions", DataError),
    (errno.EROFS, "cannot be written to", DataError),
    (errno.ENAMETOOLONG, "a shorter name", DataError),
    (errno.ELOOP, "symbolic links", DataError),
    (errno.ENOENT, "check the path", DataError),
    (errno.EISDIR, "this is a directory", DataError),
]


@pytest.mark.parametrize(
    ("number", "fix", "kind"), ADVICE, ids=lambda one: errno.errorcode.get(one) if one in errno.errorcode else None
)
def test_each_number_has_its_own_advice(number, fix, kind):
    error = cannot_read(OSError(number, os.strerror(number), "some/file"))
    assert type(error) is kind
    (problem,) = error.problems
    assert (problem.what, problem.where) == (f"cannot read the file: {os.strerror(number)}", "some/file")
    assert fix in problem.fix
    assert ("disk space" in problem.fix) == (number == errno.ENOSPC)


def test_the_limit_on_open_files_is_told_with_its_number():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert f"which is {soft}: ulimit -n" in str(os_error(OSError(errno.EMFILE, "x"), "cannot open"))


def test_a_caller_knows_best_about_a_path_that_is_not_there_and_nothing_else():
    absent, full = (OSError(number, os.strerror(number)) for number in (errno.ENOENT, errno.ENOSPC))
    assert os_error(absent, "x", "y", "name a run").problems[0].fix == "name a run"
    assert os_error(full, "x", "y", "name a run", then="then go on").problems[0].fix.endswith("disk; then go on")


def really(raising):
    with pytest.raises(Exception) as caught:
        raising()
    return caught.value


def limited_size(work):
    """What `work` raises where no file may have more than 4 kB."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        return really(work)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_safetensors_error_is_understood(tmp_path):
    import torch
    from safetensors.torch import save_file

    error = limited_size(lambda: save_file({"a": torch.zeros(10_000)}, tmp_path / "a.safetensors"))
    assert errno_of(error) == errno.EFBIG
    assert "ulimit -f" in str(os_error(error, "cannot write", tmp_path))


def test_torch_saves_error_which_has_no_number_gets_advice_nevertheless(tmp_path):
    import torch

    error = limited_size(lambda: torch.save({"a": torch.zeros(10_000)}, tmp_path / "a.pt"))
    assert not isinstance(error, OSError)
    assert "free some disk space, or raise the limit on a file's size" in str(os_error(error, "cannot write", tmp_path))


def test_sqlites_error_is_understood(tmp_path):
    connection = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count = 4")
    error = really(lambda: connection.execute("INSERT INTO t VALUES (zeroblob(100000))"))
    connection.close()
    assert errno_of(error) == errno.ENOSPC
    assert type(os_error(error, "cannot save", kind=DataError)) is ResourceError


def test_a_cause_within_a_librarys_error_is_found():
    try:
        try:
            raise OSError(errno.EMFILE, "Too many open files")
        except OSError as error:
            raise RuntimeError("failed to import") from error
    except RuntimeError as error:
        assert errno_of(error) == errno.EMFILE


@pytest.mark.parametrize("text", ["no such model", "disk", "error 28", "the file is full of errors"])
def test_other_errors_are_none_of_the_systems(text):
    assert errno_of(ValueError(text)) is None
    error = os_error(ValueError(text), "the model cannot be loaded", "there", "fetch it", kind=ModelError)
    assert (type(error), str(error)) == (ModelError, f"there: the model cannot be loaded: {text}\n  → fetch it")
