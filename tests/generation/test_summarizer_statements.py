"""What the Summarizer does with the statements of its summaries: --verify, redaction, streams, text and JSON."""

from dataclasses import replace

import pytest

from helpers.scripted_engine import CHAT, OTHER, ScriptedEngine
from rolesum.dialogue import Turn
from rolesum.errors import UsageError
from rolesum.generation import Decoding
from rolesum.generation.async_engine import AsyncEngine
from rolesum.generation.factory import EngineSpec
from rolesum.generation.streaming import stream
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.summary_output import format_blocks, summary_record
from rolesum.generation.verification import Verifier

OVERALL = "The customer has a broken lamp. Tom sends 45 new ones on Monday."
TEXTS = {"overall": OVERALL, "user": "The lamp broke.", "agent": "Tom is sorry."}
SAMPLED = {"samples": 3, "decoding": Decoding(temperature=1.0)}


def support_of(*texts, dialogue=CHAT):
    return Verifier(ScriptedEngine({})).verify(dialogue, texts)


def between(*texts):
    """A threshold under which only the less supported of two statements is doubtful."""
    return sum(support_of(*texts)) / 2


def summarizer(texts=TEXTS, metadata=None, roles=("overall",), **config):
    return Summarizer(SummarizerConfig(EngineSpec(), roles, **config), ScriptedEngine(texts, metadata))


FIRST, SECOND = "The customer has a broken lamp.", "Tom sends 45 new ones on Monday."
# The place of the doubtful one of the two under the threshold between them.
DOUBTFUL = int(support_of(FIRST)[0] > support_of(SECOND)[0])


def test_a_model_that_was_trained_to_verify_does_so_unless_told_otherwise():
    ((found,),) = summarizer().summarize([CHAT])
    assert [one.text for one in found.statements] == [FIRST, SECOND] and found.text == OVERALL
    assert [one.support for one in found.statements] == pytest.approx(support_of(FIRST, SECOND), abs=1e-5)
    assert [one.turns for one in found.statements] == [(0,), (1,)] and found.support_threshold == 0.5
    for quiet in (summarizer(verify="off"), summarizer(metadata={})):
        ((found,),) = quiet.summarize([CHAT])
        assert quiet.verify == "off" and found.support_threshold is None
        assert found.statements == found.dropped == () and "statements" not in summary_record([found])


def test_the_turns_of_a_statement_have_their_times_and_the_prompt_has_none():
    timed = replace(CHAT, turns=tuple(replace(turn, time=f"00:0{n}:05.250") for n, turn in enumerate(CHAT.turns, 1)))
    made = summarizer()
    ((found,),) = made.summarize([timed])
    assert [(one.turns, one.times) for one in found.statements] == [((0,), ("01:05",)), ((1,), ("02:05",))]
    ((same,),) = made.summarize([CHAT])
    assert [one.support for one in found.statements] == [one.support for one in same.statements]
    assert [one.times for one in same.statements] == [(), ()]
    layout = made.engine.layout
    assert layout.prompt(timed, ("overall",)).prefix == layout.prompt(CHAT, ("overall",)).prefix


def test_the_threshold_is_the_adapters_unless_another_is_given():
    stored = {"verify": {"weight": 1, "threshold": 0.25}}
    for threshold, expected in ((None, 0.25), (0.75, 0.75), (0.0, 0.0)):
        marking = summarizer(metadata=stored, verify="flag", support_threshold=threshold)
        ((found,),) = marking.summarize([CHAT])
        assert found.support_threshold == expected
        assert found.doubtful == tuple(one for one in found.statements if one.support < expected)


def test_all_roles_of_all_dialogues_are_verified_and_each_dialogue_is_asked_once():
    many = summarizer(roles=None, verify="flag")
    found = many.summarize([CHAT, OTHER])
    assert [one.dialogue for one in many.engine.questions] == [CHAT, OTHER]
    assert [len(of) for of in found] == [3, 1]
    for dialogue, of in zip([CHAT, OTHER], found, strict=True):
        said = [one.text for each in of for one in each.statements]
        assert [one.support for each in of for one in each.statements] == pytest.approx(
            support_of(*said, dialogue=dialogue), abs=1e-5
        )


def test_drop_leaves_doubtful_statements_out_and_says_which():
    dropping = summarizer(verify="drop", support_threshold=between(FIRST, SECOND))
    streamed = []
    ((found,),) = dropping.summarize([CHAT], on_text=lambda *one: streamed.append(one))
    left, out = (SECOND, FIRST) if DOUBTFUL == 0 else (FIRST, SECOND)
    assert found.text == left and [one.text for one in found.dropped] == [out] and not streamed
    assert [found.text[one.start : one.end] for one in found.statements] == [left] and not found.doubtful
    assert f'(left out, as the dialogue may not say it: "{out}" (support ' in format_blocks([[found]])
    record = summary_record([found])
    assert record["summaries"] == {"overall": left} and record["dropped"]["overall"][0]["text"] == out
    ((found,),) = summarizer(verify="drop", support_threshold=1.0).summarize([CHAT])
    assert found.text == OVERALL and len(found.doubtful) == 2 and not found.dropped


