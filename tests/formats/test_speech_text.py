"""Speakers, times and words of text lines: the shapes of programs' exports, and speech that looks like one."""

from pathlib import Path

import pytest

from rolesum.dialogue import Turn
from rolesum.errors import DataError
from rolesum.formats import ReadOptions, Source, open_source, parse_dialogues, read_dialogues
from rolesum.formats.jsonl import to_json
from rolesum.formats.speech_text import parse_speech

ASSETS = Path(__file__).parent.parent / "assets" / "text"
LATE, LOOK = "Hello, my parcel has not come.", "I will look it up."


def of_file(name):
    (dialogue,) = read_dialogues(open_source(ASSETS / name))
    return dialogue, [(turn.speaker, turn.time, turn.text) for turn in dialogue.turns]


def said(text):
    return [(turn.speaker, turn.text) for turn in parse_speech(text).turns]


def timed(text):
    return [(turn.speaker, turn.time, turn.text) for turn in parse_speech(text).turns]


@pytest.mark.parametrize(
    ("name", "turns"),
    [
        (
            "bracket_arrow.txt",
            [
                ("SPEAKER_00", "00:00:03.120 --> 00:00:07.000", LATE),
                ("SPEAKER_01", "00:00:08.500 --> 00:00:10.000", LOOK),
            ],
        ),
        ("bracket_ms.txt", [("SPEAKER_00", "00:00:03.120", LATE), ("SPEAKER_01", "00:00:08.500", LOOK)]),
        ("dlg_clock.csv", [("Nadia", "10:03 AM", "parcel late"), ("Tom", "10:04 AM", "sorry")]),
        ("log_ampm.txt", [("Nadia", "10:01 PM", "my parcel has not come"), ("Tom", "10:02 PM", "I will look")]),
        (
            "log_iso.txt",
            [
                ("Nadia", "2023-03-12T22:01:05Z", "my parcel has not come"),
                ("Tom", "2023-03-12T22:02:05Z", "I will look"),
            ],
        ),
        (
            "otter.txt",
            [
                ("Nadia Brook", "0:03", LATE),
                ("Tom Field", "0:09", "I will look it up for you."),
                ("Nadia Brook", "1:12", "Thank you."),
            ],
        ),
        (
            "otter_h.txt",
            [("Nadia Brook", "1:00:03", LATE), ("Tom Field", "1:00:09", "I will look it up for you.")],
        ),
        ("rev.txt", [("Nadia", "00:03", LATE), ("Tom", "00:09", LOOK), ("Nadia", "01:12", "Thanks.")]),
        (
            "samsum_clock.jsonl",
            [("Nadia", "10:03", "parcel late"), ("Tom", "10:04", "sorry"), ("Nadia", "11:05", "thanks")],
        ),
        ("speaker_ts.txt", [("Speaker 1", "00:00:03", LATE), ("Speaker 2", "00:00:09", LOOK)]),
        (
            "discord.txt",
            [
                ("nadia#1234", "2023-03-12 10:01 PM", "my parcel has not come"),
                ("tom", "2023-03-12 10:02 PM", "I will look"),
            ],
        ),
        (
            "zoom_chat.txt",
            [
                ("Nadia Brook", "10:02:11", "Hello, my parcel has not come"),
                ("Tom Field", "10:02:40", "I will look it up"),
                ("Nadia Brook", "10:03:01", "Thanks"),
            ],
        ),
        (
            "zoom_chat_old.txt",
            [
                ("Nadia Brook", "10:02:11", "Hello, my parcel has not come"),
                ("Tom Field", "10:02:40", "I will look it up"),
            ],
        ),
    ],
)
def test_a_clock_beside_the_name_is_the_turns_time(name, turns):
    dialogue, found = of_file(name)
    assert found == turns
    assert "dropped" not in dialogue.meta or name == "otter.txt"


