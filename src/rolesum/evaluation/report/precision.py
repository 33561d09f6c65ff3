"""Writes figures with the digits that the number of pairs bears, and warns where those are few."""

from collections.abc import Mapping
from typing import Any

from rolesum.counts import counted
from rolesum.metrics.bootstrap import FEW


def rounded(value: float, pairs: int, sign: str = "") -> str:
    """A figure with two digits behind the point; of few pairs with none, or with one where it is below 10."""
    digits = 2 if pairs >= FEW else 1 if abs(value) < 9.95 else 0
    return f"{value:{sign}.{digits}f}"


def few_note(pairs: int, of: str = "") -> str:
    """The warning that belongs to figures of few pairs, those `of` something; else empty."""
    if pairs >= FEW:
        return ""
    summaries = f"1 summary{of} is" if pairs == 1 else f"{pairs} summaries{of} are"
    return f"{summaries} too few for two decimals or a reliable interval: use {FEW} or more"


def rate_text(rate: Mapping[str, Any]) -> str:
    """A SupportRate, as JSON has it, in words: "31 of 40 (78 %, 62–89)"."""
    counts = f"{rate['without_doubt']} of {rate['summaries']}"
    if rate["share"] is None:
        return counts
    interval = f", {percent_range(rate['interval'])}" if rate["interval"] else ""
    return f"{counts} ({100 * rate['share']:.0f} %{interval})"


def percent_range(interval: tuple[float, float]) -> str:
    """The ends of an interval of shares, in percent."""
    low, high = interval
    return f"{100 * low:.0f}–{100 * high:.0f}"


def support_notes(support: Mapping[str, Any]) -> list[str]:
    """The notes on the `support` of results.json: the threshold, what intervals are over, and what is not counted."""
    total = support["total"]
    notes = [
        f"A statement is doubtful where its support is under {support['threshold']:g}: "
        f"{total['doubtful']} of {total['statements']} are"
    ]
    dialogues = total["dialogues"]
    over = counted(dialogues, "dialogue")
    few = f"Intervals over {over} are unreliable: use {FEW} or more"
    notes.append(few if dialogues < FEW else f"Intervals: 95 %, over {over}")
    if total["unknown"]:
        why = "no statement, or one that could not be verified"
        further = counted(total["unknown"], "further summary", "further summaries")
        notes.append(f"Not counted: {further} with {why}")
    if total["dropped"]:
        notes.append(f"Left out of the summaries: {counted(total['dropped'], 'statement')}")
    return notes
