import datetime
import unicodedata
from importlib import resources
from pathlib import Path

import pytest
import yaml
from babel import Locale
from babel.dates import format_date, format_time

from rolesum.errors import Problem
from rolesum.formats import ReadOptions, Source, open_source, parse_dialogues, read_dialogues, sniff_format
from rolesum.formats.clock import LOCALES
from rolesum.formats.whatsapp_calls import is_call_line

ASSETS = Path(__file__).parent.parent / "assets" / "whatsapp"

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


# What the app logs of calls, and what a person may say of them.
CALLS = """
Missed voice call | Missed group video call. | 📞 Missed voice call at 5:35 PM | Missed call (10:02)
Missed voice call, Tap to call back | Missed voice call. 10:02 PM | Voice call, 3 min
Video call. Declined
Verpasster Sprachanruf | Verpasster Gruppen-Videoanruf um 17:35 Uhr | Sprachanruf, 3 Min.
Videoanruf, Keine Antwort
Appel vocal manqué | Appel vidéo manqué à 17:35 | Appel vocal, 1 min 12 s
Appel vidéo, Sans réponse
Llamada perdida | Llamada de voz perdida a las 17:35 | Videollamada, 2 min
Llamada de voz, Sin respuesta
Chamada de voz perdida | Ligação de voz perdida às 17:35 | Chamada de vídeo, 12 seg
Ligação de voz, Sem resposta
Chiamata vocale persa | Videochiamata persa alle 17:35 | Chiamata vocale, 3 min
Videochiamata, Nessuna risposta
Gemiste spraakoproep | Gemiste video-oproep om 17:35 | Spraakoproep, 3 min
Video-oproep, Geen antwoord
Nieodebrane połączenie głosowe | Nieodebrane połączenie wideo o 17:35 | Połączenie głosowe, 3 min
Пропущенный аудиозвонок | Пропущенный видеозвонок в 17:35 | Аудиозвонок, 3 мин
Видеозвонок, Нет ответа
Cevapsız sesli arama | Cevapsız görüntülü arama. | Sesli arama. Cevaplanmadı | Görüntülü arama, 3 dk
مكالمة صوتية فائتة | مكالمة فيديو فائتة في ١٧:٣٥ | مكالمة صوتية، ٣ دقائق | مكالمة فيديو، لا يوجد رد
मिस्ड वॉइस कॉल | मिस्ड वीडियो कॉल | वॉइस कॉल, 3 मिनट | वीडियो कॉल, कोई जवाब नहीं
Panggilan suara tak terjawab | Panggilan video tak terjawab pukul 17.35 | Panggilan suara, 3 menit
不在着信 | 音声通話不在着信 | 不在着信（ビデオ） | ビデオ通話、3分12秒 | 音声通話、応答なし
부재중 음성 통화 | 부재중 영상통화 오후 5:35 | 음성 통화, 3분 | 영상 통화, 응답 없음
未接语音通话 | 未接视频通话 下午5:35 | 语音通话，3分钟 | 视频通话，无人接听
未接語音通話 | 未接視訊通話 | 未接視像通話 | 語音通話，3 分鐘 | 視訊通話，無人接聽
"""
OF_CALLS = """
Sorry for the missed voice call | Missed voice call from you, what is it? | Missed voice call again
Voice call
Video call at 10:30? | Video call 5 min | Voice call, I have only 5 min
Missed voice call, my phone was off
Ich habe einen verpassten Sprachanruf | Verpasster Sprachanruf von dir | Sprachanruf in 3 Min.
未接语音通话了吗
Perdón por la llamada perdida | Llamada perdida tuya | मिस्ड कॉल क्यों | Cevapsız arama gördüm
No answer
"""


def lines_of(text):
    return [line.strip() for line in text.replace("\n", "|").split("|") if line.strip()]


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
    assert isinstance(item, Problem) and "no turn has text" in item.what