def test_an_exports_title_attendees_notices_and_end_are_dropped_and_counted():
    dialogue, turns = of_file("meet.txt")
    assert turns == [
        ("Nadia Brook", "00:00:00", LATE),
        ("Tom Field", "", LOOK),
        ("Nadia Brook", "00:05:00", "Thanks."),
    ]
    assert dialogue.meta == {"dropped": {"header": 5, "footer": 1}}
    assert of_file("otter.txt")[0].meta == {"dropped": {"footer": 1}}
    assert parse_speech((ASSETS / "discordce.txt").read_text(encoding="utf-8")).meta == {
        "dropped": {"header": 4, "footer": 3}
    }
    assert of_file("kakao.txt")[1] == [
        ("민수", "2023년 3월 12일 오후 10:01", "안녕하세요"),
        ("회원님", "2023년 3월 12일 오후 10:02", "네"),
    ]
    assert of_file("qq.txt")[1] == [
        ("小王", "2023-03-12 22:01:05", "包裹没到"),
        ("客服", "2023-03-12 22:02:10", "我查一下"),
    ]


@pytest.mark.parametrize(
    ("name", "turns"),
    [
        (
            "plain_time_in_speech.txt",
            [
                ("Nadia", "when do you open? at 10:30 I think"),
                ("Tom", "we open at 9:00 see you 9:15: do not be late"),
            ],
        ),
        (
            "mid_colon.txt",
            [
                (
                    "Nadia",
                    "hi I have one question about my last order: where is it? The address is on file: please check it",
                ),
                ("Tom", "sure"),
            ],
        ),
        (
            "plain_url.txt",
            [
                ("Nadia", "see https://x.example/a:b"),
                ("Tom", "ok Note: bring papers Ratio 3:1 is fine"),
                ("Tom", "fine"),
            ],
        ),
    ],
)
def test_a_sentence_before_a_colon_goes_on_with_the_turn_before(name, turns):
    assert [(speaker, text) for speaker, _, text in of_file(name)[1]] == turns


@pytest.mark.parametrize(
    "line",
    [
        "[{time}] {name}: {text}",
        "({time}) {name}: {text}",
        "<{time}> {name}: {text}",
        "{time} {name}: {text}",
        "{time} - {name}: {text}",
        "{time} | {name}: {text}",
        "{time}, {name} : {text}",
        "{time}\t{name}\t{text}",
        "[{time}] <{name}> {text}",
        "{time} <{name}> {text}",
        "{name} [{time}]: {text}",
        "{name} ({time}): {text}",
        "{name} {time}: {text}",
        "{name} - {time}: {text}",
        "{name}, {time}: {text}",
        "{name} @ {time}: {text}",
        "{name} at {time}: {text}",
        "{name} [{time}] {text}",
        "[{name}] [{time}] {text}",
        "{name}: [{time}] {text}",
        "{name}：（{time}）{text}",
        "{name}  {time}\n{text}\n",
        "{name} ({time})\n{text}\n",
        "[{time}] {name}\n{text}\n",
        "{name}\n{time}\n{text}\n",
        "{time}\n{name}\n{text}\n",
    ],
)
@pytest.mark.parametrize(
    "clock", ["10:0{}", "1:00:0{}", "10:0{} PM", "2024-03-12 10:0{}:05", "00:0{}.120", "下午10:0{}"]
)
def test_a_time_is_found_wherever_a_program_writes_it(line, clock):
    spoken = [("Nadia Brook", "hi there"), ("Tom", "good morning"), ("Nadia Brook", "thanks")]
    turns = [(name, clock.format(minute), text) for minute, (name, text) in enumerate(spoken)]
    text = "\n".join(line.format(name=name, time=time, text=text) for name, time, text in turns)
    assert timed(text) == turns


@pytest.mark.parametrize(
    "time",
    [
        *("10:30", "22:01:05", "10:01 p.m.", "오후 10:01", "00:00:03.120 --> 00:00:07.000", "10:01 - 10:05"),
        *("12/31/2023 10:01 PM", "31.12.2023, 22:01", "Mar 12, 2024 at 10:01:05 PM", "12 de marzo de 2024 10:01"),
        *("2024-03-12T22:01:05.123+01:00", "Tue, Mar 12, 2024 10:00AM", "١٢/٣/٢٠٢٣، ١٠:٠١ م", "12.3.2022 klo 14.08"),
    ],
)
def test_times_of_many_kinds_stand_before_a_name(time):
    text = f"{time} Nadia: hi\n{time} Tom: yo"
    assert timed(text) == [("Nadia", time, "hi"), ("Tom", time, "yo")]


