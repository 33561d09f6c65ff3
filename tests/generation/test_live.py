"""A dialogue that grows, in Python and under --watch: the summaries of the whole, and nothing computed twice."""

import pytest

from helpers.tiny import model_dir
from rolesum import Summarizer
from rolesum.errors import DataError, UsageError
from rolesum.generation.streaming import stream

TURNS = [
    ("Anna", "My parcel 4417 is late."),
    ("Tom", "I am sorry, it arrives on Monday."),
    ("Anna", "Monday is too late."),
    ("Tom", "Then I send it by express."),
]
SPEAKERS = {"Anna": "user", "Tom": "agent"}


@pytest.fixture(scope="module")
def summarizer():
    with Summarizer.from_pretrained(
        model=str(model_dir("llama")), dtype="float32", device="cpu", max_new_tokens=6
    ) as one:
        yield one


def texts(summaries):
    return [(one.role, one.text) for one in summaries]


def test_each_summary_is_that_of_the_turns_so_far(summarizer):
    live = summarizer.live(speakers=SPEAKERS)
    for number, turn in enumerate(TURNS, 1):
        live.add(*turn)
        if number % 2 == 0:
            assert texts(live.summarize()) == texts(summarizer(TURNS[:number], speakers=SPEAKERS))
    assert live.reused_tokens > 20
    assert [one.role for one in live.summarize(roles="agent")] == ["agent"]
    live.close()
    assert texts(live.summarize()) == texts(summarizer(TURNS, speakers=SPEAKERS)) and live.reused_tokens == 0


def test_a_turn_that_is_none_is_refused_and_not_appended(summarizer):
    live = summarizer.live()
    with pytest.raises(UsageError, match="no turn yet"):
        live.summarize()
    live.add("Customer", "My parcel is late.")
    for turn in (("Agent", "  "), ("", "Hello"), ("Agent", None)):
        with pytest.raises(DataError, match="of a turn is"):
            live.add(*turn)
    assert len(live.turns) == 1 and texts(live.summarize(roles="user"))


def test_wrong_speakers_are_refused_at_once(summarizer):
    with pytest.raises(UsageError, match="speakers is"):
        summarizer.live(speakers="Anna=user")


def test_a_watched_file_s_next_summary_goes_on_from_the_last(summarizer):
    keeping = summarizer.keeping_prefix()
    for count in (2, 4):
        shown = []
        live = summarizer.live(speakers=SPEAKERS)
        for turn in TURNS[:count]:
            live.add(*turn)
        stream(live.dialogue, keeping, shown.append)
        expected = summarizer(TURNS[:count], speakers=SPEAKERS)
        assert all(one.text in "".join(shown) for one in expected)
    assert keeping.engine.kept.reused > 20
