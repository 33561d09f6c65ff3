"""How the statements of a summary are shown: marks in its text, notes below it, and JSON records."""

from collections.abc import Iterator, Sequence
from typing import Any

from rolesum.counts import counted
from rolesum.dialogue import RoleSummary, SummaryQuote, SummaryStatement

MARK = "(?)"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"  # of ECMA-48, as terminals read them


def marked_text(summary: RoleSummary, *, styled: bool = False) -> str:
    """The text with a mark behind each doubtful statement; dim with it where the text is `styled` for a terminal."""
    text, end = "", 0
    before, after = (_DIM, _PLAIN) if styled else ("", "")
    for one in summary.doubtful:
        text += f"{summary.text[end : one.start]}{before}{summary.text[one.start : one.end]} {MARK}{after}"
        end = one.end
    return text + summary.text[end:]


def statement_notes(summary: RoleSummary, *, quoted: bool = False) -> Iterator[str]:
    """One line each on the doubtful statements, those left out, those not verified, and what the checks find.

    `quoted` is for a text that was shown without marks: the doubtful statements are named.
    """
    threshold = summary.support_threshold
    if doubtful := summary.doubtful:
        if quoted:
            said = (_named(summary.text[one.start : one.end], one, threshold) for one in doubtful)
            yield f"{MARK} the dialogue may not say: {'; '.join(said)}"
        else:
            this = "this" if len(doubtful) == 1 else "these"
            support = (_support_and_times(one, threshold) for one in doubtful)
            yield f"{MARK} the dialogue may not say {this}: support {', '.join(support)}"
    if summary.quotes:
        were = "was" if len(summary.dropped) == 1 else "were"
        yield f"({counted(len(summary.dropped), 'statement')} that the dialogue may not say {were} replaced by quotes)"
    elif summary.dropped:
        named = [(summary.is_doubtful(one), _named(one.text, one, threshold)) for one in summary.dropped]
        out, rest = ([words for is_doubtful, words in named if is_doubtful is wanted] for wanted in (True, False))
        along = f"; and with it: {'; '.join(rest)}" if rest else ""
        yield f"(left out, as the dialogue may not say it: {'; '.join(out)}{along})"
    if unknown := sum(one.support is None for one in summary.statements):
        yield f"({unknown} of {len(summary.statements)} statements could not be verified)"
    if flags := dict.fromkeys(flag for one in summary.statements for flag in one.flags):
        yield f"(checks: {'; '.join(flags)})"


def _named(text: str, one: SummaryStatement, threshold: float | None) -> str:
    return f'"{text}" (support {_support_and_times(one, threshold, "; ")})'


def _support_and_times(one: SummaryStatement, threshold: float | None, between: str = " ") -> str:
    """The support, with the times at which to look, where the dialogue has times."""
    times = ", ".join(filter(None, one.times))
    see = f"see {times}" if between != " " else f"(see {times})"
    return support_text(one.support, threshold) + (f"{between}{see}" if times else "")


def support_text(support: float | None, threshold: float | None, digits: int = 2) -> str:
    """A support with `digits`, or with more if it would else seem to be on the other side of the threshold.

    0.4996 is 0.50, but 0.4996 where a statement is doubtful under 0.5.
    """
    if support is None:
        return "unknown"
    texts = (f"{support:.{more}f}" for more in range(digits, 18))
    is_doubtful = support < (threshold or 0.0)
    return next((text for text in texts if (float(text) < (threshold or 0.0)) is is_doubtful), str(support))


def statement_records(summaries: Sequence[RoleSummary]) -> dict[str, Any]:
    """The JSON keys of a dialogue that say what was verified: statements, dropped, quotes, support_threshold."""
    verified = [one for one in summaries if one.support_threshold is not None]
    if not verified:
        return {}
    threshold = verified[0].support_threshold
    of_role = {one.role: [statement_record(each, threshold) for each in one.statements] for one in verified}
    value: dict[str, Any] = {"statements": of_role}
    dropped = {one.role: [statement_record(each, threshold) for each in one.dropped] for one in verified if one.dropped}
    if dropped:
        value["dropped"] = dropped
    if quotes := {one.role: [quote_record(each) for each in one.quotes] for one in verified if one.quotes}:
        value["quotes"] = quotes
    value["support_threshold"] = threshold
    return value


def quote_record(one: SummaryQuote) -> dict[str, Any]:
    """A quote as plain data."""
    return {"start": one.start, "end": one.end, "turn": one.turn, **({"time": one.time} if one.time else {})}


def statement_record(one: SummaryStatement, threshold: float | None) -> dict[str, Any]:
    """A statement as plain data, its support with four digits, or with more as `support_text` has it."""
    return {
        "text": one.text,
        "start": one.start,
        "end": one.end,
        "support": None if one.support is None else float(support_text(one.support, threshold, 4)),
        "turns": list(one.turns),
        **({"times": list(one.times)} if one.times else {}),
        "flags": list(one.flags),
    }