@pytest.mark.parametrize("name", ["Jan", "May", "Sa", "de Vries", "Sabah Ali", "AM Smith", "Mark PM"])
def test_a_name_that_is_a_word_for_a_time_elsewhere_stays_whole(name):
    assert said(f"10:30 {name}: hi\n10:31 Tom: yo\n10:32 {name}: bye")[0][0] in (name, name.removeprefix("AM "))


@pytest.mark.parametrize(
    "line",
    [
        *("at 10:30 I think", "see you 9:15: do not be late", "10:30 Meeting: bring papers", "Gate 10:30", "10:30"),
        *("(at 10:30, or 10:45) I am in town", "Ratio 3:1 is fine", "5:3 for us", "12:30-14:00 lunch: soup"),
        *("between 10:00 and 11:00: not before", "https://example.org/a:b", "thanks :)", "so sad :'("),
        *("PS: call me", "P.S.: call me", "My address: 12 High Street", "Order number: 4711", "Step 2: reboot"),
        *("I have one question: where is it?", "What I need: a refund", "Yes: please", "Voici mon adresse: Paris"),
        *("Meine Adresse ist: Bonn", "我的地址是：北京", "订单号：4711", "三件事：退货", "Two things: price and color"),
        *("and the last thing: thanks", "Is it late? It says this: wait", "Done, and now: wait", "14 March: the fair"),
    ],
)
def test_a_line_of_speech_is_no_turn_of_its_own(line):
    text = f"Anna: hello\n{line}\nTom: hi\nAnna: good\nTom: bye"
    assert said(text) == [("Anna", f"hello {line}"), ("Tom", "hi"), ("Anna", "good"), ("Tom", "bye")]


@pytest.mark.parametrize(
    "label",
    [
        *("Me", "I", "Mom", "Dr. Smith", "Smith, Anna", "SPEAKER_00", "Speaker 1", "#Person1#", "+49 151 23456789"),
        *(
            "Customer Service Representative Anna",
            "the tour operator",
            "Oskar (furniture maker)",
            "[客服]小王",
            "应聘的",
        ),
        *("Jean-Luc de la Tour", "Спикер №1", "أحمد علي", "यात्री", "O'Neill", "nadia#1234", "Mr. & Mrs. Brook"),
    ],
)
def test_a_name_a_part_and_a_number_are_labels(label):
    assert said(f"{label}: hello\nTom: hi\n{label}: bye") == [(label, "hello"), ("Tom", "hi"), (label, "bye")]


def test_a_word_for_what_follows_is_a_label_only_in_a_text_that_uses_it_so():
    assert said("Anna: hi\nTotal: 5\nTom: ok\nAnna: yes") == [("Anna", "hi Total: 5"), ("Tom", "ok"), ("Anna", "yes")]
    assert said("Link: hi\nZelda: yo\nLink: so\nZelda: no\nLink: ok")[2] == ("Link", "so")


def test_a_line_with_a_smiley_behind_a_speakers_name_is_the_speakers():
    assert said("Anna: hi\nTom: bad news\nAnna :(\nTom: sorry")[2] == ("Anna", ":(")


def test_a_time_that_answers_is_speech_and_one_over_a_turn_is_its_time():
    assert said("Anna: when?\nTom:\n10:30\nAnna: ok") == [("Anna", "when?"), ("Tom", "10:30"), ("Anna", "ok")]
    assert timed("Anna: hi\nTom: yo\n\n00:05:00\nAnna: bye")[2] == ("Anna", "00:05:00", "bye")


def test_what_stands_before_the_first_speaker_is_refused_with_its_line():
    assert parse_speech("I said: no\n\nAnna: hi\nTom: yo").stray == [1]
    assert parse_speech("Some words.\nAnna: hi").stray == [1]
    with pytest.raises(DataError, match=r"chat\.txt:2: no speaker"):
        read_dialogues(Source("chat.txt", "Anna said this\nNote: not a turn\n"), ReadOptions(format="plain"))
    (problem,) = parse_dialogues(Source("s.jsonl", '{"id": "1", "dialogue": "so: it was\\nAnna: hi"}'))
    assert (problem.where, "its line 1 names no speaker" in problem.what) == ("s.jsonl:1, id 1", True)


