"""Whose summary a column of a table, or a field of a record, holds: `summary_user` and `agent summary` say it."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from rolesum.errors import DataError, UsageError
from rolesum.formats.options import SUMMARY, is_summary_field
from rolesum.roles import OVERALL, RoleAliases, resolve_role, role_named

_LONGEST_NAME = 200  # the expressions take quadratic time
_SEPARATORS = " ._:-"
# summary_user, user_summary, summary; and 用户摘要, 摘要
_NAME = re.compile(
    rf"{SUMMARY}(?:[{_SEPARATORS}]+(?P<behind>.+))?|(?P<before>.+?)[{_SEPARATORS}]+{SUMMARY}|(?P<chinese>.*)摘要",
    re.IGNORECASE,
)
_NUMBERED = re.compile(rf"(.*?)[{_SEPARATORS}]*(\d*)")


def summary_columns(
    names: Iterable[str], roles: RoleAliases | None = None, *, but: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Role -> the columns of its summaries, by their names; several where they are numbered: summary_user_2.

    `roles` maps custom roles to their aliases; roles in `but` are left out. A name of no known role, such as
    summary_date, is another column's. Raises DataError where two columns are the same summary's.
    """
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        if (named := _role_and_number(name, roles)) is None or named[0] in but:
            continue
        role, number = named
        if (other := found[role].setdefault(number, name)) != name:
            what = f"two columns have the summary for {role}: {other} and {name}"
            fix = f"rename one, number them (…_1, …_2), or choose one: --columns {summary_field(role)}={name}"
            raise DataError(what, fix=fix)
    return {role: tuple(columns[number] for number in sorted(columns)) for role, columns in found.items()}


def mapped_summaries(
    given: Mapping[str, str], option: str, roles: RoleAliases | None = None
) -> dict[str, tuple[str, ...]]:
    """Role -> the columns or paths that an option's fields `summary`, `summary.ROLE` and `summary.ROLE.2` map.

    Raises UsageError for an unknown role, and for two values of one summary.
    """
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for field, value in given.items():
        if not is_summary_field(field):
            continue
        try:
            # what names no role is an error of resolve_role, which says the roles there are
            role, number = _role_and_number(field, roles) or (resolve_role(field.partition(".")[2], roles), 0)
        except UsageError as error:
            raise UsageError([replace(problem, where=option) for problem in error.problems]) from None
        if number in found[role]:
            fix = f"give one, or number them: {summary_field(role)}.2"
            raise UsageError(f"two values for {summary_field(role)}", option, fix)
        found[role][number] = value
    return {role: tuple(values[number] for number in sorted(values)) for role, values in found.items()}


def summary_field(role: str) -> str:
    """The field of a role's summary: `summary` or `summary.ROLE`."""
    return SUMMARY if role == OVERALL else f"{SUMMARY}.{role}"


def _role_and_number(name: str, roles: RoleAliases | None) -> tuple[str, int] | None:
    """The role that the name of a summary's column names, and the number at its end, 0 where there is none."""
    if len(name) > _LONGEST_NAME:
        return None
    numbered = _NUMBERED.fullmatch(name.strip())
    for text, number in ((name.strip(), ""), numbered.groups() if numbered else ("", "")):
        if (found := _NAME.fullmatch(text)) is None:
            continue
        of_role = found["behind"] or found["before"] or found["chinese"] or OVERALL
        spaced = re.sub(rf"[{_SEPARATORS}]+", " ", of_role)
        if role := role_named(of_role, roles) or role_named(spaced, roles):
            return role, int(number or 0)
    return None
