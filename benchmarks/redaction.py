"""Measures what redaction misses: made-up personal data, planted into dialogues, that it leaves in the text.

Into each dialogue one value of one kind is planted: told with its word ("My phone number is …"), given as the answer to
a question of the turn before, or said in passing, without a word for it. It is missed where the redacted turns still
have it, or four characters of it in a row (of an address: its street's name or number). Values are Faker's, drawn with
a seed; so are the places. The masks of the same dialogues without anything planted are counted too: the dialogues are
invented, but have phone and order numbers of their own, so that these are not all wrong.
"""

import random
import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from faker import Faker
from record import Job, arguments, probe, write_record

from rolesum.dialogue import Dialogue, Turn
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.metrics.bootstrap import bootstrap_intervals, ratio
from rolesum.redaction import redact

NAME = "redaction"
LANGUAGES = {"en": ("en_US", "en_GB"), "zh": ("zh_CN",)}
SEED = 1
WAYS = ("told", "asked", "in passing")
BRITISH = Faker("en_GB")
OTHERS = "third person"  # masked only where it is asked for
RUN = 4  # characters in a row of a value that give it away

# kind -> language -> how it is told, asked for, and said in passing; {} is the value.
CARRIERS: dict[str, dict[str, tuple[str, str, str]]] = {
    "phone": {
        "en": ("My phone number is {}.", "What number can we reach you at?", "Ring {} after six, I'm at work."),
        "zh": ("我的手机号是{}。", "您的联系电话是多少？", "六点以后打{}，之前我在上班。"),
    },
    "email": {
        "en": ("My e-mail address is {}.", "Which e-mail should I send it to?", "Send it to {} and I will print it."),
        "zh": ("我的邮箱是{}。", "请问发到哪个邮箱？", "发到{}就行，我自己打印。"),
    },
    "card": {
        "en": ("My card number is {}.", "Which card was it charged to?", "I always pay with {} and nothing else."),
        "zh": ("我的卡号是{}。", "请问扣的是哪张卡？", "我一直用{}付的，没换过。"),
    },
    "id": {
        "en": ("My social security number is {}.", "What is your social security number?", "It is {} on the form."),
        "zh": ("我的身份证号是{}。", "麻烦报一下您的身份证号。", "表上写的是{}。"),
    },
    "iban": {
        "en": ("My IBAN is {}.", "Which account should the refund go to?", "Pay it back to {} please."),
        "zh": ("我的IBAN是{}。", "退款打到哪个账户？", "退到{}就好。"),
    },
    "order": {
        "en": ("My order number is {}.", "Do you have the order number?", "It says {} on the slip."),
        "zh": ("我的订单号是{}。", "您的订单号是多少？", "单子上写着{}。"),
    },
    "policy": {
        "en": ("My policy number is {}.", "What is your policy number?", "It says {} on the certificate."),
        "zh": ("我的保单号是{}。", "您的保单号是多少？", "保单上印着{}。"),
    },
    "birth": {
        "en": ("My date of birth is {}.", "And your date of birth?", "I was born on {}, so I should get it."),
        "zh": ("我的出生日期是{}。", "您的出生日期是？", "我是{}出生的，应该够条件。"),
    },
    "address": {
        "en": ("My address is {}.", "Where should we deliver it?", "Bring it to {}, I am in all day."),
        "zh": ("我的地址是{}。", "送到哪里？", "送到{}吧，我一天都在。"),
    },
    "plate": {
        "en": ("My license plate is {}.", "What is the plate of the car?", "It is the gray one, {}, by the gate."),
        "zh": ("我的车牌是{}。", "车牌号是多少？", "就是门口那辆灰的，{}。"),
    },
    OTHERS: {
        "en": ("My neighbor is called {}.", "Who took the parcel?", "It was {} who signed for it."),
        "zh": ("我邻居叫{}。", "包裹是谁收的？", "是{}签收的。"),
    },
}

