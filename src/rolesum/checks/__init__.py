"""Model-free checks of one summary against its dialogue: unsupported facts, mixed-up roles, repetition, copying.

Each check counts cases and hits; docs/checks.md says what each finds, and how often on references and known systems.
"""

from rolesum.checks.registry import CHECKS, Check
from rolesum.checks.runner import check_summary
from rolesum.checks.types import CheckedSummary, Evidence, Flag

__all__ = [
    "CHECKS",
    "Check",
    "CheckedSummary",
    "Evidence",
    "Flag",
    "check_summary",
]
