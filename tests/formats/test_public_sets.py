"""DialogSum and QMSum."""

import json

import pytest

from rolesum.errors import Problem
from rolesum.formats import ReadOptions, Source, parse_dialogues, read_dialogues, sniff_format

DIALOGUE = "#Person1#: Is it far?\n#Person2#: No: ten minutes.\nMaybe less."
MEETING = {
    "topic_list": [{"topic": "Remote control", "relevant_text_span": [["0", "1"]]}],
    "general_query_list": [
        {"query": "Summarize the whole meeting.", "answer": "They designed a remote control."},
        {"query": "What was decided?", "answer": "Few buttons."},
    ],
    "specific_query_list": [{"query": "Summarize the costs.", "answer": "Five euros.", "relevant_text_span": []}],
    "meeting_transcripts": [
        {"speaker": "Project Manager", "content": "{vocalsound} Okay , hello ."},
        {"speaker": "Marketing", "content": "{disfmarker}"},
        {"speaker": "Marketing", "content": "Hi {gap} all ."},
    ],
}


def lines(*records):
    return Source("set.jsonl", "\n".join(json.dumps(record) for record in records))


def test_dialogsums_training_and_test_records_are_read_with_all_their_summaries():
    source = lines(
        {"fname": "train_0", "dialogue": DIALOGUE, "summary": "They talk.", "topic": "way"},
        {"fname": "test_0", "dialogue": DIALOGUE, **{f"summary{n}": f"{n}." for n in "123"}, "topic1": "a"},
    )
    assert sniff_format(source).name == "dialogsum"
    train, test = read_dialogues(source)
    assert [(turn.speaker, turn.text) for turn in train.turns] == [
        ("#Person1#", "Is it far?"),
        ("#Person2#", "No: ten minutes. Maybe less."),
    ]
    assert (train.id, train.summaries, train.meta) == ("train_0", {"overall": ("They talk.",)}, {"topics": ["way"]})
    assert test.summaries == {"overall": ("1.", "2.", "3.")}


def test_a_record_with_an_id_is_samsums():
    assert sniff_format(lines({"id": "1", "fname": "x", "dialogue": DIALOGUE})).name == "samsum"


@pytest.mark.parametrize(
    "change", [{"fname": None}, {"dialogue": ""}, {"dialogue": "no label"}, {"summary": " "}, {"summary2": 5}]
)
def test_a_broken_dialogsum_record_is_a_problem_with_its_line(change):
    record = {"fname": "a", "dialogue": DIALOGUE, "summary": "x"}
    first, second = parse_dialogues(lines(record, {**record, "fname": "b", **change}))
    assert first.id == "a"
    assert isinstance(second, Problem) and second.where.startswith("set.jsonl:2")


def test_a_meeting_has_the_whole_summary_as_reference_and_the_other_queries_in_its_meta():
    source = Source("ES2002a.json", json.dumps(MEETING, indent=4))
    assert sniff_format(source).name == "qmsum"
    (dialogue,) = read_dialogues(source)
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [
        ("Project Manager", "Okay , hello ."),
        ("Marketing", "Hi all ."),
    ]
    assert dialogue.id == "ES2002a"
    assert dialogue.summaries == {"overall": ("They designed a remote control.",)}
    assert dialogue.meta["topics"] == ["Remote control"]
    assert [one["answer"] for one in dialogue.meta["queries"]] == ["Few buttons.", "Five euros."]


def test_meetings_of_one_file_are_numbered():
    assert [dialogue.id for dialogue in read_dialogues(lines(MEETING, MEETING))] == ["set-1", "set-2"]


@pytest.mark.parametrize(
    "change",
    [
        {"meeting_transcripts": 5},
        {"meeting_transcripts": []},
        {"meeting_transcripts": [{"speaker": "A"}]},
        {"general_query_list": [{"query": "Why?"}]},
        {"specific_query_list": 5},
    ],
)
def test_a_broken_meeting_is_a_problem_with_its_line(change):
    (item,) = parse_dialogues(lines({**MEETING, **change}), ReadOptions(format="qmsum"))
    assert isinstance(item, Problem) and item.where.startswith("set.jsonl:1")
