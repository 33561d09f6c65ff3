"""What can go wrong, told as what happened, where, and what to do about it.

Every error that rolesum raises on purpose is a `RolesumError`. It carries one or more problems, so that a file with
forty bad lines is one error with forty places, and the exit code of the command line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

SHOWN_PROBLEMS = 20
LONGEST_WORD = 200  # characters of a word for which a near one is sought: the time grows with their square


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `what` happened, `where` (file and line, dialogue id, key), and the `fix`."""

    what: str
    where: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  → {self.fix}" if self.fix else text


class RolesumError(Exception):
    """Something failed; the base of all errors that rolesum raises on purpose."""

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
            lines.append(f"… and {hidden} more problems")
        return "\n".join(lines)


class UsageError(RolesumError):
    """The command or the recipe asks for something that does not exist or does not go together."""

    exit_code = 2


class DataError(RolesumError):
    """A data file, or a dialogue in it, cannot be used as it is."""

    exit_code = 3


class ModelError(RolesumError):
    """A model, tokenizer or adapter is missing, broken or does not fit."""

    exit_code = 4


class ResourceError(RolesumError):
    """The machine ran out of something: disk, memory, network."""

    exit_code = 5


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint like `did you mean "epochs"?`, or the known words where none is near."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1) if len(word) <= LONGEST_WORD else []
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(words)}"
