"""Attention by segments gives what the library's own forward gives, example by example, with all its gradients."""

from dataclasses import replace

import pytest
import torch
from test_bundles import as_batches, assert_same, gradients, one_by_one, prepared
from torch.nn import functional

from helpers.tiny import WINDOW
from rolesum.models.attention import segments
from rolesum.models.attention.masks import bundle_visibility
from rolesum.models.attention.segments import (
    SegmentAttention,
    segment_attention,
    segment_table,
    supports_segment_attention,
)
from rolesum.training import loss
from rolesum.training.batching import SampleRef
from rolesum.training.collate import collate
from rolesum.training.forward import training_forward

KINDS = ["llama", "tied-llama", "qwen2", "mistral", "gemma3", "baichuan2-7b", "chatglm3-6b"]


def in_segments(loaded, model, batches):
    assert supports_segment_attention(loaded.language_model.config, loaded.device)
    with segment_attention(loaded.language_model):
        return as_batches(loaded, model, batches)


@pytest.mark.parametrize("block", [5, 128])
@pytest.mark.parametrize("kind", KINDS)
def test_bundles_in_one_row_equal_their_examples_one_by_one(kind, block, monkeypatch):
    monkeypatch.setattr(segments, "BLOCK_SIZE", block)
    segments._blocks.cache_clear()
    loaded, model, encoded = prepared(kind)
    assert max(len(bundle.prefix) for bundle in encoded) > max(block if block < WINDOW else 0, WINDOW)
    assert_same(in_segments(loaded, model, [encoded]), one_by_one(model, encoded))
    segments._blocks.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_one_branch_equal_their_examples_one_by_one(kind):
    """Such a row is one segment; here beside a row of several branches."""
    loaded, model, encoded = prepared(kind)
    first, *others = encoded
    mixed = [first, *(replace(one, branches=one.branches[:1]) for one in others)]
    assert {len(one.branches) for one in mixed} == {1, len(first.branches)} and len(first.branches) > 1
    assert_same(in_segments(loaded, model, [mixed]), one_by_one(model, mixed))


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_of_a_run_equals_the_examples_one_by_one(kind):
    """All that a run puts in the library's place, together: loss, LoRA, norms, gated units and attention."""
    loaded, model, encoded = prepared(kind)
    model.train()
    items = [(SampleRef(0, bundle.index, 0), bundle) for bundle in encoded]
    model.zero_grad()
    with training_forward(model, loaded.family, 0.0, loaded.device):
        loss = model(**collate(items, pad_id=0))
        loss.backward()
    assert_same((loss.item(), gradients(model)), one_by_one(model, encoded))


def test_with_activations_computed_again_the_gradients_are_the_same():
    loaded, model, encoded = prepared("mistral")
    expected = one_by_one(model, encoded)
    loaded.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert_same(in_segments(loaded, model, [encoded]), expected)


def test_a_branch_that_saw_its_sibling_would_be_noticed(monkeypatch):
    loaded, model, encoded = prepared("llama")
    right = one_by_one(model, encoded)

    def joined(branches):
        return segment_table(branches.clamp(max=1))

    monkeypatch.setattr(loss, "segment_table", joined)
    with pytest.raises(AssertionError):
        assert_same(in_segments(loaded, model, [encoded]), right)


def test_the_table_names_every_segment_with_its_prefix():
    branches = torch.tensor([[0, 0, 0, 1, 1, 2, -1, -1], [0, 0, 1, 1, 1, 2, 2, 3], [0, 0, 1, 1, 1, -1, -1, -1]])
    assert segment_table(branches)[0, 0].tolist() == [
        [0, 3, 0, 0],
        [3, 5, 0, 3],
        [5, 6, 0, 3],
        [6, 8, 6, 6],
        [8, 11, 6, 8],
        [11, 13, 6, 8],
        [13, 14, 6, 8],
        [14, 19, 14, 14],  # one branch: the same as one text
    ]


def small(window=None, dtype=torch.float64):
    """Queries, keys and values of one packed row in float64, its blocks, and who sees whom as a square."""
    branches = torch.tensor([[0] * 9 + [1] * 4 + [2] * 7 + [-1] * 2, [0] * 3 + [1] * 6 + [2] * 2 + [3] * 11])
    table = tuple(map(tuple, segment_table(branches)[0, 0].tolist()))
    length = table[-1][1]
    rows = [bundle_visibility(branches[row, branches[row] >= 0][None])[0, 0] for row in range(2)]
    visible = torch.block_diag(*(row.float() for row in rows)).bool()
    if window:
        places = [at - own + shared - first for own, end, first, shared in table for at in range(own, end)]
        positions = torch.tensor(places)
        visible &= (positions[:, None] - positions[None]) < window
    made = torch.Generator().manual_seed(5)
    states = [torch.randn(1, heads, length, 8, generator=made, dtype=dtype) for heads in (6, 2, 2)]
    return [one.requires_grad_() for one in states], table, visible