def test_fields_of_a_header_are_no_turns():
    speech = parse_speech("Date: 3 May 2024\nParticipants: Anna, Tom\nDuration: 5 min\n\nAnna: hi\nTom: yo\nAnna: bye")
    assert speech.turns[0] == Turn("Anna", "hi")
    assert (speech.stray, speech.dropped) == ([], {"header": 3})


def test_a_space_before_a_mark_at_the_end_takes_no_letter():
    (turn,) = parse_speech("Anna: bring papers \u200e").turns
    assert turn.text == "bring papers"


def test_marks_of_direction_in_speech_stay():
    assert said("Anna: \u202a+49 151\u202c now\nTom: ok")[0] == ("Anna", "\u202a+49 151\u202c now")


def test_times_are_written_with_the_turns():
    assert '"time": "0:03"' in to_json(of_file("otter.txt")[0])


def test_a_table_of_turns_may_have_times():
    (dialogue,) = read_dialogues(Source("t.csv", "speaker,time,text\nAnna,10:02,hi\nTom,10:03,yo\n"))
    assert dialogue.turns == (Turn("Anna", "hi", "10:02"), Turn("Tom", "yo", "10:03"))


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("Chat started on 12 March 2023, 10:01 PM\n(10:01 PM) Ann: Hello\n(10:02 PM) Tom: Hi", {"header": 1}),
        ("(10:01 PM) Ann: Hello\n(10:02 PM) *** Tom joined the chat ***\n(10:02 PM) Tom: Hi", {"system": 1}),
        ("Chat Transcript\nVisitor: Ann B.\nOperator: Tom\n\n[10:01] Ann: Hello\n[10:02] Tom: Hi", {"header": 3}),
        ("Transcript\n\nAnn  0:03\nHello\n\nTom  0:09\nHi\n\nAnn stopped transcription", {"header": 1, "footer": 1}),
        ("00:00:03.120 --> 00:00:07.000 Ann: Hello\n00:00:08.500 --> 00:00:10.000 Tom: Hi", {}),
    ],
)
def test_what_a_program_writes_around_and_between_turns_is_dropped(text, dropped):
    (dialogue,) = read_dialogues(Source("x.txt", text))
    assert [(turn.speaker, turn.text) for turn in dialogue.turns] == [("Ann", "Hello"), ("Tom", "Hi")]
    assert dialogue.meta == ({"dropped": dropped} if dropped else {})


def test_what_is_said_of_a_recording_stays():
    text = "Ann: Hello\nTom: I stopped the recording"
    assert [turn.text for turn in parse_speech(text).turns] == ["Hello", "I stopped the recording"]


def test_names_without_capitals_stand_over_speech_too():
    found = parse_speech("主持人 00:03\n你好\n\n嘉宾 00:09\n您好").turns
    assert [(turn.speaker, turn.time, turn.text) for turn in found] == [
        ("主持人", "00:03", "你好"),
        ("嘉宾", "00:09", "您好"),
    ]


@pytest.mark.parametrize(
    "end",
    [
        "Transcription ended after 00:05:40\n\nThis editable transcript was computer generated and might contain "
        "errors. People can also change the text after it was created.",
        *("[END]", "--- END ---", "[Transcription ends]", "[End of recording]", "Transcribed by Sonix"),
        "(Transcribed by TurboScribe.ai. Go Unlimited to remove this message.)",
        *("Total duration: 5:40", "Chat ended: 12 March 2024 10:05", "Message count: 4"),
    ],
)
@pytest.mark.parametrize(
    "text", ["Ann: Hello\nTom: Hi\nAnn: Bye", "Ann  0:03\nHello\n\nTom  0:09\nHi\n\nAnn  0:12\nBye"]
)
def test_what_a_program_writes_below_a_transcript_is_a_footer(text, end):
    speech = parse_speech(f"{text}\n\n{end}\n")
    assert [turn.text for turn in speech.turns] == ["Hello", "Hi", "Bye"]
    assert speech.dropped == {"footer": len(end.split("\n\n"))}


@pytest.mark.parametrize("notice", ["Tom Field left the chat", "Visitor has joined the conversation."])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_members_who_come_and_go_say_nothing(notice, place):
    for time in ("", "[10:01] "):
        lines = [f"{time}Ann: Hello", f"{time}Tom: Hi"]
        lines.insert(place, time + notice)
        speech = parse_speech("\n".join(lines))
        assert ([turn.text for turn in speech.turns], speech.stray) == (["Hello", "Hi"], [])
        assert speech.dropped == {"system": 1}
    assert said("Ann: Hello\nI left the chat\nTom: Hi")[0] == ("Ann", "Hello I left the chat")


