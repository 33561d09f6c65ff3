"""rolesum fine-tunes a language model to summarize a dialogue for each of its roles, and does the summarizing."""

from typing import TYPE_CHECKING, Any

from rolesum.dialogue import Bundle, Dialogue, Example, RoleSummary, Statement, SummaryStatement, Turn
from rolesum.errors import RolesumError

if TYPE_CHECKING:
    from rolesum.formats import read_dialogues as load_dialogues
    from rolesum.models.loading import load_model

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "Dialogue",
    "Example",
    "RoleSummary",
    "RolesumError",
    "Statement",
    "SummaryStatement",
    "Turn",
    "__version__",
    "load_dialogues",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name == "load_dialogues":
        from rolesum.formats import read_dialogues

        return read_dialogues
    if name == "load_model":  # imports torch: only when asked for
        from rolesum.models.loading import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
