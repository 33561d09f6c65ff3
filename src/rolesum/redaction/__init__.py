"""Redaction: replaces personal data with placeholders before a model sees it, and restores it in the summaries.

Personal data are phone numbers, e-mail addresses, card, ID, account and order numbers, passwords, dates of birth,
street and IP addresses, logins and names.
"""

from rolesum.redaction.find import KINDS
from rolesum.redaction.mask import Redacted, Restored, RestoringText, redact, restore_summaries

__all__ = ["KINDS", "Redacted", "Restored", "RestoringText", "redact", "restore_summaries"]
