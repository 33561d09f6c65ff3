"""Zoom's transcripts and chats as text."""

import pytest

from rolesum.dialogue import Turn
from rolesum.formats import Source, read_dialogues, sniff_format


def only(text):
    source = Source("meeting_saved_chat.txt", text)
    assert sniff_format(source).name == "zoom"
    (dialogue,) = read_dialogues(source)
    return dialogue


def test_a_transcripts_turns_have_their_times():
    assert only("[Anna] 10:02:11\nhi: you\nall\n[Tom] 10:02:15 PM\nyo").turns == (
        Turn("Anna", "hi: you all", "10:02:11"),
        Turn("Tom", "yo", "10:02:15 PM"),
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("\t From Nadia Brook to Everyone:\n\t", "\t From Tom to Nadia Brook(Direct Message):\n\t"),
        (" From  Nadia Brook  to  Everyone : ", " From Tom to Nadia Brook (Privately) : "),
        ("\t Von Nadia Brook an Alle:\n\t", "\t Von Tom an Nadia Brook:\n\t"),
        ("\t De Nadia Brook para Todos:\n\t", "\t De Tom para Nadia Brook:\n\t"),
        ("\t De Nadia Brook à Tout le monde : ", "\t De Tom à Nadia Brook : "),
        ("\t From nadia Brook : ", "\t From Tom : "),
        ("\tFrom Nadia Brook to Everyone:\t", "\tFrom Tom to Nadia Brook(Direct Message):\t"),
        ("\tNadia Brook:\t", "\tTom:\t"),
        ("\tNadia Brook :\t\t", "\t Tom：\t"),
        ("\tNadia Brook:\n", "\tTom:\t\n"),
    ],
)
def test_a_chats_speaker_is_the_sender_alone(first, second):
    turns = only(f"10:02:11{first}see you at 10:30: ok?\n10:02:40{second}Thanks\n").turns
    assert [turn.speaker.casefold() for turn in turns] == ["nadia brook", "tom"]
    assert [(turn.time, turn.text) for turn in turns] == [("10:02:11", "see you at 10:30: ok?"), ("10:02:40", "Thanks")]


def test_reactions_and_quotes_of_a_chat_are_dropped_and_counted():
    dialogue = only(
        "10:02:11 From Anna to Everyone:\n\tWhere is it?\n"
        '10:02:20 From Tom to Everyone:\n\tReplying to "Where is it?"\n\t\n\tAt the depot\n'
        '10:02:30 From Anna to Everyone:\n\tReacted to "At the depot" with 👍\n'
    )
    assert [turn.text for turn in dialogue.turns] == ["Where is it?", "At the depot"]
    assert dialogue.meta == {"dropped": {"quote": 1, "reaction": 1}}


def test_tabs_without_a_colon_behind_the_name_are_lines():
    assert sniff_format(Source("chat.txt", "10:02\tNadia Brook\thi\n10:03\tTom\tok: yes\n")).name == "line"


@pytest.mark.parametrize("begin", ["[{}] 10:02:11\n", "10:02:11 From {} to Everyone:\n\t", "10:02:11\t{}:\t"])
@pytest.mark.parametrize("line", ["10:30 From what I know: it opens", "9:30\tat noon:"])
def test_a_line_that_begins_otherwise_than_the_first_is_said(begin, line):
    text = f"{begin.format('Anna')}when?\n{begin.format('Tom')}I asked\n{line}\n"
    assert [(turn.speaker, turn.text) for turn in only(text).turns] == [
        ("Anna", "when?"),
        ("Tom", f"I asked {line}"),
    ]
