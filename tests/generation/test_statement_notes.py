"""How doubtful statements are marked in text, and what a JSON record says of statements."""

from dataclasses import replace

import pytest

from rolesum.dialogue import RoleSummary, SummaryQuote, SummaryStatement
from rolesum.generation.statement_notes import statement_notes, support_text
from rolesum.generation.summary_output import format_blocks, summary_record

ONE, TWO = "Ben pays.", "Tom calls, and he sends the build."


def summary(*supports, threshold=0.5, flags=((), (), ())):
    spans = [(0, 9, "Ben pays."), (10, 19, "Tom calls."), (25, 44, "Tom calls. He sends the build.")]
    statements = tuple(
        SummaryStatement(*span, support, (0,), notes)
        for span, support, notes in zip(spans, supports, flags, strict=False)
    )
    return RoleSummary("c", "user", f"{ONE} {TWO}", 9, "stop", statements=statements, support_threshold=threshold)


def block(*given, styled=False, **more):
    return format_blocks([[summary(*given, **more)]], styled=styled)


def test_a_doubtful_statement_has_a_mark_behind_it_and_the_line_below_its_support():
    assert block(0.9, 0.214, 0.8) == (
        "[user]\nBen pays. Tom calls (?), and he sends the build.\n(?) the dialogue may not say this: support 0.21\n"
    )
    assert block(0.1, 0.9, 0.49) == (
        "[user]\nBen pays. (?) Tom calls, and he sends the build. (?)\n"
        "(?) the dialogue may not say these: support 0.10, 0.49\n"
    )
    assert block(0.9, 0.5, 0.8) == f"[user]\n{ONE} {TWO}\n"


def test_times_stand_beside_the_support_where_they_are_known():
    of = summary(0.9, 0.214, 0.3)
    first, second, third = of.statements
    timed = replace(of, statements=(first, replace(second, turns=(4, 2), times=("12:40", "12:31")), third))
    assert format_blocks([[timed]]).endswith(
        "(?) the dialogue may not say these: support 0.21 (see 12:40, 12:31), 0.30\n"
    )
    assert list(statement_notes(timed, quoted=True)) == [
        '(?) the dialogue may not say: "Tom calls" (support 0.21; see 12:40, 12:31); '
        '"he sends the build." (support 0.30)'
    ]
    record = summary_record([timed])["statements"]["user"]
    assert record[1]["turns"] == [4, 2] and record[1]["times"] == ["12:40", "12:31"]
    assert "times" not in record[0]


def test_on_a_terminal_it_is_dim():
    shown = block(0.9, 0.9, 0.2, styled=True)
    assert "Tom calls, and \x1b[2mhe sends the build. (?)\x1b[0m\n(?) the dialogue" in shown
    assert shown.count("\x1b") == 2


def test_what_the_checks_find_stands_below_once_and_so_does_what_was_not_verified():
    notes = ("the dialogue does not say 45", "led by the agent, in a summary for the user")
    assert block(0.9, None, None, flags=(notes[:1], notes, ())) == (
        f"[user]\n{ONE} {TWO}\n(2 of 3 statements could not be verified)\n(checks: {notes[0]}; {notes[1]})\n"
    )


def test_the_record_has_the_statements_by_role_and_the_threshold():
    one = summary(0.123456, None, flags=(("a reason",), ()))
    other = replace(one, role="agent", statements=(), dropped=(SummaryStatement(3, 3, "Tom calls.", 0.2),))
    record = summary_record([one, other])
    assert list(record) == ["id", "summaries", "statements", "dropped", "support_threshold", "stats"]
    assert record["statements"] == {
        "user": [
            {"text": ONE, "start": 0, "end": 9, "support": 0.1235, "turns": [0], "flags": ["a reason"]},
            {"text": "Tom calls.", "start": 10, "end": 19, "support": None, "turns": [0], "flags": []},
        ],
        "agent": [],
    }
    dropped = {"text": "Tom calls.", "start": 3, "end": 3, "support": 0.2, "turns": [], "flags": []}
    assert record["dropped"] == {"agent": [dropped]} and record["support_threshold"] == 0.5


def test_what_was_left_out_is_named_and_so_is_what_had_to_go_with_it():
    dropped = (SummaryStatement(9, 9, "Tom calls.", 0.2), SummaryStatement(9, 9, "Tom sends the build.", 0.9))
    shown = format_blocks([[replace(summary(0.9), text="Ben pays.", dropped=dropped)]])
    assert shown == (
        '[user]\nBen pays.\n(left out, as the dialogue may not say it: "Tom calls." (support 0.20); '
        'and with it: "Tom sends the build." (support 0.90))\n'
    )


def test_quotes_are_counted_in_place_of_what_they_stand_for():
    dropped = (SummaryStatement(9, 9, "Tom calls.", 0.2), SummaryStatement(9, 9, "Tom sends the build.", 0.9))
    text, quotes = "Ben pays. Tom: “I call.” “Later.”", (SummaryQuote(10, 24, 1, "12:40"), SummaryQuote(25, 33, 2))
    one = replace(summary(0.9), text=text, dropped=dropped, quotes=quotes)
    assert format_blocks([[one]]) == (
        f"[user]\n{text}\n(2 statements that the dialogue may not say were replaced by quotes)\n"
    )
    assert summary_record([one])["quotes"] == {
        "user": [{"start": 10, "end": 24, "turn": 1, "time": "12:40"}, {"start": 25, "end": 33, "turn": 2}]
    }


@pytest.mark.parametrize(
    ("support", "threshold", "shown"),
    [
        (0.214, 0.5, "0.21"),
        (0.49996, 0.5, "0.49996"),
        (0.4999999999999999, 0.5, "0.4999999999999999"),
        (0.5, 0.5, "0.50"),
        (0.3, 0.1 + 0.2, "0.30"),  # 0.30000000000000004
        (0.1 + 0.2, 0.1 + 0.2, "0.30000000000000004"),
        (0.8741, 0.874, "0.874"),  # not doubtful, but 0.87 would be
        (0.9999, 1.0, "0.9999"),
        (1e-30, 1e-20, "0.00"),
        (0.4, None, "0.40"),
    ],
)
def test_a_support_has_the_digits_that_show_on_which_side_of_the_threshold_it_is(support, threshold, shown):
    assert support_text(support, threshold) == shown


def test_text_and_record_say_a_support_under_the_threshold_that_rounds_to_it():
    one = summary(0.9, 0.49996, 0.8)
    assert "support 0.49996\n" in format_blocks([[one]])
    record = summary_record([one])
    assert record["statements"]["user"][1]["support"] == 0.49996 < record["support_threshold"]
