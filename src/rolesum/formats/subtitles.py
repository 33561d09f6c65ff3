"""Subtitles and captions: WebVTT, SRT and SBV, whose timed cues become turns.

WebVTT (Teams, Zoom, captioning tools) names the speaker by a voice tag, by "Name: " before the text, or in the cue's
id. SRT and SBV have no place for a speaker, so "Name: " before a cue's text is taken for one, as are a name in
parentheses or brackets there, and the name above the text in the transcripts of Teams.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import Problem
from rolesum.formats.cues import (
    NO_CUE,
    SBV_TIMING,
    TIMING,
    Cue,
    after_header,
    plain_text,
    read_cues,
    strip_tags,
    without_repeats,
)
from rolesum.formats.labels import Kind, is_numbered_speaker, label_kind, title_kind
from rolesum.formats.source import Format, Source
from rolesum.formats.speech_lines import SpeechLine, parse_speech_line, split_label
from rolesum.formats.speech_text import speaker_places
from rolesum.formats.turns import join_speech, one_line, transcript_dialogue
from rolesum.roles import role_of_speaker

_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?(?:\s++(?P<name>[^<>]*))?>")
_DASH = re.compile(r"^\s*(?:[-–—]|>>+)\s*")
_CHANGE = re.compile(r"^\s*>>")  # another speaker, in captions of broadcasts
_LABEL_WORDS = 6
_LONGEST_LABEL = 150  # characters: Zoom's labels hold pronouns, titles and companies
_BRACKETED = re.compile(
    r"(?:\[(?P<square>[^\[\]]{1,80})\]|\((?P<round>[^()]{1,80})\))(?P<colon>\s*[:：])?\s*(?P<text>.*)"
)
# A cue's id as a person's name: perhaps behind a number, in quotes, and before the person's number (Webex).
_ID_NAME = re.compile(r'(?:\d+[\s.:-]+)?(?P<quote>")?(?P<name>[^\W\d_][^"<>:/]{0,80}?)(?(quote)")(?:\s*\(\d+\))?')
_FULL_NAME = re.compile(r"[^\W\d_a-z][\w'’-]+(?: [^\W\d_a-z][\w.'’-]*){1,3}")  # two words or more with capitals
_SPEECH_BEHIND = re.compile(r"-->\s*[\d:.,]+[\])]?\s+(?!\w{1,10}:\S)\S")  # settings such as "align:start" are none
_TEAMS_TIMING = re.compile(r"\s*\d:\d:\d{1,2}\.\d+\s*-->")  # without leading zeros


@dataclass(frozen=True, slots=True)
class _Label:
    """A speaker whom the start of a line may name, with the text behind the label, and how sure that is."""

    line: SpeechLine
    kind: str  # "short" or "long" before a colon, "bracket" without one
    words: Kind = Kind.NAME

    @property
    def speaker(self) -> str:
        return self.line.speaker

    @property
    def text(self) -> str:
        return self.line.text


def matches_vtt(source: Source) -> bool:
    return re.match(r"WEBVTT(\s|$)", source.text) is not None


def read_vtt(source: Source) -> Iterator[Dialogue | Problem]:
    if not matches_vtt(source):
        yield Problem("not WebVTT: the first line must be WEBVTT", f"{source.name}:1", "see docs/formats.md")
        return
    yield from _dialogue(source, read_cues(source, after_header(source.lines), NO_CUE))


def matches_srt(source: Source) -> bool:
    begin = [line.strip() for line in source.lines if line.strip()][:2]
    if begin and _SPEECH_BEHIND.search(begin[0]):  # a transcript whose lines begin with times
        return False
    return bool(begin) and (bool(TIMING.match(begin[0])) or (begin[0].isdigit() and bool(TIMING.match(begin[-1]))))


def matches_sbv(source: Source) -> bool:
    return SBV_TIMING.match(next((line for line in source.lines if line.strip()), "")) is not None


def read_timed(source: Source) -> Iterator[Dialogue | Problem]:
    """The dialogue of an SRT or SBV file."""
    yield from _dialogue(source, read_cues(source))


def _dialogue(source: Source, items: Iterator[Cue | Problem]) -> Iterator[Dialogue | Problem]:
    cues: list[Cue] = []
    broken = False
    for item in items:
        if isinstance(item, Cue):
            cues.append(item)
        else:
            broken = True
            yield item
    if not broken:
        spoken = without_repeats(cues)
        turns = next(filter(None, (find(source, spoken) for find in _WAYS)), [])
        if long := next((turn for turn in turns if len(turn.speaker) > _LONGEST_LABEL), None):
            what = f"a speaker's name of {len(long.speaker)} characters: {long.speaker[:60]!r}"
            yield Problem(what, f"{source.name}, cue at {long.time}", "close the tag behind the name: <v Anna>")
        else:
            yield transcript_dialogue(turns, source.stem, source.name)


def _turns_by_voice(_source: Source, cues: Sequence[Cue]) -> list[Turn]:
    """The turns of voice tags; none where the cues have no such tag.

    A voice lasts to its end tag or to the next voice; what stands outside of any has no speaker.
    """
    if not any(_VOICE.search(cue.text) for cue in cues):
        return []
    turns: list[Turn] = []
    for cue in cues:
        voice, at = "", 0
        for tag in re.finditer(rf"{_VOICE.pattern}|</v>", cue.text):
            turns.append(_turn(voice, cue.text[at : tag.start()], cue.time))
            voice, at = tag["name"] or "", tag.end()
        turns.append(_turn(voice, cue.text[at:], cue.time))
    return turns


def _turn(voice: str, text: str, time: str) -> Turn:
    speaker, said = one_line(html.unescape(voice)), one_line(html.unescape(strip_tags(text)))
    between = not speaker and not re.search(r"\w", said)  # the dash before a voice is nobody's
    return Turn(speaker, "" if between else said, time)


def _turns_of_json(_source: Source, cues: Sequence[Cue]) -> list[Turn]:
    """The turns of Microsoft Graph's transcripts with metadata, in which each cue is a JSON object."""
    turns = []
    for cue in cues:
        try:
            value = json.loads(cue.text) if cue.text.lstrip().startswith("{") else None
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict) or not isinstance(value.get("spokenText"), str):
            return []
        turns.append(Turn(str(value.get("speakerName") or "").strip(), one_line(value["spokenText"]), cue.time))
    return turns


