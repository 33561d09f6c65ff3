"""Roles, and the aliases that resolve to them."""

import re
from collections.abc import Mapping, Sequence

from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError, did_you_mean

RoleAliases = Mapping[str, Sequence[str]]  # role -> its aliases

OVERALL, USER, AGENT, BRIEF = "overall", "user", "agent", "brief"
BUILT_IN = (OVERALL, USER, AGENT, BRIEF)
# Roles that are summaries of the whole dialogue: no speaker plays them.
WHOLE_DIALOGUE = (OVERALL, BRIEF)
# What is trained and asked for where nobody says otherwise.
DEFAULT_ROLES = (OVERALL, USER, AGENT)

# Aliases of the built-in roles, in lower case. A speaker with one of these labels plays that role.
ALIASES: dict[str, tuple[str, ...]] = {
    OVERALL: ("overall", "final", "all", "both", "whole", "summary", "全部", "整体", "总体", "全部摘要", "整体摘要"),
    USER: (
        *("user", "customer", "client", "caller", "patient", "guest", "tenant", "traveller", "traveler", "passenger"),
        *("employee", "buyer", "member", "student", "account holder"),
        *("用户", "顾客", "客户", "商家", "患者", "病人", "旅客", "乘客", "业主", "买家", "客人", "员工", "用户摘要"),
    ),
    BRIEF: ("brief", "一句话摘要"),
    AGENT: (
        *("agent", "assistant", "support", "representative", "operator", "advisor", "adviser", "doctor", "nurse"),
        *("reception", "receptionist", "front desk", "help desk", "helpdesk", "technician", "clerk", "staff"),
        *("staff member", "pharmacist", "customer service", "customer support", "customer care", "service desk"),
        *(
            "客服",
            "坐席",
            "座席",
            "客服人员",
            "店员",
            "医生",
            "护士",
            "前台",
            "柜员",
            "工程师",
            "药师",
            "师傅",
            "客服摘要",
        ),
    ),
}


# Of a label in several words, such as "The tour operator", the last one may name the role, if it is one of these. Words
# that are people's names too (Guest, Clerk), or that say little of the role (member, staff), are none of them.
_LAST_WORDS = {
    *("customer", "client", "caller", "patient", "tenant", "traveller", "traveler", "passenger", "buyer"),
    *("agent", "assistant", "support", "representative", "operator", "advisor", "adviser", "doctor", "nurse"),
    *("receptionist", "technician", "pharmacist"),
}
_ARTICLE = re.compile(r"^(?:the|an?|my|our|your)\s+", re.IGNORECASE)


def _by_name(roles: RoleAliases) -> dict[str, str]:
    """Every name and alias in lower case -> its role; of two roles with one alias, the first."""
    found: dict[str, str] = {}
    for role, aliases in roles.items():
        for name in (role, *aliases):
            found.setdefault(name.lower(), role)
    return found


_BUILT_IN_NAMES = _by_name(ALIASES)


def resolve_role(name: str, custom: RoleAliases | None = None) -> str:
    """Resolve a role's name or alias. `custom` maps custom roles to their aliases.

    Raises UsageError for a name that is neither a role nor an alias.
    """
    role = role_named(name, custom)
    if role is None:
        known = [*BUILT_IN, *(custom or {})]
        raise UsageError(
            f'unknown role "{name}"',
            fix=f"{did_you_mean(name.strip().lower(), known)}; or declare it: --sections, or custom_roles in a recipe",
        )
    return role


def role_named(name: str, custom: RoleAliases | None = None) -> str | None:
    """The role of a name or alias; None for a name that is neither."""
    return _lookup(name, _names(custom))


def role_names(given: str | Sequence[str], custom: RoleAliases | None = None) -> tuple[str, ...]:
    """The roles that a list of names or aliases names, or a text of them with commas between them, each once.

    Raises UsageError for a name that is neither a role nor an alias, and where there is none.
    """
    names = given.replace("，", ",").split(",") if isinstance(given, str) else given
    if not (named := [name for name in names if name.strip()]):
        raise UsageError("--roles is empty", fix="write --roles user,agent")
    return tuple(dict.fromkeys(resolve_role(name, custom) for name in named))


def role_of_speaker(label: str, custom: RoleAliases | None = None) -> str | None:
    """The role that a speaker's label names ("Customer", "客服"); None for other labels, such as a person's name."""
    return _of_speaker(label, _names(custom))


def roles_of_speakers(labels: Sequence[str], custom: RoleAliases | None = None) -> dict[str, str]:
    """Speaker label -> role, for the labels that name one."""
    names = _names(custom)
    found = {label: _of_speaker(label, names) for label in dict.fromkeys(labels)}
    return {label: role for label, role in found.items() if role is not None}


def default_roles(dialogue: Dialogue) -> tuple[str, ...]:
    """The roles that a dialogue can be summarized for: overall, and those that some speaker plays."""
    played = dict.fromkeys(dialogue.roles.get(label) for label in dialogue.speakers())
    present = [role for role in played if role and role not in WHOLE_DIALOGUE]
    ordered = [role for role in (USER, AGENT) if role in present]
    return (OVERALL, *ordered, *(role for role in present if role not in ordered))


def _names(custom: RoleAliases | None) -> Mapping[str, str]:
    return {**_BUILT_IN_NAMES, **_by_name(custom)} if custom else _BUILT_IN_NAMES


def _of_speaker(label: str, names: Mapping[str, str]) -> str | None:
    name = _ARTICLE.sub("", label.strip().rstrip("0123456789 #"), count=1)
    role = _lookup(label, names) or _lookup(name, names)
    if role is None and (last := name.rpartition(" ")[2].lower()) in _LAST_WORDS:
        role = names.get(last)
    return None if role in WHOLE_DIALOGUE else role


def _lookup(name: str, names: Mapping[str, str]) -> str | None:
    return names.get(name.strip().lower())
