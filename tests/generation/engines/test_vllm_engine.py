"""The vLLM engine writes what the model itself writes; and says what to install where vLLM is absent."""

import importlib.util

import pytest
import torch

from helpers.tiny import model_dir
from helpers.tiny_seq2seq import seq2seq_dir
from rolesum.errors import ModelError, UsageError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.prompt_encoder import PromptEncoder
from rolesum.generation.engines.vllm import _rank_of
from rolesum.generation.factory import EngineSpec
from rolesum.models.loading import load_model, load_prompt_model

HERE = importlib.util.find_spec("vllm") is not None
KINDS = ("llama", "gemma3", "baichuan2-7b")


@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_that_end_a_text_are_known_without_the_weights(kind):
    loaded = load_model(model_dir(kind), device="cpu")
    assert PromptEncoder(load_prompt_model(model_dir(kind))).stop_ids == loaded.stop_ids


def test_an_encoder_decoder_is_for_the_transformers_engine():
    with pytest.raises(UsageError, match="encoder-decoder"):
        EngineSpec("vllm", model=str(seq2seq_dir("bart"))).open()


@pytest.mark.skipif(HERE, reason="vLLM is installed")
def test_without_vllm_the_error_says_what_to_install():
    with pytest.raises(UsageError, match=r"pip install 'rolesum\[vllm\]'"):
        EngineSpec("vllm", model=str(model_dir("llama"))).open()


def test_an_adapter_gets_the_smallest_room_that_holds_it(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"r": 12, "use_rslora": true}', encoding="utf-8")
    assert _rank_of(tmp_path) == 16
    (tmp_path / "adapter_config.json").write_text('{"r": 1024}', encoding="utf-8")
    with pytest.raises(ModelError, match="rank 1024"):
        _rank_of(tmp_path)


@pytest.mark.parametrize(
    "option", ['"rank_pattern": {"q_proj": 12}', '"lora_bias": true', '"modules_to_save": ["norm"]']
)
def test_an_adapter_of_which_vllm_would_leave_out_a_part_is_refused(tmp_path, option):
    (tmp_path / "adapter_config.json").write_text(f'{{"r": 4, {option}}}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"plain LoRA adapters only.*\n  → merge it"):
        _rank_of(tmp_path)


@pytest.mark.embedded
@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="vLLM is not installed")
def test_greedy_texts_are_those_of_generate(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    spec = EngineSpec("vllm", "smollm2-135m", context=2048, dtype="float32", vllm_options={"enforce_eager": True})
    engine, told = spec.open(), {}
    dialogues = sorted(read_dialogues("sample:en-test"), key=lambda one: len(one.turns))[:2]
    decoding = Decoding(max_new_tokens=12)

    def on_text(dialogue, role, added):
        told[dialogue, role] = told.get((dialogue, role), "") + added

    found = summarize(dialogues, engine, ("overall",), decoding, on_text=on_text)
    loaded = load_model("smollm2-135m", dtype="float32", device="cpu")
    for at, (one,) in enumerate(found):
        (asked,) = engine.prompt_encoder.asked([engine.layout.prompt(dialogues[at], ["overall"])], decoding)
        ids = torch.tensor([asked.ids])
        whole = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        assert one.text == told[at, 0] == loaded.tokenizer.decode(whole[0, ids.shape[1] :]).strip()