@pytest.mark.parametrize(
    ("name", "speakers", "first"),
    [
        ("wa_arabic", ["سارة", "كريم", "سارة"], "١٢/٣/٢٠٢٣، ١٠:٠١ م"),
        ("wa_arabic_ios", ["سارة", "كريم"], "١٢/٣/٢٠٢٣، ١٠:٠١:٠٥ م"),
        ("wa_french", ["Claire", "Luc"], "02/05/2018 à 18:00"),
        ("wa_french_old", ["Claire", "Luc"], "02.05.18 à 18:00"),
        ("wa_bulgarian", ["Ivan", "Mila"], "12.03.23 г., 22:01 ч."),
        ("wa_hindi", ["Ravi", "Meera"], "12/03/23, 10:01 अपराह्न"),
        ("wa_old_ios", ["Dana", "Omar"], "09/12/2012 17:03:48"),
        ("wa_turkish", ["Ayla", "Can"], "12.03.2023 ÖS 10:01"),
        ("wa_viet", ["Lan", "Minh"], "12/03/2023, 10:01 CH"),
    ],
)
def test_exports_of_other_locales_are_read_with_their_times(name, speakers, first):
    source = open_source(ASSETS / f"{name}.txt")
    assert sniff_format(source).name == "whatsapp"
    (dialogue,) = read_dialogues(source)
    assert [turn.speaker for turn in dialogue.turns] == speakers
    assert (dialogue.turns[0].time, dialogue.meta["start"]) == (first, first)


@pytest.mark.parametrize(
    ("name", "texts", "dropped"),
    [
        (
            "wa_deleted_en",
            ["parcel is lost", "will check", "location: https://maps.google.com/?q=1.0,2.0", "ok"],
            {"deleted": 2, "media": 1, "system": 1, "waiting": 1, "poll": 1},
        ),
        ("wa_deleted_fr", ["il manque le colis", "je regarde", "merci"], {"deleted": 2, "media": 1}),
        ("wa_deleted_pt", ["o pacote sumiu", "vou ver", "ok"], {"deleted": 2, "media": 1}),
    ],
)
def test_deleted_edited_and_other_lines_are_dropped_in_their_language(name, texts, dropped):
    (dialogue,) = read_dialogues(open_source(ASSETS / f"{name}.txt"))
    assert ([turn.text for turn in dialogue.turns], dialogue.meta["dropped"]) == (texts, dropped)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        *((f"{MARK}Diese Nachricht wurde gelöscht.", "deleted"), ("Bu mesaj silindi", "deleted")),
        *(
            ("تم حذف هذه الرسالة", "deleted"),
            ("삭제된 메시지입니다.", "deleted"),
            ("Данное сообщение удалено", "deleted"),
        ),
        *(("このメッセージは削除されました。", "deleted"), ("Se eliminó este mensaje.", "deleted")),
        *(("<Media omessi>", "media"), ("<미디어 파일을 생략한 대화내용>", "media"), ("null", "media")),
        *(("IMG-20240105-WA0001.jpg (bestand bijgevoegd)", "media"), ("görüntü dahil edilmedi", "media")),
        *((f"{MARK}<allegato: 00000012-PHOTO.jpg>", "media"), ("<adjunto: 00000012-AUDIO.opus>", "media")),
        *(("Esperando este mensaje", "waiting"), ("正在等待此消息。", "waiting")),
        *(("Missed video call", "system"), ("Пропущенный аудиозвонок", "system")),
        *(("Αναπάντητη φωνητική κλήση", "system"), ("Αναπάντητη βιντεοκλήση", "system")),
        *(("Пропуснато гласово обаждане", "system"), ("Пропуснато видео обаждане", "system")),
        *(("মিস করা ভয়েস কল", "system"), ("মিসড ভিডিও কল", "system"), ("Voice call, No answer", "system")),
        *(("Live location shared", "system"), ("Você apagou essa mensagem", "deleted")),
        *(("Το μήνυμα διαγράφηκε", "deleted"), ("Вие изтрихте това съобщение.", "deleted")),
        *(("এই মেসেজটি ডিলিট করা হয়েছে", "deleted"), ("এই মেসেজের জন্য অপেক্ষা করা হচ্ছে", "waiting")),
        *(("Warten auf diese Nachricht", "waiting"), ("Αναμονή για αυτό το μήνυμα", "waiting")),
        ("Изчакване на това съобщение.", "waiting"),
        ("En attente de ce message. Cela peut prendre un moment.", "waiting"),
        (unicodedata.normalize("NFD", "Αναπάντητη κλήση βίντεο"), "system"),
        ("ENQUETE:\nQuando?\nOPÇÃO: Segunda (2 votos)\nOPÇÃO: Sexta (0 voto)\n", "poll"),
    ],
)
def test_what_the_app_writes_in_place_of_a_message_is_dropped_and_counted(line, what):
    dialogue, turns = only(f"12/03/2023, 22:01 - Bia: oi\n12/03/2023, 22:02 - Rui: {line}\n")
    assert turns == [("Bia", "oi")]
    assert dialogue.meta["dropped"] == {what: 1}


@pytest.mark.parametrize("line", lines_of(CALLS))
def test_calls_are_dropped_and_counted_in_every_language(line):
    dialogue, turns = only(f"12/03/2023, 22:01 - Bia: oi\n12/03/2023, 22:02 - Rui: {line}\n")
    assert (turns, dialogue.meta["dropped"]) == ([("Bia", "oi")], {"system": 1})


