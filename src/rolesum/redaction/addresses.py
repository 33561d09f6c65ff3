"""Street addresses in English, German, Chinese and Romance languages: a street with a number, and what follows."""

import re
from collections.abc import Iterator

_TYPES = (
    "street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|square|sq|terrace|way|close"
    "|crescent|highway|hwy"
    "|parkway|pkwy|circle|cir|row|alley|trail|grove|gardens|mews|loop|hill|walk|plaza|broadway"
)
# The other street suffixes of the US Postal Service (Publication 28), with a capital; many are words too.
_RARE_TYPES = (
    "Annex|Arcade|Bayou|Beach|Bend|Bluffs?|Bottom|Branch|Bridge|Brooks?|Burgs?|Bypass|Camp|Canyon|Cape|Causeway"
    "|Centers?"
    "|Circles|Cliffs?|Club|Common|Commons|Corners?|Course|Courts|Coves?|Creek|Crest|Crossing|Crossroads?|Curve|Dale|Dam"
    "|Divide|Drives|Estates?|Expressway|Extensions?|Falls?|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?|Fort"
    "|Freeway|Garden|Gateway|Glens?|Greens?|Groves|Harbors?|Haven|Heights|Hills|Hollow|Inlet|Islands?|Isle|Junctions?"
    "|Keys?|Knolls?|Lakes?|Landing|Lights?|Loaf|Locks?|Lodge|Mall|Manors?|Meadows?|Mills?|Mission|Motorway|Mount"
    "|Mountains?|Neck|Orchard|Oval|Overpass|Parks?|Parkways|Passage|Path|Pike|Pines?|Plains?|Points?|Ports?|Prairie"
    "|Radial|Ramp|Ranch|Rapids?|Rest|Ridges?|River|Roads|Rue|Run|Shoals?|Shores?|Skyway|Springs?|Spurs?|Squares|Station"
    "|Stravenue|Stream|Streets|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Turnpike|Underpass|Unions?|Valleys?"
    "|Viaduct|Views?|Villages?|Ville|Vista|Walks|Wall|Ways|Wells?"
    "|Rise|Croft|Wharf|Quay|Parade|Yard|Vale|Wynd|Brae"
)
_SURE_TYPES = "street|road|avenue|boulevard|blvd|lane|terrace|crescent"
_CAPITAL = r"(?:[A-ZÄÖÜ][\w'’.-]*|\d{1,3}(?:st|nd|rd|th))"
_NO_STREET_WORD = (
    r"(?!(?:the|a|an|of|on|in|at|to|by|and|or|for|from|with|down|up|off|per|this|that|is|are|was|my|your|our|their"
    r"|his|her|cars?|people"
    r"|blocks?|minutes?|mins?|hours?|miles?|km|times?|more|other|different|lanes?|new|busy|main road|long|out|across"
    r"|along|near|guys?|st|rd)\b)"
)
_UNIT = r"(?:,? (?:apt|apartment|unit|suite|ste|flat|floor|room|#)\.? ?#?(?:\d[\w-]{0,5}|[A-Za-z]\d{0,4})(?!\w))?"
_CITY = (
    r"(?:,? {1,2}[A-Z][\w.'-]+(?: [A-Z][\w.'-]+){0,2})?(?:,? (?:[A-Z]{2}|[A-Z][a-z]+) \d{5}(?:-\d{4})?(?!\w)"
    r"|,? \d{5}(?!\w)|,? [A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?!\w))"
    r"|,? {1,2}[A-Z][\w.'-]+(?: [A-Z][\w.'-]+)?(?:, [A-Z]{2}(?!\w))"
)
_CASED = re.compile(
    rf"(?<![\w$€£.,:/-])\d{{1,5}}(?:[A-Za-z]|-\d{{1,5}})? (?!(?:AM|PM)\b)(?:[NSEW]\.? |North |South |East |West )?"
    rf"(?:{_CAPITAL} ){{1,4}}(?:(?i:{_TYPES})|(?:{_RARE_TYPES}))\b\.?(?: [NSEW]{{1,2}}\b)?(?i:{_UNIT})(?:{_CITY})?"
)
# A flat comes first: "Flat 46 Oliver Village", "Studio 5, Jenkins Harbors", "Apartment 12, 4 Rose Court"
_CASED_UNIT = re.compile(
    rf"(?<![\w-])(?:Flat|Studio|Apartment|Apt\.?|Suite"
    rf"|Unit) #?\d{{1,4}}[A-Za-z]?,? (?:\d{{1,4}}[A-Za-z]? )?(?:{_CAPITAL} ){{1,4}}"
    rf"(?:(?i:{_TYPES})|(?:{_RARE_TYPES}))\b\.?(?:{_CITY})?"
)
_UNCASED = re.compile(
    rf"(?<![\w$€£.,:/-])\d{{1,5}}[a-z]? (?:{_NO_STREET_WORD}[a-z][a-z'’.-]+ ){{1,3}}(?:{_SURE_TYPES})\b{_UNIT}", re.I
)
_PO_BOX = re.compile(r"\bP\.? ?O\.? ?Box \d{1,6}\b|\bPostfach \d[\d ]{1,8}\d\b", re.I)
_POSTCODE_GB = re.compile(r"(?<![\w-])(?:GIR 0AA|[A-PR-UWYZ][A-HK-Y]?\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2})(?![\w-])")
_POSTCODE_TOLD = re.compile(
    r"(?:(?<![a-z])(?:zip(?: ?code)?|post ?code|postal code|plz|postleitzahl|code postal|código postal|cap)(?![a-z])"
    r"|邮编|邮政编码)"
    r"[^\d\n]{0,14}?(?<![\w.])(\d{4,6}(?:-\d{4})?|(?-i:[A-Z]\d[A-Z] ?\d[A-Z]\d))(?!\w)",
    re.I,
)
_DE_CITY = (
    r"(?:,? {1,2}(?:in )?(?:D-|A-|CH-)?\d{4,5} [A-ZÄÖÜ][\wäöüß-]+(?: (?:am|an der|im|in|bei|ob der"
    r"|a\.) [A-ZÄÖÜ][\wäöüß]+)?)?"
)
_NUMBER = r"\d{1,4} ?(?:[a-hA-H](?![\w'’]))?(?:[-/]\d{1,4})?(?![\w:%€]|[.,]\d| ?(?:€|Euro|Uhr|Minuten|Stunden|Tage)\b)"
_GERMAN = re.compile(
    r"(?<![\w])(?:[A-ZÄÖÜ][\wäöüß.-]*[ -]){0,2}(?:[A-ZÄÖÜ][a-zäöüß-]*(?:straße|strasse|str\.|weg|platz|allee|gasse"
    r"|ring|damm|ufer|chaussee|steig|markt)"
    r"|(?:Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse)(?: (?:des|der|von|am) [\wäöüß. ]{2,20}?)?"
    rf"|(?:Am|An der|An den|Im|In der|Auf dem|Auf der|Zum|Zur|Unter den) [A-ZÄÖÜ][\wäöüß-]+) {_NUMBER}{_DE_CITY}"
)
_GERMAN_SMALL = re.compile(rf"(?<!\w)[a-zäöüß-]{{3,}}(?:straße|strasse|str\.|allee|gasse) {_NUMBER}")
_ROMANCE = re.compile(
    r"(?<![\w$€£.,:/-])(?:\d{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|boulevard|place|quai|chemin|allée|impasse|route)"
    r"(?: (?:de la|de l'|des|du|de|d'))? ?"
    r"[A-ZÀ-Ý][\w'’À-ÿ-]+(?: [A-ZÀ-Ý][\w'’À-ÿ-]+){0,3}(?:,? \d{5} [A-ZÀ-Ý][\w'’À-ÿ-]+)?"
    r"|(?:Via|Viale|Piazza|Piazzale|Corso|Vicolo|Calle|Avenida|Plaza|Paseo|Rua|Av\.|C/)(?: (?:de la|de los|de las"
    r"|del|della|dei|delle|di|de|da|do|dos))? "
    rf"[A-ZÀ-Ý][\w'’À-ÿ-]+(?: [A-ZÀ-Ý][\w'’À-ÿ-]+){{0,3}},? (?:n\.? ?|nº ?)?{_NUMBER}"
    rf"(?:,? \d{{5}} [A-ZÀ-Ý][\w'’À-ÿ-]+)?)"
)
_DUTCH = re.compile(
    rf"(?<!\w)[A-Z][a-z]+(?:straat|laan|gracht|kade|plein|dijk|singel|gatan|vägen|gade|vej) {_NUMBER}"
    rf"(?:,? \d{{4}} ?[A-Z]{{2}}(?: [A-Z][a-z]+)?)?"
)
# 北京市朝阳区建国路88号院3号楼1204室
_REGION = r"(?:[\u4e00-\u9fff]{2,8}?(?:省|自治区|市|区|县|州|旗|镇|乡|街道))"
_HAN_HOUSE = re.compile(r"[A-Za-z\d零〇一二三四五六七八九十百](?:号|弄|幢|栋|座|区|单元)")
_HAN_NUMBER = r"(?:\d{1,5}|[零〇一二三四五六七八九十百]{1,6})"
_CHINESE = re.compile(
    rf"{_REGION}{{0,4}}(?:[\u4e00-\u9fff]{{1,8}}?(?:大道|大街|路|街|巷|胡同|弄|村|新村|小区|花园|苑))(?:[东西南北中]段?"
    rf"|[东西南北中]?[\u4e00-\u9fff]段)?"
    rf"(?:{_HAN_NUMBER}(?:弄|巷))?(?:{_HAN_NUMBER}(?:号院?|弄|幢|栋|号楼|座|单元)|[A-Za-z](?:座|栋|幢|区))"
    rf"(?:[\u4e00-\u9fff]{{0,8}}?[A-Za-z]?{_HAN_NUMBER}(?:号楼|楼|栋|幢|单元|室|层|号"
    rf"|座))*(?:[A-Za-z]?\d{{2,5}}(?!\d))?"
)
# The words of a sentence before an address that is written without spaces.
_HAN_BEFORE = re.compile(
    r"^.*(?:地址是?|住在|住址是?|寄到|寄给|送到|发到|位于|家在|就在|我在|你在|在|到|是|住|于|为|给|往|去|从|的|了"
    r"|改成|换成)"
)

