import random
from itertools import permutations

import numpy as np
import pytest

from rolesum.metrics.krippendorff import alpha_from_counts, alpha_from_ratings

NAN = float("nan")
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C and D.
TEXTBOOK = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


@pytest.mark.parametrize(("level", "known"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_textbooks_example(level, known):
    assert alpha_from_ratings(TEXTBOOK, level) == pytest.approx(known, abs=0.0005)


def plainly(ratings, distance):
    """Alpha by its definition: the mean distance of ratings of one unit over that of any two ratings."""
    units = [[value for value in column if value == value] for column in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    every = [value for unit in units for value in unit]
    within = sum(distance(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)) / len(every)
    between = sum(distance(a, b) for a, b in permutations(every, 2)) / (len(every) * (len(every) - 1))
    return 1 - within / between


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_its_definition_on_random_ratings(seed):
    draw = random.Random(seed)
    ratings = [[draw.choice([1, 2, 4, 7, NAN]) for _ in range(15)] for _ in range(3)]
    squared = plainly(ratings, lambda a, b: (a - b) ** 2)
    assert alpha_from_ratings(ratings, "interval") == pytest.approx(squared)
    assert alpha_from_ratings(ratings, "nominal") == pytest.approx(plainly(ratings, lambda a, b: a != b))


def test_all_alike_is_one_and_chance_is_about_nought():
    assert alpha_from_ratings([[1, 2, 3, 1], [1, 2, 3, 1]], "ordinal") == pytest.approx(1)
    draw = np.random.default_rng(0)
    assert abs(alpha_from_ratings(draw.integers(1, 6, (3, 2000)), "ordinal")) < 0.03


def test_it_is_undefined_where_nothing_varies_or_nobody_rated_twice():
    assert alpha_from_ratings([[3, 3], [3, 3]], "ordinal") is None
    assert alpha_from_ratings([[1, NAN], [NAN, 2]], "ordinal") is None
    assert alpha_from_ratings([[NAN, NAN]], "ordinal") is None
    assert alpha_from_counts([[0, 1], [1, 0]], [1, 2], "nominal") is None
