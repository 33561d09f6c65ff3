"""Figures of few pairs: fewer digits, a warning, no interval without width, and the randomization test alone."""

import json

import pytest

from rolesum.evaluation.compare import compare_evaluations
from rolesum.evaluation.evaluated_run import score_results
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report import ReportSystem, write_report
from rolesum.evaluation.report.paper import as_markdown
from rolesum.evaluation.report.precision import few_note, rounded, support_notes
from rolesum.evaluation.report.terminal import print_comparison, print_results
from rolesum.metrics.bootstrap import informative_interval


def evaluation(count, words):
    """Pairs whose predictions all have the same share of the reference's words."""
    reference = "the parcel is late today"
    text = " ".join(reference.split()[:words])
    pairs = tuple(Prediction(str(number), "user", text, (reference,)) for number in range(count))
    return Evaluation(pairs, score_roles(pairs, "samsum", "mean"), {})


def compared(count):
    return compare_evaluations(["a", "b"], [evaluation(count, 2), evaluation(count, 4)])


@pytest.mark.parametrize(
    ("value", "pairs", "text"),
    [(66.666, 3, "67"), (9.7, 3, "9.7"), (0.25, 3, "0.2"), (66.666, 30, "66.67"), (99.96, 29, "100")],
)
def test_digits_are_those_that_the_number_of_pairs_bears(value, pairs, text):
    assert rounded(value, pairs) == text


def test_few_pairs_are_warned_of():
    assert "3 summaries are too few" in few_note(3) and "1 summary is" in few_note(1)
    assert few_note(30) == ""


def test_an_interval_without_width_is_none_of_few_pairs():
    assert informative_interval((66.67, 66.67), 3) is None and informative_interval((60.0, 70.0), 3) == (60.0, 70.0)
    assert informative_interval((0.0, 0.0), 300) == (0.0, 0.0)
    assert score_results(evaluation(3, 4).scores["user"])["intervals"].get("rouge1_f") is None


def test_the_terminal_shows_three_dialogues_as_three(capsys):
    print_results({"user": score_results(evaluation(3, 4).scores["user"])})
    shown = capsys.readouterr().out
    assert "88.89" not in shown and " 89 " in shown and "3 summaries are too few" in shown
    print_comparison(compared(3))
    shown = capsys.readouterr().out
    assert "<.001" not in shown and "3 summaries are too few" in shown


def test_the_randomization_test_speaks_for_few_pairs():
    for row in compared(3):
        assert row.comparison.p_bootstrap is None and row.comparison.p_randomization >= 0.2
        assert json.loads(json.dumps(row.as_json()))["p_bootstrap"] is None
    assert all(row.comparison.p_bootstrap is not None for row in compared(30))


def test_tables_and_report_round_and_warn_too(tmp_path):
    ours = evaluation(3, 4)
    table = as_markdown({"ours": {"roles": {"user": score_results(ours.scores["user"])}}})
    assert "| 89 |" in table and "3 summaries are too few" in table
    systems = [ReportSystem("a", evaluation(3, 2)), ReportSystem("b", ours)]
    write_report(tmp_path / "report.html", "t", systems, [], comparisons=compared(3))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "88.89" not in page and "3 summaries are too few" in page and "the randomization test counts" in page


def test_the_notes_on_support_count_what_was_left_out_and_what_is_not_known():
    total = {"doubtful": 1, "statements": 4, "dialogues": 2, "unknown": 1, "dropped": 2}
    notes = support_notes({"threshold": 0.5, "total": total})
    assert notes[0].endswith("under 0.5: 1 of 4 are") and notes[1].startswith("Intervals over 2 dialogues")
    assert notes[2].startswith("Not counted: 1 further summary with")
    assert notes[3] == "Left out of the summaries: 2 statements"  # some only because their sentence was
