"""API keys: which there are, and whose a request is. Only digests are kept."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from rolesum.errors import Problem, UsageError

VARIABLE = "ROLESUM_API_KEYS"
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")
_PREFIX = "rs-"
# A key that people made up themselves is guessed from its digest if it is short.
SHORTEST = 20


def new_key(name: str) -> tuple[str, str]:
    """A new key for `name`, and its line for the file."""
    key = _PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{digest(key)}"
    if not _LINE.fullmatch(line):
        raise UsageError(f'"{name}" cannot be the name of a key', fix="take letters, digits, and . _ -")
    return key, line


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """Digest -> name of every key. Without any, everybody is let in."""

    def __init__(self, by_digest: Mapping[str, str]) -> None:
        self._by_digest = dict(by_digest)

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def owner(self, key: str) -> str | None:
        """The name of a key, or None. Every digest is compared, so that the time says nothing."""
        asked, found = digest(key), None
        for known, name in self._by_digest.items():
            if hmac.compare_digest(asked, known):
                found = name
        return found


def read_keys(file: Path | None) -> Keys:
    """The keys of a file of NAME:DIGEST lines, and those of the environment. Raises UsageError with all bad lines."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(_text(file).splitlines() if file else (), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        if match := _LINE.fullmatch(line):
            found[match[2]] = match[1]
        else:
            problems.append(Problem("not NAME:DIGEST", f"{file}:{number}", "rolesum serve --new-key NAME prints one"))
    for number, key in enumerate(filter(None, re.split(r"[\s,]+", os.environ.get(VARIABLE, ""))), 1):
        if len(key) < SHORTEST:
            fix = f"at least {SHORTEST} characters; rolesum serve --new-key NAME prints a good one"
            problems.append(Problem(f"key {number} is too short", VARIABLE, fix))
        found[digest(key)] = f"env-{number}"
    if problems:
        raise UsageError(problems)
    if file and not found:
        raise UsageError("no key in the file", str(file), "rolesum serve --new-key NAME prints a line for it")
    return Keys(found)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot be read: {error}", str(file), "give a file of NAME:DIGEST lines") from None
