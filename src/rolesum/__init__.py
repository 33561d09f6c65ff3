"""rolesum fine-tunes a language model to summarize a dialogue for each of its roles, and does the summarizing.

    import rolesum

    summarizer = rolesum.Summarizer.from_pretrained()
    for summary in summarizer("Customer: My parcel is late.\\nAgent: I will check."):
        print(summary.role, summary.text)

docs/python.md has the rest: streams, many dialogues, training and evaluating.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rolesum.dialogue import (
    Bundle,
    Dialogue,
    Example,
    ExtractedFields,
    FieldValue,
    RoleSummary,
    Statement,
    SummaryQuote,
    SummaryStatement,
    Turn,
)
from rolesum.errors import RolesumError

if TYPE_CHECKING:
    from rolesum.api import evaluate, load_dialogues, score, train
    from rolesum.generation.summarizer import Summarizer
    from rolesum.generation.summary_document import write_document
    from rolesum.models.loading import load_model

__version__ = "0.2.0"

__all__ = [
    "Bundle",
    "Dialogue",
    "Example",
    "ExtractedFields",
    "FieldValue",
    "RoleSummary",
    "RolesumError",
    "Statement",
    "Summarizer",
    "SummaryQuote",
    "SummaryStatement",
    "Turn",
    "__version__",
    "evaluate",
    "load_dialogues",
    "load_model",
    "score",
    "train",
    "write_document",
]

# Name -> the module that has it, which is imported when the name is first asked for: torch takes seconds.
_LATE = {
    "Summarizer": "rolesum.generation.summarizer",
    "evaluate": "rolesum.api",
    "load_dialogues": "rolesum.api",
    "load_model": "rolesum.models.loading",
    "score": "rolesum.api",
    "train": "rolesum.api",
    "write_document": "rolesum.generation.summary_document",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
