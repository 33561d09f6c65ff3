"""Each check on cases made by hand, in Chinese and in English."""

import random

import pytest

from rolesum.checks import CHECKS, CheckedSummary, check_summary
from rolesum.checks.evidence import add_neighbors, find_evidence, find_turns, ngram_scores
from rolesum.checks.index import DialogueIndex
from rolesum.checks.sentences import Sentence
from rolesum.dialogue import Dialogue, Turn
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.instructions.sets import instruction_set

ROLES_ZH = {"用户": "user", "客服": "agent"}
ROLES_EN = {"Customer": "user", "Agent": "agent"}


def zh(*turns: tuple[str, str]) -> Dialogue:
    return Dialogue("zh", tuple(Turn(*turn) for turn in turns), ROLES_ZH, language="zh")


def en(*turns: tuple[str, str]) -> Dialogue:
    return Dialogue("en", tuple(Turn(*turn) for turn in turns), ROLES_EN, language="en")


SHOP = zh(
    ("用户", "我买的三箱纯牛奶到了，有一箱损坏，可以退款吗？"),
    ("客服", "可以的，运费是１２元，[数字]个工作日原路退回"),
    ("用户", "那周六下午3点半能上门取件吗"),
    ("客服", "取件员会提前电话联系您，地址是[地址]对吗"),
    ("用户", "我希望你们能尽快处理，破损的牛奶已经拍照上传"),
)
TRIP = en(
    ("Customer", "Hi, my bag from Lisbon is lost. I paid $1,200 for flight BA 482 and it left at 3pm on Friday."),
    ("Agent", "Sorry to hear that. Gabriella from our baggage desk will call you within two days."),
    ("Customer", "The bag is a red suitcase with twenty-five books in it."),
    ("Agent", "Please fill in the tracing form at the counter before midnight, it takes fifteen minutes."),
)


def flagged(checked: CheckedSummary, check: str, summary: str) -> list[str]:
    """What the check's flags cut out of the summary."""
    return [summary[flag.start : flag.end] for flag in checked.flags if flag.check == check]


def found(dialogue: Dialogue, check: str, summary: str, role: str = "overall") -> list[str]:
    return flagged(check_summary(dialogue, role, summary), check, summary)


@pytest.mark.parametrize(
    ("check", "summary", "wrong"),
    [
        ("number", "用户买了3箱牛奶。", []),
        ("number", "用户买了三箱牛奶。", []),
        ("number", "用户买了五箱牛奶，订单号是778899。", ["五", "778899"]),
        ("number", "这是第三方的万一千万。", []),
        ("amount", "客服表示运费是十二元。", []),
        ("amount", "客服表示运费是12元。", []),
        ("amount", "客服表示运费是120元。", ["120元"]),
        ("amount", "客服表示运费是12美元。", ["12美元"]),
        ("time", "用户要求周六15:30取件。", []),
        ("time", "用户要求星期六下午三点半取件。", []),
        ("time", "用户要求周日上午3点半取件。", ["周日", "上午3点半"]),
        ("time", "客服表示[数字]个工作日退回。", []),
        ("time", "客服表示[数字]分钟退回。", ["[数字]分钟"]),
        ("placeholder", "客服询问地址是[地址]，[数字]天退回。", []),
        ("placeholder", "客服表示[数字]天到[地址]，[数字]天到[姓名]。", ["[数字]", "[姓名]"]),
    ],
)
def test_flags_what_a_chinese_dialogue_does_not_say(check: str, summary: str, wrong: list[str]) -> None:
    assert found(SHOP, check, summary) == wrong


