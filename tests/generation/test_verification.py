"""Probabilities of statements: their temperature, and what cannot be verified."""

import json
import math
from dataclasses import replace

import pytest

from helpers.small_runs import trained
from helpers.tiny import model_dir
from helpers.tiny_seq2seq import seq2seq_dir
from helpers.verify_runs import STATEMENTS, answer_set, verify_recipe
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier, verify
from rolesum.instructions import load_instruction_set
from rolesum.metrics.calibration import sigmoid
from rolesum.models.adapter_metadata import (
    read_metadata,
    store_verify,
    verify_temperature,
    verify_threshold,
    write_metadata,
)
from rolesum.models.loading import load_model

DIALOGUES = read_dialogues(STATEMENTS)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("verify") / "run", verify_recipe()).adapter


def loaded_llama():
    return load_model(model_dir("llama"), dtype="float32", device="cpu")


def verifier(loaded=None, **options):
    loaded = loaded or loaded_llama()
    return Verifier(
        TransformersEngine(loaded, loaded.layout(instructions=load_instruction_set(answer_set()))), **options
    )


def texts(dialogue):
    return [one.text for one in dialogue.statements]


def test_a_temperature_divides_the_log_odds():
    dialogue = DIALOGUES[0]
    odds = verifier().log_odds([dialogue], [texts(dialogue)])[0]
    found = verifier(temperature=4.0).verify(dialogue, texts(dialogue))
    assert found == pytest.approx([1 / (1 + math.exp(-one / 4)) for one in odds])
    assert verifier().verify(dialogue, texts(dialogue)) == pytest.approx(sigmoid(odds).tolist())


def test_an_adapter_is_asked_in_its_own_words_and_its_temperature_is_read(adapter):
    dialogue = DIALOGUES[0]
    plain = verify(dialogue, texts(dialogue), load_model(adapter=adapter, dtype="float32", device="cpu"))
    store_verify(adapter, {"temperature": 2.5})
    note = json.loads((adapter / "rolesum.json").read_text())
    assert note["verify"] == {"weight": 1.0, "temperature": 2.5} and note["instructions"]["name"] == "answers"
    loaded = load_model(adapter=adapter, dtype="float32", device="cpu")
    fitted = Verifier(TransformersEngine(loaded))
    assert fitted.temperature == 2.5 and fitted.is_trained and not verifier().is_trained
    odds = fitted.log_odds([dialogue], [texts(dialogue)])[0]
    assert plain == pytest.approx(sigmoid(odds).tolist(), abs=1e-6)
    assert fitted.verify(dialogue, texts(dialogue)) == pytest.approx([1 / (1 + math.exp(-one / 2.5)) for one in odds])
    (adapter / "rolesum.json").write_text(json.dumps({**note, "verify": {"temperature": "hot"}}))
    with pytest.raises(ModelError, match="'hot' is not a number over 0"):
        Verifier(TransformersEngine(load_model(adapter=adapter, dtype="float32", device="cpu")))


def test_a_temperature_is_not_stored_beside_weights_that_were_not_trained_to_verify(tmp_path):
    with pytest.raises(ModelError, match="not trained to verify"):
        store_verify(tmp_path, {"temperature": 0.5})


def test_a_threshold_is_stored_beside_the_temperature_and_is_a_half_without(tmp_path):
    write_metadata(tmp_path, {"recipe": "mine", "verify": {"weight": 1.0, "temperature": 2.0}})
    assert verify_threshold(read_metadata(tmp_path)) == 0.5
    store_verify(tmp_path, {"threshold": 0.3})
    stored = read_metadata(tmp_path)
    assert (verify_threshold(stored), verify_temperature(stored), stored["recipe"]) == (0.3, 2.0, "mine")
    for wrong in ("high", True, -0.1, 1.1):
        with pytest.raises(ModelError, match="is not a number from 0 to 1"):
            verify_threshold({"verify": {"threshold": wrong}})


def test_a_dialogue_without_statements_gives_none_and_the_others_keep_their_places():
    one, other = DIALOGUES[:2]
    found = verifier().verify_all([one, other], [[], texts(other)])
    assert found[0] == [] and found[1] == pytest.approx(verifier().verify(other, texts(other)), abs=1e-6)


def test_a_statement_that_does_not_fit_behind_a_generated_text_has_no_probability():
    chosen, dialogue = verifier(temperature=3.0), DIALOGUES[0]
    engine = chosen.engine
    prompt, decoding = engine.layout.prompt(dialogue, ["overall", "user"]), Decoding(max_new_tokens=4)
    engine.loaded.max_length = engine.encode(0, prompt).max_row_tokens(4)
    statements = [["It rained.", "word " * 400], ["It snowed."]]
    followed = chosen.follow_up(lambda number, texts: statements)
    engine.generate([prompt], decoding, follow_up=followed)
    (rained, none), (snowed,) = followed.probabilities[0]
    assert none is None
    assert [rained, snowed] == pytest.approx(chosen.verify(dialogue, ["It rained.", "It snowed."]), abs=5e-6)


def test_a_follow_up_that_cannot_be_answered_is_refused_before_anything_is_generated(monkeypatch):
    loaded = loaded_llama()
    engine = TransformersEngine(loaded)
    monkeypatch.setattr(engine, "new_scheduler", lambda *_: pytest.fail("generated"))
    prompt = engine.layout.prompt(DIALOGUES[0], ["overall"])
    with pytest.raises(ModelError, match="are not one token each"):
        engine.generate([prompt], Decoding(), follow_up=Verifier(engine).follow_up(lambda *_: [["It rained."]]))


def test_all_dialogues_that_do_not_fit_are_named():
    long = [replace(one, turns=(Turn("A", "word " * 3000),)) for one in DIALOGUES[:2]]
    with pytest.raises(DataError) as caught:
        verifier().verify_all([*long, DIALOGUES[2]], [["It rained."]] * 3)
    assert len(caught.value.problems) == 2 and "takes 2048" in str(caught.value)


def test_answers_that_are_not_single_tokens_are_refused():
    with pytest.raises(ModelError, match="yes / no or Yes / No are not one token each"):
        verify(DIALOGUES[0], ["It rained."], loaded_llama())


def test_encoder_decoders_and_impossible_temperatures_are_refused():
    with pytest.raises(ModelError, match="verified by causal models"):
        Verifier(TransformersEngine(load_model(seq2seq_dir("t5"), dtype="float32", device="cpu")))
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="is out of its range"):
            verifier(temperature=temperature)


def test_a_chinese_dialogue_is_asked_in_chinese():
    dialogue = Dialogue("1", (Turn("用户", "灯坏了"), Turn("客服", "抱歉")))
    prompt = loaded_llama().layout().verify_prompt(dialogue, ["灯坏了。"])
    assert prompt.branches[0][0].text.startswith("陈述：灯坏了。")
