"""The rules of src/rolesum/samples/GUIDE.md for one dialogue, as far as a program can tell."""

import re
from collections.abc import Iterator, Mapping

from rolesum.checks.facts import check_facts, dialogue_facts
from rolesum.checks.index import DialogueIndex
from rolesum.checks.runner import check_indexed
from rolesum.checks.sentences import ends_sentence, split_sentences
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, Statement, detect_language
from rolesum.errors import Problem, did_you_mean
from rolesum.roles import AGENT, BRIEF, OVERALL, USER

ROLES = (OVERALL, USER, AGENT)
SUMMARIES = (*ROLES, BRIEF)
SPLITS = ("train", "validation", "test")
SPLIT_CYCLE = 25  # of 25 ids in a row, 20 are train, 2 validation and 3 test
TEST_REMAINDERS, VALIDATION_REMAINDERS = (5, 13, 21), (9, 17)
DOMAINS = (
    *("parcel", "telecom", "bank", "card-fraud", "insurance", "energy", "housing", "hotel", "flight", "rail", "clinic"),
    *("pharmacy", "school", "public-office", "software", "device-repair", "subscription", "marketplace", "jobs"),
    *("restaurant", "events", "car-workshop", "household", "charity", "internal-it", "food-delivery", "online-shop"),
    *("social-insurance", "tutoring", "property-management", "ride-hailing"),
)
CHANNELS = ("live-chat", "phone", "messenger", "email", "in-person", "meeting")
OUTCOMES = ("resolved", "partly", "refused", "unresolved", "escalated")
MARK_SHARES = {  # mark -> the share of dialogues that should have it
    "refused": 0.25,
    "unresolved": 0.20,
    "corrected": 0.20,
    "several-matters": 0.25,
    "confusable": 0.30,
    "third-party": 0.20,
    "handover": 0.08,
    "agent-wrong": 0.08,
    "condition": 0.10,
    "anger": 0.08,
    "takes-another": 0.15,
}
KINDS = ("who-did-what", "negation", "outcome", "number-or-date", "entity", "invented", "condition")
MIN_TURNS, MAX_TURNS = 6, 40
# turns up to -> least and most words (Chinese: characters) of the overall summary, and of a side's
LENGTHS: Mapping[str, Mapping[int, tuple[int, int, int, int]]] = {
    "en": {10: (25, 50, 12, 35), 18: (35, 70, 15, 45), 25: (45, 90, 20, 55), MAX_TURNS: (60, 110, 25, 65)},
    "zh": {10: (50, 110, 25, 70), 18: (60, 140, 30, 90), 25: (80, 170, 35, 110), MAX_TURNS: (100, 210, 45, 130)},
}
BRIEF_LENGTH = {"en": 20, "zh": 30}
_ID = re.compile(r"(en|zh)-(\d{4})")
_TIMES = {"email": r"\d{4}-\d\d-\d\d \d\d:\d\d", "phone": r"\d\d:\d\d:\d\d"}
_TIME = r"\d\d:\d\d"
# what the checks flag that no reference may have
_FLAGS = ("number", "amount", "time", "placeholder", "name", "role_slip", "duplicate", "echo", "truncated", "empty")
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪"
    "田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文戚"
)
_TITLED = re.compile(rf"[{_SURNAMES}](?:先生|女士|小姐|医生|大夫|老师|经理|师傅|主任|主管|律师|妈妈|爸爸)")
_LATIN = re.compile(r"[A-Za-z][A-Za-z0-9-]+")


def split_of(identity: str) -> str:
    """The split that an id belongs to: of every 25 numbers, 3 are test, 2 validation, the rest train."""
    remainder = int(identity.rsplit("-", 1)[-1]) % SPLIT_CYCLE
    if remainder in TEST_REMAINDERS:
        return "test"
    return "validation" if remainder in VALIDATION_REMAINDERS else "train"


def length_of(text: str, language: str) -> int:
    """Words of an English text, characters without spaces of a Chinese one."""
    return len(text.split()) if language == "en" else len(re.sub(r"\s", "", text))


