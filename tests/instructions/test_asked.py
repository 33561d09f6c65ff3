"""Instructions that a request words itself, in prompts, by the Summarizer and on the command line."""

import json

import pytest

from helpers.command import rolesum
from helpers.echo_engine import EchoEngine
from helpers.tiny import model_dir
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, UsageError
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.instructions import ChatFormat, PromptLayout
from rolesum.instructions.asked import AskedInstruction, asked_instructions

CHAT = Dialogue("c", (Turn("Customer", "It broke {again}."), Turn("Agent", "Sorry.")), {"Customer": "user"})
OWN = "List what {the customer} complains about."


def test_a_roles_name_replaces_its_instruction_and_any_other_is_a_section():
    found = asked_instructions({"customer": "A", " complaints ": " B "}, {})
    assert found == {"user": AskedInstruction("A"), "complaints": AskedInstruction("B", is_section=True)}
    layout = PromptLayout(ChatFormat(), asked={**found, "user": AskedInstruction(OWN)})
    assert [layout.branch(CHAT, role)[0].text for role in ("user", "complaints")] == [OWN, "B"]
    assert layout.branch(CHAT, "overall") == PromptLayout(ChatFormat()).branch(CHAT, "overall")
    assert layout.needs_speaker("user") and not layout.needs_speaker("complaints")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"a,b": "x"}, '"a,b" cannot be the name'),
        ({"": "x"}, "cannot be the name"),
        ({"complaints": " "}, "complaints is empty"),
        ({"user": "x", "customer": "y"}, "two instructions for user"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error(given, what):
    with pytest.raises(UsageError, match=what):
        asked_instructions(given, {})


def test_a_call_is_answered_for_what_it_asks_for():
    summarizer = Summarizer(SummarizerConfig(), EchoEngine())
    text = "Customer: My lamp broke.\nAgent: Sorry."
    assert [one.role for one in summarizer(text, ask={"complaints": OWN})] == ["complaints"]
    both = summarizer(text, ask={"complaints": OWN}, roles=["overall", "complaints"])
    assert [one.role for one in both] == ["overall", "complaints"]
    assert [one.role for one in summarizer(text)] == ["overall", "user", "agent"]  # the next call is not changed
    with pytest.raises(DataError, match="no speaker plays user"):
        summarizer("Ann: Hello.\nBob: Hi.", ask={"user": "What did she want?"})
    with pytest.raises(UsageError, match="ask is"):
        summarizer(text, ask=["complaints"])


def test_the_command_line_asks_too():
    asked = ("summarize", "--model", model_dir("llama"), "--max-new-tokens", 4, "--json")
    done = rolesum(*asked, "--ask", f"complaints={OWN}", stdin="Customer: My lamp broke.\nAgent: Sorry.\n")
    assert set(json.loads(done.stdout)["summaries"]) == {"complaints"}
    wrong = rolesum(*asked, "--ask", "complaints", stdin="Customer: My lamp broke.\nAgent: Sorry.\n")
    assert wrong.returncode == 2 and "is not NAME=TEXT" in wrong.stderr