# Other words for the same, written after the rules; those for Chinese addresses and plates were widened after a look.
UNSEEN: dict[str, dict[str, tuple[str, str, str]]] = {
    "phone": {
        "en": ("You can get hold of me under {}.", "Is there a number for the driver?", "I texted from {} yesterday."),
        "zh": ("有事就打我电话{}。", "司机怎么联系您？", "昨天是用{}发的短信。"),
    },
    "iban": {
        "en": ("Here's the IBAN: {}.", "Could you give me the bank details?", "The money should land on {} by Friday."),
        "zh": ("IBAN号码：{}。", "麻烦提供一下收款账户。", "钱周五前打进{}。"),
    },
    "address": {
        "en": (
            "The parcel goes to this address: {}.",
            "Could you confirm the delivery address for me?",
            "We've moved, it's {} now.",
        ),
        "zh": ("收货地址改一下，{}。", "麻烦说一下您的详细地址。", "我们搬家了，现在是{}。"),
    },
    "plate": {
        "en": ("{}, that's our plate number.", "Which car is it, what's on the tag?", "Mine is {}, second row."),
        "zh": ("车牌{}，白色的。", "报一下车牌。", "我那辆{}停在第二排。"),
    },
    OTHERS: {
        "en": ("My sister {} will pick it up.", "What's the name of the tenant?", "I gave the keys to {} on Monday."),
        "zh": ("{}女士会去取。", "租客叫什么名字？", "周一我把钥匙给了{}。"),
    },
}


def values(fake: Faker, drawn: random.Random, language: str) -> dict[str, Callable[[], str]]:
    """What makes a value of each kind."""

    def birth() -> str:
        day = fake.date_of_birth(minimum_age=18, maximum_age=90)
        return f"{day.year}年{day.month}月{day.day}日" if language == "zh" else f"{day:%B} {day.day}, {day.year}"

    def identity() -> str:
        number = fake.ssn()
        if not number.startswith("ZZ"):
            return number
        # nobody's British number begins with ZZ or ends with T
        return drawn.choice(("AB", "JK", "SR", "WL")) + number[2:-1] + drawn.choice("ABCD")

    def spaced(number: str) -> str:
        return " ".join(number[place : place + 4] for place in range(0, len(number), 4))

    return {
        "phone": fake.phone_number,
        "email": fake.email,
        "card": lambda: spaced(fake.credit_card_number(card_type="mastercard")),
        "id": identity,
        "iban": lambda: spaced(BRITISH.iban()),  # Faker's Chinese ones have the length of no country's
        "order": lambda: fake.bothify(drawn.choice(("########", "??-######", "###-#######")), letters="ABCDEFGHKLM"),
        "policy": lambda: fake.bothify(drawn.choice(("??########", "P-#########")), letters="ABCDEFGHKLM"),
        "birth": birth,
        "address": lambda: fake.street_address().replace("\n", " "),
        "plate": fake.license_plate,
        OTHERS: lambda: re.sub(r"^(?:Mr|Mrs|Ms|Miss|Dr)\.? ", "", fake.name()),
    }


def main() -> int:
    options = _options()
    rows = []
    for language in LANGUAGES:
        dialogues = read_dialogues(f"sample:dialogues-{language}-train", ReadOptions(limit=options.limit))
        rows += planted_rows(dialogues, language, CARRIERS)
        rows += planted_rows(dialogues, language, UNSEEN, "other words")
        rows.append(unplanted_row(dialogues, language))
    settings = {"limit": options.limit, "seed": SEED, "ways": WAYS, "characters": RUN}
    missed = {
        f"missed_{row['language']}_{row['kind']}".replace(", ", "_").replace(" ", "_"): row.get("missed")
        for row in rows
    }
    headline = {name: share for name, share in missed.items() if share is not None}
    machine = probe("cpu", "float32", base="smollm2-135m")
    shown = ("language", "kind", "planted", "missed", "missed_95%", *WAYS, "masks", "per_1000_words")
    write_record(NAME, machine, settings, rows, headline, options.results, shown)
    return 0


