import pytest

from rolesum.dialogue import Turn
from rolesum.errors import DataError, Problem
from rolesum.formats import ReadOptions, Source, open_source, parse_dialogues, read_dialogues

TEAMS = """WEBVTT

3f2a1c/12-0
00:00:03.120 --> 00:00:06.480
<v Weber, Anna>Good morning,
my order hasn't arrived.</v>

3f2a1c/12-1
00:00:06.480 --> 00:00:08.000
<v Weber, Anna>It is number 4711 &amp; was due on Monday.</v>

3f2a1c/13-0
00:00:07.500 --> 00:00:10.000
<v Tom>I am <i>sorry</i>. <c.red>Is it</c> 3 < 5 <3?</v>
"""

ZOOM = """WEBVTT

1
00:00:01.000 --> 00:00:02.500
Anna Smith: Hi Tom: can you hear me?

2
00:00:02.500 --> 00:00:04.000
Tom Lee: Yes.

NOTE the next cue
names nobody

3
00:00:04.000 --> 00:00:05.000
and now the agenda
"""

SRT = """1
00:00:01,000 --> 00:00:02,000
Hello.

2
00:00:02,000 --> 00:00:03,000
Warning: the door sticks.

3
00:00:03,500 --> 00:00:05,000
<i>Oh</i>, {\\an8}thanks.

4
00:00:06,000 --> 00:00:07,000
Bye.
"""


def vtt(*cues):
    """WebVTT of (start, text)."""
    return "WEBVTT\n\n" + "\n\n".join(f"00:00:{at:02}.000 --> 00:00:59.000\n{text}" for at, text in cues)


def turns(text, name="call.vtt", rule="refuse"):
    (dialogue,) = read_dialogues(Source(name, text), ReadOptions(unknown_speaker=rule))
    return [(turn.speaker, turn.text) for turn in dialogue.turns]


def problems(text, name="call.vtt"):
    return [item for item in parse_dialogues(Source(name, text)) if isinstance(item, Problem)]


def test_cues_of_one_voice_are_one_turn_without_tags_and_entities():
    assert turns(TEAMS) == [
        ("Weber, Anna", "Good morning, my order hasn't arrived. It is number 4711 & was due on Monday."),
        ("Tom", "I am sorry. Is it 3 < 5 <3?"),
    ]


def test_several_voices_in_one_cue_are_several_turns():
    cue = "- <v Anna>Ready?</v>\n- <v.loud Tom>Yes, <b>go</b>!</v>"
    assert turns(vtt((1, cue))) == [("Anna", "Ready?"), ("Tom", "Yes, go!")]


def test_what_stands_outside_of_any_voice_has_no_speaker():
    text = vtt((1, "<v Anna>Hi</v>"), (2, "door slams"))
    with pytest.raises(DataError, match="1 of 2 turns without a speaker"):
        turns(text)


def test_labels_are_the_speakers_where_no_voice_is_tagged():
    assert turns(ZOOM, rule="continue") == [
        ("Anna Smith", "Hi Tom: can you hear me?"),
        ("Tom Lee", "Yes. and now the agenda"),
    ]


def test_a_label_inside_a_voice_is_speech():
    assert turns(vtt((1, "<v Anna>Note: I am late.</v>"))) == [("Anna", "Note: I am late.")]


def test_a_colon_in_subtitles_without_speakers_names_no_speaker():
    with pytest.raises(DataError, match="4 of 4 turns without a speaker"):
        turns(SRT, "film.srt")
    assert turns(SRT, "film.srt", "name=Narrator") == [
        ("Narrator", "Hello. Warning: the door sticks. Oh, thanks. Bye.")
    ]


def test_labels_on_the_lines_of_one_cue_begin_turns():
    assert turns("1\n00:00:01,000 --> 00:00:02,000\n- Anna: Hi\n- Tom: Hello\nthere\n", "a.srt") == [
        ("Anna", "Hi"),
        ("Tom", "Hello there"),
    ]