_SHORT_FOR = (
    "st street, rd road, ave avenue, ln lane, dr drive, blvd boulevard, ct court, pl place, sq square, hwy highway, "
    "pkwy parkway, cir circle, apartment apt, suite ste"
)
_NORMAL = dict(pair.split() for pair in _SHORT_FOR.split(","))


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """The spans of street addresses, post office boxes and announced or British postcodes; they may overlap."""
    for pattern in (_CASED, _CASED_UNIT, _UNCASED, _PO_BOX, _POSTCODE_GB, _GERMAN, _GERMAN_SMALL, _ROMANCE, _DUTCH):
        yield from (found.span() for found in pattern.finditer(text))
    yield from (found.span(1) for found in _POSTCODE_TOLD.finditer(text))
    yield from find_han_addresses(text)


def find_han_addresses(text: str) -> Iterator[tuple[int, int]]:
    """The spans of Chinese addresses, whose numbers may be letters or Chinese numerals: 长江路八号."""
    if not _HAN_HOUSE.search(text):
        return
    for found in _CHINESE.finditer(text):
        before = _HAN_BEFORE.match(re.split(r"[\dA-Za-z]", found[0])[0][:-1])
        start = found.start() + (before.end() if before else 0)
        yield start, found.end()


def normalized_address(address: str) -> str:
    """The address in small letters without punctuation, its abbreviations written out: equal for two forms of one."""
    words = re.findall(r"[^\W_]+", address.lower().replace("str.", "straße ").replace("strasse", "straße"))
    return "".join(_NORMAL.get(word, word) for word in words)


def street_of(address: str) -> str:
    """The street and the number of an address: what is before its first comma."""
    return address.split(",")[0]