@pytest.mark.parametrize(
    ("check", "summary", "wrong"),
    [
        ("number", "The bag holds 25 books.", []),
        ("number", "The bag holds thirty-five books of BA 482.", ["thirty-five"]),
        ("amount", "The customer paid 1200 dollars.", []),
        ("amount", "The customer paid £1,200.", ["£1,200"]),
        ("amount", "The customer paid $1,300.", ["$1,300"]),
        ("time", "It left at 15:00 on Friday, the desk calls in 2 days.", []),
        ("time", "It left at 3 am on Thursday.", ["3 am", "Thursday"]),
        ("time", "The form takes 15 minutes before 12 am.", []),
        ("time", "The form takes 50 minutes.", ["50 minutes"]),
        ("name", "Gabriela will look for the bag from Lisbon.", []),
        ("name", "Gabriella will look for the bag in Madrid.", ["Madrid"]),
        ("name", "Harold has lost a bag. They are sorry. Books are red.", ["Harold"]),
    ],
)
def test_flags_what_an_english_dialogue_does_not_say(check: str, summary: str, wrong: list[str]) -> None:
    assert found(TRIP, check, summary) == wrong


def test_a_curly_apostrophe_makes_no_name() -> None:
    dialogue = en(("Ann", "I’m late, and I'd like the Smith's key"), ("Ben", "Fine."))
    assert found(dialogue, "name", "Ann says: I’m late and I’d like to come. She wants Smith’s key from Tom.") == [
        "Tom"
    ]


def test_a_speakers_label_counts_as_said() -> None:
    dialogue = Dialogue("x", (Turn("Professor Haddad", "hello"), Turn("Ming", "hi")), language="en")
    assert found(dialogue, "name", "Ming met Haddad and Noor.") == ["Noor"]


def test_a_role_summary_led_by_the_other_role_slips() -> None:
    summary = "用户询问退款。客服表示可以。随后，顾客询问取件。客服的回答很慢。"
    checked = check_summary(SHOP, "user", summary)
    assert flagged(checked, "role_slip", summary) == ["客服表示可以。"]
    assert checked.counts["role_led"] == (2, 4)
    assert found(TRIP, "role_slip", "The customer lost a bag. Then the travel agent apologised.", "user") == [
        "Then the travel agent apologised."
    ]
    assert (
        found(TRIP, "role_slip", "Customer service is slow. The agent's form was long. The clients wait.", "user") == []
    )


def test_a_persons_name_leads_for_the_role_that_the_person_plays() -> None:
    turns = (Turn("Agent (Harlan)", "Both must sign."), Turn("Noor", "He will not sign."))
    dialogue = Dialogue("x", turns, {"Agent (Harlan)": "agent", "Noor": "user"}, language="en")
    assert found(dialogue, "role_slip", "Noor must sign. Harlan waits.", "user") == ["Harlan waits."]


def test_custom_roles_slip_by_their_speakers_labels() -> None:
    turns = (Turn("经理", "预算减半"), Turn("设计师", "交付要延期"))
    dialogue = Dialogue("x", turns, {"经理": "manager", "设计师": "designer"}, language="zh")
    assert found(dialogue, "role_slip", "经理要求预算减半。设计师表示要延期。", "designer") == ["经理要求预算减半。"]


def test_an_overall_summary_counts_who_leads_and_slips_nowhere() -> None:
    counts = check_summary(SHOP, "overall", "用户询问退款。客服表示可以。客服询问地址。").counts
    assert (counts["user_led"], counts["agent_led"]) == ((1, 3), (2, 3))
    assert "role_slip" not in counts


def test_a_sentence_that_the_other_side_says_is_flagged_with_the_turn() -> None:
    summary = "客服表示破损的牛奶已经拍照上传。客服表示可以退款。"
    checked = check_summary(SHOP, "agent", summary)
    assert flagged(checked, "attribution", summary) == ["客服表示破损的牛奶已经拍照上传。"]
    assert [flag.turns for flag in checked.flags if flag.check == "attribution"] == [(4,)]
    assert found(TRIP, "attribution", "The agent has a red suitcase with twenty-five books.") != []
    assert found(TRIP, "attribution", "The customer has a red suitcase with twenty-five books.") == []