@pytest.mark.parametrize(
    "date", ["Wednesday, March 13, 2024", "13.03.2024", "2024-03-13", "--- 13 mars 2024 ---", "2024年3月13日 星期三"]
)
@pytest.mark.parametrize("form", ["{name}  {time}\n{text}\n", "[{time}] {name}: {text}", "{name}: {text}\n"])
def test_a_date_between_the_turns_of_two_days_is_no_speech(date, form):
    lines = [
        form.format(name=name, time=f"10:0{at}", text="Hi") for at, name in enumerate(("Ann", "Tom", "Ann", "Tom"))
    ]
    speech = parse_speech("\n".join([*lines[:2], date, *lines[2:]]))
    assert [(turn.speaker, turn.text) for turn in speech.turns] == [("Ann", "Hi"), ("Tom", "Hi")] * 2
    assert speech.dropped == {"system": 1}


def test_a_date_that_is_said_stays():
    assert said("Ann: when?\nTom:\nMarch 13, 2024\nAnn: ok")[1] == ("Tom", "March 13, 2024")
    assert said("Ann: it is on\nMarch 13, 2024\nTom: ok")[0] == ("Ann", "it is on March 13, 2024")


def test_a_block_of_fields_at_the_head_is_no_speech():
    fields = [
        *("Chat started: 12 March 2024, 10:01", "Department: Sales", "Visitor: Ann Brook", "Created: 2024-03-12"),
        *("Status: closed", "Meeting Title: Weekly", "Language: en", "Duration: 5:40", "Timestamp (UTC): 1710280865"),
    ]
    talk = "Ann: Hello\nTom: Hi\nAnn: Thanks"
    for block in (fields, fields[::-1], *([one] for one in fields if not one.startswith("Visitor"))):
        speech = parse_speech("\n".join([*block, "", talk]))
        assert [turn.text for turn in speech.turns] == ["Hello", "Hi", "Thanks"]
        assert (speech.stray, speech.dropped) == ([], {"header": len(block)})
    assert len(parse_speech("Visitor: Hello\nAgent: Hi\n\nVisitor: Bye\nAgent: Bye").turns) == 4


@pytest.mark.parametrize(
    ("line", "times"),
    [
        *(("[{time}] {name}: {text}", times) for times in ("22h01 22h02 22h03", "10.01 10.02 10.04", "10pm 10pm 11pm")),
        *(("[{time}] {name}: {text}", times) for times in ("0.00s-2.40s 2.40s-3s 3s-9s", "2.40 3.40 9.10")),
        *(("[{time}] {name}: {text}", times) for times in ("00m03s 00m09s 01m02s", "10时05分 10时06分 10时07分")),
        *(("[{time}] {name}: {text}", times) for times in ("12/03/2024 12/03/2024 13/03/2024", "3s 4s 10s")),
        *(("{time} {name}: {text}", times) for times in ("22h01 22h02 22h03", "10.01 10.02 10.04", "0.5 2.4 9.1")),
        *(("{time} {name}: {text}", times) for times in ("2-3-2024 2-3-2024 3-3-2024", "2024.3.2 2024.3.2 2024.3.3")),
        *(("{name} ({time}): {text}", times) for times in ("22h01 22h01 22h03", "3s 9s 12s", "0.5-2.5 2.5-3.5 4.0-5")),
        *(
            ("{name} {time}: {text}", times)
            for times in ("10点05分 10点06分 10点7分", "22h01 22h02 22h09", "9am 9am 9am")
        ),
        *(("{time} {name}: {text}", times) for times in ("0.0-2.4 2.4-5.1 5.1-7", "12/3 12/3 13/3")),
        ("{time} {name}: {text}", "1710280865 1710280866 1710280870"),
    ],
)
def test_a_time_without_a_colon_is_the_turns_time(line, times):
    spoken = [("Nadia Brook", "hi there"), ("Tom", "well: good morning"), ("Nadia Brook", "thanks")]
    turns = [(name, time, text) for time, (name, text) in zip(times.split(), spoken, strict=True)]
    assert timed("\n".join(line.format(name=name, time=time, text=text) for name, time, text in turns)) == turns


