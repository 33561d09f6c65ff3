"""Statements of summaries: where sentences are split, and where they must not be."""

from itertools import pairwise

import pytest

from helpers.linear_time import assert_linear
from rolesum.checks.statements import split_statements
from rolesum.formats import read_dialogues

ENGLISH = [
    ("Jana asked the depot.", ["Jana asked the depot."]),
    ("Tom left. Ann stayed.", ["Tom left.", "Ann stayed."]),
    (
        "Jana asked the depot to question the driver and check the GPS point, and explained that any refund would come "
        "from the shop.",
        [
            "Jana asked the depot to question the driver and check the GPS point.",
            "Jana explained that any refund would come from the shop.",
        ],
    ),
    (
        "The customer reported that parcel 8805 had not arrived, that number 31 stood empty and that nobody had rung, "
        "asked what would follow, and gave the boots' price as 139.",
        [
            "The customer reported that parcel 8805 had not arrived.",
            "The customer reported that number 31 stood empty.",
            "The customer reported that nobody had rung.",
            "The customer asked what would follow.",
            "The customer gave the boots' price as 139.",
        ],
    ),
    (
        "The customer removed the plate and kept the card.",
        ["The customer removed the plate.", "The customer kept the card."],
    ),
    (
        "Tom will send the build and Ben will test the app.",
        ["Tom will send the build.", "Ben will test the app."],
    ),
    (
        "Hannah wants Betty's number but Amanda doesn't have the number.",
        ["Hannah wants Betty's number.", "Amanda doesn't have the number."],
    ),
    (
        "Cody asked about the truck, and nothing was decided.",
        ["Cody asked about the truck.", "Nothing was decided."],
    ),
    (
        "Darnell wanted nothing done yet, and the charge stayed undecided.",
        ["Darnell wanted nothing done yet.", "The charge stayed undecided."],
    ),
    ("The gift ends today; the other one goes on.", ["The gift ends today.", "The other one goes on."]),
    (
        "Mia complained of the cold; the plumber had only looked at the boiler.",
        ["Mia complained of the cold.", "The plumber had only looked at the boiler."],
    ),
    (
        "Colm first insisted on three aprons, then admitted the mistake and sent 18 back.",
        ["Colm first insisted on three aprons.", "Colm then admitted the mistake.", "Colm sent 18 back."],
    ),
    (
        "For the casserole, chipped on arrival, Sade wanted a new one, declined green and took 96.",
        ["For the casserole, chipped on arrival, Sade wanted a new one.", "Sade declined green.", "Sade took 96."],
    ),
    (
        "Enzo named the street, could open a dispute, and gave 60 days.",
        ["Enzo named the street.", "Enzo could open a dispute.", "Enzo gave 60 days."],
    ),
    (
        "The clerk said that the form was missing, and the customer promised to bring the form.",
        ["The clerk said that the form was missing.", "The customer promised to bring the form."],
    ),
    (
        "Jana said that the fee was waived and the account was open.",
        ["Jana said that the fee was waived.", "Jana said that the account was open."],
    ),
    (
        "Nadia explained the lines and refused a waiver.",
        ["Nadia explained the lines.", "Nadia refused a waiver."],
    ),
]
ENGLISH_WHOLE = [
    "Choir Office asked for two more places, a coach of its own and room for a double bass.",
    "A customer reported that the parcel was marked as delivered to number 31, an empty house, and had not arrived.",
    "The parcel was lost and damaged.",
    "The order had been paid and sent.",
    "If the doctor cannot get it out, a letter follows and the parents are told.",
    "Because the bus had gone, Ann took a taxi and asked for 21 pounds.",
    "The agent asked whether the light was on and how long it had been so.",
    "Henrik decided to keep the gift, and to stop the other one.",
    "The caller asked what the chain would cost and who would pay.",
    "Delivery is free and the rest of 4500.",
    "Ann pays 30 if the lamp is on and the door was open.",
    "Dr. Lee wants a sample at 5 p.m. on Monday, May 4, and two more.",
    "Tom and Ann agreed.",
    "Jana explained the fee and the conditions.",
    "Jana said that the fee was waived and promised a letter.",
    "Norb told Sahra that the clamp was loose and smelled.",
]
CHINESE = [
    ("用户询问退款。", ["用户询问退款。"]),
    ("用户询问退款。客服表示歉意。", ["用户询问退款。", "客服表示歉意。"]),
    (
        "顾客反映水煮鱼送来是特辣，还少1份米饭，要求全退。",
        ["顾客反映水煮鱼送来是特辣，还少1份米饭。", "顾客要求全退。"],
    ),
    (
        "商家不同意全退，平台客服先后提出重做和优惠券，顾客最后接受现金20元。",
        ["商家不同意全退。", "平台客服先后提出重做和优惠券。", "顾客最后接受现金20元。"],
    ),
    (
        "用户承认用40度机洗，选择补线并问运费和地址。",
        ["用户承认用40度机洗。", "用户选择补线。", "用户问运费和地址。"],
    ),
    ("顾客要求全退，并请平台不要扣骑手的分。", ["顾客要求全退。", "顾客请平台不要扣骑手的分。"]),
    (
        "骑手阿荣反映等餐久，要求免扣；粿条老林同意限单试两周；虾饼杜嫂说骑手坐不了货梯，同意放柜子。",
        [
            "骑手阿荣反映等餐久。",
            "骑手阿荣要求免扣。",
            "粿条老林同意限单试两周。",
            "虾饼杜嫂说骑手坐不了货梯。",
            "虾饼杜嫂同意放柜子。",
        ],
    ),
    (
        "老褚说明停卡会失去39的集团价，拒绝改起订数，当天提交4451。",
        ["老褚说明停卡会失去39的集团价。", "老褚拒绝改起订数。", "老褚当天提交4451。"],
    ),
    (
        "豆豆麻麻改买布洛芬，更正孩子体重是14公斤；在线药师说一次4毫升。",
        ["豆豆麻麻改买布洛芬。", "豆豆麻麻更正孩子体重是14公斤。", "在线药师说一次4毫升。"],
    ),
    (
        "小葛教苏老板把模板宽度改成40，说基础版不能导归档，申请了三天试用。",
        ["小葛教苏老板把模板宽度改成40。", "小葛说基础版不能导归档。", "小葛申请了三天试用。"],
    ),
    (
        "坐席先说登同一个账号就能看；会员儿子付了七十。",
        ["坐席先说登同一个账号就能看。", "会员儿子付了七十。"],
    ),
    (
        "来电人替侄子申请三万的救助，说侄子上个月满十八，要求通融。",
        ["来电人替侄子申请三万的救助。", "来电人说侄子上个月满十八。", "来电人要求通融。"],
    ),
    (
        "圆圆改了地址和备注，换了师傅，改约当天两点四十到四点。",
        ["圆圆改了地址和备注。", "圆圆换了师傅。", "圆圆改约当天两点四十到四点。"],
    ),
    (
        "老邢问采暖补贴为何没到，反映认证刷脸过不去，最后打算去问社区。",
        ["老邢问采暖补贴为何没到。", "老邢反映认证刷脸过不去。", "老邢最后打算去问社区。"],
    ),
    ("客服建议报警，而且答应周四打电话。", ["客服建议报警。", "客服答应周四打电话。"]),
]
CHINESE_WHOLE = [
    "因用户在外地，客服安排次日上午派送上门。",
    "行政小鲁要停4415、4451、4514三张卡。",
    "住校过冬的会议上，龙校长说空气能七号前修好。",
    "客服说如果订单取消，要求退款须三天内提出。",
    "商家说没有检测报告不能退，只能免费补一次线。",
    "原来两样取消，退46.3元。",
    "票务阿妮说松茸可以，干冰要提前申报，来不及了。",
    "行李直挂上海，在成都不用管。",
    "4451停机保号，一个月5块，最多停6个月。",
    "火烧铺按8块5一个算80个680，粥两桶120，保温桶用完要还。",
    "寄来的运费由用户先付，最多返15元。",
    "三门柜由来电人自己拆好，电视自己装箱。",
    "客服说明三天内到账，否则要求用户再来电。",
    "一并退款。",
]


