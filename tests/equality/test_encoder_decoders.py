"""Encoder-decoders: loss, gradients and greedy texts are the library's own, one example at a time."""

from functools import partial

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_bundles import assert_same as assert_as_near
from transformers import GenerationConfig

from helpers.tiny_seq2seq import FAMILIES, seq2seq_dir
from rolesum.dialogue import make_bundle
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.scheduler import GenerationRequest
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model
from rolesum.training import loss
from rolesum.training.batching import SampleRef
from rolesum.training.collate import make_collate_fn
from rolesum.training.encode import encode_bundles
from rolesum.training.forward import training_forward
from rolesum.training.loss import summed_loss

ROLES = ("overall", "user", "agent")
NEW = 24

# UMT5's biases in every layer make its softmax sharp, and the rounding of its gradients larger than a Llama's.
assert_same = partial(assert_as_near, share=1e-4)


def prepared(kind, languages=("en",)):
    """A tiny model with random LoRA weights, and examples of different lengths."""
    loaded = load_model(seq2seq_dir(kind), dtype="float32", device="cpu")
    dialogues = [
        one
        for language in languages
        for one in sorted(read_dialogues(f"sample:{language}-train"), key=lambda one: len(one.turns))[:2]
    ]
    bundles = [make_bundle(dialogue, ROLES) for dialogue in dialogues]
    encoded = encode_bundles(
        bundles,
        loaded.layout(),
        loaded.encoder,
        max_length=loaded.max_length,
        target_length=loaded.encoder_decoder_spec.target_length,
        share_prefix=False,
    ).bundles
    targets = loaded.family.lora_targets
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=targets if isinstance(targets, str) else list(targets),
        init_lora_weights=False,
        task_type="SEQ_2_SEQ_LM",
    )
    torch.manual_seed(1)
    return loaded, get_peft_model(loaded.model, config), encoded


def items_of(encoded):
    return [(SampleRef(0, bundle.index, 7 + bundle.index), bundle) for bundle in encoded]


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def one_by_one(model, encoded):
    """Summed loss and gradients of every example alone, by the library's own labels and loss."""
    model.zero_grad()
    total = 0.0
    for bundle in encoded:
        (branch,) = bundle.branches
        source, target = [*bundle.prefix, *branch.ids[: -branch.targets]], branch.ids[-branch.targets :]
        alone = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).loss * branch.targets
        alone.backward()
        total += alone.item()
    return total, gradients(model)


def as_batches(loaded, model, batches):
    """The same through our forward."""
    model.zero_grad()
    total, made = 0.0, make_collate_fn(loaded)
    with summed_loss(loaded.language_model, 0.0):
        for batch in batches:
            summed = model(**made(items_of(batch)))
            summed.backward()
            total += summed.item()
    return total, gradients(model)


@pytest.mark.parametrize("kind", [*FAMILIES, "umt5", "marian", "led"])
def test_a_padded_batch_gives_the_librarys_loss_and_gradients(kind):
    """LED's projections for global attention, which nothing asks for, have no gradients."""
    loaded, model, encoded = prepared(kind)
    assert len({bundle.longest_source for bundle in encoded}) > 2
    assert_same(as_batches(loaded, model, [encoded]), one_by_one(model, encoded))


@pytest.mark.parametrize("kind", ["mbart", "mbart50"])
def test_languages_are_mixed_in_a_batch(kind):
    loaded, model, encoded = prepared(kind, ("en", "zh"))
    assert_same(as_batches(loaded, model, [encoded]), one_by_one(model, encoded))


def test_batch_size_order_and_padding_change_nothing():
    loaded, model, encoded = prepared("bart")
    together = as_batches(loaded, model, [encoded])
    assert_same(as_batches(loaded, model, [[bundle] for bundle in reversed(encoded)]), together)


