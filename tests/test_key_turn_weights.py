"""The weights by which turns are quoted are those of the fit to the readers' choices that are committed."""

import sys
from pathlib import Path

import numpy as np

from rolesum.generation.key_turns import WEIGHTS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import key_turns


def test_the_weights_are_those_of_the_fit():
    choices = [one for language in key_turns.LANGUAGES for one in key_turns.read_choices(language)]
    assert len({one.dialogue for one in choices}) == 180
    assert np.allclose(key_turns.fit(choices), WEIGHTS, atol=0.006)


def test_the_fit_finds_what_readers_named_better_than_shared_words_do():
    choices = [one for language in key_turns.LANGUAGES for one in key_turns.read_choices(language)]
    rows = {(row["turns"], row["first"]): row for row in key_turns.left_out_rows(choices)}
    for first in (1, 2, 3):
        named = [float(rows[by, first]["named"].rstrip("%")) for by in ("by weights", "by shared words")]
        assert named[0] > named[1] + 8
