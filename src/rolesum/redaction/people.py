"""Names of people behind titles and words that introduce them: Dr. Berg, "my friend Anna", 名叫李雷.

Only what these words announce is taken for a name; a name without them is not found.
"""

import re
from collections.abc import Iterator, Sequence

from rolesum.redaction.names import HAN_TITLES, SURNAMES

_CAP = (
    r"[A-ZÀ-ÖØ-Þ](?:[a-zß-öø-ÿ]{1,20}(?:[A-Z][a-z]{1,15})?"
    r"|['’][A-Z][a-z]{1,15})(?:-[A-Z][a-z]{1,15})?(?![\w’']*[A-Z0-9_@])"
)
_INITIAL = r"[A-Z]\."
# Capitalized words behind such words that are no names.
_NO_NAME = (
    r"(?!(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Nurse|Sir|Madam|I|I'm|It|It's|And|But|The|This|That|A|An|He|She|They|We|You|Is|Are|Was|In|On|At|For|From|To|With|Of|Or|Not"
    r"|No|Yes|Please|Thanks?|Hello|Hi|Hey|Ok|Okay|Oh|So|Well|Just|What|Who|When|Where|How|Why|Which|Can|Could|Would"
    r"|Did|Do|Does|Have|Has|Let|If|My|Your|His|Her|Our|Their|There|Here|Now|Then|Good|Great|Sure|Sorry|Right|Never"
    r"|Nobody|Someone|Customer|Agent|Service|Support|Team|Manager|Speaking|Calling|Monday|Tuesday|Wednesday|Thursday"
    r"|Friday|Saturday|Sunday|January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Christmas|Easter|English|German|French|Chinese|Spanish|American|British|God|Jesus|Mom|Mum|Dad|Amazon|Apple"
    r"|Google|Facebook|Netflix|Microsoft|Spotify|Uber|Twitter|YouTube|Instagram)(?![\w-]))"
)
_NAME = (
    rf"({_NO_NAME}{_CAP}(?: (?:{_INITIAL} )?(?:(?:van|von|de|der|den|da|di|del|el|al"
    rf"|bin)(?: de[rn]?)? )?{_NO_NAME}{_CAP}){{0,2}})"
)
_TITLE = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Nurse|Officer|Detective|Judge|Herr|Frau|Señora?|Signora?"
    r"|Monsieur|Madame|Mme)"
)
_PERSON = (
    r"(?:brother|sister|friend|bestie|buddy|neighbou?r|boss|colleague|coworker|co-worker|doctor|dentist|landlord"
    r"|landlady"
    r"|wife|husband|son|daughter|mother|father|mom|mum|dad|uncle|aunt|auntie|cousin|nephew|niece|grandson|granddaughter"
    r"|grandma|grandpa|girlfriend|boyfriend|fianc[ée]e?|partner|roommate|flatmate|ex|teacher|tutor|coach|lawyer"
    r"|therapist"
    r"|guy|man|woman|lady|gentleman|girl|boy|kid|baby|person|someone|somebody|manager|supervisor|driver|technician"
    r"|agent"
    r"|colleagues?|assistant|secretary|nurse|plumber|receptionist|student|classmate|member|sales(?:man|woman|person)"
    r"|representative|rep)"
)
_OWNER = r"(?:[Mm]y|[Yy]our|[Hh]is|[Hh]er|[Oo]ur|[Tt]heir)"
_RELATION = (
    r"(?:brother|sister|friend|neighbou?r|boss|colleague|coworker|wife|husband|son|daughter|uncle|aunt|cousin"
    r"|nephew|niece"
    r"|grandson|granddaughter|girlfriend|boyfriend|fianc[ée]e?|roommate|flatmate|classmate)"
)
_INTRODUCTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\w-]){_TITLE}\b\.? {_NAME}",
        rf"\b{_PERSON}(?:,|(?: [a-z']{{1,12}}){{1,3}}?)? (?:called|named) {_NAME}",
        rf"\b{_PERSON}(?:'s|’s) (?:called|named|name(?:'s| is| was)) {_NAME}",
        rf"\b(?:[Mm]y|[Yy]our|[Hh]is|[Hh]er|[Tt]heir|[Tt]he|[Ff]ull|[Ff]irst|[Ll]ast|s|’s) name(?: is|'s|’s| was"
        rf"|:) {_NAME}",
        rf"\bby the name of {_NAME}",
        rf"\b{_OWNER} (?:(?:little|big|older|younger|old|new|best|good|late|next-door"
        rf"|ex-?) ?){{0,2}}{_RELATION},? {_NAME}",
        rf"\b(?:[Ii]t|[Tt]hat|[Tt]his)(?: was|'s|’s| is) {_NAME} who\b",
    )
)
_WHO = re.compile(
    r"\b[Ww]ho(?:'s|’s| (?:is|was|are|took|signed|called|sent|did|has|had|told|gave|helped))\b[^?\n]{0,60}\?\W*$"
    r"|\b(?:(?:his|her|their|your|full|first|last|whose) name|name of (?:the|your) [a-z]{2,14})\b[^?\n]{0,30}\?\W*$",
    re.I,
)
_ANSWER = re.compile(rf"\W{{0,3}}(?:(?:[Ii]t'?s|[Ii]t was|[Mm]y name is) )?{_NAME}(?=\W*$)")