@pytest.mark.parametrize(
    "time", ["10 PM", "12 March 2024", "12 March", "March 12, 2024", "Tue, 12 March 2024", "12.03.2024 22h01"]
)
@pytest.mark.parametrize("line", ["[{time}] {name}: hi", "{time} {name}: hi", "{name} ({time}): hi"])
def test_a_date_or_clock_of_several_words_is_the_turns_time(line, time):
    text = "\n".join(line.format(name=name, time=time) for name in ("Nadia", "Tom", "Nadia"))
    assert timed(text) == [(name, time, "hi") for name in ("Nadia", "Tom", "Nadia")]


@pytest.mark.parametrize("number", ["{}. ", "[{}] ", "{}) ", "({}) ", "{} ", "00{} ", "{} - "])
def test_the_number_of_a_line_is_no_part_of_the_label(number):
    spoken = [("Nadia", "hi"), ("Tom", "yo"), ("Nadia", "bye")]
    lines = [f"{number.format(at)}{name}: {text}" for at, (name, text) in enumerate(spoken, 1)]
    assert said("\n".join(lines)) == spoken


@pytest.mark.parametrize(
    "label",
    [
        *(
            "Agent 2",
            "Speaker 1",
            "R2D2",
            "C-3PO",
            "GPT 4.10",
            "iOS 17.2",
            "Woman (20s)",
            "24h Support",
            "24/7 Desk",
            "90s Kid",
        ),
        *(
            "Agent (2)",
            "Agent [1]",
            "Part (1/2)",
            "Customer 24/7",
            "Room 10h",
            "User 1710",
            "User 1710280865",
            "May 2",
            "Nurse (12h)",
        ),
    ],
)
def test_a_name_that_has_digits_stays_whole(label):
    assert said(f"{label}: hello\nTom: hi\n{label}: bye") == [(label, "hello"), ("Tom", "hi"), (label, "bye")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "speaker,text\nNadia (10:03),hi\nTom (10:04),yo\nNadia (10:05),bye\n"),
        ("t.csv", "speaker,text\nNadia 22h03,hi\nTom 22h04,yo\nNadia 22h05,bye\n"),
        ("t.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Nadia (10:03)>hi</v>\n<v Tom 10:04>yo"),
        ("t.srt", "1\n00:00:01,000 --> 00:00:02,000\nNadia (3s): hi\n\n2\n00:00:02,000 --> 00:00:03,000\nTom (5s): yo"),
        (
            "t.jsonl",
            '{"id": "1", "turns": [{"speaker": "[10:03] Nadia", "text": "a"}, {"speaker": "Tom", "text": "b"}]}',
        ),
    ],
)
def test_no_reader_keeps_a_time_in_a_label(name, text):
    (dialogue,) = read_dialogues(Source(name, text))
    assert dialogue.speakers() == ("Nadia", "Tom")
    assert dialogue.turns[0].time


def test_a_clock_that_stays_in_a_label_is_refused_with_its_place():
    with pytest.raises(DataError, match=r'a\.csv:2, id a: a time stands in a speaker\'s label: "10:03"'):
        read_dialogues(Source("a.csv", "speaker,text\n10:03,hi\n"))


@pytest.mark.parametrize("line", ["[{time}] <{name}> {text}", "{time} <{name}> {text}", "[{time}] [{name}] {text}"])
@pytest.mark.parametrize("spoken", ["hello|hi: there|bye", "well: hello|hi there|so: bye", "see http://a.b|a: b: c|x"])
def test_a_name_in_brackets_before_a_text_with_a_colon_is_the_speaker(line, spoken):
    names = ("nadia", "tom", "nadia") if "<" in line else ("SPEAKER_00", "SPEAKER_01", "SPEAKER_00")
    turns = list(zip(names, ("10:01", "10:02", "10:03"), spoken.split("|"), strict=True))
    assert timed("\n".join(line.format(name=name, time=time, text=text) for name, time, text in turns)) == turns
    if "<" not in line:
        untimed = "\n".join(f"[{name}] {text}" for name, _, text in turns)
        assert timed(untimed) == [(name, "", text) for name, _, text in turns]


