"""Redaction: phone numbers, e-mail addresses, card and ID numbers and names become placeholders before a model sees
them, and what they stood for comes back into the summaries.
"""

from rolesum.redaction.find import KINDS
from rolesum.redaction.mask import Redacted, Restored, RestoringText, redact, restore_summaries

__all__ = ["KINDS", "Redacted", "Restored", "RestoringText", "redact", "restore_summaries"]