def test_cues_are_taken_by_their_start_also_where_they_overlap():
    assert turns(vtt((5, "Tom: two"), (1, "Anna: one"), (5, "Anna: three"))) == [
        ("Anna", "one"),
        ("Tom", "two"),
        ("Anna", "three"),
    ]


def test_chinese_cues_join_without_a_space():
    assert turns(vtt((1, "客服：您好，"), (2, "客服：请问有什么可以帮您？"))) == [
        ("客服", "您好，请问有什么可以帮您？")
    ]


def test_an_address_is_no_tag():
    assert turns(vtt((1, "<v Anna>Write to <anna@x.org> or <https://x.org></v>"))) == [
        ("Anna", "Write to <anna@x.org> or <https://x.org>")
    ]


def test_a_blank_line_inside_a_subtitle_and_a_missing_one_between_two_are_understood():
    text = "1\n00:00:01,000 --> 00:00:02,000\nTom: one\n\nmore\n2\n00:00:03,000 --> 00:00:04,000\nTom: two\n1984\n"
    assert turns(text, "a.srt") == [("Tom", "one more two 1984")]


def test_every_broken_cue_is_told_with_its_line_and_nothing_is_read():
    text = """WEBVTT

1
00:00:01.000 -> 00:00:02.500
Anna: Hi

2
00:00:05.000 --> 00:00:04.000
Tom: Yes.

lost text

00:00:06.000 --> 00:00:07.000
Tom: bye
"""
    assert [(problem.where, problem.what.partition(":")[0]) for problem in problems(text)] == [
        ("call.vtt:3", "broken cue timing"),
        ("call.vtt:8", "broken cue timing"),
        ("call.vtt:11", "text outside of any cue"),
    ]
    assert len(list(parse_dialogues(Source("call.vtt", text)))) == 3


@pytest.mark.parametrize(("name", "text"), [("a.vtt", "WEBVTT\n"), ("a.vtt", vtt((1, "<i></i>"))), ("a.srt", SRT[:32])])
def test_a_file_without_speech_is_a_problem(name, text):
    (problem,) = problems(text, name)
    assert "no turn has text" in problem.what


def test_windows_lines_and_a_byte_order_mark_change_nothing(tmp_path):
    path = tmp_path / "call.vtt"
    path.write_bytes(b"\xef\xbb\xbf" + TEAMS.replace("\n", "\r\n").encode())
    (dialogue,) = read_dialogues(open_source(path))
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == turns(TEAMS)
    assert dialogue.id == "call"


def test_styles_regions_and_the_header_are_no_speech():
    text = (
        "WEBVTT Kind: captions\nLanguage: en\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:a\n\n"
        "00:01.000 --> 00:02.000 align:start\nAnna: Hi"
    )
    assert turns(text) == [("Anna", "Hi")]


def test_zooms_text_has_the_speaker_above_the_speech():
    text = "[Anna Smith] 10:02:11\nHello Tom.\nHow are you?\n\n[Tom] 10:02:15\nFine.\n\n[Tom] 10:02:20\nAnd you?\n"
    assert turns(text, "meeting.txt") == [("Anna Smith", "Hello Tom. How are you?"), ("Tom", "Fine. And you?")]


def test_speech_above_zooms_first_speaker_is_a_problem():
    (item,) = parse_dialogues(Source("m.txt", "Hello\n[Anna] 10:02:11\nHi"), ReadOptions(format="zoom"))
    assert item.where == "m.txt:1"


def test_a_turn_is_a_turn_of_the_dialogue():
    (dialogue,) = read_dialogues(Source("call.vtt", vtt((1, "<v Customer>Hi</v>"), (2, "<v Agent>Hello</v>"))))
    assert dialogue.turns == (Turn("Customer", "Hi", "00:00:01.000"), Turn("Agent", "Hello", "00:00:02.000"))
    assert dialogue.roles == {"Customer": "user", "Agent": "agent"}
