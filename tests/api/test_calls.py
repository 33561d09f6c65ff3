"""Calling a Summarizer: one dialogue, lists, iterators, threads, coroutines and streams."""

import asyncio
import threading
from itertools import count

import pytest

from helpers.echo_engine import EchoEngine, dialogue
from helpers.scripted_engine import CHAT, WritingEngine
from rolesum.errors import DataError, UsageError
from rolesum.generation import summarizer as summarizer_module
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig

TEXT = "Customer: My parcel is late.\nAgent: I will check."
WRITTEN = {"overall": "A lamp broke. Tom sends 45.", "user": "The lamp broke.", "agent": "Tom is sorry."}


@pytest.fixture
def echo():
    with Summarizer(engine=EchoEngine()) as made:
        yield made


@pytest.fixture(scope="module")
def writer():
    with Summarizer(engine=WritingEngine(WRITTEN)) as made:
        yield made


def texts(summaries):
    return {one.role: one.text for one in summaries}


def test_one_dialogue_gives_a_summary_for_each_role(echo):
    found = echo(TEXT)
    assert texts(found) == {role: f"{role} of dialogue: I will check." for role in ("overall", "user", "agent")}


def test_a_list_gives_a_list_in_order_and_all_of_it_at_once(echo):
    found = echo([TEXT, dialogue("b"), [("Customer", "Hi.")]], roles="Customer")
    assert [texts(one) for one in found] == [
        {"user": "user of dialogue-1: I will check."},
        {"user": "user of b: This is b."},
        {"user": "user of dialogue-3: Hi."},
    ]
    assert echo.engine.calls == [["dialogue-1", "b", "dialogue-3"]] and echo([]) == []


def test_an_iterator_is_read_as_it_is_summarized(echo):
    read = []
    endless = (read.append(number) or dialogue(str(number)) for number in count())
    found = echo(endless, roles=["overall"])
    assert read == []
    assert [next(found)[0].dialogue_id for _ in range(3)] == ["0", "1", "2"]
    assert len(read) == summarizer_module.DIALOGUES_AT_ONCE


def test_arguments_of_a_call_hold_for_that_call_only(echo):
    chat = [("Anna", "Hi."), ("Tom", "Hello.")]
    assert list(texts(echo(chat, speakers={"Anna": "user"}))) == ["overall", "user"]
    assert list(texts(echo(chat))) == ["overall"]
    sections = echo(chat, sections="situation-action-resolution")
    assert list(texts(sections)) == ["situation", "action", "resolution"]
    assert echo.config.roles is None and echo.engine.layout.sections is None


def test_what_fails_names_the_dialogue_and_the_summarizer_goes_on(echo):
    with pytest.raises(DataError, match="dialogue b"):
        echo([dialogue("a"), dialogue("b", "Hi.", "LONG")])
    with pytest.raises(DataError, match="no speaker plays agent"):
        echo([("Customer", "Hi.")], roles=["agent"])
    assert len(echo(TEXT)) == 3


def test_a_closed_summarizer_says_so(echo):
    echo.close()
    echo.close()
    with pytest.raises(UsageError, match="the summarizer is closed"):
        echo(TEXT)


def test_statements_are_verified_as_the_core_verifies_them(writer):
    alone = Summarizer(engine=WritingEngine(WRITTEN)).summarize([CHAT])[0]
    called = writer(CHAT)
    assert [(one.text, one.statements, one.dropped, one.quotes) for one in called] == [
        (one.text, one.statements, one.dropped, one.quotes) for one in alone
    ]
    assert called[0].support_threshold == 0.5 and len(called[0].statements) == len(called[0].quotes) == 1
    assert len(writer(CHAT, verify="flag")[0].statements) == 2
    assert writer(CHAT, verify="off")[0].statements == ()


def test_what_is_streamed_is_the_summaries_piece_by_piece(writer):
    stream = writer.stream(CHAT)
    pieces = list(stream)
    assert len(pieces) > 6 and stream.roles == ("overall", "user", "agent")
    assert {role: "".join(text for of, text in pieces if of == role) for role in stream.roles} == WRITTEN
    assert texts(stream.summaries) == WRITTEN and list(stream) == []


def test_a_stream_marks_what_a_call_quotes_and_quotes_at_its_end_where_that_is_asked_for(writer):
    called = writer(CHAT)
    marked = writer.stream(CHAT)
    list(marked)
    assert marked.summaries[0].doubtful and not any(one.quotes for one in marked.summaries)
    always = Summarizer(SummarizerConfig(EngineSpec(), verify="quote"), WritingEngine(WRITTEN))
    for stream in (writer.stream(CHAT, verify="quote"), always.stream(CHAT)):
        assert list(stream) == [(one.role, one.text) for one in called]
        assert [one.quotes for one in stream.summaries] == [one.quotes for one in called] and called[0].quotes
    always.close()


def test_an_engine_that_does_not_stream_gives_each_text_at_the_end(echo):
    assert list(echo.stream(TEXT, roles="user")) == [("user", "user of dialogue: I will check.")]


def test_a_stream_can_be_closed_early(writer):
    stream = writer.stream(CHAT)
    next(stream)
    stream.close()
    assert list(stream) == [] and stream.summaries == []
    quoting = writer.stream(CHAT, verify="quote")
    quoting.close()
    assert list(quoting) == [] and quoting.summaries == []
    assert texts(writer(CHAT, verify="flag")) == WRITTEN


def test_what_the_engine_refuses_is_raised_by_the_stream(echo):
    with pytest.raises(DataError, match="too many tokens"):
        list(echo.stream([("Customer", "LONG")]))


def test_coroutines_and_threads_share_an_engine_and_get_their_own_texts(writer):
    async def ask():
        streamed = [piece async for piece in writer.stream(CHAT, roles="agent")]
        return streamed, *await asyncio.gather(*(writer.acall(CHAT, roles=role, verify="off") for role in WRITTEN))

    found = {}
    threads = [
        threading.Thread(target=lambda role=role: found.update({role: writer(CHAT, roles=role, verify="off")}))
        for role in WRITTEN
    ]
    for one in threads:
        one.start()
    streamed, *called = asyncio.run(ask())
    for one in threads:
        one.join()
    assert "".join(text for _, text in streamed) == WRITTEN["agent"]
    assert [texts(one) for one in called] == [{role: text} for role, text in WRITTEN.items()]
    assert {role: texts(one) for role, one in found.items()} == {role: {role: text} for role, text in WRITTEN.items()}


def test_a_canceled_coroutine_frees_its_place():
    engine = EchoEngine(seconds=0.2)

    async def cancel(summarizer):
        task = asyncio.create_task(summarizer.acall(TEXT))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await summarizer.acall([TEXT, TEXT], roles="overall")

    with Summarizer(engine=engine) as summarizer:
        assert len(asyncio.run(cancel(summarizer))) == 2
