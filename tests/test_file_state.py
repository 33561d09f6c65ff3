"""Whether a file or a directory is still what it was when it was read."""

import os

import pytest

from rolesum.errors import DataError, ModelError
from rolesum.file_state import FileState, find_change, read_state, unchanged_while_read


def test_a_file_is_itself_until_its_content_changes(tmp_path):
    path = tmp_path / "a"
    path.write_text("some text")
    before = read_state(path)
    assert FileState.from_json(before.as_json()) == before
    assert find_change(before) == (None, before.record)
    os.utime(path, ns=(1, 1))
    change, record = find_change(before)
    assert change is None and record != before.record
    path.write_text("more text")
    assert find_change(before)[0] == "its content is another"
    path.write_text("some text")
    assert find_change(before)[0] is None
    path.write_text("some text and more")
    assert find_change(before)[0] == "it had 9 bytes and now has 18"
    path.unlink()
    assert find_change(before)[0] == "it is gone"


def test_a_directory_changes_with_the_names_and_contents_in_it(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a").write_text("a")
    before = read_state(folder)
    (folder / "sub" / "a").rename(folder / "sub" / "b")
    assert find_change(before)[0] == "its content is another"
    (folder / "sub" / "b").rename(folder / "sub" / "a")
    assert find_change(before)[0] is None
    (folder / "sub" / "new").touch()
    assert find_change(before)[0] == "its content is another"


def test_what_is_read_of_several_files_belongs_together(tmp_path):
    (tmp_path / "a").write_text("a")
    with unchanged_while_read(tmp_path, "again"):
        pass
    with pytest.raises(ModelError, match="it changed while"), unchanged_while_read(tmp_path, "again"):
        (tmp_path / "b").touch()
    with pytest.raises(DataError, match="changed while"), unchanged_while_read(tmp_path, "again", DataError):
        (tmp_path / "b").unlink()
        raise ValueError("half of it is missing")
    with pytest.raises(ValueError, match="broken"), unchanged_while_read(tmp_path, "again"):
        raise ValueError("broken")
