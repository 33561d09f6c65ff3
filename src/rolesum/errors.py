"""Errors: what happened, where, and how to fix it.

Every error that rolesum raises on purpose is a `RolesumError`. It carries the exit code of the command line and one or
more problems, so that a file with forty bad lines is one error with forty problems.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rolesum.counts import counted

SHOWN_PROBLEMS = 20
SHOWN_CHARACTERS = 60  # of a line or a text
LONGEST_WORD = 200  # characters of the longest word that did_you_mean compares: its time is quadratic
_LONGEST_KEY = 300  # characters of a key's path that are shown


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `what` happened, `where` (file and line, dialogue id, key), and the `fix`."""

    what: str
    where: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  → {self.fix}" if self.fix else text

    @classmethod
    def from_pydantic(
        cls, detail: Mapping[str, Any], where: str = "", fix: str = "", *, known: Iterable[str] = ()
    ) -> "Problem":
        """One entry of pydantic's `ValidationError.errors()` as a problem.

        `where` names the file. Without it, as for the body of a request, the path of the key is the place. `known` are
        the keys that may stand where an unknown one does: the fix is then the nearest of them.
        """
        key = ".".join(map(str, detail["loc"]))[:_LONGEST_KEY]
        place = where or key
        if detail["type"] == "extra_forbidden":
            last = str(detail["loc"][-1])[:_LONGEST_KEY]
            hint = did_you_mean(last, known) if known else fix or "remove it"
            return cls(f'unknown key "{key if where else last}"', place, hint)
        if detail["type"] == "missing":
            return cls(f'the key "{key}" is missing', place, fix)
        what = str(detail["msg"]).removeprefix("Value error, ")
        return cls(f"{key}: {what}" if where and key else what, place, fix)


class RolesumError(Exception):
    """The base class of all errors that rolesum raises on purpose."""

    exit_code = 1

    def __init__(self, what: str | Sequence[Problem], where: str = "", fix: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, fix),) if isinstance(what, str) else tuple(what)
        super().__init__(str(self))

    def __reduce__(self) -> tuple[type["RolesumError"], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # errors travel between processes

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        hidden = len(self.problems) - SHOWN_PROBLEMS
        if hidden > 0:
            lines.append(f"… and {counted(hidden, 'more problem')}")
        return "\n".join(lines)


class UsageError(RolesumError):
    """Wrong usage: an option or a recipe key does not exist, or two do not go together."""

    exit_code = 2


class DataError(RolesumError):
    """A data file, or a dialogue in it, cannot be used."""

    exit_code = 3


class SizeError(DataError):
    """A data file is larger than what is read."""


class LengthError(DataError):
    """A dialogue does not fit the model."""


class ModelError(RolesumError):
    """A model, tokenizer or adapter is missing, broken or does not fit."""

    exit_code = 4


class ResourceError(RolesumError):
    """The machine lacks a resource: disk space, memory, network."""

    exit_code = 5


def error_summary(error: BaseException) -> str:
    """The first line of a library's error message, or the error's type if it has no message.

    With the second line where the first ends in a colon and so only announces it.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def quoted(text: str, length: int = SHOWN_CHARACTERS) -> str:
    """The beginning of a text in quotes, for an error message: control characters escaped, "…" where it is cut."""
    text = text.strip()
    return repr(text) if len(text) <= length else f"{text[:length]!r}…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint like `did you mean "epochs"?`, or the known words if none is near."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1) if len(word) <= LONGEST_WORD else []
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(words)}"
