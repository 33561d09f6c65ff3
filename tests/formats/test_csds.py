import json

import pytest

from rolesum.dialogue import Turn
from rolesum.formats import Source, parse_dialogues, read_dialogues
from rolesum.formats.check import check_file

OFFICIAL = {
    "DialogueID": 42,
    "QRole": "用户",
    "Session_id": "s",
    "QA": [],
    "Dialogue": [
        {"turn": 0, "speaker": "Q", "utterance": "我 的 iPhone 15 Pro 没 到 [订单编号]"},
        {"turn": 1, "speaker": "A", "utterance": "  "},
        {"turn": 2, "speaker": "A", "utterance": "请 稍等 ， 核实 一下"},
    ],
    "UserSumm": ["用户询问手机。", "用户催促。"],
    "AgentSumm": ["客服核实。"],
    "FinalSumm": ["用户询问手机。", "客服核实。"],
}
FLAT = {
    "id": "42",
    "q_role": "用户",
    "dialogue": [
        {"speaker": "用户", "utterance": "我的iPhone 15 Pro没到[订单编号]"},
        {"speaker": "客服", "utterance": "请稍等，核实一下"},
    ],
    "final": "用户询问手机。客服核实。",
    "user": "用户询问手机。用户催促。",
    "agent": "客服核实。",
}


def only(record):
    (dialogue,) = parse_dialogues(Source("csds.json", json.dumps([record], ensure_ascii=False)))
    return dialogue


def test_the_official_layout_loses_the_spaces_of_its_word_segmentation_and_no_others():
    assert only(OFFICIAL).turns == (
        Turn("用户", "我的iPhone 15 Pro没到[订单编号]"),
        Turn("客服", "请稍等，核实一下"),
    )


def test_the_official_layout_joins_the_sentences_of_a_summary():
    assert only(OFFICIAL).summaries == {
        "overall": ("用户询问手机。客服核实。",),
        "user": ("用户询问手机。用户催促。",),
        "agent": ("客服核实。",),
    }


def test_the_flat_layout_gives_the_same_dialogue_as_the_official_one():
    assert only(FLAT) == only(OFFICIAL)


def test_the_flat_layout_keeps_its_spaces():
    dialogue = only({**FLAT, "dialogue": [{"speaker": "用户", "utterance": "买 A 款"}]})
    assert dialogue.turns == (Turn("用户", "买 A 款"),)


def test_the_role_of_the_asking_side_names_its_speaker():
    assert only({**OFFICIAL, "QRole": "商家"}).roles == {"商家": "user", "客服": "agent"}
    assert only({**OFFICIAL, "QRole": "商家"}).speakers() == ("商家", "客服")


def test_without_a_named_asking_side_the_one_who_is_not_the_service_is_the_user():
    turns = [{"speaker": "物流师傅", "utterance": "在吗"}, {"speaker": "客服", "utterance": "您好"}]
    dialogue = only({"id": "1", "dialogue": turns})
    assert dialogue.speakers("user") == ("物流师傅",)
    assert dialogue.speakers("agent") == ("客服",)


def test_summaries_that_are_empty_or_absent_are_no_references():
    dialogue = only({"id": "1", "dialogue": FLAT["dialogue"], "final": " ", "agent": "客服核实。"})
    assert dialogue.summaries == {"agent": ("客服核实。",)}


def test_a_dialogue_of_this_set_is_chinese_whatever_it_quotes():
    assert only({"id": "1", "dialogue": [{"speaker": "用户", "utterance": "ok thanks"}]}).language == "zh"


def test_the_real_test_set_has_three_references_for_each_of_its_800_dialogues(shared):
    found = check_file(shared / "data" / "csds" / "test.json")
    assert (found.format, found.dialogues, found.languages, found.problems) == ("csds", 800, {"zh": 800}, [])
    assert found.summaries == {"overall": 800, "user": 800, "agent": 800}
    assert found.speakers_by_role == {"user": 800, "agent": 800}


@pytest.mark.parametrize("name", ["test", "val_reconstructed"])
def test_in_the_real_data_someone_plays_each_role_that_a_reference_is_for(shared, name):
    unplayed = [
        (dialogue.id, role)
        for dialogue in read_dialogues(shared / "data" / "csds" / f"{name}.json")
        for role in dialogue.summaries
        if role != "overall" and not dialogue.speakers(role)
    ]
    assert unplayed == []


def test_a_time_beside_q_and_a_is_the_turns_time():
    turns = [{"speaker": "Q 10:03", "utterance": "您好"}, {"speaker": "A 10:04", "utterance": "请稍等"}]
    dialogue = only({**OFFICIAL, "Dialogue": turns})
    assert dialogue.turns == (Turn("用户", "您好", "10:03"), Turn("客服", "请稍等", "10:04"))