def dialogue_problems(dialogue: Dialogue) -> Iterator[Problem]:
    """Everything in which a dialogue departs from the guide."""
    where = f"{dialogue.source}, id {dialogue.id}"
    known_id = _ID.fullmatch(dialogue.id)
    if not known_id or known_id[1] != dialogue.language:
        yield Problem(f"the id {dialogue.id!r} is not {dialogue.language}- and four digits", where, "see GUIDE.md, Ids")
        return
    index = DialogueIndex(dialogue)
    for what, fix in (
        *_turn_faults(dialogue),
        *_meta_faults(dialogue),
        *_summary_faults(dialogue, index),
        *_statement_faults(dialogue, index),
    ):
        yield Problem(what, where, fix)


def _turn_faults(dialogue: Dialogue) -> Iterator[tuple[str, str]]:
    count = len(dialogue.turns)
    if not MIN_TURNS <= count <= MAX_TURNS:
        yield counted(count, "turn"), f"write {MIN_TURNS} to {MAX_TURNS}"
    if detect_language(" ".join(turn.text for turn in dialogue.turns)) != dialogue.language:
        yield f"the turns are not in the language {dialogue.language}", "mend the language or the text"
    unplayed = [label for label in dialogue.speakers() if dialogue.roles.get(label) not in (USER, AGENT)]
    if unplayed:
        yield f"no role for {', '.join(unplayed)}", "give every speaker the role user or agent"
    for role in (USER, AGENT):
        if not dialogue.speakers(role):
            yield f"no speaker plays the {role}", "see GUIDE.md, Roles"
    times = [turn.time for turn in dialogue.turns]
    if not any(times):
        return
    form = _TIMES.get(str(dialogue.meta.get("channel")), _TIME)
    wrong = [number for number, time in enumerate(times, 1) if not re.fullmatch(form, time)]
    if wrong:
        yield f"turn {wrong[0]} has the time {times[wrong[0] - 1]!r}", "give all turns a time, see GUIDE.md, Time"
    elif times != sorted(times):
        yield "the times of the turns go back", "put them in order"


def _meta_faults(dialogue: Dialogue) -> Iterator[tuple[str, str]]:
    meta = dialogue.meta
    fields = {"domain": DOMAINS, "channel": CHANNELS, "outcome": OUTCOMES}
    for name, known in fields.items():
        if meta.get(name) not in known:
            yield f"meta.{name} is {meta.get(name)!r}", did_you_mean(str(meta.get(name)), known)
    for name in set(meta) - {*fields, "marks"}:
        yield f"unknown meta field {name!r}", did_you_mean(name, [*fields, "marks"])
    marks = meta.get("marks")
    if not isinstance(marks, list) or len(set(map(str, marks))) < len(marks):
        yield "meta.marks must be a list of different marks", "give [] where there is none"
        return
    for mark in marks:
        if mark not in MARK_SHARES:
            yield f"unknown mark {mark!r}", did_you_mean(str(mark), MARK_SHARES)
    outcome = meta.get("outcome")
    needed = {"refused": "refused", "unresolved": "unresolved", "escalated": "unresolved"}.get(str(outcome))
    if needed and needed not in marks:
        yield f"the outcome is {outcome} without the mark {needed}", "see GUIDE.md, Marks"
    if outcome == "resolved" and "unresolved" in marks:
        yield "the outcome is resolved and a matter is marked unresolved", "partly, or no mark"
    if "agent-wrong" in marks and "corrected" not in marks:
        yield "the mark agent-wrong without the mark corrected", "the agent is put right: it is corrected too"
    if "handover" in marks and len(dialogue.speakers(AGENT)) < 2:
        yield "the mark handover, but one agent speaks", "the second agent must have a turn"
    if meta.get("channel") == "meeting" and not 3 <= len(dialogue.speakers()) <= 5:
        yield f"a meeting of {len(dialogue.speakers())}", "three to five persons speak"


