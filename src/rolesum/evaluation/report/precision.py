"""Rounds figures by the number of pairs that they come from, and warns where those are few."""

from rolesum.metrics.bootstrap import FEW


def rounded(value: float, pairs: int, sign: str = "") -> str:
    """A figure with two digits behind the point; of few pairs with none, or with one where it is below 10."""
    digits = 2 if pairs >= FEW else 1 if abs(value) < 9.95 else 0
    return f"{value:{sign}.{digits}f}"


def few_note(pairs: int) -> str:
    """The warning that belongs to figures of few pairs; else empty."""
    if pairs >= FEW:
        return ""
    summaries = "1 summary is" if pairs == 1 else f"{pairs} summaries are"
    return f"{summaries} too few for two decimals or a reliable interval: use {FEW} or more"
