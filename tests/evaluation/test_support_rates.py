"""The share of summaries without a doubtful statement: what counts, by role and language, its interval."""

import numpy as np
import pytest

from rolesum.dialogue import SummaryStatement
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report.precision import rate_text, support_notes
from rolesum.evaluation.support_rates import has_doubt, same_verifier, support_rates


def summary(identity, *supports, role="user", reference="a b", threshold=0.5, **more):
    text = "x" * 100
    statements = tuple(SummaryStatement(place, place + 1, "x", one) for place, one in enumerate(supports))
    return Prediction(identity, role, text, (reference,), statements=statements, support_threshold=threshold, **more)


@pytest.mark.parametrize(
    ("supports", "doubt"),
    [
        ((0.9, 0.5), False),
        ((0.9, 0.499), True),
        ((None, 0.1), True),
        ((None, 0.9), None),
        ((None,), None),
        ((), None),
    ],
)
def test_a_summary_counts_where_it_is_known_whether_it_has_a_doubtful_statement(supports, doubt):
    assert has_doubt(summary("1", *supports)) is doubt


def test_nothing_that_was_verified_gives_no_rates():
    assert support_rates([Prediction("1", "user", "x", ("a",))]) is None
    assert has_doubt(summary("1", 0.1, threshold=None)) is None


def test_rates_are_of_all_of_each_role_and_of_each_language():
    dropped = (SummaryStatement(0, 0, "y", 0.1),)
    found = support_rates(
        [
            summary("1", 0.9, 0.8),
            summary("1", 0.2, 0.8, role="agent"),
            summary("2", 0.7, reference="他问了"),
            summary("2", None, role="agent", reference="他问了", dropped=dropped),
        ]
    )
    total = found.total
    assert (total.without_doubt, total.summaries, total.unknown) == (2, 3, 1)
    assert (total.doubtful, total.statements, total.dropped, total.dialogues) == (1, 5, 1, 2)
    assert total.share == pytest.approx(2 / 3) and found.threshold == 0.5
    assert {role: (one.without_doubt, one.summaries) for role, one in found.roles.items()} == {
        "user": (2, 2),
        "agent": (0, 1),
    }
    assert {name: (one.without_doubt, one.summaries) for name, one in found.languages.items()} == {
        "en": (1, 2),
        "zh": (1, 1),
    }
    assert found.languages["zh"].interval is None  # of one dialogue


def test_the_interval_resamples_dialogues_with_all_their_summaries():
    draw = np.random.default_rng(4)
    doubts = draw.random((40, 3)) < 0.3
    made = [
        summary(str(place), 0.1 if doubt else 0.9, role=role)
        for place, row in enumerate(doubts)
        for role, doubt in zip(("overall", "user", "agent"), row, strict=True)
    ]
    total = support_rates(made).total
    chosen = np.random.default_rng(1)
    shares = [1 - doubts[chosen.integers(0, 40, 40)].mean() for _ in range(1000)]
    assert total.share == pytest.approx(1 - doubts.mean())
    assert total.interval == pytest.approx(np.percentile(shares, [2.5, 97.5]))
    low, high = total.interval
    text = rate_text(total.as_json())
    assert text == f"{total.without_doubt} of 120 ({100 * total.share:.0f} %, {100 * low:.0f}–{100 * high:.0f})"


def test_notes_warn_of_few_dialogues_and_say_what_does_not_count():
    few = support_rates([summary("1", 0.1), summary("2", None)])
    notes = support_notes({"threshold": few.threshold, "total": few.total.as_json()})
    assert notes[0] == "A statement is doubtful where its support is under 0.5: 1 of 1 are"
    assert notes[1] == "Intervals over 1 dialogue are unreliable: use 30 or more"
    assert notes[2].startswith("Not counted: 1 further summary with")
    many = support_rates([summary(str(place), 0.9) for place in range(30)])
    assert support_notes({"threshold": 0.5, "total": many.total.as_json()})[1:] == [
        "Intervals: 95 %, over 30 dialogues"
    ]
    assert rate_text(many.total.as_json()) == "30 of 30 (100 %)"
    assert rate_text(few.roles["user"].as_json() | {"summaries": 0, "share": None}) == "0 of 0"


def test_runs_are_compared_where_one_model_verified_both():
    verify = {"mode": "flag", "adapter": "a", "threshold": 0.5}
    assert same_verifier({"verify": verify}, {"verify": {**verify, "mode": "drop"}})
    for other in ({**verify, "adapter": "b"}, {**verify, "threshold": 0.4}, None):
        assert not same_verifier({"verify": verify}, {"verify": other})
    assert not same_verifier({}, {})
