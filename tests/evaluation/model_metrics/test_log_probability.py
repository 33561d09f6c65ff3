"""Log-probabilities of summaries against the library's own forward on each text alone."""

from dataclasses import replace

import pytest
import torch

from helpers.tiny import model_dir
from helpers.tiny_seq2seq import seq2seq_dir
from rolesum.dialogue import Bundle, Example, Turn
from rolesum.errors import DataError
from rolesum.evaluation.model_metrics import log_probability
from rolesum.evaluation.model_metrics.log_probability import summary_logprobs
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.models.loading import load_model

SUMMARIES = (("overall", "A claim was paid in part."), ("user", "The caller sent five photos."), ("overall", "No."))


def bundles(count=3):
    dialogues = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=count))
    return [Bundle(one, tuple(Example(one, role, text) for role, text in SUMMARIES)) for one in dialogues]


def alone(loaded, example):
    """The log-probabilities of a target's tokens, by the library on this example alone."""
    layout, encode = loaded.layout(), loaded.encoder.encode
    source = [*encode(layout.prefix(example.dialogue)), *encode(layout.branch(example.dialogue, example.role))]
    target = encode(layout.target(example))
    with torch.no_grad():
        if loaded.encoder_decoder_spec:
            logits = loaded.model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).logits[0]
        else:
            logits = loaded.model(input_ids=torch.tensor([source + target])).logits[0, len(source) - 1 : -1]
    return logits.log_softmax(-1).gather(-1, torch.tensor(target)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("path", ["llama", "gemma3", "bloom", "bart"])
def test_log_probabilities_are_those_of_the_library_on_each_summary_alone(path, monkeypatch):
    monkeypatch.setattr(log_probability, "TOKENS_PER_BATCH", 1)  # so that a dialogue's summaries are in several parts
    loaded = load_model(seq2seq_dir(path) if path == "bart" else model_dir(path), dtype="float32", device="cpu")
    given = bundles()
    found = summary_logprobs(loaded, loaded.layout(), given)
    for bundle, of_bundle in zip(given, found, strict=True):
        for example, logprobs in zip(bundle.examples, of_bundle, strict=True):
            assert logprobs == pytest.approx(alone(loaded, example), abs=1e-4)


def test_the_size_of_a_batch_changes_nothing_but_rounding(monkeypatch):
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    together = summary_logprobs(loaded, loaded.layout(), bundles())
    monkeypatch.setattr(log_probability, "TOKENS_PER_BATCH", 1)
    apart = summary_logprobs(loaded, loaded.layout(), bundles())
    flat = [[one for of_bundle in each for of in of_bundle for one in of] for each in (together, apart)]
    assert flat[0] == pytest.approx(flat[1], abs=1e-4)


def test_all_dialogues_that_do_not_fit_the_model_are_named():
    loaded = load_model(model_dir("llama"), dtype="float32", device="cpu")
    long = [
        Bundle(changed, tuple(replace(one, dialogue=changed) for one in bundle.examples))
        for bundle in bundles(2)
        for changed in [replace(bundle.dialogue, turns=(Turn("A", "word " * 3000),), statements=(), pairs=())]
    ]
    with pytest.raises(DataError, match="leave it out, or use a model that reads more") as caught:
        summary_logprobs(loaded, loaded.layout(), long)
    assert len(caught.value.problems) == 2 and "training." not in str(caught.value)