def texts(summary, language):
    return [one.text for one in split_statements(summary, language)]


@pytest.mark.parametrize(("summary", "expected"), [*ENGLISH, *((one, [one]) for one in ENGLISH_WHOLE)])
def test_an_english_summary_is_split_where_each_side_has_its_verb(summary, expected):
    assert texts(summary, "en") == expected


@pytest.mark.parametrize(("summary", "expected"), [*CHINESE, *((one, [one]) for one in CHINESE_WHOLE)])
def test_a_chinese_summary_is_split_where_each_side_has_its_verb(summary, expected):
    assert texts(summary, "zh") == expected


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("Jana called. She left.", ["Jana called.", "Jana called. She left."]),
        ("Jana called. It was late.", ["Jana called.", "Jana called. It was late."]),
        ("Jana called. Tom sent his keys.", ["Jana called.", "Jana called. Tom sent his keys."]),
        ("Jana called. Tom said that it was late.", ["Jana called.", "Tom said that it was late."]),
        (
            "Jana called. Tom left, and she stayed. Ann laughed.",
            ["Jana called.", "Tom left.", "Tom left. She stayed.", "Ann laughed."],
        ),
        ("She left.", ["She left."]),
        ("Dariusz.M. paid 40. He left.", ["Dariusz.M. paid 40.", "Dariusz.M. paid 40. He left."]),
        ("It is J.R. Lee. Ann laughed at noon.", ["It is J.R. Lee.", "Ann laughed at noon."]),
    ],
)
def test_a_statement_with_a_pronoun_has_the_text_before_it_in_front(summary, expected):
    assert texts(summary, "en") == expected


