import pytest

from rolesum.dialogue import Bundle, Dialogue, Example, Turn, detect_language, make_bundle

CHAT = Dialogue(
    id="7",
    turns=(Turn("Tom", "Hello"), Turn("Anna", "It is broken"), Turn("Tom", "Sorry")),
    roles={"Anna": "user", "Tom": "agent"},
    summaries={"overall": ("Both.",), "user": ("First.", "Second.")},
    source="chats.jsonl:3",
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("My lamp is broken.", "en"),
        ("我的台灯坏了。", "zh"),
        ("我的 iPhone 坏了，打不开 https://t.cn/a", "zh"),
        ("The sign says 出口 and I am lost here.", "en"),
        ("12345 ... !", "en"),
        ("", "en"),
    ],
)
def test_a_text_is_chinese_where_han_characters_are_common(text, language):
    assert detect_language(text) == language


def test_a_dialogue_takes_the_language_of_its_turns():
    assert Dialogue("1", (Turn("A", "你好"),)).language == "zh"
    assert Dialogue("1", (Turn("客服", "Hello there"),)).language == "en"


def test_a_stated_language_wins_over_the_text():
    assert Dialogue("1", (Turn("A", "Hello"),), language="zh").language == "zh"


def test_speakers_come_once_each_in_order_of_appearance():
    assert CHAT.speakers() == ("Tom", "Anna")


def test_speakers_of_a_role_are_those_who_play_it():
    assert CHAT.speakers("user") == ("Anna",)
    assert CHAT.speakers("overall") == ()


def test_the_place_names_the_source_and_the_id():
    assert CHAT.location == "chats.jsonl:3, dialogue 7"
    assert Dialogue("7", CHAT.turns).location == "dialogue 7"


def test_other_turns_change_nothing_else():
    shorter = CHAT.with_turns([Turn("Tom", "你好")])
    assert shorter.turns == (Turn("Tom", "你好"),)
    assert (shorter.id, shorter.roles, shorter.summaries, shorter.language, shorter.source) == (
        *(CHAT.id, CHAT.roles, CHAT.summaries, "en", CHAT.source),
    )


def test_a_bundle_has_one_example_for_each_annotator_in_the_order_of_the_asked_roles():
    bundle = make_bundle(CHAT, ("user", "overall"))
    assert bundle == Bundle(
        CHAT, (Example(CHAT, "user", "First."), Example(CHAT, "user", "Second."), Example(CHAT, "overall", "Both."))
    )


def test_a_bundle_of_first_references_has_one_example_for_each_role():
    bundle = make_bundle(CHAT, ("overall", "user"), references="first")
    assert [(example.role, example.target) for example in bundle.examples] == [("overall", "Both."), ("user", "First.")]


def test_a_dialogue_without_references_for_the_asked_roles_gives_no_bundle():
    assert make_bundle(CHAT, ("agent",)) is None