LAMP = "Customer: “My lamp broke, call 020 7946 0958.”"
MONDAY = "Agent: “Sorry! Tom sends a new one on Monday.”"
# The text with quotes for the doubtful statement: the first sentence holds the matter, and so does the user's turn.
QUOTED = (f"{LAMP} {MONDAY} {SECOND}", f"{FIRST} {MONDAY}")[DOUBTFUL]
# CHAT with so many turns that two of them are quoted.
LONGER = replace(
    CHAT, turns=(CHAT.turns[0], Turn("Agent", "One moment, please."), Turn("Customer", "Thank you."), CHAT.turns[1])
)


def test_unless_told_otherwise_the_dialogue_is_quoted_in_place_of_a_doubtful_statement():
    threshold = between(FIRST, SECOND)
    quoting = summarizer(support_threshold=threshold)
    ((found,),) = quoting.summarize([CHAT])
    left, out = (SECOND, FIRST) if DOUBTFUL == 0 else (FIRST, SECOND)
    assert quoting.verify == quoting.describe_verification()["mode"] == "quote" and found.text == QUOTED
    *first, quote = found.quotes
    assert found.text[quote.start : quote.end] == MONDAY and quote.turn == 1
    assert [found.text[one.start : one.end] for one in first] == [LAMP][: DOUBTFUL == 0]
    assert [found.text[one.start : one.end] for one in found.statements] == [left] and not found.doubtful
    assert [one.text for one in found.dropped] == [out]
    told = "\n(1 statement that the dialogue may not say was replaced by quotes)\n"
    assert f"[overall]\n{QUOTED}{told}" in format_blocks([[found]])
    record = summary_record([found])
    assert list(record) == ["id", "summaries", "statements", "dropped", "quotes", "support_threshold", "stats"]
    assert record["quotes"]["overall"][-1] == {"start": quote.start, "end": quote.end, "turn": 1}
    assert record["summaries"] == {"overall": QUOTED} and record["dropped"]["overall"][0]["text"] == out
    ((asked,),) = summarizer(verify="quote", support_threshold=threshold).summarize([CHAT])
    assert asked == found


def test_a_summary_of_quotes_alone_has_no_statement_left():
    ((found,),) = summarizer(support_threshold=1.0).summarize([LONGER])
    assert found.text == f"{LAMP} {MONDAY}" and [one.turn for one in found.quotes] == [0, 3]
    assert found.statements == found.doubtful == () and [one.text for one in found.dropped] == [FIRST, SECOND]
    assert "(2 statements that the dialogue may not say were replaced by quotes)\n" in format_blocks([[found]])


def test_a_text_that_is_wanted_as_it_grows_is_marked_unless_quotes_are_asked_for():
    threshold, streamed = between(FIRST, SECOND), []

    def note(*one):
        streamed.append(one)

    ((found,),) = summarizer(support_threshold=threshold).summarize([CHAT], on_text=note)
    assert found.text == OVERALL and len(found.doubtful) == 1 and not found.quotes
    assert streamed == [(0, 0, OVERALL)]
    asked = summarizer(verify="quote", support_threshold=threshold)
    ((found,),) = asked.summarize([CHAT], on_text=note)
    assert found.text == QUOTED and len(streamed) == 1
    written = []
    stream(CHAT, asked, written.append)
    assert written[0] == "[overall]\n" and written[1].startswith(QUOTED)


def test_rerank_takes_the_best_supported_sample_and_says_its_support():
    texts = ["Ann is ill.", "The lamp broke.", "It rained on Monday."]
    support = support_of(*texts)
    ((found,),) = summarizer({"overall": texts}, verify="rerank", **SAMPLED).summarize([CHAT])
    assert found.text == texts[support.index(max(support))]
    assert found.statements[0].support == pytest.approx(max(support), abs=1e-5)


def test_flag_says_the_support_of_the_sample_that_was_chosen_otherwise():
    texts = ["Ann is ill.", "The lamp broke.", "The lamp broke."]
    ((found,),) = summarizer({"overall": texts}, verify="flag", choose="mbr", **SAMPLED).summarize([CHAT])
    assert found.text == "The lamp broke." and found.statements[0].support == pytest.approx(
        support_of("The lamp broke.")[0], abs=1e-5
    )


PRIVATE = {"overall": "Call [PHONE_1], or [PHONE_1] on Monday, said 45. Tom has [PHONE_2]."}


