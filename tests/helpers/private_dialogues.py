"""Seeded dialogues in English, Chinese and German that say personal data, and say it again in other forms and turns."""

import random
import string
from dataclasses import dataclass, field

from rolesum.dialogue import Dialogue, Turn

WORDS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
}
HAN = "零一二三四五六七八九"


@dataclass
class Planted:
    """A dialogue, the values that were said in it (as digits, or as words), and the texts that must stay."""

    dialogue: Dialogue
    digits: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    public: list[str] = field(default_factory=list)


def _digits(rng: random.Random, pattern: str) -> str:
    """# is any digit, + is one from 2 to 9."""
    return "".join(
        str(rng.randrange(10)) if c == "#" else str(rng.randrange(2, 10)) if c == "+" else c for c in pattern
    )


def _luhn(body: str) -> str:
    doubled = [int(d) * (2 if place % 2 == 0 else 1) for place, d in enumerate(reversed(body))]
    return body + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


def _iban(country: str, account: str) -> str:
    number = int("".join(str(int(c, 36)) for c in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02}{account}"


# country code, zero before the national number, the shapes of the national number
PHONES = [
    ("1", "", ["+##-+##-####", "(+##) +##-####", "+##.+##.####", "+## +## ####"]),
    ("44", "0", ["7### ######", "7### ### ###", "20 7### ####"]),
    ("49", "0", ["15# ########", "30 ########", "89/#######", "176-########"]),
    ("86", "", ["13# #### ####", "159########", "188-####-####"]),
    ("41", "0", ["79 ### ## ##", "44 66# ## ##"]),
    ("43", "0", ["664 #######", "1 58### ##"]),
    ("39", "", ["347 ### ####", "338 #######"]),
    ("33", "0", ["6 ## ## ## ##", "1 4# ## ## ##"]),
    ("34", "", ["61# ### ###"]),
    ("31", "0", ["6-########", "20 ### ####"]),
    ("61", "0", ["412 ### ###"]),
    ("81", "0", ["90-####-####"]),
]

CUES = {
    "en": {
        "phone": [
            "You can call me at {}.",
            "My number is {}",
            "my cell: {}",
            "Please text me on {}, thanks",
            "Phone {}.",
        ],
        "account": [
            "My account number is {}.",
            "customer number {}",
            "It's account {}",
            "My member ID is {}.",
            "policy no. {}",
        ],
        "order": [
            "My order number is {}",
            "order #{}",
            "It's about booking reference {}.",
            "The tracking number: {}",
            "invoice no {}",
        ],
        "card": ["My card is {}.", "Card number: {}", "please charge {}"],
        "iban": ["My IBAN is {}.", "Send it to {}", "Refund to IBAN {} please"],
        "email": ["My e-mail is {}", "Write to {}.", "it's {}, all small letters"],
        "id": ["My SSN is {}.", "social security number {}"],
        "pin": ["My PIN is {}.", "the pin code is {}", "PIN: {}"],
        "password": ["The password is {}", "password: {}", "My password is {}."],
        "born": ["My date of birth is {}.", "I was born on {}", "DOB: {}"],
        "address": ["I live at {}.", "My address is {}.", "Ship it to {}"],
    },
    "zh": {
        "phone": ["我的电话是{}", "手机号：{}", "请打{}，我的手机", "联系方式{}"],
        "account": ["我的账号是{}", "客户号{}", "会员号：{}", "户号是{}"],
        "order": ["订单号{}", "我的订单号是{}", "快递单号：{}"],
        "card": ["银行卡号是{}", "卡号{}"],
        "iban": ["IBAN是{}", "我的账户是{}"],
        "email": ["我的邮箱是{}", "邮箱：{}"],
        "id": ["我的身份证号是{}", "身份证{}"],
        "pin": ["验证码是{}", "密码：{}", "支付密码是{}"],
        "password": ["密码是{}", "我的密码：{}"],
        "born": ["我的生日是{}", "出生日期：{}"],
        "address": ["我住在{}", "地址是{}", "请送到{}"],
    },
    "de": {
        "phone": ["Meine Telefonnummer ist {}.", "Sie erreichen mich unter {}", "Handy: {}", "Bitte rufen Sie {} an"],
        "account": [
            "Meine Kundennummer ist {}.",
            "Kontonummer {}",
            "Vertragsnummer: {}",
            "Die Mitgliedsnummer lautet {}",
        ],
        "order": ["Die Bestellnummer ist {}.", "Auftragsnummer {}", "Bestellung {}", "Rechnungsnummer: {}"],
        "card": ["Meine Kreditkarte ist {}.", "Kartennummer: {}"],
        "iban": ["Meine IBAN lautet {}.", "Bitte auf {} überweisen"],
        "email": ["Meine E-Mail ist {}", "Schreiben Sie an {}."],
        "id": ["Meine Steuer-ID ist {}.", "Sozialversicherungsnummer {}"],
        "pin": ["Die PIN ist {}.", "PIN: {}"],
        "password": ["Das Passwort ist {}", "Passwort: {}"],
        "born": ["Ich bin am {} geboren.", "Mein Geburtsdatum ist {}", "geboren am {}"],
        "address": ["Ich wohne in der {}.", "Meine Adresse ist {}.", "Bitte an {} schicken"],
    },
}
QUESTIONS = {
    "en": {
        "phone": "What is your phone number?",
        "account": "Could you give me your account number?",
        "order": "And the order number, please?",
    },
    "zh": {"phone": "请问您的电话号码是多少？", "account": "您的账号是多少？", "order": "请提供一下订单号"},
    "de": {
        "phone": "Wie ist Ihre Telefonnummer?",
        "account": "Wie lautet Ihre Kundennummer?",
        "order": "Und die Bestellnummer bitte?",
    },
}
AGAIN = {
    "en": [
        "Let me repeat: {}",
        "So that is {}, right?",
        "I have {} here.",
        "{}",
        "Yes, {}, correct.",
        "It says {} on my screen, {}.",
    ],
    "zh": ["我再说一遍：{}", "是{}对吗？", "{}", "好的，{}，没错", "我这边显示{}"],
    "de": ["Ich wiederhole: {}", "Also {}, richtig?", "{}", "Ja, {}, genau.", "Hier steht {}."],
}
PUBLIC = {
    "en": [
        "It cost $1,299.00 on 3 March 2021.",
        "See you at 10:30 on Friday, May 7.",
        "The XPS 9310 has 16 GB and costs 45 euros.",
        "In 2019 we had 250 guests.",
    ],
    "zh": [
        "一共1299.00元，2021年3月5日买的。",
        "明天上午10:30可以吗？",
        "这款手机有256GB，型号X2000。",
        "商品编号：100012345",
    ],
    "de": [
        "Das kostet 1.299,00 € seit dem 3. März 2021.",
        "Bis Freitag um 10:30 Uhr.",
        "Das Modell 9310 hat 16 GB.",
        "2019 waren es 250 Gäste.",
    ],
}
FILLER = {
    "en": ["Okay.", "One moment please.", "Thank you so much!", "Sorry, I did not get that."],
    "zh": ["好的", "请稍等", "谢谢您", "不好意思，没听清"],
    "de": ["Alles klar.", "Einen Moment bitte.", "Vielen Dank!", "Das habe ich nicht verstanden."],
}
SPEAKERS = {
    "en": [("Anna", "Tom"), ("Customer", "Agent"), ("Priya Shah", "Marcus")],
    "zh": [("王小明", "李雷"), ("用户", "客服")],
    "de": [("Jürgen", "Sabine Krause"), ("Customer", "Agent")],
}
MONTHS = {
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "de": [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
}


class _Writer:
    def __init__(self, rng: random.Random, language: str) -> None:
        self.rng, self.language = rng, language
        self.found = Planted(Dialogue("x", ()))
        self.turns: list[tuple[int, str]] = []
        self.who = 0

    def say(self, text: str, who: int | None = None) -> None:
        self.who = self.rng.randrange(2) if who is None else who
        self.turns.append((self.who, text))

    def plant_number(self, kind: str, digits: str, first: str, more: list[str] | tuple[str, ...] = ()) -> None:
        """Say a number by its cue, then again in other forms; `more` are other ways to write it."""
        rng, language = self.rng, self.language
        self.found.digits.append(digits)
        asked = QUESTIONS[language].get(kind)
        if asked and rng.random() < 0.3:
            self.say(asked, 1)
            self.say(rng.choice(["{}", "{}."]).format(first), 0)
        else:
            self.say(rng.choice(CUES[language][kind]).format(first))
        for _ in range(rng.randint(1, 2)):
            if rng.random() < 0.3:
                self.say(rng.choice(FILLER[language]))
            self.say_again(digits, more)

    def say_again(self, digits: str, more: list[str] | tuple[str, ...]) -> None:
        rng, language = self.rng, self.language
        if len(digits) >= 7 and rng.random() < 0.2:
            cut = rng.randrange(3, len(digits) - 2)
            who = rng.randrange(2)
            self.say(
                rng.choice(["{}", "First {}", "{}..."] if language != "zh" else ["{}", "先是{}"]).format(digits[:cut]),
                who,
            )
            if rng.random() < 0.5:
                self.say(rng.choice(FILLER[language]), 1 - who)
            self.say(
                rng.choice(["{}", "then {}", "{}."] if language != "zh" else ["{}", "然后{}"]).format(digits[cut:]), who
            )
            return
        forms = [
            digits,
            *more,
            " ".join(digits),
            "-".join(digits),
            "".join(chr(ord(d) + 0xFEE0) for d in digits),
            f"({digits})",
        ]
        for separator in " -./":
            if len(digits) >= 7:
                forms.append(separator.join(digits[at : at + 4] for at in range(0, len(digits), 4)))
                forms.append(separator.join(digits[at : at + 3] for at in range(0, len(digits), 3)))
        if len(digits) >= 7:
            forms += [f"ID{digits}", f"tel:{digits}", f"ref_{digits}", f"#{digits}", f"{digits}x", ", ".join(digits)]
        if language == "zh":
            forms += ["".join(HAN[int(d)] for d in digits), "".join(HAN[int(d)] for d in digits).replace("一", "幺")]
        else:
            forms.append(" ".join(WORDS[language][int(d)] for d in digits))
        self.say(rng.choice(AGAIN[language]).replace("{}", rng.choice(forms)))

    def plant_words(self, kind: str, text: str, more: list[str]) -> None:
        rng = self.rng
        self.found.words.append(text)
        self.say(rng.choice(CUES[self.language][kind]).format(text))
        for _ in range(rng.randint(1, 3)):
            self.say(rng.choice(AGAIN[self.language]).replace("{}", rng.choice([text, *more])))

    def phone(self) -> None:
        rng = self.rng
        code, zero, shapes = rng.choice(PHONES)
        national = _digits(rng, rng.choice(shapes))
        digits = "".join(filter(str.isdigit, national))
        forms = [zero + national, f"+{code} {national}", f"00{code} {national}", f"+{code}{digits}", zero + digits]
        if zero:
            forms.append(f"+{code} (0){national}")
        self.plant_number("phone", digits, rng.choice(forms), forms)

    def account(self) -> None:
        digits = _digits(self.rng, "+" + "#" * self.rng.randint(6, 10))
        self.plant_number(self.rng.choice(["account", "order"]), digits, digits)

    def card(self) -> None:
        digits = _luhn(_digits(self.rng, self.rng.choice(["4" + "#" * 14, "51" + "#" * 13, "37" + "#" * 12])))
        first = self.rng.choice(" -./").join(digits[at : at + 4] for at in range(0, len(digits), 4))
        self.plant_number("card", digits, self.rng.choice([digits, first]))

    def pin(self) -> None:
        digits = _digits(self.rng, "3" + "#" * self.rng.randint(3, 5))
        self.plant_number("pin", digits, digits)

    def identity(self) -> None:
        digits = _digits(
            self.rng, {"en": "5##-+#-1###", "zh": "3201011985010#####", "de": "+#########1"}[self.language]
        )
        self.plant_number("id", "".join(filter(str.isdigit, digits)), digits, [digits])

    def iban(self) -> None:
        number = _iban("DE", _digits(self.rng, "#" * 18))
        spaced = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
        self.plant_words(
            "iban",
            self.rng.choice([number, spaced]),
            [number, spaced, spaced.replace(" ", "-"), number.lower(), " ".join(number)],
        )

    def email(self) -> None:
        rng = self.rng
        name = "".join(rng.choices(string.ascii_lowercase, k=6)) + rng.choice(["", ".b", "_4", "+x"])
        host = rng.choice(
            [
                "mail.example",
                "bücher.example",
                "post.example.co.uk",
                "例子.公司" if self.language == "zh" else "firma.example",
            ]
        )
        text = f"{name}@{host}"
        wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
        self.plant_words(
            "email",
            text,
            [text.upper(), wide, f"<{text}>", f"mailto:{text}", text.replace("@", " @ "), text.replace("@", "(at)")],
        )

    def password(self) -> None:
        text = (
            "".join(self.rng.choices(string.ascii_letters, k=5))
            + _digits(self.rng, "##")
            + self.rng.choice(["!", "#k", "xY", "_z"])
        )
        self.plant_words("password", text, [text.upper(), text.lower(), f'"{text}"'])

    def born(self) -> None:
        rng = self.rng
        day, month, year = rng.randint(13, 28), rng.randint(1, 12), rng.randint(1940, 2004)
        forms = [f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{day}/{month}/{year}"]
        if self.language == "zh":
            forms += [f"{year}年{month}月{day}日", f"{year}年{month:02}月{day}号"]
        else:
            name = MONTHS[self.language][month - 1]
            forms += (
                [f"{day}. {name} {year}"]
                if self.language == "de"
                else [f"{day} {name} {year}", f"{name} {day}, {year}"]
            )
        first = rng.choice(forms)
        self.plant_words("born", first, forms)
        self.found.words += [form for form in forms if form != first]

    def address(self) -> None:
        rng, number = self.rng, self.rng.randint(2, 180)
        if self.language == "en":
            text = f"{number} {rng.choice(['Maple', 'Old Mill', 'Church'])} {rng.choice(['Street', 'Road', 'Avenue'])}"
            more = [text.lower(), text.upper(), text.replace("Street", "St")]
        elif self.language == "de":
            text = f"{rng.choice(['Lindenstraße', 'Goethestraße', 'Birkenweg'])} {number}"
            more = [text.lower(), text.upper(), text.replace("straße", "str.")]
        else:
            text = f"{rng.choice(['朝阳区', '杭州市西湖区'])}{rng.choice(['建国路', '文三路'])}{number}号"
            more = [text, text[text.index("区") + 1 :]]
        self.plant_words("address", text, more)


def private_dialogue(seed: int) -> Planted:
    """A dialogue of its seed, in one of the three languages, with one or two values."""
    rng = random.Random(seed)
    language = rng.choice(["en", "zh", "de"])
    writer = _Writer(rng, language)
    labels = rng.choice(SPEAKERS[language])
    writer.say(rng.choice(FILLER[language]), 0)
    writer.say(rng.choice(FILLER[language]), 1)
    plants = [
        writer.phone,
        writer.phone,
        writer.account,
        writer.account,
        writer.card,
        writer.pin,
        writer.identity,
        writer.iban,
    ]
    plants += [writer.email, writer.password, writer.born, writer.address]
    for plant in rng.sample(plants, rng.choice([1, 1, 2])):
        writer.say(public := rng.choice(PUBLIC[language]))
        writer.found.public.append(public)
        plant()
    for label in labels:
        if label not in ("Customer", "Agent", "用户", "客服"):
            for name in label.split():
                writer.found.words.append(name)
                writer.say(rng.choice([f"{name}?", f"{name.lower()}!", f"{name.upper()}.", f"Hi {name}"]))
    turns = tuple(Turn(labels[who], text) for who, text in writer.turns)
    writer.found.dialogue = Dialogue(str(seed), turns, summaries={"overall": (writer.turns[-1][1], writer.turns[1][1])})
    return writer.found