@pytest.mark.parametrize("window", [None, 3, 6])
@pytest.mark.parametrize("block", [1, 4, 128])
def test_outputs_and_gradients_are_those_of_masked_attention(block, window, monkeypatch):
    """In float64, against sdpa with the whole square as its mask."""
    monkeypatch.setattr(segments, "BLOCK_SIZE", block)
    (query, key, value), table, visible = small(window)
    blocks = segments._blocks.__wrapped__(table, window)
    ours = SegmentAttention.apply(query, key, value, blocks, 0.3)
    theirs = functional.scaled_dot_product_attention(
        query, key.repeat_interleave(3, 1), value.repeat_interleave(3, 1), visible, scale=0.3
    ).transpose(1, 2)
    weight = torch.randn(theirs.shape, dtype=torch.float64)
    found = torch.autograd.grad((ours * weight).sum(), (query, key, value))
    expected = torch.autograd.grad((theirs * weight).sum(), (query, key, value))
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)  # keys' gradients are summed in float32


@pytest.mark.parametrize("spread", [1.0, 2.0, 4.0])
def test_in_bfloat16_they_are_as_near_to_the_exact_numbers_as_the_librarys_eager_attention(spread):
    """Of queries and keys with this standard deviation; heads of 64, a prefix of 260 tokens and three branches."""
    branches = torch.tensor([[0] * 260 + [1] * 60 + [2] * 60 + [3] * 60])
    groups = segments._blocks.__wrapped__(tuple(map(tuple, segment_table(branches)[0, 0].tolist())), None)
    hidden = ~bundle_visibility(branches)[0, 0]
    made = torch.Generator().manual_seed(6)
    drawn = [
        (torch.randn(1, heads, 440, 64, generator=made) * scale).bfloat16()
        for heads, scale in ((6, spread), (2, spread), (2, 1.0))
    ]
    weight = torch.randn(1, 440, 6, 64, generator=made).bfloat16()

    def eager(q, k, v):
        k, v = k.repeat_interleave(3, 1), v.repeat_interleave(3, 1)
        scores = (q @ k.mT * 0.125).masked_fill(hidden, float("-inf"))
        exact = torch.promote_types(q.dtype, torch.float32)
        return (torch.softmax(scores, dim=-1, dtype=exact).to(q.dtype) @ v).transpose(1, 2)

    def run(attention, dtype):
        states = [one.to(dtype).requires_grad_() for one in drawn]
        out = attention(*states)
        return [out.detach(), *torch.autograd.grad((out * weight.to(dtype)).sum(), states)]

    exact = run(eager, torch.float64)
    theirs = run(eager, torch.bfloat16)
    ours = run(lambda q, k, v: SegmentAttention.apply(q, k, v, groups, 0.125), torch.bfloat16)
    for one, other, right in zip(ours, theirs, exact, strict=True):
        off, theirs_off = (float((each.double() - right).norm() / right.norm()) for each in (one, other))
        assert 0 < off < 1.5 * theirs_off


def test_attention_with_dropout_and_other_implementations_keep_the_librarys_attention():
    loaded, _, _ = prepared("llama")
    config = loaded.language_model.config
    config.attention_dropout = 0.1
    assert not supports_segment_attention(loaded.language_model.config, loaded.device)
    config.attention_dropout = 0.0
    loaded.language_model.set_attn_implementation("eager")
    assert not supports_segment_attention(loaded.language_model.config, loaded.device)
    assert not supports_segment_attention(prepared("bloom")[0].language_model.config, loaded.device)


def test_a_plain_forward_inside_is_the_librarys():
    """Summaries that are written during training go by masks and caches as ever."""
    loaded, model, encoded = prepared("mistral")
    ids = torch.tensor([encoded[0].prefix])
    expected = model(input_ids=ids).logits
    with segment_attention(loaded.language_model):
        torch.testing.assert_close(model(input_ids=ids).logits, expected)
        padded = torch.tensor([[0] * 3 + list(encoded[0].prefix)])
        mask = torch.tensor([[0] * 3 + [1] * ids.shape[1]])
        last = model(input_ids=padded, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits
        torch.testing.assert_close(last[:, -1], expected[:, -1], rtol=1e-4, atol=1e-5)
