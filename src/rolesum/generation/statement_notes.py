"""How the statements of a summary are shown: marks in its text, notes below it, and JSON records."""

from collections.abc import Iterator, Sequence
from typing import Any

from rolesum.dialogue import RoleSummary, SummaryStatement

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
    if doubtful := summary.doubtful:
        if quoted:
            said = ((summary.text[one.start : one.end], one) for one in doubtful)
            yield f"{MARK} the dialogue may not say: {'; '.join(_named(*one) for one in said)}"
        else:
            this = "this" if len(doubtful) == 1 else "these"
            yield f"{MARK} the dialogue may not say {this}: support {', '.join(map(_support, doubtful))}"
    if summary.dropped:
        out = [_named(one.text, one) for one in summary.dropped if summary.is_doubtful(one)]
        rest = [_named(one.text, one) for one in summary.dropped if not summary.is_doubtful(one)]
        along = f"; and with it: {'; '.join(rest)}" if rest else ""
        yield f"(left out, as the dialogue may not say it: {'; '.join(out)}{along})"
    if unknown := sum(one.support is None for one in summary.statements):
        yield f"({unknown} of {len(summary.statements)} statements could not be verified)"
    if flags := dict.fromkeys(flag for one in summary.statements for flag in one.flags):
        yield f"(checks: {'; '.join(flags)})"


def _named(text: str, one: SummaryStatement) -> str:
    return f'"{text}" (support {_support(one)})'


def _support(one: SummaryStatement) -> str:
    return "unknown" if one.support is None else f"{one.support:.2f}"


def statement_records(summaries: Sequence[RoleSummary]) -> dict[str, Any]:
    """The JSON keys `statements`, `dropped` and `support_threshold` of a dialogue; none if nothing was verified."""
    verified = [one for one in summaries if one.support_threshold is not None]
    if not verified:
        return {}
    of_role = {one.role: [statement_record(each) for each in one.statements] for one in verified}
    value: dict[str, Any] = {"statements": of_role}
    if dropped := {one.role: [statement_record(each) for each in one.dropped] for one in verified if one.dropped}:
        value["dropped"] = dropped
    value["support_threshold"] = verified[0].support_threshold
    return value


def statement_record(one: SummaryStatement) -> dict[str, Any]:
    """A statement as plain data, its support with four digits."""
    return {
        "text": one.text,
        "start": one.start,
        "end": one.end,
        "support": None if one.support is None else round(one.support, 4),
        "turns": list(one.turns),
        "flags": list(one.flags),
    }