_COMPOUND = "欧阳|司马|上官|诸葛|司徒|东方|皇甫|尉迟|公孙|慕容|令狐|宇文|长孙|端木|夏侯|轩辕"
_MORE_SURNAMES = (
    "伊祁虞颜车齐盛柯管岑庞樊兰殷施陶翟倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦柳邢骆岳梅莫庄辛祝涂谷舒耿牟卜詹"
    "苗凌费纪靳童欧甄项曲游裴席卫屈鲍覃霍翁隋甘景薄司柏宁阮桂闵柴华冉房边辜吉饶刁瞿戚丘池滕晋苑邬臧畅宫苟"
    "褚廉娄符奚穆郎邸冀姬屠郜晏栾郁蒙喻揭窦迟宇敖糜鄢冷卓仇艾蓝巩稽井仲"
)
_SURNAME = f"(?:{_COMPOUND}|[{SURNAMES}{_MORE_SURNAMES}])"
_HAN_NO_NAME = re.compile(
    r".什么|.[了着过吗吧呢的啊们]|谢谢|周[末一二三四五六日围边年]|高[兴级铁速中考三低]|马上|马路|方[便案法向面式]|白[天色]|万一|任[何务]|于是|程序|金[额牌融]"
    r"|常[常用]|江[苏西]|温[度暖州]|段时|房[子间东]|车[子主上间]|齐全|华为|钱[包款]|黄[金色]|石头|吉林|宁波|商[家品店场务]|田园|明"
    r"|左右|边上|翻|欧洲|蓝色|景[区点]"
)
_HAN_TITLE = f"(?:{HAN_TITLES.pattern})"
_HAN_EDGE = r"(?<![\u4e00-\u9fff])|(?<=[是叫找请给和跟向问让的到为由被把对有与位您你我他她叫])"
_HAN_TITLED = re.compile(rf"(?:{_HAN_EDGE})({_SURNAME}(?!{_HAN_TITLE})[\u4e00-\u9fff]{{1,2}}?)(?={_HAN_TITLE})")
# Not 谢谢老师, 工程主管, 那边护士
_HAN_SURNAMED = re.compile(rf"(?<!谢)(?<!感)(?<!工)(?<!流)(?<!课)(?<![那这旁](?=边))({_SURNAME}{_HAN_TITLE})")
_HAN_CALLED = re.compile(
    rf"(?:名叫|叫做|名字叫|名字是|姓名[是为：:]?|(?<=[我他她友居弟妹哥姐子儿事生士伴人师员妈爸婆公朋])叫)"
    rf"({_SURNAME}[\u4e00-\u9fff]{{1,2}}?)(?=[^\u4e00-\u9fff]|$|[的吗吧呢啊呀是在，])"
)
_HAN_WHO = re.compile(r"(?:谁|哪位|什么名字|姓名|怎么称呼|贵姓)[^？?。\n]{0,16}[？?。]?\s*$")
_HAN_ANSWER = re.compile(rf"\W{{0,2}}(?:就?是|叫|我(?:叫|是))?({_SURNAME}[\u4e00-\u9fff]{{1,2}})(?=[，,。！!\s]|$)")
_HAN_DID = re.compile(
    rf"(?:^|[，。！？\s])(?:就?是)({_SURNAME}[\u4e00-\u9fff]{{1,2}}?)(?=(?:帮我?|替我?)?(?:签收|拿走|代收|取走|收的"
    rf"|接待|处理的|告诉))"
)


def names_of_others(texts: Sequence[str], questions: Sequence[str]) -> list[str]:
    """The names that words in these texts introduce, and those that answer the questions "Who …?" before them.

    A name of several words is followed by its words, which may stand alone elsewhere.
    """
    names: dict[str, None] = {}
    for text, question in zip(texts, questions, strict=True):
        for name in _names(text, question):
            for form in (name, *name.split()) if name.isascii() or " " in name else (name,):
                if (len(form) > 2 and not form.islower()) or "\u4e00" <= form[:1] <= "\u9fff":
                    names[form] = None
    return list(names)


def _names(text: str, question: str) -> Iterator[str]:
    for pattern in _INTRODUCTIONS:
        yield from (found[1] for found in pattern.finditer(text))
    if question and _WHO.search(question[-160:]) and (found := _ANSWER.match(text[:80])):
        yield found[1]
    for pattern in (_HAN_TITLED, _HAN_SURNAMED, _HAN_CALLED, _HAN_DID):
        yield from (found[1] for found in pattern.finditer(text) if not _HAN_NO_NAME.match(found[1]))
    if question and _HAN_WHO.search(question[-80:]):
        found = _HAN_ANSWER.match(text)
        if found and not _HAN_NO_NAME.match(found[1]):
            yield found[1]
