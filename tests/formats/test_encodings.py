"""Encodings and packed files. Every text here is our own."""

import gzip
import random
from pathlib import Path

import pytest

from rolesum.errors import DataError, SizeError, UsageError
from rolesum.formats import ReadOptions, open_source, read_dialogues
from rolesum.formats.encodings import decode, encoding_name, unpack
from rolesum.formats.options import SourceLimits
from rolesum.formats.source import decode_source

INPUTS = Path(__file__).parent.parent / "assets" / "inputs"

CHINESE = "客户：你好，我的订单还没有收到\n客服：好的，请您稍等，我查一下\n"
WESTERN = {
    "English": "Nadia: it’s late, it costs £6 – ok…\nTom: I’ll look “now”\n",
    "French": "Zoé : Où est mon colis ? C’est l’été, où ça ?\nRené : Désolé, je vérifie ça à 10h.\n",
    "German": "Jürgen: Können Sie das prüfen?\nBärbel: Natürlich, größere Pakete brauchen länger\n",
    "Spanish": "María: ¿Dónde está mi paquete?\nJosé: Mañana llegará, señora, piso 5º\n",
    "Italian": "Anna: il pacco non è arrivato, perché?\nTom: è già lì\n",
    "Swedish": "Åsa: Var är mitt paket?\nBjörn: Det kommer på fredag, så här\n",
}
# Each would be read as Chinese or Western text without any error, and be wrong.
OTHERS = [
    ("Анна: Где моя посылка?\nТом: Сейчас проверю\n", "cp1251"),
    ("田中：荷物はどこですか\n鈴木：すぐに確認します\n", "shift_jis"),
    ("田中：荷物はどこですか\n鈴木：すぐに確認します\n", "euc_jp"),
    ("客戶：你好，我的訂單還沒有收到\n客服：好的，請您稍等\n", "big5"),
    ("지은: 제 소포 어디 있나요?\n민수: 지금 확인하겠습니다\n", "euc_kr"),
    ("Łukasz: Gdzie jest moja paczka?\nZofia: Już sprawdzam, proszę chwilę poczekać\n", "cp1250"),
    ("Petr: Kde je můj balík? Děkuji\n", "cp1250"),
    ("Ügyfél: Hol van a csomagom? Rögtön megnézem, gyűjtő\n", "cp1250"),
    ("Ion: Mulţumesc, să văd\n", "cp1250"),
    ("Ayşe: Kargom nerede? Teşekkürler\n", "cp1254"),
    ("Jonas: Kur mano siuntinys? Ačiū, žiūrėsiu\n", "cp1257"),
    ("Νίκος: Πού είναι το δέμα μου;\n", "cp1253"),
    ("שלום: מה שלומך\n", "cp1255"),
    ("سارة: مرحبا\n", "cp1256"),
    ("Nadia: it’s late\nTom: I’ll look “now”\n", "mac_roman"),
    ("René: le café\n", "cp437"),
]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_read_with_and_without_byte_order_mark(codec):
    text = "Customer: hi\n客服：您好\n"
    assert decode(text.encode(codec), "chat.txt").text == text


@pytest.mark.parametrize(
    "text", [CHINESE, "Customer: hi\nAgent: 您好\n", "id,speaker,text\n1,客户,包裹没到\n1,客服,我看看\n"]
)
def test_chinese_in_gb18030_is_detected(text):
    assert decode(text.encode("gb18030"), "chat.txt") == (text, "gb18030")


@pytest.mark.parametrize("language", WESTERN)
def test_western_languages_in_cp1252_are_detected(language):
    assert decode(WESTERN[language].encode("cp1252"), "chat.txt") == (WESTERN[language], "cp1252")


@pytest.mark.parametrize(("text", "codec"), OTHERS, ids=[f"{codec}-{text[:4]}" for text, codec in OTHERS])
def test_other_encodings_are_refused_and_read_where_they_are_named(text, codec):
    with pytest.raises(DataError, match="--encoding"):
        decode(text.encode(codec), "chat.txt")
    assert decode(text.encode(codec), "chat.txt", codec).text == text


def test_a_damaged_utf8_file_is_not_taken_for_another_encoding():
    with pytest.raises(DataError) as told:
        decode("Zoé : où est le café ?\nRené : là".encode() + b"\xe9\n", "chat.txt")
    assert told.value.problems[0].where == "chat.txt:2"