def test_a_source_that_saw_padding_would_be_noticed(monkeypatch):
    """The tolerance above catches the bug that it is there for."""
    loaded, model, encoded = prepared("bart")
    right = one_by_one(model, encoded)
    read = loss.run_encoder
    monkeypatch.setattr(loss, "run_encoder", lambda model, ids, mask: read(model, ids, torch.ones_like(mask)))
    with pytest.raises(AssertionError):
        assert_same(as_batches(loaded, model, [encoded]), right)


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_the_head_in_chunks_equals_the_librarys_at_once(kind, trained, monkeypatch):
    loaded, model, encoded = prepared(kind)
    loaded.language_model.get_output_embeddings().weight.requires_grad_(trained)
    monkeypatch.setattr(loss, "LOGITS_CHUNK" if trained else "FROZEN_HEAD_CHUNK", 7 if trained else {"cpu": 7})
    ours, theirs = as_batches(loaded, model, [encoded]), one_by_one(model, encoded)
    assert any("lora" not in name for name in theirs[1]) is trained
    assert_same(ours, theirs)


@pytest.mark.parametrize("kind", ["bart", "t5", "pegasus"])
def test_the_forward_of_a_run_and_gradient_checkpointing_give_the_same(kind):
    loaded, model, encoded = prepared(kind)
    expected = one_by_one(model, encoded)
    loaded.language_model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    with training_forward(model, loaded.family, 0.0, loaded.device):
        model.zero_grad()
        summed = model(**make_collate_fn(loaded)(items_of(encoded)))
        summed.backward()
    assert_same((summed.item(), gradients(model)), expected)


@pytest.mark.parametrize("kind", ["bart", "t5", "pegasus", "mbart", "led"])
def test_noise_is_on_the_encoders_embeddings_by_each_sources_own_length(kind):
    loaded, model, encoded = prepared(kind)
    batch, alpha = make_collate_fn(loaded)(items_of(encoded)), 5.0
    embedding = loaded.language_model.get_encoder().get_input_embeddings()
    seen = []

    def of(alpha, training):
        model.train(training)
        seen.clear()
        with summed_loss(loaded.language_model, alpha), torch.no_grad():
            watch = embedding.register_forward_hook(lambda *call: seen.append(call[2]))
            found = model(**batch).item()
            watch.remove()
        return found, seen[0]

    quiet, plain = of(0.0, True)
    loud, noised = of(alpha, True)
    assert loud != quiet
    assert of(alpha, False)[0] == pytest.approx(quiet, rel=1e-6)
    noise, width = noised - plain, plain.shape[-1]
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        assert noise[row, :length].var().item() == pytest.approx(alpha**2 / (3 * length * width), rel=0.1)
        assert (noise[row, length:] == 0).all()
    single = make_collate_fn(loaded)(items_of(encoded)[:1])
    batch.update(single)
    alone = of(alpha, True)[1] - of(0.0, True)[1]
    length = int(single["attention_mask"].sum())
    torch.testing.assert_close(alone[0, :length], noise[0, :length])


def by_the_library(loaded, source, begin, forced=None, **how):
    """The new ids; `begin` is what the decoder is given, or its start only where a token behind it is `forced`."""
    loaded.model.generation_config.forced_eos_token_id = None  # BART's: else generate takes it from there
    made = loaded.model.generate(
        torch.tensor([source]),
        attention_mask=torch.ones(1, len(source), dtype=torch.long),
        generation_config=GenerationConfig(
            do_sample=False,
            **{"max_new_tokens": NEW, "num_beams": 1, **how},
            eos_token_id=list(loaded.stop_ids),
            pad_token_id=loaded.tokenizer.pad_token_id,
            decoder_start_token_id=begin[0],
            forced_bos_token_id=forced,
        ),
        decoder_input_ids=torch.tensor([begin]),
    )
    return made[0, len(begin) :].tolist()


def greedy_targets(loaded, sources, begins, most, beams=1):
    """The engine's new ids of each source, in one batch."""
    pairs = zip(sources, begins, strict=True)
    decoding = Decoding(max_new_tokens=most, beams=beams)
    encoded = [EncodedPrompt(number, [], [source], begin) for number, (source, begin) in enumerate(pairs)]
    requests = [GenerationRequest(one, decoding, "") for one in encoded]
    ended = list(TransformersEngine(loaded).new_scheduler().run(requests))
    return [one.hypothesis.ids for one in sorted(ended, key=lambda one: one.hypothesis.key)]


