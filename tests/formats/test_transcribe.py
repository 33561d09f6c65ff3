import json

import pytest

from rolesum.errors import DataError, Problem
from rolesum.formats import Source, parse_dialogues, read_dialogues, sniff_format


def source(value):
    return Source("call.json", json.dumps(value, indent=1))


def only(value):
    assert sniff_format(source(value)).name == "transcribe"
    (dialogue,) = read_dialogues(source(value))
    return dialogue, [(turn.speaker, turn.text) for turn in dialogue.turns]


def analytics(*said):
    entries = [
        {"Id": str(number), "ParticipantRole": who, "Content": text, "BeginOffsetMillis": number * 900, "Items": []}
        for number, (who, text) in enumerate(said)
    ]
    participants = [{"ParticipantRole": "AGENT"}, {"ParticipantRole": "CUSTOMER"}]
    return {"JobStatus": "COMPLETED", "JobName": "call-17", "Participants": participants, "Transcript": entries}


def item(content, speaker=None, start="0.0"):
    if content in ".,?":
        return {"type": "punctuation", "alternatives": [{"content": content}]}
    label = {"speaker_label": speaker} if speaker else {}
    return {"type": "pronunciation", "start_time": start, "alternatives": [{"content": content}], **label}


def test_the_participants_roles_are_the_speakers_and_their_roles():
    dialogue, turns = only(analytics(("AGENT", "Hello."), ("CUSTOMER", "My parcel"), ("CUSTOMER", "is late.")))
    assert turns == [("AGENT", "Hello."), ("CUSTOMER", "My parcel is late.")]
    assert dialogue.roles == {"AGENT": "agent", "CUSTOMER": "user"}
    assert dialogue.id == "call-17"


def test_participants_that_are_listed_apart_give_their_roles():
    value = {
        "Participants": [
            {"ParticipantId": "a-1", "ParticipantRole": "AGENT"},
            {"ParticipantId": "c-1", "ParticipantRole": "CUSTOMER"},
        ],
        "Transcript": [{"ParticipantId": "c-1", "Content": "Hi"}, {"ParticipantId": "a-1", "Content": "Hello"}],
    }
    dialogue, turns = only(value)
    assert turns == [("c-1", "Hi"), ("a-1", "Hello")]
    assert dialogue.roles == {"c-1": "user", "a-1": "agent"}
    assert dialogue.id == "call"


def test_plain_transcripts_are_read_by_segments():
    segments = [{"transcript": "Hi there.", "speaker_label": "spk_0"}, {"transcript": "Yes.", "speaker_label": "spk_1"}]
    _, turns = only({"jobName": "j", "results": {"transcripts": [], "audio_segments": segments}})
    assert turns == [("spk_0", "Hi there."), ("spk_1", "Yes.")]


@pytest.mark.parametrize("labeled", [True, False])
def test_older_transcripts_are_read_by_words_and_the_label_by_their_time(labeled):
    who = {"0.0": "spk_0", "0.4": "spk_0", "1.2": "spk_1"}
    spoken = [("Hi", "0.0"), ("there", "0.4"), (".", ""), ("Yes", "1.2"), (".", "")]
    items = [item(content, who.get(start) if labeled else None, start) for content, start in spoken]
    segments = [{"speaker_label": label, "items": [{"start_time": start}]} for start, label in who.items()]
    results = {"transcripts": [], "items": items, "speaker_labels": {} if labeled else {"segments": segments}}
    assert only({"jobName": "j", "results": results})[1] == [("spk_0", "Hi there."), ("spk_1", "Yes.")]


def test_a_transcript_without_speaker_labels_needs_a_rule():
    value = {"jobName": "j", "results": {"transcripts": [], "items": [item("Hi"), item("there")]}}
    with pytest.raises(DataError, match="1 of 1 turns name no speaker"):
        read_dialogues(source(value))


@pytest.mark.parametrize("entry", [5, {"ParticipantRole": "AGENT", "Content": 5}, None])
def test_an_entry_of_another_form_is_a_problem_of_its_record(entry):
    value = {**analytics(("AGENT", "Hello.")), "Transcript": [entry]}
    (found,) = parse_dialogues(source(value))
    assert isinstance(found, Problem) and found.where == "call.json:1, id call-17"