def test_every_listed_call_is_known_by_itself_and_with_a_duration():
    lists = yaml.safe_load(resources.files("rolesum.formats").joinpath("whatsapp_calls.yaml").read_text("utf-8"))
    for missed in (phrase for phrases in lists["missed"].values() for phrase in phrases):
        assert is_call_line(missed) and is_call_line(f"{missed}, 10:02"), missed
    for language, phrases in lists["calls"].items():
        for call in phrases:
            assert not is_call_line(call) and is_call_line(f"{call}, 3 min"), call
            assert all(is_call_line(f"{call}. {end}.") for end in lists["ends"][language]), call
    assert {"ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh"} <= set(
        lists["calls"]
    )


@pytest.mark.parametrize("text", lines_of(OF_CALLS))
def test_a_persons_words_about_calls_are_kept(text):
    assert only(f"12/03/2023, 22:01 - Bia: oi\n12/03/2023, 22:02 - Rui: {text}\n")[1][1:] == [("Rui", text)]


@pytest.mark.parametrize(
    "text",
    ["I deleted this message", "This message was deleted, I think", "null and void", "so <b> or <i>", "POLL: me?"],
)
def test_a_persons_words_about_such_lines_are_kept(text):
    assert only(f"12/03/2023, 22:01 - Bia: oi\n12/03/2023, 22:02 - Rui: {text}\n")[1][1:] == [("Rui", text)]


@pytest.mark.parametrize(
    "mark",
    [
        *("<Bu mesaj düzenlendi>", "<הודעה זו נערכה>", "<Se editó este mensaje.>", f"{MARK}<Redaguota>"),
        *("‹Ta wiadomość została edytowana>", "‹Wiadomość została edytowana.›", "<This message was edited›"),
    ],
)
def test_the_mark_of_an_edited_message_is_no_speech(mark):
    assert only(f"12/03/2023, 22:01 - Bia: I will check {mark}\n")[1] == [("Bia", "I will check")]


@pytest.mark.parametrize(
    "day",
    [
        *("12 במרץ 2023,", "12 ביוני 2023 בשעה", "יום ראשון, 12 במרץ 2023,", "12 בינו׳ 2023,"),
        *("12 มีนาคม 2566 เวลา", "12 มีนาคม พ.ศ. 2566", "วันอาทิตย์ที่ 12 มีนาคม พ.ศ. 2566 เวลา", "วันที่ 12 ธันวาคม ค.ศ. 2023"),
    ],
)
def test_long_dates_in_hebrew_and_thai_begin_a_message(day):
    text = f"{day} 22:01 - Nadia B: hi\nand\n{day} 22:02 - Tom: yo: you\n"
    dialogue, turns = only(text)
    assert turns == [("Nadia B", "hi and"), ("Tom", "yo: you")]
    assert [turn.time for turn in dialogue.turns] == [f"{day} 22:01", f"{day} 22:02"]
    assert only(f"[{day} 22:01:05] Nadia B: hi\n")[1] == [("Nadia B", "hi")]


@pytest.mark.parametrize("name", sorted(set(LOCALES) - {"yo"}))  # yo: minutes of one digit
def test_the_dates_of_every_locale_in_cldr_begin_a_message(name):
    locale = Locale.parse(name)
    moment = datetime.datetime(2023, 3, 12, 22, 1, 5)
    day = format_date(moment, "short", locale=locale)
    for width in ("short", "medium"):
        clock = format_time(moment, width, locale=locale)
        for head in (f"{day}, {clock} - ", f"{day} {clock} - ", f"[{day}, {clock}] "):
            assert only(f"{head}Anna: Hi\n{head}Tom: Yo: you")[1] == [("Anna", "Hi"), ("Tom", "Yo: you")], head


def test_messages_copied_into_a_message_are_its_text_and_those_of_another_phone_are_messages():
    own = [f"12/03/2023, 22:0{at} - {'Bia' if at % 2 else 'Rui'}: hi {at}" for at in range(8)]
    copied = ["[12/03/2023, 21:00:05] Anna: so", "12/03/2023, 10:30: I was there"]
    turns = only("\n".join([*own, *copied]))[1]
    assert turns[-1] == ("Bia", f"hi 7 {' '.join(copied)}")
    other = [f"[12/04/2023, 22:0{at}:05] Anna: yo {at}" for at in range(4)]
    assert only("\n".join([*own, *other]))[1][-1] == ("Anna", "yo 3")
