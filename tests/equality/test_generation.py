"""The engine's greedy texts equal the library's `generate` run on one prompt at a time, token for token."""

import pytest
import torch

from rolesum.formats import read_dialogues
from rolesum.generation.transformers_engine import TransformersEngine
from rolesum.models.loading import load_model
from tiny import model_dir

KINDS = ("llama", "tied-llama", "qwen2", "mistral", "gemma3", "bloom")
ROLES = ("overall", "user", "agent")
NEW = 24


def by_the_library(loaded, ids):
    made = loaded.model.generate(
        torch.tensor([ids], device=loaded.device),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=loaded.device),
        max_new_tokens=NEW,
        do_sample=False,
        num_beams=1,
        eos_token_id=list(loaded.stop_ids),
        pad_token_id=0,
    )
    return made[0, len(ids) :].tolist()


def assert_equal(loaded, dialogues, token_budget=None):
    engine = TransformersEngine(loaded, token_budget=token_budget)
    prompts = [engine.layout.prompt(dialogue, ROLES) for dialogue in dialogues]
    encoded = [engine._encode(index, prompt) for index, prompt in enumerate(prompts)]
    texts = {}
    with torch.inference_mode():
        for batch in engine._batches(encoded, NEW):
            texts |= engine._run(batch, NEW)
    lengths = set()
    for one in encoded:
        for number, branch in enumerate(one.branches):
            expected = by_the_library(loaded, [*one.prefix, *branch])
            assert texts[one.index, number] == expected
            lengths.add(len(expected))
    return lengths


@pytest.mark.parametrize("kind", [*KINDS, "baichuan2-7b", "baichuan2-13b", "chatglm2-6b", "chatglm3-6b"])
def test_greedy_equals_generate_one_prompt_at_a_time(kind):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    assert_equal(loaded, read_dialogues("sample:en-test")[:5])


def test_rows_that_end_early_leave_the_batch_and_change_nothing():
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    # Many stop ids, so that rows end at different steps.
    loaded.stop_ids = tuple(range(2, 600, 9))
    lengths = assert_equal(loaded, read_dialogues("sample:en-test")[:8])
    assert len(lengths) > 3


def test_the_token_budget_changes_nothing():
    loaded = load_model(model_dir("gemma3"), dtype="float32", device="cpu")
    assert_equal(loaded, read_dialogues("sample:zh-test")[:4], token_budget=1)


@pytest.mark.embedded
@pytest.mark.slow
def test_the_embedded_model_gives_what_generate_gives():
    loaded = load_model("smollm2-135m", dtype="float32", device="cpu")
    assert_equal(loaded, sorted(read_dialogues("sample:en-test"), key=lambda one: len(one.turns))[:2])
