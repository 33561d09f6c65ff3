"""MoverScore against a linear program over the model's own hidden states, both forms."""

import math
import string

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from helpers.tiny_encoders import LAYERS, encoder_dir
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.model_metrics.encoder import load_encoder
from rolesum.evaluation.model_metrics.moverscore import moverscore

pytest.importorskip("ot", reason="the extra moverscore is not installed")
linprog = pytest.importorskip("scipy.optimize", reason="scipy solves the same problem another way").linprog

PAIRS = [
    ("The customer asks for a refund, twice.", ("A customer wanted the money back.",)),
    ("用户询问包裹在哪里。客服回答已签收。", ("用户投诉包裹未收到。",)),
    ("Unbelievable undeliverable parcels!", ("The parcels came undelivered.",)),
    ("refund", ("The agent offers a refund of $20.",)),
]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(str(encoder_dir()), "cpu")


@pytest.fixture(scope="module")
def parts():
    return AutoTokenizer.from_pretrained(encoder_dir()), AutoModel.from_pretrained(encoder_dir()).eval()


def frequencies(tokenizer, texts):
    seen = [set(tokenizer(text)["input_ids"]) for text in texts]
    return lambda token: math.log((len(seen) + 1) / (sum(token in one for one in seen) + 1))


def pile(parts, text, weigh, power_means, n_gram, stop_words):
    """Unit vectors and weights of a text's n-grams, by plain loops."""
    tokenizer, model = parts
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        layers = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    unit = [layer[0].double().numpy() for layer in layers]
    if power_means:
        last = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in unit[1:][-5:]]
        vectors = np.concatenate([np.min(last, axis=0), np.mean(last, axis=0), np.max(last, axis=0)], axis=1)
    else:
        vectors = unit[-1]
    names = tokenizer.convert_ids_to_tokens(ids)
    kept = [
        at
        for at, name in enumerate(names)
        if name not in string.punctuation and not name.startswith("##") and name not in stop_words
    ]
    size = min(n_gram, len(kept))
    grams, weights = [], []
    for begin in range(len(kept) - size + 1):
        window = kept[begin : begin + size]
        total = sum(weigh(ids[at]) for at in window)
        if total > 0:
            center = sum(weigh(ids[at]) / total * vectors[at] for at in window)
            grams.append(center / np.linalg.norm(center))
            weights.append(total)
    return np.array(grams), np.array(weights) / sum(weights)


def by_program(a, b, squared):
    """1 minus the least cost of moving weights `a` onto weights `b`, times 100, by the simplex method."""
    (x, w), (y, v) = a, b
    costs = np.array([[sum((p - q) ** 2) for q in y] for p in x])
    costs = costs if squared else np.sqrt(costs)
    rows, columns = costs.shape
    sums = np.zeros((rows + columns, rows * columns))
    for i in range(rows):
        for j in range(columns):
            sums[i, i * columns + j] = sums[rows + j, i * columns + j] = 1
    done = linprog(costs.ravel(), A_eq=sums, b_eq=np.concatenate([w, v]), method="highs")
    assert done.status == 0
    return 100 * (1 - done.fun)


@pytest.mark.parametrize(
    ("power_means", "n_gram", "idf", "stop_words"),
    [(False, 1, True, ()), (False, 1, False, ()), (True, 1, True, ()), (True, 2, True, ()), (True, 2, False, ("the",))],
)
def test_equals_a_linear_program(encoder, parts, power_means, n_gram, idf, stop_words):
    found = moverscore(PAIRS, encoder, power_means=power_means, n_gram=n_gram, idf=idf, stop_words=stop_words).per_pair[
        "moverscore"
    ]
    weigh_made = frequencies(parts[0], [made for made, _ in PAIRS]) if idf else lambda _: 1.0
    weigh_written = frequencies(parts[0], [written[0] for _, written in PAIRS]) if idf else lambda _: 1.0
    for value, (made, written) in zip(found, PAIRS, strict=True):
        a = pile(parts, made, weigh_made, power_means, n_gram, stop_words)
        b = pile(parts, written[0], weigh_written, power_means, n_gram, stop_words)
        assert value == pytest.approx(by_program(a, b, power_means), abs=1e-4)


def test_several_references_count_by_their_mean(encoder):
    made, one, two = "The customer asks.", "A customer wanted more.", "The agent answers at last."
    each = [moverscore([(made, (text,))], encoder, idf=False).per_pair["moverscore"][0] for text in (one, two)]
    both = moverscore([(made, (one, two))], encoder, idf=False)
    assert both.per_pair["moverscore"][0] == pytest.approx(sum(each) / 2, abs=1e-5)
    assert both.metadata["multi_reference"] == "mean"


def test_the_same_text_scores_a_hundred_an_empty_one_nothing_and_one_without_words_is_undefined(encoder):
    pairs = [("a refund", ("a refund",)), ("", ("a refund",)), ("a refund", ("a parcel",))]
    same, empty, other = moverscore(pairs, encoder, idf=False).per_pair["moverscore"]
    assert same == pytest.approx(100, abs=0.01) and empty == 0 and other < 99
    silent = moverscore([("!", ("a refund",)), ("more", ("a parcel",))], encoder).as_json()
    assert silent["undefined"] == {"moverscore": 1}  # a mark alone: nothing of it counts


def test_results_state_the_form_the_layers_and_the_weights(encoder):
    plain, powers = moverscore(PAIRS, encoder), moverscore(PAIRS, encoder, power_means=True, n_gram=2)
    assert plain.metadata["layers_used"] == [LAYERS] and plain.metadata["distance"] == "Euclidean"
    assert powers.metadata["layers_used"] == [2, 3, 4, 5, 6] and powers.metadata["distance"] == "squared Euclidean"
    assert powers.metadata["n_gram"] == 2 and "each side by itself" in powers.metadata["token_weights"]
    assert plain.metadata["libraries"]["pot"]
    assert moverscore(PAIRS, encoder, layer=2).metadata["layers_used"] == [2]


def test_what_the_authors_code_would_ignore_is_refused(encoder):
    with pytest.raises(UsageError, match="bigrams"):
        moverscore(PAIRS, encoder, n_gram=2)
    with pytest.raises(UsageError, match="n_gram is 1 or 2"):
        moverscore(PAIRS, encoder, n_gram=3, power_means=True)
    with pytest.raises(UsageError, match="last five layers"):
        moverscore(PAIRS, encoder, power_means=True, layer=2)
    with pytest.raises(DataError, match="one text"):
        moverscore(PAIRS[:1], encoder)
