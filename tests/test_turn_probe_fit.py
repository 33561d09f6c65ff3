"""The fit of the probe that reads turns, and the probe of the bundled adapter."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from rolesum.errors import DataError
from rolesum.generation.turn_probe import NUM_FEATURES, load_turn_probe
from rolesum.models.adapter_metadata import adapter_directory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import turn_probe


def test_the_fit_is_where_the_penalized_likelihood_has_no_slope():
    made = np.random.default_rng(7)
    inputs = [made.normal(2.0, 3.0, (30, NUM_FEATURES + 9)) for _ in range(8)]
    labels = [of[:, 0] + of[:, NUM_FEATURES] + made.normal(0, 2.0, 30) > 4.0 for of in inputs]
    weights, bias = turn_probe.fit(inputs, labels)
    x, y = np.concatenate(inputs), np.concatenate(labels)
    p = 1 / (1 + np.exp(-(x @ weights + bias)))
    scale = x.std(0) + 1e-6
    ridge = np.where(np.arange(x.shape[1]) < NUM_FEATURES, turn_probe.RIDGE_FEATURE, turn_probe.RIDGE_HIDDEN)
    slope = ((x - x.mean(0)) / scale).T @ (p - y) + ridge * weights * scale
    assert np.abs(slope).max() < 1e-2 and abs((p - y).sum()) < 1e-2
    assert ((p > 0.5) == y).mean() > 0.7


def test_the_bundled_adapter_has_a_probe_with_the_headings_of_the_fit():
    found = load_turn_probe(adapter_directory("rolesum-en-zh"), 1536, 28)
    assert (found.layer, found.headings) == (turn_probe.LAYER, turn_probe.HEADINGS)


def test_labels_are_of_636_dialogues_and_name_turns_that_are_there():
    read = turn_probe.labeled_dialogues([])
    assert len({dialogue.id for dialogue, _ in read}) == len(read) == 540 + 96
    for dialogue, line in read:
        places = {place for key in ("user_matter", "user_end", "agent_end", "superseded") for place in line[key]}
        assert places <= set(range(1, len(dialogue.turns) + 1))


def test_labels_of_ones_own_are_added_and_one_of_an_unknown_dialogue_is_an_error(tmp_path):
    dialogues, labels = tmp_path / "mine.jsonl", tmp_path / "labels.jsonl"
    dialogues.write_text('{"id": "m", "turns": [{"speaker": "Ann", "text": "A lamp, please."}]}\n')
    line = {"dialogue": "m", "user_matter": [1], "user_end": [], "agent_end": [], "superseded": []}
    labels.write_text(json.dumps(line) + "\n")
    (dialogue, found), *_ = reversed(turn_probe.labeled_dialogues([(dialogues, labels)]))
    assert (dialogue.id, found) == ("m", line)
    labels.write_text(json.dumps(line | {"dialogue": "n"}) + "\n")
    with pytest.raises(DataError, match="line 1: no dialogue 'n'"):
        turn_probe.labeled_dialogues([(dialogues, labels)])