def _turns_of_teams(source: Source, cues: Sequence[Cue]) -> list[Turn]:
    """The turns of Teams' older Word transcripts: the name stands on a line of its own between timing and text."""
    first = next((line for line in source.lines if line.strip()), "")
    lines = [[line.strip() for line in plain_text(cue.text).split("\n") if line.strip()] for cue in cues]
    if not _TEAMS_TIMING.match(first) or not all(len(one) > 1 for one in lines):
        return []
    return [Turn(one[0], one_line("\n".join(one[1:])), cue.time) for cue, one in zip(cues, lines, strict=True)]


def _turns_by_label(_source: Source, cues: Sequence[Cue]) -> Sequence[Turn]:
    """The turns of cues whose lines may begin with a label; the speaker is "" where none is named.

    A label must stand twice, or at least half of the texts must begin with one: "Note: the door sticks" in subtitles
    without speakers is no turn of Note. Its words must be those of a speaker's label by the rule for plain text, which
    takes "I have one question: …" for speech. Where no label is trusted, the cues' ids may name the speakers.
    """
    texts = [plain_text(cue.text).split("\n") for cue in cues]
    found = _without_sentences([[_label(line) for line in lines] for lines in texts])
    trusted = _trusted(texts, found)
    if not trusted and (names := _names_in_ids(cues)):
        return [
            Turn(name, one_line("\n".join(text)), cue.time) for name, text, cue in zip(names, texts, cues, strict=True)
        ]
    turns: list[Turn] = []
    for cue, lines, labels in zip(cues, texts, found, strict=True):
        speaker, said = "", [""]
        for line, label in zip(lines, labels, strict=True):
            begins = label if label and (label.kind, label.speaker) in trusted else None
            if begins or _CHANGE.match(line):
                turns.append(Turn(speaker, _spoken(said), cue.time))
                speaker, said = (begins.speaker, [begins.text]) if begins else ("", [line])
            else:
                said.append(line)
        turns.append(Turn(speaker, _spoken(said), cue.time))
    return turns if trusted else _turns_by_change(turns)


def _spoken(lines: list[str]) -> str:
    """The lines as one text; a dash alone, which parts two speakers, is nobody's."""
    return one_line("\n".join(line for line in lines if line.strip() not in ("-", "–", "—")))


def _turns_by_change(turns: Sequence[Turn]) -> Sequence[Turn]:
    """The turns of captions that name nobody: each from one ">>" to the next, where there are any."""
    if not any(_CHANGE.match(turn.text) for turn in turns):
        return turns
    groups: list[list[Turn]] = []
    for turn in (turn for turn in turns if turn.text):
        if not groups or _CHANGE.match(turn.text):
            groups.append([])
        groups[-1].append(turn)
    return [replace(said[0], text=join_speech(one.text for one in said)) for said in groups]


