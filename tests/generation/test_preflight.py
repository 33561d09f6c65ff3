"""What is refused before a model is loaded. No test here has a model: loading one would fail."""

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.strategies import check_samples
from rolesum.generation.preflight import check_before_loading

ENGLISH = Dialogue("e", (Turn("Anna", "hi"), Turn("Tom", "hello")), source="chat.txt")
CHINESE = Dialogue(
    "z", (Turn("客户", "你好"), Turn("客服", "您好")), roles={"客户": "user", "客服": "agent"}, source="z.txt"
)


def test_a_role_that_no_speaker_plays_is_refused():
    with pytest.raises(DataError, match="no speaker plays user"):
        check_before_loading(EngineSpec(model="smollm2-135m"), [ENGLISH], ["overall", "user"])
    check_before_loading(EngineSpec(model="gemma3-270m"), [CHINESE, ENGLISH], ["overall"])
    check_before_loading(EngineSpec(model="gemma3-270m"), [CHINESE], ["user", "agent"])


def test_the_default_model_reads_both_languages():
    check_before_loading(EngineSpec(), [ENGLISH, CHINESE])


@pytest.mark.parametrize(
    "spec", [EngineSpec(model="smollm2-135m"), EngineSpec(model="meta-llama/Llama-2-7b-chat-hf@main")]
)
def test_a_language_that_the_base_does_not_read_is_refused(spec):
    with pytest.raises(ModelError, match="does not read Chinese"):
        check_before_loading(spec, [ENGLISH, CHINESE])
    check_before_loading(spec, [ENGLISH])


def test_an_unknown_base_is_asked_in_every_language(tmp_path):
    check_before_loading(EngineSpec(model=str(tmp_path)), [CHINESE])
    check_before_loading(EngineSpec("openai", url="http://localhost:1/v1"), [CHINESE])


def test_the_base_of_an_adapter_counts(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "adapter" / "rolesum.json").write_text('{"base": "smollm2-135m"}', encoding="utf-8")
    with pytest.raises(ModelError, match="does not read Chinese"):
        check_before_loading(EngineSpec(adapter=tmp_path), [CHINESE])


def test_beams_and_samples_are_refused_for_what_they_are():
    with pytest.raises(UsageError, match="beams and several samples do not go together") as told:
        check_samples(4, Decoding(beams=4), has_choice=True)
    assert "temperature" not in str(told.value)