@pytest.mark.parametrize("mode", ["flag", "quote", "drop"])
def test_what_is_verified_of_a_redacted_dialogue_is_redacted_and_what_is_said_is_not(mode):
    private = summarizer(PRIVATE, redact=True, verify=mode, support_threshold=0.0)
    ((found,),) = private.summarize([CHAT])
    (asked,) = private.engine.questions
    assert "7946" not in str(asked) and "[PHONE_1]" in asked.dialogue.turns[0].text
    assert [one[0].text.splitlines()[0].partition(": ")[2] for one in asked.branches] == [
        "Call [PHONE_1], or [PHONE_1] on Monday, said 45.",
        "Tom has [PHONE_2].",
    ]
    number = "020 7946 0958"
    assert found.text == f"Call {number}, or {number} on Monday, said 45. Tom has [PHONE_2]."
    said = [f"Call {number}, or {number} on Monday, said 45.", "Tom has [PHONE_2]."]
    assert [found.text[one.start : one.end] for one in found.statements] == said
    assert [one.text for one in found.statements] == said
    assert [one.flags[0] for one in found.statements] == [
        "the dialogue does not say 45",
        "the dialogue has no [PHONE_2]",
    ]


def test_values_are_restored_in_what_was_left_out():
    one, other = "Call [PHONE_1] now.", "Tom has a lamp."
    private = summarizer({"overall": f"{one} {other}"}, redact=True, verify="flag")
    ((found,),) = private.summarize([CHAT])
    supports = [each.support for each in found.statements]
    dropping = summarizer(
        {"overall": f"{one} {other}"}, redact=True, verify="drop", support_threshold=sum(supports) / 2
    )
    ((found,),) = dropping.summarize([CHAT])
    texts = [each.replace("[PHONE_1]", "020 7946 0958") for each in (one, other)]
    if supports[0] > supports[1]:
        texts.reverse()
    assert [each.text for each in found.dropped] == texts[:1] and found.text == texts[1]


def test_values_are_restored_in_quotes_and_their_places_follow():
    texts = {"overall": "Call [PHONE_1] now. The lamp broke."}
    private = summarizer(texts, redact=True, support_threshold=1.0)
    ((found,),) = private.summarize([LONGER])
    assert "7946" not in str(private.engine.questions) and found.text == f"{LAMP} {MONDAY}"
    assert [found.text[one.start : one.end] for one in found.quotes] == [LAMP, MONDAY]
    assert [one.text for one in found.dropped] == ["Call 020 7946 0958 now.", "The lamp broke."]


def test_what_is_streamed_names_the_doubtful_statements_behind_the_text():
    streaming = summarizer(support_threshold=between(FIRST, SECOND))
    written = []
    stream(CHAT, streaming, written.append)
    assert written[:2] == ["[overall]\n" + OVERALL, written[1]] and written[1].startswith("\n(?) ")
    doubtful = (FIRST, SECOND)[DOUBTFUL]
    assert f'(?) the dialogue may not say: "{doubtful}" (support ' in "".join(written)
    assert "".join(written).endswith("(checks: the dialogue does not say 45)\n")


def test_a_shared_engine_that_takes_no_questions_verifies_nothing():
    shared = AsyncEngine(ScriptedEngine(TEXTS))
    client = shared.client()
    assert Summarizer(SummarizerConfig(roles=("overall",)), client).verify == "off"
    with pytest.raises(UsageError, match="needs the engine transformers"):
        Summarizer(SummarizerConfig(verify="flag"), client)
    shared.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"verify": "flagg"}, 'did you mean "flag"'),
        ({"verify": "rerank"}, "--samples 4"),
        ({"verify": "rerank", "samples": 4}, "temperature"),
        ({"verify": "rerank", "choose": "mbr", **SAMPLED}, "both choose a sample"),
        ({"spec": EngineSpec("openai", url="http://localhost:1/v1"), "verify": "flag"}, "--engine transformers"),
        ({"support_threshold": 1.5}, "--support-threshold: 0 to 1"),
        ({"support_threshold": float("nan")}, "--support-threshold: 0 to 1"),
        ({"support_threshold": 0.5, "verify": "off"}, "decides nothing"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_loaded(options, told):
    with pytest.raises(UsageError, match=told):
        SummarizerConfig(**options)


def test_a_model_that_was_not_trained_to_verify_is_refused_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(EngineSpec, "open", lambda _: pytest.fail("loaded"))
    small = EngineSpec(adapter="rolesum-smollm2-135m")
    for config in (SummarizerConfig(small, verify="flag"), SummarizerConfig(small, support_threshold=0.4)):
        with pytest.raises(UsageError, match="trained to verify statements"):
            Summarizer(config)
    with pytest.raises(UsageError, match="trained to verify statements"):
        summarizer(metadata={}, verify="drop")


def test_the_configuration_that_a_run_keeps_names_what_its_files_decide(tmp_path):
    (tmp_path / "rolesum.json").write_text('{"verify": {"weight": 1}}', encoding="utf-8")
    config = SummarizerConfig(EngineSpec(model=str(tmp_path)))
    assert config.resolved() == replace(config, verify="quote")
    assert SummarizerConfig().resolved().verify == "quote"  # the bundled adapter verifies
    assert SummarizerConfig(EngineSpec(adapter="rolesum-smollm2-135m")).resolved().verify is None
    assert replace(config, verify="off").resolved().verify == "off"