def test_a_chinese_statement_with_a_pronoun_has_the_text_before_it_in_front():
    assert texts("小鲁要停卡。客服请他等。", "zh") == ["小鲁要停卡。", "小鲁要停卡。客服请他等。"]
    assert texts("小鲁要停卡。这张卡没用。", "zh")[1] == "小鲁要停卡。这张卡没用。"
    assert texts("小鲁要停卡。其他卡没用。", "zh")[1] == "其他卡没用。"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_statements_of_the_open_set_cover_their_summaries_in_order(language):
    for dialogue in read_dialogues(f"sample:dialogues-{language}-test"):
        for summary in (text for several in dialogue.summaries.values() for text in several):
            spans = split_statements(summary, language)
            assert spans and spans[-1].end == len(summary.rstrip())
            for one, following in pairwise(spans):
                between = summary[one.end : following.start].strip(" ,;，；")
                assert one.start < one.end <= following.start and between in ("", "and", "but")
            assert all(one.text[-1] in ".!?。！？\"'”" for one in spans)


@pytest.mark.parametrize(
    ("piece", "language"),
    [
        ("and it was late, ", "en"),
        ("Ann asked that it was, and left. ", "en"),
        ("1号1点", "zh"),
        ("，并说要退", "zh"),
        ("用户不会再说，要退。", "zh"),
    ],
)
def test_a_summary_is_split_in_time_linear_in_it(piece, language):
    def split(given):
        return split_statements(given, language)

    # A sentence that is split, within a moment, by the square of its length; and one that is too long for it.
    assert_linear(split, lambda count: piece * count, 900 // len(piece), noise=0.5)
    assert_linear(split, lambda count: piece * count, 2_000)


@pytest.mark.parametrize(
    ("summary", "language"),
    [
        ("; Tom asked.", "en"),
        (", ; Tom asked.", "en"),
        ('" ; Tom asked.', "en"),
        ("、、、；客服表示歉意。", "zh"),
        ("客服表示歉意；、、、", "zh"),
    ],
)
def test_marks_without_a_word_are_no_statement(summary, language):
    (one,) = split_statements(summary, language)
    assert (one.start, one.end) == (0, len(summary))


def test_an_empty_summary_has_no_statements():
    assert split_statements(" \n", "en") == []
