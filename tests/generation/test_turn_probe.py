"""The probe that reads turns: its inputs, its arithmetic, its file, and the quotes that follow from it."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from helpers.scripted_engine import WritingEngine
from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import ModelError
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.turn_probe import NUM_FEATURES, TurnProbe, load_turn_probe, place_features
from rolesum.instructions import Segment
from rolesum.models.adapter_metadata import PROBE_FILE

HEADINGS = {"en": "Which turns?\n", "zh": "哪几句？\n"}
CHAT = Dialogue(
    "c",
    (
        Turn("Agent", "How can I help?"),
        Turn("Customer", "My lamp broke, and I want a new one by Friday, please."),
        Turn("Agent", "Tom sends it on Monday."),
        Turn("Customer", "Then send the green one instead."),
        Turn("Agent", "The green one comes on Tuesday."),
        Turn("Customer", "Good."),
    ),
    {"Customer": "user", "Agent": "agent"},
    language="en",
)


def probe(hidden_size, layer=0, seed=0):
    made = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, NUM_FEATURES + hidden_size, generator=made)
    return TurnProbe(layer, HEADINGS, weights, torch.randn(3, generator=made))


def test_features_say_where_a_turn_stands_and_whose_it_is():
    found = place_features(DialogueIndex(CHAT))
    assert len(found) == 6 and {len(of) for of in found} == {NUM_FEATURES}
    lengths = [of[0] for of in found]
    assert max(lengths) == lengths[1] == 1.0 and min(lengths) == lengths[5]
    assert [of[1:] for of in found] == [
        (0.0, 0.0, 0.0, 0.0),
        (0.2, 1.0, 0.2, 1.0),
        (0.4, 0.0, 0.0, 0.0),
        (pytest.approx(0.6), 1.0, pytest.approx(0.6), 0.0),
        (0.8, 0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0, 0.0),
    ]
    alone = Dialogue("a", (Turn("Ann", "Hello."),))
    assert place_features(DialogueIndex(alone)) == [(1.0, 0.0, 0.0, 0.0, 0.0)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_turns_are_given_again_behind_a_heading_and_a_long_one_is_cut(language):
    long = {"en": "The lamp is green. " * 40, "zh": "灯是绿色的。" * 40}[language]
    dialogue = replace(CHAT, turns=(*CHAT.turns[:2], Turn("Agent", long)), language=language)
    ids, places = probe(4).encode(dialogue, lambda text: [*map(ord, text)])
    lines = "".join(map(chr, ids)).splitlines()
    colon = {"en": ": ", "zh": "："}[language]
    assert lines[0] == HEADINGS[language].strip()
    assert lines[1] == f"Agent{colon}How can I help?" and len(lines[3]) < len(long) / 2 and lines[3].endswith("…")
    assert [chr(ids[place]) for place in places] == ["\n"] * 3 and places[-1] == len(ids) - 1


def test_a_probability_is_a_logistic_function_of_features_and_hidden_state():
    one, hidden = probe(8), torch.randn(6, 8, generator=torch.Generator().manual_seed(5))
    found = one.read(CHAT, hidden.bfloat16())
    for turn, reading in enumerate(found):
        values = [*place_features(DialogueIndex(CHAT))[turn], *hidden[turn].bfloat16().tolist()]
        for row, got in enumerate((reading.matter, reading.end, reading.superseded)):
            z = float(one.bias[row]) + sum(float(w) * x for w, x in zip(one.weights[row], values, strict=True))
            assert got == pytest.approx(1 / (1 + 2.718281828459045**-z), abs=1e-5)


def test_a_probe_is_read_as_it_was_written(tmp_path):
    written = probe(8, layer=2)
    written.save(tmp_path)
    found = load_turn_probe(tmp_path, 8, 3)
    assert (found.layer, found.headings, found.digest) == (2, HEADINGS, written.digest)
    assert torch.equal(found.weights, written.weights) and torch.equal(found.bias, written.bias)
    assert load_turn_probe(tmp_path / "none", 8, 3) is None


def test_a_probe_of_another_model_and_a_broken_file_are_errors(tmp_path):
    probe(8, layer=2).save(tmp_path)
    for hidden, layers in ((9, 3), (8, 2)):
        with pytest.raises(ModelError, match="no probe of turns for this model"):
            load_turn_probe(tmp_path, hidden, layers)
    save_file({"weights": torch.zeros(3, 13)}, tmp_path / PROBE_FILE)
    with pytest.raises(ModelError, match="restore"):
        load_turn_probe(tmp_path, 8, 3)
    (tmp_path / PROBE_FILE).write_bytes(b"nothing")
    with pytest.raises(ModelError, match=PROBE_FILE):
        load_turn_probe(tmp_path, 8, 3)


TEXTS = {"overall": "Somebody wanted a lamp.", "user": "A lamp.", "agent": "Tom was sorry."}


def quoted(folder, texts=TEXTS, **config):
    """The turns that stand in place of each role's text, where the engine's model is one in this folder."""
    engine = WritingEngine(texts)
    engine.loaded = replace(engine.loaded, path=folder)
    config = SummarizerConfig(EngineSpec(), None, support_threshold=1.0, **config)
    (found,) = Summarizer(config, engine).summarize([CHAT])
    return engine, {one.role: [quote.turn for quote in one.quotes] for one in found}


def by_features(engine, matter=(), end=(), superseded=()):
    """A probe that knows places alone: each argument is bias and weights of the features."""
    weights = torch.zeros(3, NUM_FEATURES + engine.loaded.config.hidden_size)
    bias = torch.full((3,), -9.0)
    for row, of in enumerate((matter, end, superseded)):
        if of:
            bias[row] = of[0]
            weights[row, : len(of) - 1] = torch.tensor(of[1:])
    return TurnProbe(0, HEADINGS, weights, bias)


def test_quotes_are_the_turns_that_the_probe_names(tmp_path):
    engine, without = quoted(tmp_path)
    # What is wanted: the user's last turns. How it ends: late turns. Taken back: what the agent says before the end.
    # Of short answers, the turn before is quoted too.
    by_features(engine, matter=(-9, 0, 0, 0, 12), end=(-9, 0, 12), superseded=(0, 0, -6, -20)).save(tmp_path)
    engine, found = quoted(tmp_path)
    assert found != without and not engine.asked_anew
    assert found == {"overall": [2, 3, 4, 5], "user": [4, 5], "agent": [4, 5]}


def test_the_readings_are_those_of_the_hidden_states_behind_the_dialogue(tmp_path, monkeypatch):
    engine, _ = quoted(tmp_path)
    one = probe(engine.loaded.config.hidden_size, layer=1)
    one.save(tmp_path)
    read, given = TurnProbe.read, []
    monkeypatch.setattr(TurnProbe, "read", lambda *args: given.append(args[2]) or read(*args))
    engine, _ = quoted(tmp_path)
    encode = engine.loaded.encoder.encode
    ids, places = one.encode(CHAT, lambda text: encode([Segment("instruction", text, continues=True)]))
    prefix = encode(engine.layout.prefix(CHAT))
    with torch.inference_mode():
        states = engine.loaded.model.model(torch.tensor([[*prefix, *ids]]), output_hidden_states=True).hidden_states
    (hidden,) = given
    last = engine.loaded.config.num_hidden_layers == 2
    expected = states[2][0, len(prefix) :][places]
    if last:  # what the library calls the last hidden states is normalized
        hidden = engine.loaded.model.model.norm(hidden)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-5)


def test_nothing_is_read_where_nothing_is_quoted(tmp_path, monkeypatch):
    engine, _ = quoted(tmp_path)
    probe(engine.loaded.config.hidden_size).save(tmp_path)
    read, given = TurnProbe.read, []
    monkeypatch.setattr(TurnProbe, "read", lambda *args: given.append(args) or read(*args))
    for verify in ("flag", "drop", "quote"):
        assert not given
        quoted(tmp_path, verify=verify)
    assert len(given) == 1