def _label(line: str) -> _Label | None:
    """The label at the start of a line, if what stands there may be one."""
    begun = _DASH.sub("", line).strip()
    bracket = _BRACKETED.match(begun)
    inside = " ".join((bracket["square"] or bracket["round"]).split()) if bracket else ""
    name, _, whole = split_label(inside)  # "[Nadia (10:03)]"
    inside = inside if whole else name
    words = title_kind(inside)
    if bracket and words is Kind.SENTENCE:  # "[10:30]", "(where is it?)"
        bracket = None
    if bracket and (bracket["colon"] or _is_known(inside)):
        return _Label(SpeechLine(inside, bracket["text"]), "short" if bracket["colon"] else "bracket", words)
    line_parts = parse_speech_line(begun)
    if line_parts and line_parts.speaker and not line_parts.is_head:
        words = label_kind(line_parts.speaker)
        is_name = Kind.SENTENCE not in (words, title_kind(line_parts.speaker))  # "/my address" is none
        is_short = is_name and len(line_parts.speaker.split()) <= _LABEL_WORDS
        if is_short and not _is_clock_of_speech(begun, line_parts, words):
            return _Label(line_parts, "short", words)
    if bracket:
        return _Label(SpeechLine(inside, bracket["text"]), "bracket")
    colon = re.search("[:：]", begun[:_LONGEST_LABEL])
    speaker = begun[: colon.start()].strip() if colon else ""
    text = begun[colon.end() :] if colon else ""
    # no clock ends a label: a space follows the colon, and brackets are closed
    if not speaker or (text and begun[len(speaker) :].lstrip()[0] == ":" and not text[0].isspace()):
        return None
    words = title_kind(speaker)
    if words is Kind.SENTENCE or speaker.count("(") != speaker.count(")"):
        return None
    return _Label(SpeechLine(speaker, text.strip()), "long", words)


def _is_clock_of_speech(line: str, parts: SpeechLine, words: Kind) -> bool:
    """Whether a clock before the colon is part of what is said, as in "the train at 10:30: late".

    Captions have times of their own, so that a clock without brackets is a label's only behind a name.
    """
    if parts.shape != "after":
        return False
    return words is not Kind.NAME or line[: line.find(parts.time)].split()[-1:] == ["at"] or parts.speaker[0].islower()


def _without_sentences(found: Sequence[Sequence[_Label | None]]) -> list[list[_Label | None]]:
    """The labels without those before a colon that are no speaker's by the rule for plain text."""
    labels = [label for of_cue in found for label in of_cue if label and label.kind != "bracket"]
    places = speaker_places([(label.line, label.words) for label in labels])
    kept = {id(labels[place]) for place in places}
    return [
        [label if label and (label.kind == "bracket" or id(label) in kept) else None for label in of_cue]
        for of_cue in found
    ]


def _trusted(texts: Sequence[Sequence[str]], found: Sequence[Sequence[_Label | None]]) -> set[tuple[str, str]]:
    """The labels, each with its kind, that name speakers."""
    heard = Counter((label.kind, label.speaker) for labels in found for label in labels if label)
    first = [labels[0] for labels in found if labels[0]]
    begun = Counter(label.kind for label in first)
    half = {kind for kind, count in begun.items() if 2 * count >= len(texts)}
    every = {label.speaker for label in first} if begun["short"] + begun["long"] == len(texts) else set()
    followed = _followed(texts, found)
    trusted = set()
    for (kind, speaker), count in heard.items():
        if kind == "bracket":
            again = count > 1 or (begun[kind] == len(texts) and _FULL_NAME.fullmatch(speaker) is not None)
            named = (_is_known(speaker) or (kind in half and again)) and followed[speaker] > 0
        else:
            named = count > 1 or speaker in every or (kind == "short" and kind in half)
        if named:
            trusted.add((kind, speaker))
    return trusted


def _followed(texts: Sequence[Sequence[str]], found: Sequence[Sequence[_Label | None]]) -> Counter[str]:
    """How much more often a label in brackets stands before speech than alone, as sounds do: [Music]."""
    followed: Counter[str] = Counter()
    for lines, labels in zip(texts, found, strict=True):
        below = [bool(line.strip()) and not label for line, label in zip(lines[1:], labels[1:], strict=True)]
        for label, is_speech in zip(labels, [*below, False], strict=True):
            if label and label.kind == "bracket":
                followed[label.speaker] += 1 if label.text.strip() or is_speech else -1
    return followed


def _is_known(label: str) -> bool:
    """Whether a label says by itself that it is a speaker's: "SPEAKER_00", "Agent"."""
    return role_of_speaker(label) is not None or is_numbered_speaker(label)


def _names_in_ids(cues: Sequence[Cue]) -> list[str]:
    """The speaker of each cue by its id; none unless all ids are names, and are in quotes, known or heard again.

    In WebVTT no two cues may have one id, so that one that comes again is a name.
    """
    found = [one for cue in cues if (one := _ID_NAME.fullmatch(cue.identity))]
    names = [" ".join(one["name"].split()) for one in found]
    if not names or len(names) < len(cues):
        return []
    quoted = all(one["quote"] for one in found)
    again = 1 < len(set(names)) < len(names)
    return names if quoted or again or all(map(_is_known, names)) else []


_WAYS: tuple[Callable[[Source, Sequence[Cue]], Sequence[Turn]], ...] = (
    _turns_by_voice,
    _turns_of_json,
    _turns_of_teams,
    _turns_by_label,
)

VTT = Format("vtt", 'WebVTT (Teams, Zoom, Webex, YouTube): cues with <v Anna> or "Anna: text"', matches_vtt, read_vtt)
SRT = Format("srt", 'SRT subtitles; "Anna: text" names the speaker', matches_srt, read_timed, frozenset({"plain"}))
SBV = Format(
    "sbv", 'SBV captions (YouTube); "Anna: text" names the speaker', matches_sbv, read_timed, frozenset({"plain"})
)
