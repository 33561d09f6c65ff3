"""A model of no listed family is checked once: what it computes in rolesum is what it computes by itself."""

import json

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, MptConfig, OlmoConfig, PreTrainedModel
from transformers.models.auto import AutoModelForCausalLM

from helpers.tiny import short_dialogues, tokenizer
from rolesum.errors import ModelError
from rolesum.generation.decoding.decoder_check import choose_decoder
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder
from rolesum.generation.decoding.separate import SeparateDecoder
from rolesum.models import self_check
from rolesum.models.families import OTHER
from rolesum.models.loading import load_model
from rolesum.recipe import Recipe
from rolesum.training.finetune import train
from rolesum.training.plan import plan

SIZES = {"vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
OLMO = OlmoConfig(**SIZES, bos_token_id=1, eos_token_id=2)
MPT = MptConfig(vocab_size=600, d_model=32, n_layers=2, n_heads=4, max_seq_len=1024)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def saved(config, path):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_like_llama_shares_prefixes_in_both_dtypes(tmp_path, dtype):
    loaded = load_model(saved(OLMO, tmp_path / "model"), device="cpu", dtype=dtype)
    assert loaded.family is OTHER and loaded.shares_prefix
    assert choose_decoder(loaded).func is PrefixSharedDecoder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_whose_alibi_counts_places_gets_rows_and_caches_of_its_own(tmp_path, dtype):
    loaded = load_model(saved(MPT, tmp_path / "model"), device="cpu", dtype=dtype)
    assert not loaded.shares_prefix
    assert choose_decoder(loaded).func is SeparateDecoder


def test_a_model_with_more_than_a_linear_head_is_refused(tmp_path):
    path = tmp_path / "model"
    config = BertConfig(**SIZES, is_decoder=True, intermediate_size=48)
    BertLMHeadModel(config).save_pretrained(path)
    tokenizer().save_pretrained(path)
    with pytest.raises(ModelError, match="BertLMHeadModel does not compute in rolesum what it computes by itself"):
        load_model(path, device="cpu", dtype="float32")


def test_what_a_check_found_is_kept_and_not_checked_again(tmp_path, own_cache, monkeypatch):
    path = saved(OLMO, tmp_path / "model")
    choose_decoder(load_model(path, device="cpu", dtype="float32"))
    kept = sorted(json.loads(one.read_text())["result"] for one in (own_cache / "self-checks").iterdir())
    assert kept == ["shared", "shared"]  # of training and of generation
    calls = []
    monkeypatch.setattr(self_check, "reference_logits", lambda *_: calls.append(1))
    choose_decoder(load_model(path, device="cpu", dtype="float32"))
    assert not calls


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"result": 3}', '{"result": "shared'])
def test_a_damaged_result_is_checked_again(tmp_path, own_cache, content):
    path = saved(OLMO, tmp_path / "model")
    load_model(path, device="cpu", dtype="float32")
    (file,) = (own_cache / "self-checks").iterdir()
    file.write_text(content)
    assert load_model(path, device="cpu", dtype="float32").shares_prefix
    assert json.loads(file.read_text())["result"] == "shared"


def test_a_cache_that_cannot_be_written_does_not_stop_a_load(tmp_path, own_cache):
    own_cache.write_text("a file where the directory should be")
    assert load_model(saved(OLMO, tmp_path / "model"), device="cpu", dtype="float32").shares_prefix


def test_windows_are_narrow_during_a_check_and_wide_again_after_it(tmp_path):
    config = AutoModelForCausalLM.from_config(OLMO).config
    config.sliding_window = 4096
    model = AutoModelForCausalLM.from_config(config)
    assert isinstance(model, PreTrainedModel)
    with pytest.raises(KeyError), self_check.narrow_windows(model):
        assert model.config.sliding_window == self_check.NARROW_WINDOW
        raise KeyError
    assert model.config.sliding_window == 4096


def test_a_model_that_changes_behind_the_checks_reach_shares_nothing(tmp_path):
    config = OlmoConfig(**SIZES, bos_token_id=1, eos_token_id=2, local_window_size=2048)
    loaded = load_model(saved(config, tmp_path / "model"), device="cpu", dtype="float32")
    assert not loaded.shares_prefix
    assert choose_decoder(loaded).func is SeparateDecoder


def small_recipe(path):
    return Recipe.model_validate(
        {
            "name": "mpt",
            "base": str(path),
            "dtype": "float32",
            "data": {"train": {"path": str(short_dialogues())}},
            "roles": ["user", "agent"],
            "training": {"epochs": 1},
        }
    )


def test_a_plan_says_that_sharing_is_checked_later_or_by_measuring_that_there_is_none(tmp_path):
    recipe = small_recipe(saved(MPT, tmp_path / "model"))
    assert any("checked when this base is first loaded" in note for note in plan(recipe, device="cpu").notes)
    measured = plan(recipe, device="cpu", measure=True)
    assert any("prefixes are not shared: models like" in note for note in measured.notes)
    assert measured.tokens_shared == 0


def test_a_run_on_a_model_that_cannot_share_prefixes_says_so_and_trains(tmp_path, capsys):
    path = saved(MPT, tmp_path / "model")
    recipe = small_recipe(path)
    run = train(recipe, tmp_path / "run", device="cpu")
    said = capsys.readouterr().err
    assert "do not take a mask for several roles" in said and "each example is computed with its own prefix" in said
    assert (run.adapter / "adapter_model.safetensors").is_file()
