"""What is scored: one role's summary of one dialogue, beside its references."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """One role's summary of one dialogue beside its references."""

    id: str
    role: str
    prediction: str
    references: tuple[str, ...]
    tokens: int = 0
    finish_reason: str = ""
