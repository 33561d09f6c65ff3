"""BERTScore against plain loops over the model's own hidden states, and what it says of itself."""

import math

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from helpers.tiny import model_dir
from helpers.tiny_encoders import LAYERS, classifier_dir, encoder_dir
from rolesum.errors import DataError, ModelError, ResourceError, UsageError
from rolesum.evaluation.model_metrics.bertscore import bertscore
from rolesum.evaluation.model_metrics.encoder import load_encoder, parse_model_layer

PAIRS = [
    ("The customer asks for a refund.", ("A customer wanted the money back.", "She asks for her refund, angrily.")),
    ("用户询问包裹在哪里。客服回答已签收。", ("用户投诉包裹未收到。", "客服提交了查件。")),
    ("He said so", ("He said so",)),
]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(str(encoder_dir()), "cpu")


@pytest.fixture(scope="module")
def parts():
    model = AutoModel.from_pretrained(encoder_dir()).eval()
    return AutoTokenizer.from_pretrained(encoder_dir()), model


def by_loops(parts, made, written, layer, idf=None):
    """Precision, recall and F1 of one pair, token by token, one text at a time."""
    tokenizer, model = parts
    states, ids = [], []
    for text in (made, written):
        ids.append(tokenizer(text)["input_ids"])
        with torch.no_grad():
            found = model(torch.tensor([ids[-1]]), output_hidden_states=True).hidden_states[layer][0]
        states.append([[float(x) for x in row] for row in found])

    def cosine(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))

    def side(mine, other, tokens):
        weights = [0.0 if at in (0, len(tokens) - 1) else idf[token] if idf else 1.0 for at, token in enumerate(tokens)]
        best = [max(cosine(a, b) for b in other) for a in mine]
        return sum(weight * value for weight, value in zip(weights, best, strict=True)) / sum(weights)

    precision, recall = side(states[0], states[1], ids[0]), side(states[1], states[0], ids[1])
    return 100 * precision, 100 * recall, 200 * precision * recall / (precision + recall)


def columns(found):
    return list(zip(*(found.per_pair[name] for name in ("precision", "recall", "f1")), strict=True))


@pytest.mark.parametrize("layer", [0, 2, LAYERS])
def test_equals_plain_loops_and_takes_the_best_reference_of_each_measure(encoder, parts, layer):
    found = columns(bertscore(PAIRS, encoder, layer=layer))
    for row, (made, references) in zip(found, PAIRS, strict=True):
        each = [by_loops(parts, made, one, layer) for one in references]
        assert row == pytest.approx([max(values) for values in zip(*each, strict=True)], abs=1e-4)


def test_idf_weighs_tokens_by_their_frequency_in_the_references(encoder, parts):
    pairs = [(made, references[:1]) for made, references in PAIRS]
    seen = [set(parts[0](references[0])["input_ids"]) for _, references in pairs]
    idf = {
        token: math.log((len(seen) + 1) / (sum(token in one for one in seen) + 1))
        for token in range(parts[0].vocab_size + 1000)
    }
    found = columns(bertscore(pairs, encoder, layer=3, idf=True))
    for row, (made, references) in zip(found, pairs, strict=True):
        assert row == pytest.approx(by_loops(parts, made, references[0], 3, idf), abs=1e-4)
    assert found != columns(bertscore(pairs, encoder, layer=3))


def test_the_batch_changes_nothing_but_rounding(encoder):
    alone, together = (columns(bertscore(PAIRS, encoder, batch_size=size)) for size in (1, 8))
    for a, b in zip(alone, together, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_the_same_text_scores_a_hundred_and_an_empty_one_nothing(encoder):
    found = columns(bertscore([("same words", ("same words",)), ("  ", ("same words",))], encoder))
    assert found[0] == pytest.approx((100, 100, 100), abs=1e-4)
    assert found[1] == (0, 0, 0)


def test_rescaling_is_stated_and_done_by_value_or_by_the_layers_line_of_a_file(encoder, tmp_path):
    file = tmp_path / "base.tsv"
    file.write_text("LAYER,P,R,F\n1,0.1,0.2,0.3\n2,0.4,0.5,0.6\n", encoding="utf-8")
    raw = columns(bertscore(PAIRS, encoder, layer=2))
    by_value, by_file = (bertscore(PAIRS, encoder, layer=2, rescale=one) for one in ("0.5", file))
    for plain, scaled, filed in zip(raw, columns(by_value), columns(by_file), strict=True):
        assert scaled == pytest.approx([(value - 50) / 0.5 for value in plain], abs=1e-6)
        expected = [100 * (x / 100 - b) / (1 - b) for x, b in zip(plain, (0.4, 0.5, 0.6), strict=True)]
        assert filed == pytest.approx(expected, abs=1e-6)
    assert bertscore(PAIRS, encoder, layer=2).metadata["rescaling"] == "none"
    assert by_value.metadata["rescaling"] == {"baseline": 0.5}
    assert by_file.metadata["rescaling"]["precision"] == 0.4
    with pytest.raises(DataError, match="no baseline for layer 3"):
        bertscore(PAIRS, encoder, layer=3, rescale=file)
    with pytest.raises(UsageError, match="no baseline to read"):
        bertscore(PAIRS, encoder, rescale="absent.tsv")


def test_results_state_model_layer_references_and_what_was_cut(encoder):
    told = bertscore([*PAIRS, ("word " * 400, ("one",))], encoder).as_json()
    assert told["layer"] == LAYERS and told["layer_chosen_by"] == "default: the last layer"
    assert told["multi_reference"] == "best of each measure"
    assert told["texts_truncated"] == 1 and told["token_limit"] == 160
    assert told["libraries"].keys() == {"torch", "transformers"} and len(told["weights"]) == 64
    low, high = told["intervals"]["f1"]
    assert low <= told["means"]["f1"] <= high


def test_known_models_take_the_layer_that_their_authors_recommend():
    assert bertscore(PAIRS[:1], str(encoder_dir("distilbert-base-uncased")), device="cpu").metadata["layer"] == 5


def test_a_decoder_without_control_tokens_is_an_encoder_too():
    found = bertscore(PAIRS, str(model_dir("llama")), device="cpu")
    assert found.metadata["architecture"] == "LlamaModel"
    assert found.per_pair["f1"][2] == pytest.approx(100, abs=1e-4)


def test_layers_and_models_that_are_not_there_are_refused(encoder, tmp_path):
    with pytest.raises(UsageError, match=f"no layer {LAYERS + 1}"):
        bertscore(PAIRS, encoder, layer=LAYERS + 1)
    with pytest.raises(UsageError, match="is not a layer"):
        parse_model_layer("bert@high")
    with pytest.raises(ModelError, match=r"no config\.json"):
        bertscore(PAIRS, str(tmp_path))
    with pytest.raises(ModelError, match="no model"):
        bertscore(PAIRS, "not a model")
    with pytest.raises(DataError, match="nothing to score"):
        bertscore([], encoder)
    assert parse_model_layer("a/b@8") == ("a/b", 8) and parse_model_layer("a/b") == ("a/b", None)


def test_a_model_that_cannot_be_fetched_is_an_error_with_the_way_out(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises((ModelError, ResourceError), match="→"):
        bertscore(PAIRS, "nobody/no-such-model-here")


def test_a_checkpoint_of_another_task_serves_by_its_body(encoder):
    assert bertscore(PAIRS, str(classifier_dir()), device="cpu").metadata["architecture"] == "BertModel"
