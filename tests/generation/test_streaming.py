import threading
import time

import pytest

from helpers.tiny import model_dir
from rolesum.dialogue import Dialogue, RoleSummary, Turn
from rolesum.errors import DataError
from rolesum.formats import find_dialogue
from rolesum.generation import Decoding, Engine
from rolesum.generation.factory import EngineSpec
from rolesum.generation.streaming import BlockStreamer, stream, watch
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.summary_output import format_blocks

CHAT = Dialogue(
    "c",
    (Turn("Customer", "My lamp 4711 broke, call 020 7946 0958."), Turn("Agent", "Sorry! We send a new one.")),
    {"Customer": "user", "Agent": "agent"},
)


@pytest.fixture(scope="module")
def writer():
    spec = EngineSpec(model=str(model_dir("llama")), device="cpu", dtype="float32")
    return Summarizer(SummarizerConfig(spec, decoding=Decoding(max_new_tokens=24)))


def test_what_is_streamed_is_what_is_printed_at_the_end(writer):
    written = []
    stream(CHAT, writer, written.append)
    assert len(written) > 10  # it came in pieces
    assert "".join(written) == format_blocks([writer.summarize([CHAT])[0]])


def test_every_engine_tells_each_text_from_its_begin_to_its_end(writer):
    told = {}
    found = writer.summarize([CHAT], on_text=lambda *one: told.setdefault(one[:2], []).append(one[2]))
    assert {key: "".join(parts).strip() for key, parts in told.items()} == {
        (0, number): one.text for number, one in enumerate(found[0])
    }


def test_roles_that_grow_side_by_side_are_shown_one_after_the_other():
    written = []
    shown = BlockStreamer(["user", "agent"], written.append)
    for role, added in [(1, "B1 "), (0, "A1 "), (1, "B2"), (0, "A2")]:
        shown(0, role, added)
    shown.end([RoleSummary("c", "user", "A1 A2", 2, "stop"), RoleSummary("c", "agent", "B1 B2", 2, "length")])
    assert "".join(written) == "[user]\nA1 A2\n\n[agent]\nB1 B2 […cut by --max-new-tokens]\n"


def test_an_engine_that_does_not_stream_is_shown_at_the_end():
    written = []
    BlockStreamer(["user"], written.append).end([RoleSummary("c", "user", "A", 1, "stop")])
    assert "".join(written) == "[user]\nA\n"


def read(source):
    return find_dialogue(source, None)


def test_a_growing_transcript_is_summarized_anew_once_it_has_whole_new_lines(tmp_path):
    path, seen, written = tmp_path / "call.txt", [], []
    path.write_text("")

    def grow():
        for piece in ["Anna: Hi\nTom: Hel", "lo\n", "Anna: By", "e\n"]:
            time.sleep(0.15)
            with path.open("a") as file:
                file.write(piece)

    writing = threading.Thread(target=grow)
    writing.start()
    watch(
        path, read, lambda one: seen.append([turn.text for turn in one.turns]), written.append, seconds=0.02, rounds=60
    )
    writing.join()
    assert seen == [["Hi"], ["Hi", "Hello"], ["Hi", "Hello", "Bye"]]
    assert [text for text in written if "turns" in text][-1].endswith("3 turns ---\n")


def test_a_file_that_holds_no_dialogue_yet_is_waited_for_and_told_once(tmp_path):
    path, written = tmp_path / "call.txt", []
    path.write_text("12:00\n")
    watch(path, read, lambda one: pytest.fail("nothing to summarize"), written.append, seconds=0.01, rounds=3)
    assert len(written) == 1 and written[0].startswith("waiting: ")


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot read the file"):
        watch(tmp_path / "none.txt", read, print, print, rounds=1)


def test_the_model_sees_placeholders_and_the_reader_the_values(writer):
    hidden = Summarizer(
        SummarizerConfig(writer.config.spec, decoding=Decoding(max_new_tokens=4), redact=True), writer.engine
    )
    prompts = []
    inner = writer.engine.generate

    class Watching(Engine):
        name, layout, fits = "watching", writer.engine.layout, writer.engine.fits
        text_model = writer.engine.text_model

        def generate(self, asked, *others):
            prompts.extend(asked)
            found = inner(asked, *others)
            return [[type(one)("Call [PHONE_1].", 4, "stop") for one in row] for row in found]

    hidden.engine = Watching()
    assert {one.text for one in hidden.summarize([CHAT])[0]} == {"Call 020 7946 0958."}
    assert "7946" not in str(prompts) and "[PHONE_1]" in str(prompts)
