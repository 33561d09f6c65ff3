import json

import pytest

from helpers.asset_files import ASSETS, read_asset, said_in
from rolesum.errors import DataError, Problem
from rolesum.formats import Source, open_source, parse_dialogues, read_dialogues, sniff_format


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
    with pytest.raises(DataError, match="1 of 1 turn without a speaker"):
        read_dialogues(source(value))


@pytest.mark.parametrize("entry", [5, {"ParticipantRole": "AGENT", "Content": 5}, None])
def test_an_entry_of_another_form_is_a_problem_of_its_record(entry):
    value = {**analytics(("AGENT", "Hello.")), "Transcript": [entry]}
    (found,) = parse_dialogues(source(value))
    assert isinstance(found, Problem) and found.where == "call.json:1, id call-17"


def test_a_chat_is_read_without_its_events_and_with_the_titles_of_what_was_offered():
    dialogue = read_asset("amazon/connect_chat.json")
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [
        ("SYSTEM", "Welcome, an agent will be with you."),
        ("CUSTOMER", "My parcel has not come."),
        ("AGENT", "I will look. Pick a day"),
    ]
    assert dialogue.roles == {"CUSTOMER": "user", "AGENT": "agent"}


@pytest.mark.parametrize("name", ["connect_chat_norole", "connect_rt"])
def test_chats_without_participants_and_real_time_segments_are_read(name):
    dialogue = read_asset(f"amazon/{name}.json")
    assert said_in(f"amazon/{name}.json") == [("CUSTOMER", "My parcel has not come."), ("AGENT", "I will look.")]
    assert dialogue.roles == {"CUSTOMER": "user", "AGENT": "agent"}


def test_two_agents_of_one_chat_are_two_speakers():
    said = [("c", "Anna", "CUSTOMER", "Hi"), ("a", "Tom", "AGENT", "Hello"), ("b", "Ann", "AGENT", "I take over")]
    entries = [
        {"ParticipantId": who, "DisplayName": name, "ParticipantRole": role, "Content": text, "Type": "MESSAGE"}
        for who, name, role, text in said
    ]
    dialogue, turns = only({"Transcript": entries})
    assert turns == [("CUSTOMER", "Hi"), ("AGENT (Tom)", "Hello"), ("AGENT (Ann)", "I take over")]
    assert dialogue.roles == {"CUSTOMER": "user", "AGENT (Tom)": "agent", "AGENT (Ann)": "agent"}


def test_participants_known_by_id_only_are_named_as_they_are_displayed():
    said = [("p1", "Anna", "Hi"), ("p2", None, "Hello")]
    entries = [{"ParticipantId": who, "DisplayName": name, "Content": text} for who, name, text in said]
    assert only({"Transcript": entries})[1] == [("Anna", "Hi"), ("p2", "Hello")]


def test_utterances_count_only_where_no_transcript_has_replaced_them():
    spoken = [("1", "My"), ("1", "My parcel"), ("2", "Oh")]
    segments = [
        {"Utterance": {"Id": f"u{at}", "TranscriptId": one, "ParticipantId": "CUSTOMER", "PartialContent": text}}
        for at, (one, text) in enumerate(spoken)
    ]
    final = {"Transcript": {"Id": "1", "ParticipantId": "CUSTOMER", "Content": "My parcel is late."}}
    assert only({"Segments": [*segments, final]})[1] == [("CUSTOMER", "My parcel is late. Oh")]


@pytest.mark.parametrize(("name", "second"), [("tr_chan", "Look."), ("tr_chan_overlap", "Hello there.")])
def test_channels_that_speak_at_once_are_read_by_sentences(name, second):
    assert said_in(f"amazon/{name}.json") == [("ch_0", "My parcel."), ("ch_1", second)]


def test_a_pause_ends_a_sentence_of_a_channel_without_punctuation():
    spoken = [("ch_0", "my", 0), ("ch_0", "parcel", 0.5), ("ch_1", "yes", 2), ("ch_0", "is", 4), ("ch_0", "late", 4.5)]
    items = [{**item(word, start=str(at)), "channel_label": label} for label, word, at in spoken]
    value = {"jobName": "j", "results": {"transcripts": [], "items": items}}
    assert only(value)[1] == [("ch_0", "my parcel"), ("ch_1", "yes"), ("ch_0", "is late")]


def test_chinese_words_are_joined_without_spaces():
    items = [item("您好", "spk_0"), item("请问", "spk_0"), item("iPhone", "spk_0"), item("?", "spk_0")]
    assert only({"jobName": "j", "results": {"transcripts": [], "items": items}})[1] == [("spk_0", "您好请问 iPhone?")]


@pytest.mark.parametrize("path", sorted((ASSETS / "amazon").iterdir()), ids=lambda path: path.stem)
def test_every_shape_is_known_as_amazons(path):
    assert sniff_format(open_source(path)).name == "transcribe"
