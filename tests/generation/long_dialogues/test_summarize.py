import pytest

from helpers.tiny import model_dir
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model


@pytest.fixture(scope="module")
def engine():
    return TransformersEngine(load_model(model_dir("llama"), device="cpu"), token_budget=4096)


def test_results_come_in_input_order_with_the_roles_that_were_asked(engine):
    dialogues = read_dialogues("sample:en-test")[:7]
    done = []
    out = summarize(dialogues, engine, ("user", "overall"), decoding=Decoding(max_new_tokens=4), on_done=done.append)
    assert [one[0].dialogue_id for one in out] == [dialogue.id for dialogue in dialogues]
    assert all([summary.role for summary in one] == ["user", "overall"] for one in out)
    assert sum(done) == 7 and len(done) > 1


def test_without_roles_each_dialogue_gets_overall_and_those_its_speakers_play(engine):
    one = Dialogue("a", (Turn("Customer", "Hi"), Turn("Agent", "Hello")), roles={"Customer": "user", "Agent": "agent"})
    two = Dialogue("b", (Turn("Anna", "Hi"), Turn("Tom", "Hello")))
    out = summarize([one, two], engine, decoding=Decoding(max_new_tokens=2))
    assert [[summary.role for summary in each] for each in out] == [["overall", "user", "agent"], ["overall"]]


def test_a_role_that_nobody_plays_is_an_error_that_says_how_to_name_the_speaker(engine):
    chat = Dialogue("chat-7", (Turn("Anna", "Hi"), Turn("Tom", "Hello")))
    with pytest.raises(DataError, match=r'chat-7: no speaker plays user.*\n.*--speaker "Anna=user"'):
        summarize([chat], engine, ("user",), decoding=Decoding(max_new_tokens=2))


def test_all_dialogues_that_do_not_fit_are_named_before_any_work(engine):
    long = [Dialogue(f"long-{n}", (Turn("A", "word " * 3000),)) for n in range(2)]
    done = []
    with pytest.raises(DataError) as caught:
        summarize(
            [*long, Dialogue("short", (Turn("A", "Hi"),))],
            engine,
            decoding=Decoding(max_new_tokens=4),
            on_done=done.append,
        )
    assert [problem.where for problem in caught.value.problems] == ["dialogue long-0", "dialogue long-1"]
    assert done == []


def test_a_text_that_the_limit_cut_says_so(engine):
    chat = Dialogue("chat", (Turn("Anna", "Hi"),))
    summary = summarize([chat], engine, ("overall",), decoding=Decoding(max_new_tokens=3))[0][0]
    assert (summary.tokens, summary.finish_reason) == (3, "length")
