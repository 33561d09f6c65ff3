"""The figures of a detector: where its threshold comes from, and what is counted."""

import random

import numpy as np
import pytest

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError
from rolesum.evaluation.detection.detectors import Detector
from rolesum.evaluation.detection.figures import detector_figures, halves_protocol, split_protocol
from rolesum.evaluation.detection.labels import TEST, VALIDATION, LabeledSummary, make_labels
from rolesum.metrics.detection import auroc, best_threshold

KINDS = ("negation", "number")


def make(errors, split=""):
    """Labels of dialogues whose summaries have these errors; the kinds of errors alternate."""
    dialogues = [Dialogue(str(at), (Turn("Ann", f"{split} {at}"),)) for at in range(len(errors))]
    return [
        LabeledSummary(
            f"{at}-{number}", dialogue, "overall", "x", wrong, (KINDS[at % 2],) if wrong else (), split=split
        )
        for at, (dialogue, of) in enumerate(zip(dialogues, errors, strict=True))
        for number, wrong in enumerate(of)
    ]


def drawn(count, split="", seed=1):
    draw = random.Random(seed)
    return make([[draw.random() < 0.4 for _ in range(draw.randint(1, 4))] for _ in range(count)], split)


def noisy_scores(labels, seed=5):
    draw = random.Random(seed)
    return np.array([draw.random() + 0.3 * wrong for wrong in labels.errors])


def groups_of(scores, labels, places):
    wrong = labels.errors[places]
    return scores[places][wrong], scores[places][~wrong]


def test_a_threshold_is_fitted_on_validation_and_measured_on_the_other_summaries():
    labels = make_labels([*drawn(40, TEST), *drawn(30, VALIDATION, seed=2)])
    scores, is_test = noisy_scores(labels), np.array([one.split == TEST for one in labels.summaries])
    found = detector_figures(Detector("noise", scores), labels, split_protocol(labels))
    threshold = best_threshold(*groups_of(scores, labels, ~is_test))
    wrong, right = groups_of(scores, labels, is_test)
    assert found.thresholds == (threshold,)
    assert found.auroc.value == pytest.approx(auroc(wrong, right))
    hits, false_alarms = (wrong >= threshold).sum(), (right >= threshold).sum()
    assert found.precision.value == pytest.approx(hits / (hits + false_alarms))
    assert found.recall.value == pytest.approx(hits / len(wrong))
    assert found.false_positive_rate.value == pytest.approx(false_alarms / len(right))
    assert found.balanced_accuracy.value == pytest.approx((hits / len(wrong) + 1 - false_alarms / len(right)) / 2)
    for figure in (found.auroc, found.precision, found.recall, found.false_positive_rate, found.balanced_accuracy):
        low, high = figure.interval
        assert low < figure.value < high


def test_each_half_of_the_dialogues_is_measured_by_the_threshold_of_the_other():
    labels = make_labels(drawn(41))
    scores, protocol = noisy_scores(labels), halves_protocol(labels)
    (first, second), (also_second, also_first) = protocol.parts
    assert sorted([*first, *second]) == list(range(len(labels.summaries))) == protocol.measured.tolist()
    assert not set(labels.groups[first]) & set(labels.groups[second])
    assert abs(len(set(labels.groups[first])) - len(set(labels.groups[second]))) == 1
    assert (also_first.tolist(), also_second.tolist()) == (first.tolist(), second.tolist())
    thresholds = [best_threshold(*groups_of(scores, labels, one)) for one in (first, second)]
    found = detector_figures(Detector("noise", scores), labels, protocol)
    assert found.thresholds == tuple(thresholds) and thresholds[0] != thresholds[1]
    hits = sum(
        (groups_of(scores, labels, part)[0] >= threshold).sum()
        for part, threshold in ((second, thresholds[0]), (first, thresholds[1]))
    )
    assert found.recall.value == pytest.approx(hits / labels.errors.sum())
    assert "cross-fitted" in protocol.description


def test_the_halves_are_the_same_every_time_and_both_have_wrong_summaries():
    labels = make_labels(make([[True]] * 2 + [[False]] * 30))
    parts = halves_protocol(labels).parts
    assert [labels.errors[part].sum() for part, _ in parts] == [1, 1]
    assert all((a == b).all() for a, b in zip(parts[0], halves_protocol(labels).parts[0], strict=True))


def test_too_few_dialogues_for_two_halves_are_refused():
    for errors in ([[True, False]], [[True], [False], [False]]):
        with pytest.raises(DataError, match=r"(?s)too few dialogues.*--labels-validation"):
            halves_protocol(make_labels(make(errors)))


def test_a_split_that_shares_dialogues_or_leaves_some_out_is_refused():
    test, validation = drawn(10, TEST), drawn(10, VALIDATION)
    for one in validation[:2]:
        object.__setattr__(one, "dialogue", test[0].dialogue)
    with pytest.raises(DataError, match="validation and test have 1 dialogue in common"):
        split_protocol(make_labels([*test, *validation]))
    with pytest.raises(DataError, match="no split is named for 7 summaries, and one is for others"):
        split_protocol(make_labels([*test, *drawn(3)]))


def test_a_fixed_threshold_is_kept():
    labels = make_labels(drawn(40))
    flags = np.array([float(at % 3 == 0) for at in range(len(labels.summaries))])
    found = detector_figures(Detector("flags", flags, 1.0), labels, halves_protocol(labels))
    assert found.thresholds == (1.0,)
    assert found.recall.value == pytest.approx(flags[labels.errors].mean())


def test_recall_by_kind_counts_the_summaries_with_that_kind():
    labels = make_labels(drawn(40))
    scores = noisy_scores(labels)
    found = detector_figures(Detector("noise", scores, 0.6), labels, halves_protocol(labels))
    assert list(found.kinds) == list(KINDS)
    for kind, of in found.kinds.items():
        has_kind = np.array([kind in one.kinds for one in labels.summaries])
        assert of.summaries == has_kind.sum() > 0
        assert of.recall.value == pytest.approx((scores[has_kind] >= 0.6).mean())
        assert of.auroc == pytest.approx(auroc(scores[has_kind], scores[~labels.errors]))
        assert of.recall.interval[0] < of.recall.value < of.recall.interval[1]


def test_summaries_without_a_score_count_nowhere():
    labels = make_labels(drawn(40))
    scores, protocol = noisy_scores(labels), halves_protocol(labels)
    scores[::7] = np.nan
    known = ~np.isnan(scores)
    found = detector_figures(Detector("judge", scores, 0.6), labels, protocol)
    assert found.undefined == (~known).sum()
    assert found.auroc.value == pytest.approx(auroc(*groups_of(scores, labels, known)))
    assert found.recall.value == pytest.approx((scores[known & labels.errors] >= 0.6).mean())
    scores[labels.errors] = np.nan
    with pytest.raises(DataError, match="judge: scores of right summaries only"):
        detector_figures(Detector("judge", scores, 0.6), labels, protocol)


def test_the_record_of_an_undefined_figure_holds_none():
    labels = make_labels(drawn(40))
    nothing = Detector("nothing", np.zeros(len(labels.summaries)), 1.0)
    record = detector_figures(nothing, labels, halves_protocol(labels)).as_json()
    assert record["precision"] == {"value": None, "interval": None}
    assert record["recall"] == {"value": 0.0, "interval": [0.0, 0.0]} and record["auroc"]["value"] == 0.5
