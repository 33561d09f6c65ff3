"""What the model is shown of a redacted dialogue, whole, in parts or as a stream, and what the reader gets back."""

import re

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.generation import Decoding, Engine, Generation
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.chunking import split_into_chunks, turn_spans
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.instructions import ChatFormat, PromptLayout
from rolesum.redaction import redact

FORMS = ["2125550123", "2 1 2 5 5 5 0 1 2 3", "+1 (212) 555.0123", "２１２５５５０１２３", "212/555/0123"]


class Repeating(Engine):
    """An engine that holds so many words, and answers with the placeholders that it was shown; it notes its prompts."""

    name, layout = "repeating", PromptLayout(ChatFormat())

    def __init__(self, limit):
        self.limit, self.shown = limit, []

    def fits(self, prompt, max_new_tokens):
        texts = [segment.text for segment in (*prompt.prefix, *prompt.branches[0])]
        return len(" ".join(texts).split()) <= self.limit

    def generate(self, prompts, decoding, on_done=None, on_text=None):
        made = []
        for number, prompt in enumerate(prompts):
            text = " ".join(segment.text for segment in prompt.prefix)
            self.shown.append(text)
            told = ", ".join(dict.fromkeys(re.findall(r"\[[A-Z]+_\d+\]", text))) or "nothing"
            made.append([Generation(told, 3, "stop") for _ in prompt.roles])
            for piece in re.findall(r".{1,4}", told) if on_text else ():
                on_text(number, 0, piece)
        return made


def long_chat():
    turns = [Turn("Customer", "My number is 212-555-0123."), Turn("Agent", "Thank you, one moment please.")]
    for form in FORMS:
        turns += [Turn("Agent", "I am still looking for it, please wait."), Turn("Customer", f"Let me repeat: {form}")]
    return Dialogue("c", tuple(turns), {"Customer": "user", "Agent": "agent"}, meta={"phone": "+12125550123"})


STRATEGIES = [("refuse", 500), ("map-reduce", 70), ("refine", 70), ("drop-middle", 70)]


@pytest.mark.parametrize(("strategy", "limit"), STRATEGIES)
def test_a_dialogue_read_whole_or_in_parts_shows_one_placeholder_for_all_forms_of_a_value(strategy, limit):
    engine, streamed = Repeating(limit), []
    short = Decoding(max_new_tokens=5)
    config = SummarizerConfig(EngineSpec(), ("overall",), short, long_dialogues=strategy, redact=True)
    summaries = Summarizer(config, engine).summarize([long_chat()], on_text=lambda *one: streamed.append(one[2]))
    assert len(engine.shown) >= 2 or strategy in ("refuse", "drop-middle")
    assert all(set(re.findall(r"\[[A-Z]+_\d+\]", text)) <= {"[PHONE_1]"} for text in engine.shown)
    assert not any("2125550123" in re.sub(r"[^\d]", "", text.replace("[PHONE_1]", "")) for text in engine.shown)
    assert not any("555" in text or "５" in text for text in engine.shown)
    assert summaries[0][0].text == "212-555-0123"
    assert "".join(streamed).strip() in ("", "212-555-0123")


def test_names_of_other_people_are_hidden_from_the_model_on_request_and_come_back():
    chat = Dialogue("c", (Turn("Customer", "My neighbor is called Whitney Soto."),))
    for asked, shown in ((False, "Whitney"), (True, "[NAME_1]")):
        engine = Repeating(500)
        config = SummarizerConfig(EngineSpec(), ("overall",), redact=True, redact_people=asked)
        (summary,) = Summarizer(config, engine).summarize([chat])[0]
        assert shown in engine.shown[0] and ("Whitney" in engine.shown[0]) is not asked
        assert summary.text == ("Whitney Soto" if asked else "nothing")


def test_asking_for_other_peoples_names_implies_redaction():
    assert SummarizerConfig().with_arguments(redact=False, redact_people=True).redact
    assert not SummarizerConfig().with_arguments(redact=False, redact_people=False).redact


def test_a_turn_that_is_cut_is_not_cut_inside_a_placeholder():
    seen = redact(Dialogue("c", (Turn("A", "啊" * 30 + "13812345678" + "啊" * 30),))).dialogue
    for size in range(8, 60):

        def fits(chunk, size=size):
            return sum(len(one.turn.text) for one in chunk) <= size

        chunks = split_into_chunks(turn_spans(seen), fits)
        texts = [span.turn.text for chunk in chunks for span in chunk]
        assert "".join(texts) == seen.turns[0].text
        assert sum("[PHONE_1]" in text for text in texts) == 1 or size < len("[PHONE_1]"), texts
