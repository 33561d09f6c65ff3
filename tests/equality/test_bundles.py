"""A bundle's loss and LoRA gradients equal those of its examples run one by one through the library's own forward."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from helpers.tiny import model_dir
from rolesum.dialogue import make_bundle
from rolesum.formats import read_dialogues
from rolesum.models.loading import load_model
from rolesum.training import loss
from rolesum.training.batching import SampleRef
from rolesum.training.collate import collate
from rolesum.training.encode import encode_bundles
from rolesum.training.loss import summed_loss

KINDS = ("llama", "tied-llama", "qwen2", "mistral", "gemma3", "bloom")
ROLES = ("overall", "user", "agent")


def prepared(kind, share_prefix=None):
    """A tiny model with random LoRA weights, and three encoded bundles of different lengths."""
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    dialogues = sorted(read_dialogues("sample:en-train"), key=lambda one: len(one.turns))[:3]
    bundles = [make_bundle(dialogue, ROLES) for dialogue in dialogues]
    share = loaded.shares_prefix if share_prefix is None else share_prefix
    encoded = encode_bundles(
        bundles, loaded.layout(), loaded.encoder, max_length=loaded.max_length, share_prefix=share
    ).bundles
    targets = loaded.family.lora_targets
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(targets), init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(1)
    return loaded, get_peft_model(loaded.model, config), encoded


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.requires_grad}


def one_by_one(model, encoded):
    """Summed loss and gradients of every example alone, by the library's own labels and loss."""
    model.zero_grad()
    total = 0.0
    for bundle in encoded:
        for branch in bundle.branches:
            ids = torch.tensor([[*bundle.prefix, *branch.ids]])
            labels = ids.clone()
            labels[0, : ids.shape[1] - branch.targets] = -100
            loss = model(input_ids=ids, labels=labels).loss * branch.targets  # the library's is the mean
            loss.backward()
            total += loss.item()
    return total, gradients(model)


def as_batches(loaded, model, batches):
    """Summed loss and gradients of batches of bundles through our forward."""
    model.zero_grad()
    total = 0.0
    with summed_loss(loaded.language_model, 0.0):
        for batch in batches:
            items = [(SampleRef(0, bundle.index, 0), bundle) for bundle in batch]
            loss = model(**collate(items, pad_id=0))
            loss.backward()
            total += loss.item()
    return total, gradients(model)


def assert_same(ours, theirs, share=1e-5):
    """The losses within 1e-5, each gradient within `share` of the largest there is."""
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    largest = max(gradient.abs().max() for gradient in theirs[1].values())
    assert largest > 0
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, rtol=1e-3, atol=float(largest) * share, msg=name)


@pytest.mark.parametrize("kind", [*KINDS, "baichuan2-7b", "baichuan2-13b", "chatglm3-6b"])
def test_a_padded_batch_of_bundles_equals_its_examples_one_by_one(kind):
    loaded, model, encoded = prepared(kind)
    assert len({bundle.tokens for bundle in encoded}) > 1
    assert_same(as_batches(loaded, model, [encoded]), one_by_one(model, encoded))


def test_eager_attention_gives_the_same_as_sdpa():
    loaded, model, encoded = prepared("gemma3")
    sdpa = as_batches(loaded, model, [encoded])
    loaded.language_model.set_attn_implementation("eager")
    assert_same(as_batches(loaded, model, [encoded]), sdpa)


def test_batch_size_order_and_padding_change_nothing():
    loaded, model, encoded = prepared("llama")
    together = as_batches(loaded, model, [encoded])
    assert_same(as_batches(loaded, model, [[bundle] for bundle in reversed(encoded)]), together)


def test_a_shared_prefix_equals_single_examples():
    loaded, model, shared = prepared("llama")
    _, _, alone = prepared("llama", share_prefix=False)
    assert len(alone) == 3 * len(shared)
    assert_same(as_batches(loaded, model, [shared]), as_batches(loaded, model, [alone]))


def test_a_branch_that_saw_its_sibling_would_be_noticed(monkeypatch):
    """The tolerance above catches the bug that it is there for."""
    loaded, model, encoded = prepared("llama")
    right = one_by_one(model, encoded)

    def leaking(branches):
        length = branches.shape[1]
        return torch.ones(length, length, dtype=torch.bool).tril().expand(branches.shape[0], 1, -1, -1)

    monkeypatch.setattr(loss, "bundle_visibility", leaking)
    with pytest.raises(AssertionError):
        assert_same(as_batches(loaded, model, [encoded]), right)


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("kind", ["llama", "tied-llama", "gemma3"])
def test_the_head_in_chunks_equals_the_librarys_at_once(kind, trained, monkeypatch):
    loaded, model, encoded = prepared(kind)
    loaded.language_model.get_output_embeddings().weight.requires_grad_(trained)
    monkeypatch.setattr(loss, "LOGITS_CHUNK" if trained else "FROZEN_HEAD_CHUNK", 7 if trained else {"cpu": 7})
    ours, theirs = as_batches(loaded, model, [encoded]), one_by_one(model, encoded)
    assert any("lora" not in name for name in theirs[1]) is trained
    assert_same(ours, theirs)


def test_of_a_frozen_head_no_more_than_a_chunk_of_logits_exists_at_a_time(monkeypatch):
    monkeypatch.setattr(loss, "FROZEN_HEAD_CHUNK", {"cpu": 7})
    loaded, model, encoded = prepared("llama")
    rows = []
    plain = loss.apply_lm_head

    def watched(*args):
        found = plain(*args)
        rows.append(len(found))
        return found

    monkeypatch.setattr(loss, "apply_lm_head", watched)
    as_batches(loaded, model, [encoded])
    assert max(rows) == 7 and sum(rows) == sum(branch.targets for bundle in encoded for branch in bundle.branches)


class NormalizedHead(torch.nn.Linear):
    """Baichuan2's: every word's row has length one."""

    def forward(self, hidden):
        return torch.nn.functional.linear(hidden, torch.nn.functional.normalize(self.weight))


def test_a_normalized_head_gives_the_librarys_loss_and_gradients(monkeypatch):
    monkeypatch.setattr(loss, "FROZEN_HEAD_CHUNK", {"cpu": 7})
    loaded, model, encoded = prepared("llama")
    head = NormalizedHead(32, 600, bias=False).requires_grad_(False)
    plain = as_batches(loaded, model, [encoded])[0]
    loaded.language_model.lm_head = head
    ours = as_batches(loaded, model, [encoded])
    assert ours[0] != pytest.approx(plain, rel=1e-3)
    assert_same(ours, one_by_one(model, encoded))