def test_an_answer_in_the_words_of_the_question_is_not_flagged() -> None:
    assert found(SHOP, "attribution", "客服表示周六下午3点半能上门取件。", "agent") == []


def test_repetition_counts_characters_in_chinese_and_words_in_english() -> None:
    counts = check_summary(SHOP, "overall", "一二三四五一二三四五").counts
    assert counts["repetition"] == (2, 7)  # 1234 2345 come again
    assert counts["distinct1"] == (5, 10)
    assert counts["distinct2"] == (5, 9)
    assert check_summary(TRIP, "overall", "a red bag is lost, a red bag is lost").counts["repetition"] == (2, 7)


def test_a_sentence_written_twice_is_flagged_once() -> None:
    checked = check_summary(SHOP, "overall", "用户询问退款。客服表示可以。用户询问退款！")
    assert [(flag.start, flag.end) for flag in checked.flags if flag.check == "duplicate"] == [(14, 21)]
    assert checked.counts["duplicate"] == (1, 3)


def test_coverage_and_density_are_those_of_greedy_fragments() -> None:
    counts = check_summary(TRIP, "overall", "the bag is a red suitcase that flew on friday").counts
    assert counts["coverage"] == (9, 10)  # "the bag is a red suitcase", "that", "on friday"
    assert counts["density"] == (6**2 + 1 + 2**2, 10)
    assert counts["length"] == (10, 1)


def test_fragments_do_not_cross_turns() -> None:
    dialogue = zh(("用户", "甲乙"), ("客服", "丙丁"))
    assert check_summary(dialogue, "overall", "乙丙").counts["density"] == (2, 2)


def test_echoes_of_instruction_and_dialogue_are_flagged() -> None:
    for language, dialogue in (("zh", SHOP), ("en", TRIP)):
        for role in ("overall", "user", "buyer"):
            instruction = instruction_set(language).instruction(role, dialogue)
            assert found(dialogue, "echo", f"{instruction} 用户询问退款。", role), instruction
    copied = "用户：我买的三箱纯牛奶到了。客服：可以的，运费是12元"
    assert found(SHOP, "echo", copied) == [copied]
    assert found(SHOP, "echo", "用户：我买的三箱纯牛奶到了。") == []
    assert found(TRIP, "echo", "The agent explained how to fill in the form.") == []


def test_an_output_that_stops_within_a_sentence_is_flagged() -> None:
    assert found(SHOP, "truncated", "用户询问退款。客服表") == ["客服表"]
    assert found(TRIP, "truncated", "The bag is lost. The agent will") == ["The agent will"]
    assert found(TRIP, "truncated", 'The agent said "sorry."') == []


def test_evidence_names_the_turn_that_says_it_and_nothing_else() -> None:
    evidence = check_summary(SHOP, "overall", "用户询问周六能否上门取件。客服推荐购买会员。").evidence
    assert evidence[0].turns[0] == 2
    assert evidence[1].turns == ()
    assert evidence[1].support == 0.0
    both = check_summary(
        TRIP, "overall", "The customer lost a red suitcase and must fill in the tracing form."
    ).evidence
    assert set(both[0].turns) == {2, 3}
    assert 0.4 < both[0].support <= 1


def test_abbreviations_do_not_end_a_sentence() -> None:
    evidence = check_summary(TRIP, "overall", "Dr. Lee left at 3 p.m. on Friday. She paid 1.5 dollars.").evidence
    assert len(evidence) == 2


def test_empty_outputs_are_counted_and_nothing_else_of_them() -> None:
    for text in ("", " \n", "。！", "😀"):
        checked = check_summary(SHOP, "user", text)
        assert [flag.check for flag in checked.flags] == ["empty"]
        assert checked.counts["empty"] == (1, 1)
        assert "truncated" not in checked.counts