def planted_rows(
    dialogues: list[Dialogue], language: str, wordings: dict[str, dict[str, tuple[str, str, str]]], note: str = ""
) -> list[Job]:
    """For each kind, the share of the planted values that redaction leaves, over all ways and for each."""
    rows: list[Job] = []
    for kind, carriers in wordings.items():
        drawn = random.Random(f"{SEED} {language} {kind}")
        fakes = [Faker(locale) for locale in LANGUAGES[language]]
        BRITISH.seed_instance(f"{SEED} {language}")
        for place, fake in enumerate(fakes):
            fake.seed_instance(f"{SEED} {language} {kind} {place}")
        missed: list[tuple[str, bool]] = []
        for number, dialogue in enumerate(dialogues):
            fake = fakes[number % len(fakes)]
            value, way = values(fake, drawn, language)[kind](), WAYS[number % len(WAYS)]
            turns, place = planted(dialogue, carriers[language], value, way, drawn)
            seen = redact(replace(dialogue, turns=turns), people=kind == OTHERS).dialogue
            missed.append((way, is_left(value, seen.turns[place].text, kind)))
        whole = ratio([int(left) for _, left in missed], [1] * len(missed))
        interval = bootstrap_intervals({"missed": whole})["missed"] or (0.0, 0.0)
        by_way = {
            way: round(100 * sum(left for of, left in missed if of == way) / sum(of == way for of, _ in missed), 1)
            for way in WAYS
        }
        rows.append(
            {
                "language": language,
                "kind": f"{kind}, {note}" if note else kind,
                "planted": len(missed),
                "missed": round(whole.value, 1),
                "missed_95%": [round(one, 1) for one in interval],
                **by_way,
            }
        )
    return rows


def planted(
    dialogue: Dialogue, carriers: tuple[str, str, str], value: str, way: str, drawn: random.Random
) -> tuple[tuple[Turn, ...], int]:
    """The dialogue's turns with the value among them, and the place of the turn that has it."""
    first, second = (dialogue.speakers() * 2)[:2]
    told, asked, passing = carriers
    new = {
        "told": [Turn(first, told.format(value))],
        "asked": [Turn(second, asked), Turn(first, value)],
        "in passing": [Turn(first, passing.format(value))],
    }[way]
    place = drawn.randint(1, len(dialogue.turns))
    return (*dialogue.turns[:place], *new, *dialogue.turns[place:]), place + len(new) - 1


def is_left(value: str, text: str, kind: str) -> bool:
    """Whether a text still gives the value away."""
    if kind in ("address", "birth"):
        if not value.isascii():
            return value in text
        words = re.findall(r"\d+|[^\W\d_]{4,}", value)
        return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in words)
    if kind == OTHERS:
        return value in text or any(word in text for word in value.split() if len(word) > 3)
    plain, seen = (re.sub(r"\W", "", one).lower() for one in (value, re.sub(r"\[[A-Z]+_\d+\]", " ", text)))
    return any(plain[start : start + RUN] in seen for start in range(len(plain) - RUN + 1))


def unplanted_row(dialogues: list[Dialogue], language: str) -> Job:
    """How many values redaction masks in the dialogues as they are, by kind."""
    kinds: Counter[str] = Counter()
    for dialogue in dialogues:
        kinds.update(re.sub(r"[\[\]\d_]", "", one).lower() for one in redact(dialogue).values)
    words = sum(
        len(turn.text) if language == "zh" else len(turn.text.split()) for one in dialogues for turn in one.turns
    )
    masks = sum(count for kind, count in kinds.items() if kind != "name")
    return {
        "language": language,
        "kind": "nothing planted",
        "masks": dict(kinds.most_common()),
        "per_1000_words": round(1000 * masks / words, 2),
    }


def _options() -> Namespace:
    parser = arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--limit", type=int, default=150, help="dialogues of each language")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
