"""Documents of summaries: Markdown and Word with marks, evidence and the transcript with its times."""

import io
import sys

import pytest

from rolesum import write_document
from rolesum.dialogue import Coverage, Dialogue, RoleSummary, SummaryQuote, SummaryStatement, Turn
from rolesum.errors import ResourceError, UsageError
from rolesum.generation.summary_document import document_bytes, make_document, to_markdown

CALL = Dialogue(
    "call *1*",
    (
        Turn("Anna [x]", "My lamp <b>broke</b>.", "00:00:04.500"),
        Turn("Tom", "1. We send\na new one\x07. " + "Again. " * 40, "00:12:40"),
    ),
    {"Anna [x]": "user", "Tom": "agent"},
)
TEXT = "Anna's lamp broke. Tom pays 45 dollars."
VERIFIED = RoleSummary(
    CALL.id,
    "overall",
    TEXT,
    9,
    "length",
    coverage=Coverage("map-reduce", 2, 2, 2),
    statements=(
        SummaryStatement(0, 18, TEXT[:18], 0.91, (0,)),
        SummaryStatement(19, 39, TEXT[19:], 0.2, (1, 0), ("the dialogue does not say 45",)),
    ),
    dropped=(SummaryStatement(0, 0, "Tom left.", 0.1, (1,)),),
    support_threshold=0.5,
)
PLAIN = RoleSummary(CALL.id, "user", "- The lamp broke.\n1. Tom sends a new one.", 9, "stop")


def markdown(dialogue, *summaries, **more):
    return to_markdown([make_document(dialogue, summaries, **more)])


def test_a_document_has_marks_notes_evidence_and_the_transcript():
    text = markdown(CALL, VERIFIED)
    head, transcript = text.split("## Transcript\n\n")
    assert head.startswith("# call \\*1\\*\n\n## overall\n\nAnna's lamp broke. Tom pays 45 dollars. (?)\n\n")
    assert "> The text was cut off at the maximum of tokens.\n" in head
    assert "> The model read 2 of 2 turns (map-reduce).\n" in head
    assert "> The dialogue may not say: Tom pays 45 dollars. (support 0.20)\n" in head
    assert "> Left out, as the dialogue may not say it: Tom left. (support 0.10)\n" in head
    assert "> Checks without a model: the dialogue does not say 45\n" in head
    lamp = "  - 00:04 **Anna \\[x\\]:** My lamp \\<b\\>broke\\</b\\>.\n"
    assert f"### Evidence\n\n- Anna's lamp broke. — support 0.91\n{lamp}" in head
    assert "- Tom pays 45 dollars. (?) — support 0.20\n  - 12:40 **Tom:** 1\\. We send a new one" in head
    assert head.count("…") == 1 and "…" not in transcript  # a long turn is shortened as evidence only
    assert transcript.startswith("00:04 **Anna \\[x\\]:** My lamp \\<b\\>broke\\</b\\>.\n\n12:40 **Tom:** 1\\. We send")


def test_without_verification_sentences_have_their_turns_and_without_times_turns_their_numbers():
    untimed = Dialogue("d", tuple(Turn(one.speaker, one.text) for one in CALL.turns), CALL.roles)
    text = markdown(untimed, PLAIN, titles=["the user's side"])
    assert "## the user's side\n\n\\- The lamp broke.  \n1\\. Tom sends a new one.\n" in text
    assert "- \\- The lamp broke.\n  - turn 1 **Anna" in text and "support" not in text and "(?)" not in text
    assert "- 1" not in text.split("## Transcript")[0]
    assert "turn 2 **Tom:**" in text.split("## Transcript")[1]


def test_the_headings_are_in_the_language_of_the_dialogue():
    chat = Dialogue("d", (Turn("客户", "灯坏了。"), Turn("客服", "我们换一个。")))
    text = markdown(chat, RoleSummary("d", "overall", "客户的灯坏了。", 9, "stop"))
    assert "### 依据\n" in text and "## 对话原文\n\n第 1 轮 **客户:** 灯坏了。" in text


def test_quotes_are_counted_and_what_they_stand_for_is_not_repeated():
    left_out = (SummaryStatement(0, 0, "Tom left.", 0.1, (1,)), SummaryStatement(0, 0, "He sent it.", 0.9))
    quoted = RoleSummary(
        "d",
        "user",
        "客户：“灯坏了。”",
        9,
        "stop",
        dropped=left_out,
        support_threshold=0.5,
        quotes=(SummaryQuote(0, 9, 0),),
    )
    assert "\n> Quotes stand for what the dialogue may not say (2).\n" in markdown(CALL, quoted)
    chat = Dialogue("d", (Turn("客户", "灯坏了。"), Turn("客服", "我们换一个。")))
    text = markdown(chat, quoted)
    assert "## user\n\n客户：“灯坏了。”\n\n> 引文代替了对话里可能没有说过的内容（2 条）。\n" in text
    assert "Tom left" not in text and "He sent it" not in text


def test_turns_that_a_dialogue_does_not_have_are_left_out():
    wrong = RoleSummary(
        "d", "user", "Hi.", 1, "stop", statements=(SummaryStatement(0, 3, "Hi.", None, (7, -1)),), support_threshold=0.5
    )
    text = markdown(CALL, wrong)
    assert "- Hi. — support unknown\n\n## Transcript" in text
    assert "> 1 of 1 statements could not be verified." in text


def test_a_word_document_says_the_same():
    docx = pytest.importorskip("docx")
    content = document_bytes([make_document(CALL, [VERIFIED]), make_document(CALL, [PLAIN])], ".docx")
    word = docx.Document(io.BytesIO(content))
    texts = [one.text for one in word.paragraphs]
    assert texts[:2] == ["call *1*", "overall"] and texts.count("Transcript") == 2
    assert texts[2] == "Anna's lamp broke. Tom pays 45 dollars. (?)"
    dotted = [run.text for one in word.paragraphs for run in one.runs if run.underline]
    assert dotted == ["Tom pays 45 dollars.", "Tom pays 45 dollars."]  # in the text and among the evidence
    assert "00:04 Anna [x]: My lamp <b>broke</b>." in texts
    assert any(text.startswith("12:40 Tom: 1. We send a new one\ufffd.") for text in texts)
    assert "Tom pays 45 dollars. (?) — support 0.20" in texts
    assert word.core_properties.author == "rolesum"


@pytest.mark.parametrize("suffix", [".md", ".MARKDOWN", ".docx"])
def test_a_file_is_written_by_its_suffix(tmp_path, suffix):
    path = tmp_path / f"summaries{suffix}"
    write_document(path, [CALL], [[VERIFIED]])
    begin = path.read_bytes()[:4]
    assert begin == (b"PK\x03\x04" if suffix == ".docx" else b"# ca")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_what_is_no_document_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"a\.txt is no document"):
        write_document(tmp_path / "a.txt", [CALL], [[VERIFIED]])
    with pytest.raises(ResourceError, match="cannot write"):
        write_document(tmp_path / "file.md" / "a.md", *_blocked(tmp_path))
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(UsageError, match=r"pip install 'rolesum\[docx\]'"):
        write_document(tmp_path / "a.docx", [CALL], [[VERIFIED]])


def _blocked(folder):
    (folder / "file.md").write_text("")
    return [CALL], [[VERIFIED]]
