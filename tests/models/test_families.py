"""Every row of the table of families: a tiny model is loaded, trained some steps, saved, reloaded, and speaks."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    Glm4Config,
    GlmConfig,
    LlamaConfig,
    MistralConfig,
    OlmoConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from helpers.small_runs import TRAIN, loss_of, recipe, trained, weights
from helpers.tiny import GROUPED, IDS, model_dir, tokenizer
from helpers.tiny_checkpoints import CONFIGS as ORIGINALS
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.families import FAMILIES, OTHER
from rolesum.models.loading import load_model

HEADS = {**GROUPED, **IDS, "head_dim": 8}
# model_type -> a tiny config of it, or the name of a tiny checkpoint in its original layout.
ROWS = {
    "llama": lambda: LlamaConfig(**GROUPED, **IDS),
    "llama 2, from tokenizer.model": "llama2-7b",
    "llama 3": lambda: LlamaConfig(**GROUPED, **IDS, rope_parameters=LLAMA3_ROPE),
    "smollm3": lambda: SmolLM3Config(**GROUPED, **IDS),
    "mistral": lambda: MistralConfig(**GROUPED, **IDS, sliding_window=24),
    "qwen2": lambda: Qwen2Config(**GROUPED, **IDS),
    "qwen3": lambda: Qwen3Config(**HEADS),
    "gemma": lambda: GemmaConfig(**HEADS),
    "gemma2": lambda: Gemma2Config(**HEADS, sliding_window=24),
    "gemma3_text": lambda: Gemma3TextConfig(**HEADS, sliding_window=24),
    "glm": lambda: GlmConfig(**HEADS),
    "glm4": lambda: Glm4Config(**HEADS),
    "baichuan": "baichuan2-7b",
    "baichuan, with ALiBi": "baichuan2-13b",
    "chatglm, 2": "chatglm2-6b",
    "chatglm, 3": "chatglm3-6b",
    "chatglm, 3 of 32k": "chatglm3-6b-32k",
    "bloom": lambda: BloomConfig(hidden_size=32, n_layer=3, n_head=4, vocab_size=600, **IDS),
    "olmo": lambda: OlmoConfig(**GROUPED, **IDS),
}
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}  # fmt: skip
OF_NO_ROW = {"olmo"}


def checkpoint(row, folder):
    chosen = ROWS[row]
    if isinstance(chosen, str):
        return model_dir(chosen)
    torch.manual_seed(0)
    config = chosen()
    config.initializer_range = 0.2
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def test_every_model_type_of_the_table_is_tried():
    tried = {row.partition(",")[0] for row in ROWS} - OF_NO_ROW
    listed = {kind for family in FAMILIES if not family.encoder_decoder for kind in family.model_types}
    assert listed <= tried
    assert {value for value in ROWS.values() if isinstance(value, str)} == ORIGINALS.keys()


@pytest.mark.parametrize("row", ROWS)
def test_it_is_loaded_trained_saved_reloaded_and_speaks(row, tmp_path):
    base = checkpoint(row, tmp_path / "base")
    before = load_model(base, dtype="float32", device="cpu")
    assert (before.family is OTHER) is (row in OF_NO_ROW)
    assert before.stop_ids and before.shares_prefix is (row != "bloom")
    run = trained(tmp_path / "run", recipe(base=str(base), lora={"rank": 8}, training={"epochs": 2}))
    adapted = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in weights(run)}
    wanted = before.family.lora_targets
    assert wanted == "all-linear" or adapted == set(wanted)
    after = load_model(adapter=run.adapter, dtype="float32", device="cpu")
    assert loss_of(after, TRAIN) < loss_of(before, TRAIN)
    dialogues = read_dialogues("sample:en-test", ReadOptions(limit=1))
    spoken = summarize(dialogues, TransformersEngine(after), ("user", "agent"), decoding=Decoding(max_new_tokens=8))[0]
    assert [one.role for one in spoken] == ["user", "agent"]
    assert all(0 < one.tokens <= 8 for one in spoken)
