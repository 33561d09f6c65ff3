"""Instructions that a request words itself: for a role, in place of its own, or for a section that only it knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from rolesum.errors import Problem, UsageError
from rolesum.instructions.sections import SECTION_NAME
from rolesum.roles import RoleAliases, resolve_role


@dataclass(frozen=True, slots=True)
class AskedInstruction:
    """The text of an instruction. `is_section` says that no role has its name, so that no speaker plays it."""

    text: str
    is_section: bool = False


def asked_instructions(given: Mapping[str, str], aliases: RoleAliases) -> dict[str, AskedInstruction]:
    """The instructions by the names of their roles, which may be given by aliases; a name of no role is a section.

    Raises UsageError with all names that cannot be one or are given twice, and all texts that are empty.
    """
    found, problems = dict[str, AskedInstruction](), list[Problem]()
    for name, text in given.items():
        word = name.strip()
        role = _role(word, aliases)
        if not SECTION_NAME.fullmatch(word):
            fix = "name it without commas, equals signs and line breaks"
            problems.append(Problem(f'"{name}" cannot be the name of what is asked for', "--ask", fix))
        elif not text.strip():
            problems.append(Problem(f"what is asked for as {word} is empty", "--ask", "write the instruction"))
        elif (role or word) in found:
            problems.append(Problem(f"there are two instructions for {role or word}", "--ask", "leave one out"))
        else:
            found[role or word] = AskedInstruction(text.strip(), is_section=role is None)
    if problems:
        raise UsageError(problems)
    return found


def _role(name: str, aliases: RoleAliases) -> str | None:
    try:
        return resolve_role(name, aliases)
    except UsageError:
        return None
