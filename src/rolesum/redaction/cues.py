"""Numbers, codes and passwords that a word announces: "account 12345678", "Kundennummer: 4711-0815", 密码是abc123.

The word stands before the value, or in the question that the value answers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rolesum.redaction import phones
from rolesum.redaction.plain import lower

# A code with digits: 12345678, 1234 5678, AB-123456, 3.14.15; and digits one by one, 1 2 3 4.
_CODE = (
    r"(?:\d(?:[ ,.-]{1,2}\d(?!\w)){3,}|[A-Za-z]{0,6}[-_]?\d[\dA-Za-z]*(?:[-./_][\dA-Za-z]+|[ ]\d{2,}(?!\w|[.,:/]\d"
    r"| ?[%€$£元个]))*)"
)
_RIGHT = r"(?![\dA-Za-z%]|[.,:/]\d| ?(?:€|\$|£|元|块|euros?\b|dollars?\b|pounds?\b|usd\b|eur\b))"
_NO_AMOUNT = r"(?<![\w$€£¥])(?<!\d[.,:/-])"

# Numbers of products and places, and others that identify nobody.
_PUBLIC = (
    r"product|products|model|item|items|part|article|artikel|produkt|modell?|sku|style|room|zimmer|gate|flight|flug"
    r"|bus|train"
    r"|line|linie|version|page|size|seat|lane|house|haus|street|apartment|apt|unit|floor|platform|gleis|channel"
    r"|build|error|kb|mode"
    r"|prime|atomic|lot|batch|isbn|ean|upc|asin|zip|postcode|post|big|large|small|total|certain|good|great|huge|same"
    r"|whole|in"
)
_PHONES = (
    r"phone|telephone|mobile|cell|cellphone|telefon|handy|mobil|ruf|rückruf|fax|tel|contact|whatsapp|office|home|work"
    r"|alternate|registered|callback"
)
_NOT_SAID = r"my|the|his|her|your|our|their|this|that|an?|is|new|old|other|another|right|wrong|same|of|on|council"
_NUMBER = r"(?:numbers?|num|no\.?|nr\.?|nbr|ids?|code|#|№)"
_DE_NUMBER = r"-?(?:nummern?|nr\.?|id|code|zeichen)"

_ID = (
    r"(?:(?<![a-z])(?:passport|social security|social insurance|ssn|itin|ein|sin|tin|tax(?:payer)?"
    r"|national insurance|nino|ni|nhs"
    r"|medicare|medicaid|driv(?:er'?s?|ing) licen[cs]e|identity(?: card)?|id card|identification|visa"
    rf"|vat)(?: {_NUMBER}|(?![a-z]))(?! {_NUMBER})"
    rf"|(?<![a-zäöüß])(?:steuer|steueridentifikations|sozialversicherungs|rentenversicherungs|personalausweis|ausweis"
    rf"|reisepass|pass"
    rf"|führerschein|krankenversicherten|versicherten|umsatzsteuer|ahv|uid){_DE_NUMBER}"
    r"|(?<![a-z])(?:codice fiscale|partita iva|dni|nie|nif|cif|bsn|pesel|nip|insee|ahv|cpf|cnpj|curp|aadhaar"
    r"|pan card|personnummer|cpr)"
    r"(?![a-z])"
    r"|身份证号?码?|护照号?码?|社保号?码?|社会保障号码?|驾驶证号?码?|税号|纳税人识别号|港澳通行证号?码?)"
)
_PLATE = rf"(?:(?<![a-z])(?:licen[cs]e|number|registration) plate(?: {_NUMBER}|(?![a-z]))|车牌号?码?)"
_CARD = (
    r"(?:(?<![a-z])(?:(?:credit|debit|bank|gift|visa|master|amex|card)[ -]?(?:card)?(?: (?:number|no\.?|nr\.?|#))"
    r"|card|kartennummer"
    r"|kreditkarte(?:nnummer)?|ec-karte|girokarte|tarjeta|carte bancaire)(?![a-z])|银行卡号?|信用卡号?|卡号)"
)
_ORDER_WORDS = (
    r"order|purchase|booking|reservation|confirmation|reference|ref|ticket|tracking|shipment|parcel|package|delivery"
    r"|invoice|bill|billing"
    r"|transaction|receipt|case|claim|return|returns|rma|request|incident|complaint|itinerary|record locator|pnr"
    r"|quote|job|work order|po"
)
_ORDER = (
    rf"(?:(?<![a-z])(?:{_ORDER_WORDS})(?: ?{_NUMBER}| locator| ref(?:erence)?)(?![a-z])"
    rf"|(?<![a-zäöüß])(?:bestell|bestellungs|auftrags|rechnungs|buchungs|reservierungs|sendungs|paket|vorgangs|ticket"
    rf"|fall|referenz"
    rf"|liefer|reklamations|beleg|transaktions|tracking|sendungsverfolgungs|bearbeitungs){_DE_NUMBER}"
    r"|(?<![a-z])akten?zeichen"
    r"|(?:订单|单|运单|快递单?|物流单?|工单|发票|交易|流水|退款单?|退货单?|售后单?|服务单?|预约|预订|票)(?:编号|号码|号)|訂單編?號?)"
)
_BARE_ORDER = (
    r"(?:(?<![a-z])(?:order|booking|reservation|invoice|bestellung|auftrag|rechnung|buchung|ref|ticket|case|claim"
    r"|pnr|tracking"
    r"|reference|confirmation|shipment|parcel|transaction|receipt|purchase)(?![a-z])|订单|訂單)"
)
_ACCOUNT = (
    # any other word before "number": customer, member, policy, meter …
    rf"(?:(?<![\w'-])(?!(?:{_PUBLIC}|{_PHONES}|{_NOT_SAID})(?![a-z]))[a-z]{{2,20}}(?: |-){_NUMBER}(?![a-z]| of )|"
    rf"(?<![\w'-])"
    rf"(?:acct|a/c)\.?(?![a-z])"
    r"|(?<![a-z])(?:user ?id|customer ?id|member ?id|account ?id|client ?id|imei|meid|iccid|vin|bic|sort code)"
    r"(?![a-z])"
    rf"|(?<![a-zäöüß])(?!(?:{_PUBLIC}|{_PHONES})s?(?:nummer|nr))[a-zäöüß]{{2,24}}-?(?:nummer|nr\.)(?![a-zäöüß])"
    r"|(?<![a-zäöüß])(?:blz|bankleitzahl|kontonr|kundennr|kunden-id)(?![a-zäöüß])"
    r"|(?<![a-z])(?:numéro|numero|número|nº|n°|numer|núm\.?)(?: (?:de|di|del|du|da|d'))?(?: (?!(?:tel|tél|mó|cell"
    r"|port))\w{3,14})?(?![a-z])"
    r"|(?:账号|帐号|账户|帐户|賬號|帳號|会员号?|客户号?|客户编号|用户号|用户编号|会员编号|户号|合同号?|保单号?|学号|工号|病历号|就诊卡号?|证件号)码?"
    r"|(?<!商品)(?<!产品)(?<!型号)(?<!款式)(?<!货品)编号)"
)
_BARE_ACCOUNT = r"(?:(?<![a-z])account(?![a-z])|(?<![a-zäöüß])[a-zäöüß]{0,16}konto(?![a-zäöüß]))"
_SECRET = (
    r"(?:(?<![a-z])(?:password|passcode|pass ?code|passphrase|passwd|pwd|pw|pin(?:[ -]?(?:code|number|nummer))?"
    r"|cvv2?|cvc2?|csc|otp|tan"
    r"|security (?:code|answer)|verification (?:code|number)|(?:three|four|last three|3|4|last 3) digits on the "
    r"(?:back|front|reverse)|access code|login code|door code|gate code|unlock code"
    r"|one[- ]time (?:code|password|pin)|(?:2fa|auth(?:entication)?) code"
    r"|passwort|kennwort|geheimzahl|sicherheitscode|prüf(?:nummer|ziffer|zahl)|bestätigungscode|zugangscode"
    r"|mot de passe|contraseña|clave|wachtwoord|parola)(?![a-z])"
    r"|密码|密碼|口令|验证码|校验码|安全码|动态码)"
)

# Between a word and its value: no other number, amount, question or sentence.
_GAP = r"(?:(?![?!？！。;；]|[.] |[$€£¥@])[^\d\n]){0,26}?"
_JOINED = (
    r"[\s:：#='\"“(-]{0,4}(?:(?:number|no\.?|nr\.?|#|id|is|was|ist|lautet|war|是|为|号码?)[\s:：#='\"“(]{0,3}){0,3}"
)
_DATE_OR_TIME = re.compile(
    r"(?:(?:0?[1-9]|[12]\d|3[01])[./-](?:0?[1-9]|[12]\d|3[01])[./-](?:19|20)?\d\d|(?:19|20)\d\d[./-](?:0?[1-9]"
    r"|1[0-2])(?:[./-](?:0?[1-9]|[12]\d|3[01]))?"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|\d{1,2}[:.]\d\d|\d{1,5}[.,]\d{1,2}|(?:19|20)\d\d|\d+"
    r"(?:st|nd|rd|th|am|pm|h|x|k|gb|mb|kg|g|ml|cm|mm|m|€|p))",
    re.I,
)


@dataclass(frozen=True, slots=True)
class _Cue:
    """Words that announce a value, and the fewest digits of it."""

    kind: str
    words: str
    fewest: int
    gap: str = _GAP

    def after_cue(self) -> re.Pattern[str]:
        return re.compile(rf"{self.words}{self.gap}{_NO_AMOUNT}({_CODE}){_RIGHT}", re.A)


_CUES = (
    _Cue("id", _ID, 4),
    _Cue("plate", _PLATE, 4),
    _Cue("card", _CARD, 12),
    _Cue("order", _ORDER, 4),
    _Cue("order", _BARE_ORDER, 6, _JOINED),
    _Cue("account", _ACCOUNT, 5),
    _Cue("account", _BARE_ACCOUNT, 6, _JOINED),
)
FEWEST_ANNOUNCED = 2  # digits: AB12CD
_PATTERNS = tuple((cue, cue.after_cue()) for cue in _CUES)
_QUESTIONS = (
    *((kind, re.compile(words), fewest) for kind, words, fewest in (("id", _ID, 4), ("card", _CARD, 12))),
    ("order", re.compile(_ORDER), 4),
    ("secret", re.compile(_SECRET), 3),
    ("phone", phones.CUE, 7),
    ("account", re.compile(_ACCOUNT), 5),
)
_ANSWER = re.compile(rf"{_NO_AMOUNT}({_CODE}){_RIGHT}", re.A)
_ASKS = re.compile(r"[?？]|please|number|nummer|provide|tell|could|what|bitte|号码|多少|提供|告诉|报一下|留", re.I)
_MIXED = re.compile(r"[A-Za-z]\d|\d[A-Za-z]+\d")  # AB12CD, and not 30days
_NEXT_WORD = re.compile(r"(?<=\d{6})[A-Za-z]{2,}$")  # 12345678Thanks
_FEWEST = 3  # digits of a value
_LONGEST_QUESTION, LATEST_ANSWER = 120, 40  # characters: from the cue to the end; from the start to the value

_SECRET_CUE = re.compile(_SECRET)  # as all words here, in small letters: ignoring case is slow
_IS_NUMBER = re.compile(r"pin|cvv|cvc|csc|otp|tan|.*digits|geheimzahl|prüf|验证码|校验码|安全码|动态码")
# What may follow the cue: a number; a word with a digit or a sign in it; any word in quotation marks or behind a colon.
_SECRET_NUMBER = re.compile(
    rf"{_GAP}{_NO_AMOUNT}(\d{{3,10}}|\d(?:[ ,.-]{{1,2}}\d){{2,9}}|\d{{3}}[ -]\d{{3}}){_RIGHT}", re.I | re.A
)
_SECRET_TOKEN = re.compile(
    r"(?:(?![?!？！。;；]|[.] )[^\n:：=\"“]){0,16}?[\s:：=\"'“`是为]"
    r"((?=[!-~]{0,30}[\d@#$%^&*_+=!?])(?=[!-~]{0,30}[A-Za-z])[!-~]{4,64})(?![!-~])"
)
_SECRET_QUOTED = re.compile(r"[^\n\"“?!。]{0,16}[\"“]([^\s\"”]{3,64})[\"”]")
_SECRET_AFTER_COLON = re.compile(r"\s?[:：=]\s?([!-~]{4,64})(?![!-~])")
_SECRET_ANSWER = re.compile(
    r"\W{0,3}(?:(?:it'?s|it is|the password is|sure|yes|ok|okay|es ist|是)[\s,:]{0,2}){0,2}[\"“]?"
    r"((?=[!-~]{0,30}\d)(?=[!-~]{0,30}[A-Za-z])[!-~]{4,64})(?![!-~])",
    re.I,
)
_TRAILING = re.compile(r"[.,;:!?)\"'>\]]+$")


def find_announced(text: str) -> Iterator[tuple[int, int, str]]:
    """The spans of announced numbers, each with its kind; they may overlap."""
    low = lower(text)
    for cue, pattern in _PATTERNS:
        for found in pattern.finditer(low):
            if _is_value(found[1], cue.fewest) and not phones.is_public(text, found.start(1)):
                yield found.start(1), found.start(1) + len(_NEXT_WORD.sub("", found[1])), cue.kind


def find_secrets(text: str) -> Iterator[tuple[int, int, str]]:
    """The spans of PINs, card security codes, passwords and one-time codes behind a word for them."""
    for cue in _SECRET_CUE.finditer(lower(text)):
        number = _SECRET_NUMBER.match(text, cue.end())
        if number and (not _is_year(number[1]) or "pin" in cue[0] or ":" in number[0]):
            yield *number.span(1), "secret"
        if _IS_NUMBER.match(cue[0]):
            continue
        for pattern in (_SECRET_TOKEN, _SECRET_QUOTED, _SECRET_AFTER_COLON):
            if found := pattern.match(text, cue.end()):
                value = _TRAILING.sub("", found[1])
                if len(value) >= 3 and "://" not in value and not (pattern is _SECRET_TOKEN and _is_word(value)):
                    yield found.start(1), found.start(1) + len(value), "secret"


def _is_year(number: str) -> bool:
    return re.fullmatch(r"(?:19|20)\d\d", number) is not None


def _is_word(value: str) -> bool:
    """Whether a token is made of ordinary words with punctuation, and does not look like a password."""
    return re.fullmatch(r"[A-Za-z]+(?:['’/&,.!?-]+[A-Za-z]+)*", value.strip("'’-")) is not None


def find_answer(question: str, answer: str) -> Iterator[tuple[int, int, str]]:
    """The span of the value near the start of a turn that answers the question at the end of the turn before it."""
    numbers = {kind: _first(pattern, answer) for kind, pattern in (("", _ANSWER), ("phone", phones.ANSWER))}
    token = _SECRET_ANSWER.match(answer)
    if not token and not any(numbers.values()):
        return
    tail = lower(question[-_LONGEST_QUESTION:])
    asked = [
        (found.start(), -place, kind, fewest)
        for place, (kind, words, fewest) in enumerate(_QUESTIONS)
        for found in words.finditer(tail)
    ]
    if not asked:
        return
    _, _, kind, fewest = max(asked)
    if kind == "secret" and token:
        yield token.start(1), token.start(1) + len(_TRAILING.sub("", token[1])), kind
    found = numbers["phone" if kind == "phone" else ""]
    if found is None or (kind == "phone" and not _ASKS.search(tail)):
        return
    if _is_value(found[1], fewest) and not phones.is_public(answer, found.start(1)):
        yield *found.span(1), kind


def _first(pattern: re.Pattern[str], answer: str) -> re.Match[str] | None:
    """The first number, if it stands near the start of the answer and has the digits of the shortest values."""
    found = pattern.search(answer)
    return found if found and found.start(1) <= LATEST_ANSWER and _is_value(found[1], _FEWEST) else None


def _is_value(value: str, fewest: int) -> bool:
    digits, letters = (sum(map(test, value)) for test in (str.isdigit, str.isalpha))
    is_mixed = digits >= 2 and letters >= 2 and digits + letters > fewest and _MIXED.search(value) is not None
    return (digits >= fewest or is_mixed) and not _DATE_OR_TIME.fullmatch(value) and not value.lower().startswith("0x")