def test_a_name_in_brackets_that_speaks_elsewhere_is_the_speaker():
    for first, last in ("[]", "()"):
        lines = [
            f"{first}{name}{last} well: {text}" for name, text in (("nadia", "a"), ("tom", "b"), ("nadia", "c: d"))
        ]
        lines[2] = lines[2].replace("well", "so")
        text = "\n".join(f"[10:0{at}] {line}" for at, line in enumerate(lines))
        assert said(text) == [("nadia", "well: a"), ("tom", "well: b"), ("nadia", "so: c: d")]
    tagged = [("[Agent] Tom", "hi"), ("[Agent] Ann", "yo"), ("[Agent] Tom", "bye")]
    assert said("\n".join(f"{name}: {text}" for name, text in tagged)) == tagged
    assert said("[10:01] * nadia waves\n[10:02] <tom> hi: there\n[10:03] <nadia> yo")[0] == ("tom", "hi: there")
    assert said("[10:01] [nadia] hello\n[10:02] [tom] ok\n[10:03] [nadia] hi: there")[2] == ("nadia", "hi: there")


def test_times_at_the_start_of_all_texts_are_the_turns_times():
    assert timed("S1: 00:03 Hello\nS2: 00:09 Hi: you\nS1: 01:02 Bye") == [
        ("S1", "00:03", "Hello"),
        ("S2", "00:09", "Hi: you"),
        ("S1", "01:02", "Bye"),
    ]
    assert said("Tom: 10:30 is fine\nAnn: ok\nTom: 10:45 is better")[0] == ("Tom", "10:30 is fine")


def test_a_time_behind_the_colon_of_a_head_is_the_turns_time():
    text = "Nadia Brook: 0:03\nHello.\n\nTom Field: 0:09\nHi.\nAt 10:30?\n\nNadia Brook: 1:12\nBye."
    assert timed(text) == [
        ("Nadia Brook", "0:03", "Hello."),
        ("Tom Field", "0:09", "Hi. At 10:30?"),
        ("Nadia Brook", "1:12", "Bye."),
    ]


@pytest.mark.parametrize("line", ["{name} {time}: {text}", "{time} {name}: {text}", "{name} {time}\n{text}\n"])
@pytest.mark.parametrize("link", [" – ", " - ", "-", " --> "])
def test_two_times_in_brackets_are_one_range(line, link):
    times = [f"[00:0{at}]{link}[00:0{at + 4}]" for at in (1, 2, 3)]
    text = "\n".join(line.format(name=name, time=time, text="hello") for name, time in zip("ABA", times, strict=True))
    assert [(name, text) for name, _, text in timed(text)] == [("A", "hello"), ("B", "hello"), ("A", "hello")]
    assert [time for _, time, _ in timed(text)] == [f"00:0{at} {link.strip()} 00:0{at + 4}" for at in (1, 2, 3)]


def test_numbers_that_do_not_grow_are_parts_of_names():
    spoken = [("User 1710280865", "hi"), ("User 1710280111", "yo"), ("User 1710280865", "bye")]
    assert said("\n".join(f"{name}: {text}" for name, text in spoken)) == spoken


def test_a_numbered_list_within_speech_begins_no_turns():
    assert said("Ann: my list\n1. Milk: two\n2. Eggs: ten\nTom: ok")[0] == ("Ann", "my list 1. Milk: two 2. Eggs: ten")


@pytest.mark.parametrize(
    "word", ["Unfortunately", "Basically", "However", "Malheureusement", "Lamentablemente", "Leider", "不过", "首先"]
)
def test_an_adverb_before_a_colon_is_no_label(word):
    assert said(f"Ann: It broke.\nTom: Sorry.\n{word}: there is none.\nAnn: Then I go.\nTom: Fine.")[1:3] == [
        ("Tom", f"Sorry. {word}: there is none."),
        ("Ann", "Then I go."),
    ]


@pytest.mark.parametrize("name", ["Sally", "Emily", "Kimberly", "Beverly", "Clément", "Clemente", "Bentley"])
def test_a_name_that_ends_as_an_adverb_does_is_a_label(name):
    assert said(f"Ann: It broke.\nTom: Sorry.\n{name}: Here is one.\nAnn: Fine.\nTom: Fine.")[2][0] == name
