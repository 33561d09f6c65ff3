"""Checks of summaries that need no model: what the dialogue does not say, mixed roles, repetition, copying, evidence.

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