EVIL = [
    *("[", "1" * 400, "a" * 10_000, "用户。" * 3000, "不" * 10_000, "1," * 4000, "Tom " * 2500, "(" * 9000),
    *("一" * 400, "万亿" * 200, "😀客服：😀用户：", "\u202e用户½Ⅻ㊿ﬁ", "99:99 13pm 45月99日", "$ £ % ¥"),
]


@pytest.mark.parametrize(
    "dialogue",
    [
        *(SHOP, TRIP, Dialogue("no turns", ()), Dialogue("emoji", (Turn("", ""), Turn("x", "😀"))), zh(("用户", ""))),
        Dialogue("brackets", (Turn("A(", "hi"), Turn("B", "ho")), {"A(": "chief [x", "B": "overall"}, language="zh"),
    ],
    ids=lambda one: one.id,
)
def test_no_text_breaks_a_check_and_every_flag_lies_in_the_summary(dialogue: Dialogue) -> None:
    letters = "用户客服一二百万点月号，。！?.\n \t[]数字()😀abcXYZ'\"-:：0123456789$%£元半不é１：½"
    draw = random.Random(7)
    noise = ["".join(draw.choices(letters, k=draw.randint(1, 90))) for _ in range(60)]
    for role in ("overall", "user", "chief [x", "{y}"):
        for summary in (*EVIL, *noise) if role == "user" else noise[:20]:
            checked = check_summary(dialogue, role, summary)
            for flag in checked.flags:
                assert flag.check in CHECKS and CHECKS[flag.check].flags
                assert 0 <= flag.start < flag.end <= len(summary)
                assert all(0 <= turn < len(dialogue.turns) for turn in flag.turns)
            for name, (hits, cases) in checked.counts.items():
                assert hits >= 0 and (hits <= cases or CHECKS[name].unit != "%")
            for name in ("number", "role_slip", "duplicate", "echo", "empty"):
                assert checked.counts.get(name, (0, 0))[0] == sum(flag.check == name for flag in checked.flags)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_turn_that_is_shown_first_holds_the_largest_share_of_the_ngrams(language: str) -> None:
    shown = 0
    for dialogue in read_dialogues(f"sample:dialogues-{language}-test", ReadOptions(limit=5)):
        index = DialogueIndex(dialogue)
        texts = [one.text for one in dialogue.statements]
        for text, scores in zip(texts, ngram_scores(texts, index), strict=True):
            assert len(scores) == len(dialogue.turns) and all(0 <= one <= 1 for one in scores)
            turns = find_evidence(Sentence(0, len(text), text), index).turns
            shown += bool(turns)
            assert not turns or scores[turns[0]] == pytest.approx(max(scores))
    assert shown > 20


@pytest.mark.parametrize("language", ["en", "zh"])
def test_turns_are_found_for_statements_that_turns_say(language: str) -> None:
    """At least one of the turns that were named for four of five true statements, and three of four turns are right."""
    found, named, hits, count = 0, 0, 0, 0
    for dialogue in read_dialogues(f"sample:dialogues-{language}-test", ReadOptions(limit=20)):
        index = DialogueIndex(dialogue)
        for one in (one for one in dialogue.statements if one.supported and one.turns):
            turns = find_turns(one.text, index)
            assert len(turns) <= 3 and len(set(turns)) == len(turns)
            common = len(set(turns) & set(one.turns))
            found, named, hits, count = found + bool(common), named + len(turns), hits + common, count + 1
    assert found > 0.8 * count and hits > 0.75 * named and count > 40


def test_no_turn_is_found_for_words_that_no_turn_has() -> None:
    (dialogue,) = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=1))
    assert find_turns("Zebras graze quietly under baobab trees.", DialogueIndex(dialogue)) == ()
    assert find_turns("", DialogueIndex(dialogue)) == ()


def test_neighbors_add_to_a_turns_score() -> None:
    assert add_neighbors([[1.0, 2.0, 4.0], [3.0]], 0.5) == [[2.0, 4.5, 5.0], [3.0]]