def pairs_of(loaded, dialogues):
    layout, encode = loaded.layout(), loaded.encoder.encode
    sources, begins = [], []
    for dialogue in dialogues:
        prompt = layout.prompt(dialogue, ROLES)
        sources += [[*encode(prompt.prefix), *encode(branch)] for branch in prompt.branches]
        begins += [loaded.encoder_decoder_spec.decoder_prompt(layout.chat_format_for(dialogue))] * len(ROLES)
    return sources, begins


@pytest.mark.parametrize("kind", [*FAMILIES, "umt5", "marian", "led"])
def test_greedy_equals_generate_one_source_at_a_time(kind):
    loaded = load_model(seq2seq_dir(kind), dtype="float32", device="cpu")
    names = ("en-test", "zh-test") if kind.startswith("mbart") else ("en-test",)
    sources, begins = pairs_of(loaded, [one for name in names for one in read_dialogues(f"sample:{name}")[:2]])
    found = greedy_targets(loaded, sources, begins, NEW)
    expected = [by_the_library(loaded, *pair) for pair in zip(sources, begins, strict=True)]
    assert found == expected
    assert len({tuple(one) for one in found}) > 2 or kind == "marian"


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_beams_equal_generate_s_beams(kind):
    loaded = load_model(seq2seq_dir(kind), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(2, 2500, 19))  # many, so that texts end at different steps
    sources, begins = pairs_of(loaded, read_dialogues("sample:en-test")[:2])
    found = greedy_targets(loaded, sources, begins, 10, beams=3)
    how = {"num_beams": 3, "max_new_tokens": 10}
    assert found == [by_the_library(loaded, *pair, **how) for pair in zip(sources, begins, strict=True)]


@pytest.mark.parametrize("kind", ["bart", "mbart50"])
def test_what_targets_begin_with_is_what_forced_bos_forces(kind):
    loaded = load_model(seq2seq_dir(kind), dtype="float32", device="cpu")
    sources, begins = pairs_of(loaded, [*read_dialogues("sample:en-test")[:1], *read_dialogues("sample:zh-test")[:1]])
    found = greedy_targets(loaded, sources, begins, NEW - 1)
    for source, (start, forced), ids in zip(sources, begins, found, strict=True):
        assert [forced, *ids] == by_the_library(loaded, source, [start], forced)
    assert len({forced for _, forced in begins}) == (2 if kind == "mbart50" else 1)


def test_rows_that_end_early_leave_the_batch_and_change_nothing():
    loaded = load_model(seq2seq_dir("t5"), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(1, 2500, 9))  # many, so that rows end at different steps
    sources, begins = pairs_of(loaded, read_dialogues("sample:en-test")[:4])
    found = greedy_targets(loaded, sources, begins, NEW)
    assert found == [by_the_library(loaded, *pair) for pair in zip(sources, begins, strict=True)]
    assert len({len(one) for one in found}) > 3


def test_the_engine_gives_every_role_its_text_whatever_the_token_budget():
    loaded = load_model(seq2seq_dir("bart"), dtype="float32", device="cpu")
    dialogues = read_dialogues("sample:en-test")[:4]
    roomy, tight = TransformersEngine(loaded), TransformersEngine(loaded, token_budget=1)
    prompts = [roomy.layout.prompt(dialogue, ROLES) for dialogue in dialogues]
    done = []
    texts = roomy.generate(prompts, Decoding(max_new_tokens=NEW), done.append)
    others = tight.generate(prompts, Decoding(max_new_tokens=NEW))
    assert [[one.text for one in row] for row in texts] == [[one.text for one in row] for row in others]
    assert sum(done) == len(prompts) and {len(one) for one in texts} == {len(ROLES)}


def test_the_checkpoints_own_generation_settings_are_not_used():
    loaded = load_model(seq2seq_dir("bart"), dtype="float32", device="cpu")
    sources, begins = pairs_of(loaded, read_dialogues("sample:en-test")[:1])
    settings = loaded.model.generation_config
    plain = greedy_targets(loaded, sources, begins, NEW)
    settings.num_beams, settings.no_repeat_ngram_size, settings.min_length = 4, 2, 20
    settings.repetition_penalty, settings.forced_eos_token_id = 2.0, 2
    assert greedy_targets(loaded, sources, begins, NEW) == plain
