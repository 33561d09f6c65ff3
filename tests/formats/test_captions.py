"""Captions as tools write them: rolling ones, and the places where they put the speaker."""

import pytest

from helpers.asset_files import said_in
from rolesum.errors import DataError
from rolesum.formats import ReadOptions, Source, read_dialogues

ROLLED = "good morning everyone the parcel is late >> we will check"
PARCEL = [("Nadia Brook", "My parcel has not come."), ("Tom Field", "I will look it up."), ("Nadia Brook", "Thanks.")]


def captions(*cues, name="call.vtt"):
    """WebVTT of (id, text), a second each."""
    timed = [
        f"{identity}\n00:00:{at:02}.000 --> 00:00:{at + 1:02}.000\n{text}" for at, (identity, text) in enumerate(cues)
    ]
    return Source(name, "WEBVTT\n\n" + "\n\n".join(one.lstrip("\n") for one in timed))


def said(source, rule="refuse"):
    (dialogue,) = read_dialogues(source, ReadOptions(unknown_speaker=rule))
    return [(turn.speaker, turn.text) for turn in dialogue.turns]


@pytest.mark.parametrize("name", ["captions/yt_auto.vtt", "captions/yt_auto.srt"])
def test_rolling_captions_are_said_once_and_a_mark_begins_a_turn(name):
    assert said_in(name, "name=Presenter") == [("Presenter", ROLLED)]
    assert said_in(name, "alternate=A,B") == [
        ("A", "good morning everyone the parcel is late"),
        ("B", ">> we will check"),
    ]


def test_captions_that_grow_word_by_word_are_said_once():
    shown = ["my", "my parcel", "my parcel is late", "my parcel is late\nsince", "since Monday"]
    assert said(captions(*(("", text) for text in shown)), "name=A") == [("A", "my parcel is late since Monday")]


def test_words_that_a_person_repeats_are_kept():
    shown = ["Yes.", "Yes.", "Yes.", "We go.", "Yes, we go."]
    assert said(captions(*(("", text) for text in shown)), "name=A") == [("A", " ".join(shown))]


def test_rolling_captions_keep_their_voices():
    shown = ["<v Anna>one", "<v Anna>one\n<v Tom>two", "<v Tom>two\n<v Anna>three"]
    assert said(captions(*(("", text) for text in shown))) == [("Anna", "one"), ("Tom", "two"), ("Anna", "three")]


def test_a_line_of_spaces_ends_no_cue_and_speech_may_stand_behind_a_blank_line():
    source = Source(
        "a.vtt",
        "WEBVTT\n\n00:01.000 --> 00:02.000\n \nAnna: Hi\n \nthere\n\n2\n00:02.000 --> 00:03.000\n\nTom: Hello\n",
    )
    assert said(source) == [("Anna", "Hi there"), ("Tom", "Hello")]


def test_webex_names_the_speaker_in_the_id_of_the_cue():
    assert said_in("captions/webex.vtt") == PARCEL


def test_ids_that_are_speakers_name_them():
    assert said_in("captions/cueid_speaker.vtt") == [
        ("Speaker 1", "My parcel has not come."),
        ("Speaker 2", "I will look it up."),
    ]
    assert said(captions(("Anna", "one"), ("Tom", "two"), ("Anna", "three"))) == [
        ("Anna", "one"),
        ("Tom", "two"),
        ("Anna", "three"),
    ]


@pytest.mark.parametrize("ids", [("1", "2"), ("Slide 1", "Slide 2"), ("a4f-1", "a4f-2"), ("caption", "caption")])
def test_other_ids_name_nobody(ids):
    with pytest.raises(DataError, match="2 of 2 turns without a speaker"):
        said(captions(*((identity, "some words") for identity in ids)))


def test_names_in_parentheses_above_the_text_are_speakers():
    assert said_in("captions/stream_paren.vtt") == [
        ("Nadia Brook", "My parcel has not come, I ordered it last week."),
        ("Tom Field", "I will look. It is at the depot."),
    ]


def test_sounds_in_brackets_are_no_speakers():
    shown = ["[Music]", "[Music]", "(laughs) hello there", "[Music]", "it is late"]
    assert said(captions(*(("", text) for text in shown)), "name=A") == [("A", " ".join(shown))]


@pytest.mark.parametrize("name", ["captions/speaker_bracket.srt", "captions/speaker_bracket2.srt"])
def test_numbered_speakers_in_brackets_are_read_with_and_without_a_colon(name):
    assert said_in(name) == [("SPEAKER_00", "My parcel has not come."), ("SPEAKER_01", "I will look.")]


def test_labels_that_stand_only_where_the_speaker_changes_need_a_rule():
    with pytest.raises(DataError, match="1 of 4 turns without a speaker"):
        said_in("captions/srt_change.srt")
    assert said_in("captions/srt_change.srt", "continue")[0] == (
        "Спикер №1",
        "Добрый день, где посылка? Я жду неделю.",
    )


def test_a_mark_of_another_speaker_ends_the_turn_of_the_one_before():
    source = captions(("", ">> ANNA: one\n>> two"), ("", ">> ANNA: three"))
    with pytest.raises(DataError, match="1 of 3 turns without a speaker"):
        said(source)


def test_entities_are_characters_in_srt_too():
    source = Source("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nAnna: you &amp; me &lt;3\n")
    assert said(source) == [("Anna", "you & me <3")]


