"""Lines that WhatsApp writes of calls, known by their words in the languages of whatsapp_calls.yaml."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib import resources

import yaml

_LONGEST_LINE = 120  # characters
_CLOCK = r"\d{1,2}[:.h]\d{2}(?:[:.]\d{2})?(?!\d)"
_SIGN = (
    r"[,.;:·•|()（）。、，،–—-]"  # before how long a call took or how it ended, where "Video call 5 min" is a person's
)
_ENDS = re.compile(r"^\W+|[\s.。]+$")  # the sign of a telephone before it, dots behind


def is_call_line(text: str) -> bool:
    """Whether a message is nothing but a call, as the app logs it: "Missed voice call", "Sprachanruf, 3 Min."."""
    if len(text) > _LONGEST_LINE:
        return False
    return _pattern().fullmatch(_ENDS.sub("", unicodedata.normalize("NFC", text)).casefold()) is not None


@cache
def _pattern() -> re.Pattern[str]:
    written = resources.files("rolesum.formats").joinpath("whatsapp_calls.yaml").read_text(encoding="utf-8")
    lists = yaml.safe_load(written)
    missed, calls, ends = (
        _any_of(phrase for of_language in lists[name].values() for phrase in of_language)
        for name in ("missed", "calls", "ends")
    )
    duration = rf"\d{{1,3}}\s?{_any_of(' '.join(lists['units']).split())}"
    told = f"(?:{duration}|{ends})"
    rest = rf"(?:\s|{_SIGN}|{_CLOCK}|{told}|{_any_of(' '.join(lists['joiners']).split())})*+"
    return re.compile(rf"{missed}{rest}|{calls}\s?{_SIGN}\s?{told}{rest}")


def _any_of(phrases: Iterable[str]) -> str:
    """A pattern of any of the phrases, the longest first, that no letter follows."""
    keys = {unicodedata.normalize("NFC", phrase).casefold() for phrase in phrases}
    return rf"(?>{'|'.join(map(re.escape, sorted(keys, key=len, reverse=True)))})(?![^\W\d])"
