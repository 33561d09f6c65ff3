"""Which adapter an EngineSpec takes where none is named, and by which names it is found."""

import pytest

from rolesum.generation.factory import EngineSpec
from rolesum.models.bundled_adapters import bundled_adapters, default_adapter


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_engine_spec_without_a_model_takes_the_bundled_adapter(engine):
    assert EngineSpec(engine).adapter == default_adapter() is not None


def test_engine_spec_with_a_model_or_other_weights_takes_no_adapter(tmp_path):
    assert EngineSpec(model="smollm2-135m").adapter is None
    assert EngineSpec("llamacpp", gguf=tmp_path / "x.gguf").adapter is None
    assert EngineSpec("openai", url="http://localhost:1/v1").adapter is None


def test_engine_spec_finds_a_bundled_adapter_by_its_name():
    small = bundled_adapters()["rolesum-smollm2-135m"]
    by_adapter, by_model = EngineSpec(adapter="rolesum-smollm2-135m"), EngineSpec(model="rolesum-smollm2-135m")
    assert by_adapter.adapter == by_model.adapter == small and by_model.model is None