def test_voices_are_read_in_srt_and_without_an_end_tag():
    source = Source(
        "a.srt", "1\n00:00:01,000 --> 00:00:02,000\n<v Anna>one\n\n2\n00:00:02,000 --> 00:00:03,000\n<v Tom>two\n"
    )
    assert said(source) == [("Anna", "one"), ("Tom", "two")]


def test_zooms_long_labels_are_speakers():
    label = "Anna Maria Weber-Smith (she/her) | Head of Customer Success | Example Logistics Europe"
    assert said(captions(("1", f"{label}: one: two"), ("2", "Tom: three"))) == [(label, "one: two"), ("Tom", "three")]


def test_a_long_sentence_before_a_colon_is_no_label():
    text = "and there is one thing that I have to say here: it is late"
    assert said(captions(("", "Anna: hi"), ("", f"Tom: hello\n{text}"))) == [("Anna", "hi"), ("Tom", f"hello {text}")]


@pytest.mark.parametrize(
    "speech",
    [
        *("I have one question: where?", "My address: Main St", "Note: it is late", "One thing: it is late"),
        *("Here is the thing: it is late", "My order number: 4711", "Eine Frage: wo?"),
    ],
)
def test_what_plain_text_takes_for_speech_names_nobody_in_captions_either(speech):
    cues = [("", "Nadia: hi"), ("", speech), ("", "Tom: hm"), ("", speech), ("", "Nadia: ok")]
    with pytest.raises(DataError, match="2 of 5 turns without a speaker"):
        said(captions(*cues))
    expected = [("Nadia", f"hi {speech}"), ("Tom", f"hm {speech}"), ("Nadia", "ok")]
    assert said(captions(*cues), "continue") == expected
    assert said(Source("chat.txt", "\n".join(text for _, text in cues))) == expected


def test_a_clock_of_speech_in_captions_is_kept():
    cues = [("", "Nadia: hi"), ("", "the train at 10:30: late"), ("", "Tom: hm"), ("", "Train at 10:30: late")]
    expected = [("Nadia", "hi the train at 10:30: late"), ("Tom", "hm Train at 10:30: late")]
    assert said(captions(*cues), "continue") == expected


def test_captions_of_sentences_with_colons_name_nobody():
    cues = ["Question: where is it?", "the train at 10:30: late", "the train at 11:30: later", "And that is it: gone"]
    assert said(captions(*(("", text) for text in cues)), "name=A") == [("A", " ".join(cues))]


def test_a_topic_that_all_captions_use_as_a_speaker_is_one():
    shown = ["Question: a", "Answer: b", "Question: c", "Answer: d", "Question: e"]
    assert [speaker for speaker, _ in said(captions(*(("", text) for text in shown)))] == ["Question", "Answer"] * 2 + [
        "Question"
    ]


def test_a_clock_beside_a_name_in_captions_is_no_part_of_it():
    assert said_in("captions/vtt_clock.vtt") == [("Nadia", "parcel late"), ("Tom", "sorry")]


def test_a_name_that_stands_once_is_a_speaker_where_every_cue_has_one():
    company = "Ann Brook (Customer Success, ACME Parcels GmbH & Co. KG)"
    assert said(captions(("", f"{company}: one"), ("", "Tom: two"), ("", f"{company}: three"))) == [
        (company, "one"),
        ("Tom", "two"),
        (company, "three"),
    ]
    found = said(captions(("", "(Ann Brook) one"), ("", "(Tom Field) two"), ("", "(Ann Brook) three (laughs)")))
    assert found == [("Ann Brook", "one"), ("Tom Field", "two"), ("Ann Brook", "three (laughs)")]


def test_sbv_captions_are_read():
    assert said_in("captions/labels.sbv") == [("Nadia", "My parcel has not come."), ("Tom", "I will look.")]


def test_graphs_transcripts_with_metadata_are_read():
    cues = [
        ("", '{"startDateTime":"2023-11-21T10:42:14.6Z","speakerName":"Anna Weber","spokenText":"My parcel is late."}'),
        ("", '{"startDateTime":"2023-11-21T10:42:16.6Z","speakerName":"Tom Lee","spokenText":"I will look."}'),
    ]
    assert said(captions(*cues)) == [("Anna Weber", "My parcel is late."), ("Tom Lee", "I will look.")]


def test_teams_older_transcripts_have_the_name_below_the_timing():
    source = Source(
        "teams.txt", "0:0:0.0 --> 0:0:3.120\nAnna Weber\nMy parcel is late.\n\n0:0:3.120 --> 0:0:5.0\nTom Lee\nOh.\n"
    )
    assert said(source) == [("Anna Weber", "My parcel is late."), ("Tom Lee", "Oh.")]


def test_a_sentence_in_brackets_before_speech_is_no_name():
    shown = ["(where is it?) or so", "[I have one question]: when", "[10:30] is when", "[_] yes", "[|] no"] * 2
    assert said(captions(*(("", text) for text in shown)), "name=A") == [("A", " ".join(shown))]


def test_a_word_between_angles_is_speech_and_a_tag_is_none():
    text = "I <really> <b>mean</b> <font color=red>it</font>{\\an8} <c.yellow>now</c>, <laughs>"
    assert said(captions(("", f"Anna: {text}"), ("", "Tom: ok"))) == [
        ("Anna", "I <really> mean it now, <laughs>"),
        ("Tom", "ok"),
    ]


def test_a_voice_whose_tag_takes_in_what_is_said_is_refused_with_its_time():
    with pytest.raises(DataError, match=r"cue at .*: a speaker's name of 171 characters"):
        said(captions(("", f"<v Anna {'it is late ' * 15}!>hi")))
