"""Roles and the many names that people give them."""

from collections.abc import Mapping, Sequence

from rolesum.dialogue import Dialogue
from rolesum.errors import UsageError, did_you_mean

OVERALL, USER, AGENT = "overall", "user", "agent"
BUILT_IN = (OVERALL, USER, AGENT)

# Names of a role as people write them, in lower case. A speaker labelled with one of them plays that role.
ALIASES: dict[str, tuple[str, ...]] = {
    OVERALL: ("overall", "final", "all", "both", "whole", "summary", "全部", "整体", "总体", "全部摘要", "整体摘要"),
    USER: (
        *("user", "customer", "client", "caller", "patient", "guest", "tenant", "traveller", "traveler", "passenger"),
        *("employee", "buyer", "member", "student", "account holder"),
        *("用户", "顾客", "客户", "商家", "患者", "病人", "旅客", "乘客", "业主", "买家", "员工", "用户摘要"),
    ),
    AGENT: (
        *("agent", "assistant", "support", "representative", "operator", "advisor", "adviser", "doctor", "nurse"),
        *("receptionist", "front desk", "help desk", "helpdesk", "technician", "clerk", "staff", "pharmacist"),
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


def resolve_role(name: str, custom: Mapping[str, Sequence[str]] | None = None) -> str:
    """The role that `name` stands for. `custom` maps the recipe's own roles to their aliases.

    Raises UsageError for a name that is neither a role nor an alias.
    """
    role = _lookup(name, custom)
    if role is None:
        known = [*BUILT_IN, *(custom or {})]
        raise UsageError(
            f'unknown role "{name}"',
            fix=f"{did_you_mean(name.strip().lower(), known)}; or declare it: --sections, or custom_roles in a recipe",
        )
    return role


def role_of_speaker(label: str, custom: Mapping[str, Sequence[str]] | None = None) -> str | None:
    """The role that a speaker's label names ("Customer", "客服"), or None for a label such as a person's name."""
    role = _lookup(label, custom) or _lookup(label.rstrip("0123456789 "), custom)
    return None if role == OVERALL else role


def roles_of_speakers(labels: Sequence[str], custom: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """Speaker label -> role, for the labels that name one."""
    found = {label: role_of_speaker(label, custom) for label in labels}
    return {label: role for label, role in found.items() if role is not None}


def default_roles(dialogue: Dialogue) -> tuple[str, ...]:
    """The roles that can be summarised without being told more: overall, and those that some speaker plays."""
    played = dict.fromkeys(dialogue.roles.get(label) for label in dialogue.speakers())
    present = [role for role in played if role and role != OVERALL]
    ordered = [role for role in (USER, AGENT) if role in present]
    return (OVERALL, *ordered, *(role for role in present if role not in ordered))


def _lookup(name: str, custom: Mapping[str, Sequence[str]] | None) -> str | None:
    wanted = name.strip().lower()
    tables: list[Mapping[str, Sequence[str]]] = [custom or {}, ALIASES]
    for table in tables:
        for role, aliases in table.items():
            if wanted == role.lower() or wanted in (alias.lower() for alias in aliases):
                return role
    return None
