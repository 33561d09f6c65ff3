"""Settings: .rolesum.toml of this directory or one above, ROLESUM_ variables before it, and what is refused."""

import pytest

from rolesum.errors import UsageError
from rolesum.settings import Setting, read_settings, unknown_variables


@pytest.fixture
def folder(tmp_path):
    """A directory two levels under one with a file of settings."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".rolesum.toml").write_text('adapter = "rolesum-en-zh"\nroles = ["user", "客服"]\nthreads = 2\n')
    return tmp_path / "deep" / "er"


def refused(folder, text, **environment):
    (folder / ".rolesum.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_settings(folder, environment)
    return str(caught.value)


def test_the_nearest_file_above_sets_values_and_is_their_source(folder):
    file = str(folder.parent.parent / ".rolesum.toml")
    assert read_settings(folder, {}) == {
        "adapter": Setting("rolesum-en-zh", file),
        "roles": Setting("user,客服", file),
        "threads": Setting(2, file),
    }
    (folder / ".rolesum.toml").write_text('language = "zh"\n')
    assert read_settings(folder, {}) == {"language": Setting("zh", str(folder / ".rolesum.toml"))}


def test_a_variable_comes_before_the_file(folder):
    found = read_settings(folder, {"ROLESUM_THREADS": "7", "ROLESUM_ROLES": "overall", "ROLESUM_DEVICE": ""})
    assert found["threads"] == Setting(7, "ROLESUM_THREADS")
    assert found["roles"] == Setting("overall", "ROLESUM_ROLES")
    assert found["adapter"].value == "rolesum-en-zh" and "device" not in found


def test_a_model_by_variable_is_not_put_under_the_adapter_of_the_file(folder):
    found = read_settings(folder, {"ROLESUM_MODEL": "qwen2.5-0.5b"})
    assert found["model"].source == "ROLESUM_MODEL" and "adapter" not in found


def test_paths_of_the_file_count_from_its_directory(folder):
    top = folder.parent.parent
    (top / "runs" / "mine").mkdir(parents=True)
    (top / ".rolesum.toml").write_text('adapter = "runs/mine"\nmodel = "./models/own"\n')
    found = read_settings(folder, {})
    assert found["adapter"].value == str(top / "runs" / "mine")
    assert found["model"].value == str(top / "models" / "own")
    (top / ".rolesum.toml").write_text('model = "owner/name"\n')
    assert read_settings(folder, {})["model"].value == "owner/name"


def test_all_wrong_keys_and_values_are_named_with_a_remedy(tmp_path):
    said = refused(tmp_path, 'modle = "x"\nthreads = true\nroles = []\nlanguage = "fr"\ndtype = 16\n')
    assert 'unknown key "modle"' in said and 'did you mean "model"?' in said
    assert "threads is True" in said and "language is 'fr'" in said and "dtype is 16" in said
    assert "roles" in said
    assert said.count(str(tmp_path / ".rolesum.toml")) == 5


@pytest.mark.parametrize("text", ["model = ", "[model", 'model = "a"\nmodel = "b"'])
def test_broken_toml_is_refused_with_its_line(tmp_path, text):
    assert "line" in refused(tmp_path, text) or "end of document" in refused(tmp_path, text)


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5"])
def test_a_variable_that_is_no_count_is_named(tmp_path, text):
    assert "ROLESUM_THREADS: threads is" in refused(tmp_path, "", ROLESUM_THREADS=text)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / ".rolesum.toml").write_bytes(b'model = "\xff\xfe"')
    with pytest.raises(UsageError, match="not a UTF-8 text"):
        read_settings(tmp_path, {})


def test_variables_that_set_nothing_are_listed():
    known = {"ROLESUM_CACHE": "/x", "ROLESUM_API_KEYS": "k", "ROLESUM_ROLES": "user", "PATH": "/bin"}
    (one,) = unknown_variables({**known, "ROLESUM_ADAPTOR": "x"})
    assert "ROLESUM_ADAPTOR" in one.what and one.fix == 'did you mean "ROLESUM_ADAPTER"?'
