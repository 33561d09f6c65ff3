"""The adapters that come with rolesum: which are there, by what names, and when they summarize."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from helpers.tiny import model_dir
from rolesum.cli.generation_options import GenerationOptions
from rolesum.cli.main import app
from rolesum.errors import ModelError
from rolesum.evaluation.evaluate import evaluate
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.models import bundled_adapters
from rolesum.models.catalog import DEFAULT_MODEL
from rolesum.models.export.exporter import find_source


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package folder with one adapter in it, in the place of the real one."""
    folder = tmp_path / "adapters"
    for name in ("en-zh", "__pycache__"):
        (folder / name).mkdir(parents=True)
    for file in ("README.md", "adapter_config.json"):
        (folder / "en-zh" / file).write_text("{}")
    terms = {"terms": "the data it was trained on allow non-commercial use only", "base": "smollm2-135m"}
    (folder / "en-zh" / "rolesum.json").write_text(json.dumps(terms))
    (folder / "__init__.py").write_text("")
    monkeypatch.setattr(bundled_adapters, "_FOLDER", folder)
    return folder / "en-zh"


def test_an_adapter_is_found_by_its_name_and_by_its_base(shipped):
    assert bundled_adapters.bundled_adapters() == {"rolesum-en-zh": shipped}
    assert bundled_adapters.default_adapter() == shipped == bundled_adapters.adapter_for("smollm2-135m")
    assert bundled_adapters.adapter_for("gemma3-270m") is None


def test_a_name_stands_for_its_directory_and_a_path_for_itself(shipped, tmp_path, monkeypatch):
    assert bundled_adapters.adapter_path("rolesum-en-zh") == shipped
    assert bundled_adapters.adapter_path("runs/mine/adapter") == Path("runs/mine/adapter")
    assert find_source("rolesum-en-zh").adapter == shipped
    monkeypatch.chdir(tmp_path)
    Path("rolesum-en-zh").mkdir()
    assert bundled_adapters.adapter_path("rolesum-en-zh") == Path("rolesum-en-zh")


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_without_a_model_and_an_adapter_the_released_one_summarizes(shipped, tmp_path, engine):
    mine = shutil.copytree(shipped, tmp_path / "mine")
    assert GenerationOptions().engine_spec(engine).adapter == shipped
    assert GenerationOptions(model="smollm2-135m").engine_spec(engine).adapter is None  # no default adapter
    assert GenerationOptions(adapter=mine).engine_spec(engine).adapter == mine


def test_the_list_of_models_names_it(shipped):
    shown = CliRunner().invoke(app, ["models"]).stdout
    assert "Adapters that come with rolesum: rolesum-en-zh" in shown


def test_who_summarizes_with_it_is_told_its_terms(shipped, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))  # where it is kept that they were shown
    with pytest.raises(ModelError):  # this adapter has no weights
        EngineSpec(model=str(model_dir("llama")), adapter=shipped).open()
    assert "rolesum-en-zh summarizes: the data it was trained on allow non-commercial" in capsys.readouterr().err
    assert bundled_adapters.license_notice(Path("runs/mine/adapter")) == ""


def test_engines_with_weights_of_their_own_get_none(shipped, tmp_path):
    assert GenerationOptions(gguf=tmp_path / "some.gguf").engine_spec("llamacpp").adapter is None
    assert GenerationOptions(url="http://localhost:1/v1").engine_spec("openai").adapter is None


@pytest.mark.parametrize(
    ("name", "base", "layers", "license_", "data"),
    [
        (
            *("rolesum-en-zh", "qwen2.5-coder-1.5b", 28, "cc-by-4.0"),
            ["sample:dialogues-en-train", "sample:dialogues-zh-train"],
        ),
        ("rolesum-smollm2-135m", "smollm2-135m", 30, "cc-by-nc-4.0", ["SAMSum", "TweetSumm", "sample:en-train"]),
    ],
)
def test_those_that_are_here_are_small_and_name_no_place_of_their_making(name, base, layers, license_, data):
    here = bundled_adapters.bundled_adapters()[name]
    assert bundled_adapters.adapter_for(base) == here
    assert sum(file.stat().st_size for file in here.iterdir()) < 20e6
    weights = load_file(here / "adapter_model.safetensors")
    assert len(weights) == layers * 7 * 2 and {one.dtype for one in weights.values()} == {torch.bfloat16}
    assert json.loads((here / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    metadata = json.loads((here / "rolesum.json").read_text())
    assert (metadata["license"], metadata["data"]) == (license_, data)
    told = "".join(file.read_text(encoding="utf-8") for file in here.glob("*.[jm]*"))
    assert f"license: {license_}" in told and not any(word in told for word in ("/home/", "/root/", "/work/", "/tmp/"))


def test_only_the_adapter_whose_data_restrict_its_use_has_a_notice():
    adapters = bundled_adapters.bundled_adapters()
    assert bundled_adapters.license_notice(adapters["rolesum-en-zh"]) == ""
    said = bundled_adapters.license_notice(adapters["rolesum-smollm2-135m"])
    assert said.startswith("rolesum-smollm2-135m summarizes: the data it was trained on")


def test_the_default_adapter_is_one_for_the_default_model():
    assert bundled_adapters.default_adapter() == bundled_adapters.adapter_for(DEFAULT_MODEL) is not None


@pytest.mark.embedded
@pytest.mark.slow
def test_it_summarizes_each_role_far_better_than_its_base():
    dialogues = read_dialogues("sample:en-test")[:6]
    roles = ("overall", "user", "agent")
    means = {}
    for adapter in (None, bundled_adapters.adapter_for("smollm2-135m")):
        engine = EngineSpec(model=None if adapter else "smollm2-135m", adapter=adapter).open()
        scores = evaluate(engine, dialogues, roles=roles, decoding=Decoding(max_new_tokens=64)).scores
        means[adapter] = {role: float(scores[role].means["rouge1"]) for role in roles}
    before, after = means.values()
    assert all(after[role] > before[role] + 5 for role in roles), means
