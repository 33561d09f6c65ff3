import pytest

from rolesum.errors import Problem
from rolesum.formats import ReadOptions, Source, parse_dialogues, read_dialogues, sniff_format

MARK, THIN = "\u200e", "\u202f"

IOS = f"""{MARK}[12/31/23, 10:02:11{THIN}PM] Trip: Rome: {MARK}Messages and calls are end-to-end encrypted.
[12/31/23, 10:02:30{THIN}PM] Anna: Happy new year: soon!
and love

to all
{MARK}[12/31/23, 10:03:00{THIN}PM] ~{THIN}Tom: {MARK}image omitted
{MARK}[12/31/23, 10:04:00{THIN}PM] ~{THIN}Tom: Look at that {MARK}<attached: 00000012-PHOTO.jpg>
[12/31/23, 10:05:00{THIN}PM] Anna: Nice @\u2068Tom\u2069, I omitted it {MARK}<This message was edited>
{MARK}[12/31/23, 10:06:00{THIN}PM] Anna: {MARK}This message was deleted.
{MARK}[12/31/23, 10:06:10{THIN}PM] Anna: {MARK}Voice call, 3 min
"""

ANDROID = """31.12.23, 22:02 - Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt.
31.12.23, 22:03 - Anna hat die Gruppe „Reise: Rom“ erstellt.
31.12.23, 22:03 - Anna: Hallo
zweite Zeile
31.12.23, 22:04 - +49 151 23456789: <Medien ausgeschlossen>
31.12.23, 22:05 - +49 151 23456789: Guten Tag: alles da?
31.12.23, 22:06 - Anna: IMG-20231231-WA0001.jpg (Datei angehängt)
Mein Bild
31.12.23, 22:07 - Anna changed the subject from "Reise" to "Reise: Rom"
"""

CHINESE = """2023/12/31 下午10:02 - 消息和通话均进行端到端加密。
2023/12/31 下午10:03 - 客服: 您好，请问有什么可以帮您？
2023/12/31 下午10:04 - 李雷: 订单还没到，
请查一下
2023/12/31 下午10:05 - 李雷: <省略多媒体文件>
"""


def only(text):
    source = Source("chat.txt", text)
    assert sniff_format(source).name == "whatsapp"
    (dialogue,) = read_dialogues(source)
    return dialogue, [(turn.speaker, turn.text) for turn in dialogue.turns]


def test_an_iphones_export_is_read_without_notices_media_and_deleted_messages():
    dialogue, turns = only(IOS)
    assert turns == [
        ("Anna", "Happy new year: soon! and love to all"),
        ("Tom", "Look at that"),
        ("Anna", "Nice @Tom, I omitted it"),
    ]
    assert dialogue.meta["dropped"] == {"system": 2, "media": 2, "deleted": 1}
    assert (dialogue.meta["start"], dialogue.meta["end"]) == ("12/31/23, 10:02:30 PM", "12/31/23, 10:05:00 PM")


def test_androids_export_is_read_and_a_notice_that_quotes_a_colon_is_no_message():
    dialogue, turns = only(ANDROID)
    assert turns == [
        ("Anna", "Hallo zweite Zeile"),
        ("+49 151 23456789", "Guten Tag: alles da?"),
        ("Anna", "Mein Bild"),
    ]
    assert dialogue.meta["dropped"] == {"system": 3, "media": 2}


def test_chinese_dates_are_understood():
    dialogue, turns = only(CHINESE)
    assert turns == [("客服", "您好，请问有什么可以帮您？"), ("李雷", "订单还没到，请查一下")]
    assert (dialogue.language, dialogue.roles) == ("zh", {"客服": "agent"})
    assert dialogue.meta["dropped"] == {"system": 1, "media": 1}


@pytest.mark.parametrize(
    "head",
    [
        *("[2023/12/31 下午10:02:11] ", "[31.12.2023, 22:02:11] ", "[31/12/2023, 10:02:11 p. m.] "),
        *("05/02/22, 8:06 pm - ", "2023-12-31, 22:02 - ", "31/12/2023 22:02 - ", "2023. 12. 31. 오후 10:02 - "),
        *("[12.3.2022 klo 14.08.18] ", "2023年12月31日 22:02 - ", "12/31/23, 10:02\u202fPM - "),
    ],
)
def test_dates_of_many_locales_begin_a_message(head):
    assert only(f"{head}Anna: Hi\n{head}Tom: Yo: you")[1] == [("Anna", "Hi"), ("Tom", "Yo: you")]


def test_text_before_the_first_message_is_a_problem_with_its_line():
    (item,) = parse_dialogues(Source("chat.txt", "exported by me\n" + ANDROID), ReadOptions(format="whatsapp"))
    assert isinstance(item, Problem) and item.where == "chat.txt:1"


def test_a_chat_of_media_only_is_a_problem():
    (item,) = parse_dialogues(Source("chat.txt", "31.12.23, 22:04 - Tom: <Media omitted>\n"))
    assert isinstance(item, Problem) and "no message with text" in item.what
