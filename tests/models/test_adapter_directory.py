"""A run's directory stands for the adapter in it, wherever an adapter is named."""

import pytest

from helpers.small_runs import recipe, trained
from helpers.tiny import model_dir
from rolesum.errors import ModelError
from rolesum.generation.factory import EngineSpec
from rolesum.models.adapter_metadata import adapter_directory, read_adapter_metadata
from rolesum.models.bundled_adapters import bundled_adapters
from rolesum.models.loading import find_model, load_prompt_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "mine", recipe())


def test_a_run_is_named_by_its_directory_or_its_adapters(run):
    for given in (run.path, str(run.path), run.adapter):
        assert adapter_directory(given) == run.adapter
        assert EngineSpec(adapter=given).adapter == run.adapter
        assert read_adapter_metadata(given)["recipe"] == "tiny"
        assert load_prompt_model(None, given).adapter == run.adapter


def test_a_bundled_adapter_is_named_by_its_name():
    for name, path in bundled_adapters().items():
        assert adapter_directory(name) == path


def test_a_run_or_a_model_in_the_other_ones_place_is_told_apart(run, tmp_path):
    with pytest.raises(ModelError, match="an adapter, not a model") as told:
        find_model(str(run.path))
    assert f"--adapter {run.path}" in str(told.value)
    (tmp_path / "model").symlink_to(model_dir("llama"))
    assert find_model(str(tmp_path)) == tmp_path / "model"
    with pytest.raises(ModelError, match="no adapter here") as told:
        read_adapter_metadata(tmp_path)
    assert f"--model {tmp_path / 'model'}" in str(told.value)