def test_the_named_encoding_must_be_known_and_right():
    assert encoding_name("GBK") == "gbk" and encoding_name("windows-1252") == "cp1252"
    for name in ("klingon", "idna", "unicode_escape", "base64", "a\x00b"):
        with pytest.raises(UsageError, match="unknown encoding"):
            encoding_name(name)
    with pytest.raises(DataError) as told:
        decode(b"Anna: hi\nTom: " + b"\xff\xff\n", "chat.txt", "gb18030")
    assert told.value.problems[0].where == "chat.txt:2"
    with pytest.raises(DataError, match="not UTF-8"):
        decode(CHINESE.encode("gb18030"), "chat.txt", "utf-8")


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("cp1252.txt", ["my order’s late", "ok"]),
        ("gb.txt", ["包裹没到", "我查一下"]),
        ("utf16.csv", ["Müde", "ok"]),
        ("pipe.csv", ["hello", "ok"]),
        ("sep.csv", ["hello", "ok"]),
        ("nanmeta.jsonl.gz", ["a"]),
    ],
)
def test_files_of_other_programs_give_their_dialogue(name, texts):
    (dialogue,) = read_dialogues(INPUTS / name)
    assert [turn.text for turn in dialogue.turns] == texts


def test_how_a_detected_file_was_read_is_said(capsys):
    open_source(INPUTS / "gb.txt")
    assert "read as gb18030; --encoding names another" in capsys.readouterr().err
    open_source(INPUTS / "gb.txt", "gb18030")
    open_source(INPUTS / "utf16.csv")
    assert not capsys.readouterr().err


def test_files_that_were_put_together_have_marks_at_the_begins_of_lines():
    assert [one.id for one in read_dialogues(INPUTS / "bom2.jsonl")] == ["1", "2"]


def test_the_encoding_is_one_of_the_read_options(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text("Анна: Где моя посылка?\nТом: Сейчас\n", encoding="cp1251")
    (dialogue,) = read_dialogues(path, ReadOptions(encoding="cp1251"))
    assert dialogue.turns[0].speaker == "Анна"


def test_a_packed_file_names_its_dialogue_as_the_file_in_it(tmp_path):
    path = tmp_path / "call.txt.gz"
    path.write_bytes(gzip.compress(CHINESE.encode("gb18030")))
    (dialogue,) = read_dialogues(path)
    assert dialogue.id == "call" and len(dialogue.turns) == 2


def test_zstd_is_unpacked_also_in_several_frames(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="pip install 'rolesum[zstd]'")
    path = tmp_path / "call.txt.zst"
    path.write_bytes(b"".join(zstandard.compress(line.encode()) for line in ("Anna: hi\n", "Tom: hello\n")))
    (dialogue,) = read_dialogues(path)
    assert dialogue.id == "call" and [turn.text for turn in dialogue.turns] == ["hi", "hello"]
    with pytest.raises(DataError, match="cannot unpack"):
        unpack(b"\x28\xb5\x2f\xfd broken", "call.txt.zst", 1000)
    whole = zstandard.compress(CHINESE.encode() * 500)
    assert unpack(whole, "call.txt.zst", 1_000_000) == CHINESE.encode() * 500
    with pytest.raises(DataError, match="ends before its last frame"):
        unpack(whole[:-20], "call.txt.zst", 1_000_000)
    with pytest.raises(SizeError, match="more than 1,000 bytes"):
        unpack(zstandard.compress(b"\x00" * 10_000_000), "call.txt.zst", 1000)


def test_what_a_packed_file_holds_is_limited_before_it_is_unpacked():
    bomb = gzip.compress(b"\x00" * 10_000_000)
    with pytest.raises(SizeError, match="more than 1,000 bytes"):
        decode_source(bomb, "bomb.gz", SourceLimits(max_bytes=1000))


def test_a_cut_packed_file_is_refused():
    with pytest.raises(DataError, match="cannot unpack"):
        unpack(gzip.compress(CHINESE.encode() * 50)[:-9], "call.txt.gz", 10_000)


@pytest.mark.parametrize("start", [b"%PDF-1.7 \xff", b"BZh91AY", b"7z\xbc\xaf\x27\x1c", b"PAR1\x15"])
def test_files_without_text_are_refused_by_what_they_are(start):
    with pytest.raises(DataError, match="which is not read"):
        decode(start, "file")


def test_binary_data_are_told_as_such_and_not_as_a_line_to_mend():
    draw = random.Random(1)
    for name, raw in (("call.mp3", draw.randbytes(5000)), ("photo.png", b"\x89PNG\r\n\x1a\n" + draw.randbytes(200))):
        with pytest.raises(DataError, match="binary data") as told:
            decode(raw, name)
        (problem,) = told.value.problems
        assert problem.where == name and "mend" not in problem.fix


def test_text_with_stray_bytes_is_neither_binary_data_nor_utf16():
    stray = "Anna: the parcel is late again, and nobody answers the phone\x00\nTom: Zoé\n"
    for text in (stray, f" {stray}"):  # of an even and an odd number of bytes
        assert decode(text.encode(), "chat.txt") == (text, "utf-8")
    with pytest.raises(DataError, match="not UTF-8") as told:
        decode(stray.encode() + b"Anna: \x81\xff\n", "chat.txt")
    assert told.value.problems[0].where == "chat.txt:3"
