"""Dialogues that are neither in English nor in Chinese are told, and no English or Chinese one is."""

import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.formats import read_dialogues
from rolesum.generation.other_languages import other_language

DATA = ("sample:dialogues-en-test", "sample:dialogues-zh-test", "sample:en-train", "sample:zh-train")


def language_of(*texts):
    return other_language(Dialogue("1", tuple(Turn("Anna", text) for text in texts)))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Guten Tag, mein Paket ist immer noch nicht angekommen. Wann kommt es denn?", "German"),
        ("Bonjour, mon colis n'est toujours pas arrivé. Que faire ?", "French"),
        ("Buenos días, mi paquete todavía no ha llegado y necesito ayuda.", "Spanish"),
        ("Olá, a minha encomenda ainda não chegou e preciso de ajuda.", "Portuguese"),
        ("こんにちは、注文した荷物がまだ届いていません。いつ届きますか。", "Japanese"),
        ("안녕하세요, 주문한 소포가 아직 도착하지 않았습니다.", "Korean"),
        ("Здравствуйте, моя посылка до сих пор не пришла.", "Russian"),
        ("مرحبا، لم يصل طردي بعد وأحتاج إلى المساعدة.", "Arabic"),
    ],
)
def test_a_language_is_named(text, language):
    assert language_of(text) == language


@pytest.mark.parametrize("data", DATA)
def test_no_english_or_chinese_dialogue_is_taken_for_another(data):
    assert {one.id: found for one in read_dialogues(data) if (found := other_language(one))} == {}


@pytest.mark.parametrize("texts", [(), ("ok",), ("12345", "67890"), ("hi", "yes pls"), ("好的，谢谢您。",)])
def test_what_is_too_short_to_tell_is_not_told(texts):
    assert language_of(*texts) is None


def test_foreign_names_and_words_do_not_make_an_english_dialogue_another():
    assert language_of("I am in München with the Müllers, and you have to call Zürich for my Überweisung.") is None
