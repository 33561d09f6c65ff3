"""API keys: creating them, reading the file of their digests, and finding the owner of a request's key."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from rolesum.errors import Problem, UsageError
from rolesum.os_errors import os_error

API_KEYS_VARIABLE = "ROLESUM_API_KEYS"
MIN_KEY_LENGTH = 20  # a shorter key can be guessed from its digest
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")
_KEY_PREFIX = "rs-"


def new_key(name: str) -> tuple[str, str]:
    """Return a new random key for `name`, and its line NAME:DIGEST for the file of keys. Raises UsageError."""
    key = _KEY_PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{digest(key)}"
    if not _LINE.fullmatch(line):
        raise UsageError(f'"{name}" cannot be the name of a key', fix="use up to 64 letters, digits, and . _ -")
    return key, line


def digest(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


class APIKeys:
    """The known API keys, by their digests. Without any, no key is required."""

    def __init__(self, names_by_digest: Mapping[str, str]) -> None:
        self._names_by_digest = dict(names_by_digest)

    def __bool__(self) -> bool:
        return bool(self._names_by_digest)

    def owner(self, key: str) -> str | None:
        """Return the name of a key; None for an unknown one. Takes the same time for every key."""
        given, found = digest(key), None
        for known, name in self._names_by_digest.items():
            if hmac.compare_digest(given, known):
                found = name
        return found


def read_api_keys(file: Path | None) -> APIKeys:
    """Return the keys of a file of NAME:DIGEST lines and those of the environment variable.

    Raises UsageError with all bad lines.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(_read(file).splitlines() if file else (), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        if match := _LINE.fullmatch(line):
            found[match[2]] = match[1]
        else:
            problems.append(Problem("not NAME:DIGEST", f"{file}:{number}", "rolesum serve --new-key NAME prints one"))
    for number, key in enumerate(filter(None, re.split(r"[\s,]+", os.environ.get(API_KEYS_VARIABLE, ""))), 1):
        if len(key) < MIN_KEY_LENGTH:
            fix = f"use at least {MIN_KEY_LENGTH} characters; rolesum serve --new-key NAME prints a random key"
            problems.append(Problem(f"key {number} is too short", API_KEYS_VARIABLE, fix))
        found[digest(key)] = f"env-{number}"
    if problems:
        raise UsageError(problems)
    if file and not found:
        raise UsageError("the file has no key", str(file), "rolesum serve --new-key NAME prints a line for it")
    return APIKeys(found)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fix = "give a text file of NAME:DIGEST lines"
        raise os_error(error, "cannot be read", file, fix, kind=UsageError) from None
