"""Drawing tokens: among the likeliest words only, as if the others were not there."""

import math
from random import Random

import pytest
import torch

from rolesum.generation import Decoding
from rolesum.generation.decoding.sampling import sample


def by_hand(row, at, decoding):
    """The word at which the heap of the kept words' weights crosses a random number."""
    scaled = [score / decoding.temperature for score in row]
    least = sorted(row)[-min(decoding.top_k or len(row), len(row))]
    weights = [math.exp(one - max(scaled)) if score >= least else 0.0 for one, score in zip(scaled, row, strict=True)]
    heap, goal = 0.0, at * sum(weights)
    for word, weight in enumerate(weights):
        heap += weight
        if heap > goal:
            return word
    raise AssertionError("not reached")


@pytest.mark.parametrize("top_k", [0, 1, 5, 40, 300, 1000])
def test_a_word_is_drawn_as_a_computation_by_hand_draws_it(top_k):
    torch.manual_seed(1)
    scores = torch.randn(200, 300) * 2
    scores[:100] = (scores[:100] * 2).round() / 2  # many words are equally likely, also at the edge
    decoding = Decoding(temperature=0.8, top_k=top_k)
    drawn = sample(scores, decoding, [Random(row) for row in range(len(scores))]).tolist()
    expected = [by_hand(row, Random(number).random(), decoding) for number, row in enumerate(scores.tolist())]
    assert drawn == expected
    assert len(set(drawn)) > 50 or top_k == 1


def test_words_below_the_likeliest_are_never_drawn():
    scores = torch.tensor([[0.0, 1.0, 1.0, 0.9, -1.0]]).repeat(500, 1)
    drawn = sample(scores, Decoding(temperature=5.0, top_k=1), [Random(row) for row in range(500)])
    assert set(drawn.tolist()) == {1, 2}
