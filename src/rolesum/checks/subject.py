"""The subject of a sentence of a summary: the role whose name, alias or speaker's label the sentence begins with."""

import re
from collections.abc import Mapping

from rolesum.dialogue import Dialogue
from rolesum.roles import AGENT, ALIASES, USER, WHOLE_DIALOGUE, role_of_speaker

# Names that mean the role in any dialogue. The other aliases (doctor, 商家, 师傅 …) may be a third party: they count
# where a speaker is labeled so, or where labels are people's names and tell no role.
GENERIC_NAMES = {
    USER: ("user", "customer", "client", "caller", "用户", "顾客", "客户"),
    AGENT: (
        "agent",
        "assistant",
        "representative",
        "operator",
        "advisor",
        "adviser",
        "客服",
        "客服人员",
        "坐席",
        "座席",
    ),
}
_OPENING = (
    r"(?:(?:then|finally|also|later|afterwards|next|but|so|and|however|meanwhile|here|in response|in the end)"
    r",?\s+)?(?:(?:the|an?)\s+(?:(?!previous|other|another|first|last|second|former)\w+\s+)?)?",
    r"(?:然后|随后|接着|最后|最终|之后|后来|同时|于是|但是|但|而|此外|另外|而且|并且)?[，,]?",
)
# "Customer service is slow" speaks of the firm, "the customer's order" of a thing, 用户的 and 客服电话 too.
_NOT_AFTER_EN = r"(?!['’]s\b|\s+(?:service|services|support|care|satisfaction|account|id)\b(?!\s+(?:agent|rep)))\b"
_NOT_AFTER_ZH = r"(?!的|电话|热线|端|名|中心|系统)"
_SERVICE_EN = r"customer (?:service|support|care) (?:agent|representative|rep|assistant|advisor)"


class SubjectFinder:
    """Finds the role that a sentence begins with, by the names of the dialogue's roles and speakers."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.language = dialogue.language
        played = {role for role in dialogue.roles.values() if role not in WHOLE_DIALOGUE}
        self.roles_played = frozenset(played)
        names = _names(dialogue, played)
        words = sorted(names, key=len, reverse=True)
        self._names: Mapping[str, str] = names
        zh = self.language == "zh"
        after = _NOT_AFTER_ZH if zh else _NOT_AFTER_EN
        service = "" if zh else f"(?P<service>{_SERVICE_EN})|"
        listed = "|".join(map(re.escape, words))
        plural = "" if zh else "s?"
        name = rf"(?:{service}(?P<name>{listed}){plural})"
        self._pattern = re.compile(rf"[\s\"'“‘(（*-]*{_OPENING[zh]}{name}(?:{after})", re.IGNORECASE)

    def role_of(self, sentence: str) -> str | None:
        """The role that is the subject of the sentence, or None."""
        found = self._pattern.match(sentence)
        if not found:
            return None
        return AGENT if found.groupdict().get("service") else self._names[found["name"].casefold()]

    def name_end(self, sentence: str) -> int:
        """Where the name at the beginning of the sentence ends; 0 if there is none."""
        found = self._pattern.match(sentence)
        return found.end() if found else 0


def _names(dialogue: Dialogue, played: set[str]) -> dict[str, str]:
    """Name in lower case -> role, without names that two roles share."""
    played_by = {label: dialogue.roles.get(label) for label in dialogue.speakers()}
    speakers = {label: role for label, role in played_by.items() if role and role not in WHOLE_DIALOGUE}
    recognized = {role for label, role in speakers.items() if role_of_speaker(label)}
    found: dict[str, str] = {}
    for role in dict.fromkeys((USER, AGENT, *played)):
        aliases = GENERIC_NAMES.get(role, ())
        if role in played - recognized:
            aliases = (*aliases, *ALIASES.get(role, ()))
        found |= dict.fromkeys((role.casefold(), *(alias.casefold() for alias in aliases)), role)
    shared: set[str] = set()
    by_label: dict[str, str] = {}
    for label, role in speakers.items():
        for name in _parts(label):
            if by_label.setdefault(name, role) != role:
                shared.add(name)
    return {
        name: role for name, role in {**found, **by_label}.items() if name not in shared and name not in WHOLE_DIALOGUE
    }


def _parts(label: str) -> set[str]:
    """The label, what stands in and before its brackets, and the words of a name in several ("Professor Haddad")."""
    whole = label.casefold().strip()
    parts = {whole, *(part.strip() for part in re.split(r"[()（）]", whole))}
    words = {word for part in parts for word in re.split(r"[\s._/#:]+", part) if len(word) > 2 and word.isalpha()}
    return {part for part in parts | words if part}