def _summary_faults(dialogue: Dialogue, index: DialogueIndex) -> Iterator[tuple[str, str]]:
    wanted = 2 if split_of(dialogue.id) == "test" else 1
    for role in SUMMARIES:
        texts = dialogue.summaries.get(role, ())
        if len(texts) != wanted:
            found = counted(len(texts), "summary", "summaries")
            yield f"{found} for {role}", f"the {split_of(dialogue.id)} split has {wanted}"
        if len(set(texts)) < len(texts):
            yield f"two equal summaries for {role}", "write the second one independently"
        for text in texts:
            yield from _length_faults(dialogue, role, text)
            for fault in _unsupported(index, role, text):
                yield f"summary {role}: {fault}", "say what the dialogue says, or say it in the dialogue"
    for role in set(dialogue.summaries) - set(SUMMARIES):
        yield f"a summary for {role!r}", f"{', '.join(SUMMARIES)} are written"


def _length_faults(dialogue: Dialogue, role: str, text: str) -> Iterator[tuple[str, str]]:
    length, unit = length_of(text, dialogue.language), "words" if dialogue.language == "en" else "characters"
    if role == BRIEF:
        if length > BRIEF_LENGTH[dialogue.language] or len(split_sentences(text, dialogue.language)) != 1:
            yield f"brief has {length} {unit}", f"one sentence of at most {BRIEF_LENGTH[dialogue.language]}"
        return
    bands = LENGTHS[dialogue.language]
    band = bands[min((most for most in bands if len(dialogue.turns) <= most), default=MAX_TURNS)]
    least, most = band[:2] if role == OVERALL else band[2:]
    if not least <= length <= most:
        yield f"summary {role} has {length} {unit}", f"{least} to {most} for {len(dialogue.turns)} turns"


def _statement_faults(dialogue: Dialogue, index: DialogueIndex) -> Iterator[tuple[str, str]]:
    statements = dialogue.statements
    true = [one for one in statements if one.supported]
    false = [one for one in statements if not one.supported]
    if (len(true), len(false)) != (3, 3):
        yield f"{len(true)} true and {len(false)} false statements", "write three of each"
    if len({one.text for one in statements}) < len(statements):
        yield "two statements are equal", "write another"
    if not {USER, AGENT} <= {one.role for one in statements}:
        yield "no statement for the user or for the agent", "each side needs one at least"
    if len({one.kind for one in false}) < min(2, len(false)):
        yield f"all false statements are of the kind {false[0].kind!r}", "use two kinds at least"
    for number, one in enumerate(statements, 1):
        for what, fix in _faults_of(index, one):
            yield f"statement {number}: {what}", fix


def _faults_of(index: DialogueIndex, one: Statement) -> Iterator[tuple[str, str]]:
    if one.role not in ROLES:
        yield f"the role is {one.role!r}", "overall, user or agent"
    if not ends_sentence(one.text) or len(split_sentences(one.text, index.language)) != 1:
        yield "not one whole sentence", "end it as a sentence, and write one"
    if not one.supported:
        if one.kind not in KINDS:
            yield f"a false statement of the kind {one.kind!r}", did_you_mean(one.kind, KINDS)
        if one.turns:
            yield "a false statement names turns", "no turn says it: leave turns out"
        return
    if one.kind:
        yield f"a true statement of the kind {one.kind!r}", "leave kind out"
    if not one.turns:
        yield "a true statement names no turns", "give the numbers of the turns that say it, from 1"
        return
    for fault in _unsupported(index, one.role if one.role in ROLES else OVERALL, one.text):
        yield fault, "say what the dialogue says"
    turns = [index.dialogue.turns[place] for place in sorted(set(one.turns))]
    said = dialogue_facts("\n".join(f"{turn.speaker}: {turn.text}" for turn in turns), index.language)
    for fact in check_facts(one.text, said):
        if fact.problem:
            yield f"{fact.problem} in its turns", "name all turns that say it, from 1"


def _unsupported(index: DialogueIndex, role: str, text: str) -> Iterator[str]:
    """What a text states that the dialogue does not: facts, names, another role's deeds; and broken sentences."""
    for flag in check_indexed(index, role, text).flags:
        if flag.check in _FLAGS:
            yield f"{flag.note} ({text[flag.start : flag.end][:40]!r})"
    if index.language == "zh":
        known = index.text.casefold()
        for name in (*_TITLED.findall(text), *_LATIN.findall(text)):
            if name.casefold() not in known:
                yield f"the dialogue does not know {name}"
