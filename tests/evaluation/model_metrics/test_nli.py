"""Entailment of summary sentences against plain loops over windows of turns."""

import functools
import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from helpers.tiny_encoders import NLI_LABELS, classifier_dir, encoder_dir
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.evaluation.model_metrics.encoder import load_checkpoint
from rolesum.evaluation.model_metrics.nli import nli_support, turn_windows
from rolesum.evaluation.predictions import Prediction
from rolesum.formats import read_dialogues

EN = Dialogue(
    "en",
    (
        Turn("Ann", "My parcel is lost."),
        Turn("Agent", "I am sorry. I will look for it."),
        Turn("Ann", "When do I hear from you?"),
        Turn("Agent", "Tomorrow at noon."),
    ),
)
ZH = read_dialogues("sample:zh-test")[0]
PREDICTIONS = [
    Prediction("en", "overall", "Ann lost a parcel. The agent answers tomorrow.", ("x",)),
    Prediction(ZH.id, "user", "用户询问包裹。包裹没有收到。", ("x",)),
    Prediction("en", "user", "", ("x",)),
    Prediction("en", "agent", "The agent answers tomorrow.", ("x",)),
]


@pytest.fixture(scope="module")
def loaded():
    return load_checkpoint(str(classifier_dir()), "AutoModelForSequenceClassification", "cpu")


@pytest.fixture(scope="module")
def result(loaded):
    return nli_support([ZH, EN], PREDICTIONS, loaded, turns=2)


@functools.cache
def parts():
    model = AutoModelForSequenceClassification.from_pretrained(classifier_dir()).eval()
    return AutoTokenizer.from_pretrained(classifier_dir()), model


def chances(premise, hypothesis):
    """Label -> probability, for one pair alone."""
    tokenizer, model = parts()
    with torch.no_grad():
        row = model(**tokenizer(premise, hypothesis, return_tensors="pt")).logits[0].softmax(-1).tolist()
    return dict(zip(NLI_LABELS, row, strict=True))


def by_loops(sentence, turns=2):
    """All windows of EN in order of size, with what the model says of the sentence."""
    found = []
    for size in range(1, turns + 1):
        for begin in range(len(EN.turns) - size + 1):
            places = tuple(range(begin, begin + size))
            text = "\n".join(f"{EN.turns[at].speaker}: {EN.turns[at].text}" for at in places)
            found.append((places, chances(text, sentence)))
    return found


def test_a_sentence_scores_its_largest_entailment_by_any_window(result):
    first, second = result.per_prediction[0]
    text = PREDICTIONS[0].prediction
    assert [text[one.start : one.end] for one in (first, second)] == [
        "Ann lost a parcel.",
        "The agent answers tomorrow.",
    ]
    for one in (first, second):
        windows = by_loops(text[one.start : one.end])
        best = max(windows, key=lambda window: window[1]["entailment"])
        assert one.score == pytest.approx(best[1]["entailment"], abs=1e-5)
        assert one.turns == best[0]


def test_contradiction_is_taken_off_only_where_it_is_asked_for(loaded, result):
    both = nli_support([ZH, EN], PREDICTIONS[:1], loaded, turns=2, contradiction=True)
    first, windows = both.per_prediction[0][0], by_loops("Ann lost a parcel.")
    against = max(found["contradiction"] for _, found in windows)
    assert first.score == pytest.approx(result.per_prediction[0][0].score - against, abs=1e-5)
    assert both.metadata["score"] == "max entailment - max contradiction"
    assert result.metadata["labels"] == {"entailment": "entailment"}


def test_a_summary_scores_the_mean_of_its_sentences_and_an_empty_one_is_undefined(result):
    first, second = result.per_prediction[0]
    assert result.means[0] == pytest.approx((first.score + second.score) / 2)
    assert math.isnan(result.means[2]) and result.per_prediction[2] == ()
    assert result.per_prediction[3][0].score == second.score  # the same sentence of the same dialogue
    told = result.score([0, 2]).as_json()
    assert told["undefined"] == {"entailment": 1} and told["pairs"] == 2
    assert told["means"]["entailment"] == pytest.approx(100 * result.means[0], abs=1e-4)


def test_sentences_below_the_threshold_are_flagged_with_their_place_and_best_turns(result):
    scores = [one.score for sentences in result.per_prediction for one in sentences]
    threshold = (min(scores) + max(scores)) / 2
    flags = result.flags(threshold)
    assert len(flags) == len(PREDICTIONS)
    flagged = [(flag.start, flag.end, flag.turns) for flag in flags[0]]
    low = [(one.start, one.end, one.turns) for one in result.per_prediction[0] if one.score < threshold]
    assert flagged == low
    assert 0 < sum(map(len, flags)) < len(scores)
    assert {flag.check for each in flags for flag in each} == {"entailment"}


def test_chinese_sentences_are_split_and_scored(result):
    assert [PREDICTIONS[1].prediction[one.start : one.end] for one in result.per_prediction[1]] == [
        "用户询问包裹。",
        "包裹没有收到。",
    ]


def test_windows_hold_the_speakers_and_reach_the_last_turn_at_any_stride():
    assert turn_windows(EN, 2)[-1].text == "Ann: When do I hear from you?\nAgent: Tomorrow at noon."
    assert [one.turns for one in turn_windows(EN, 2, stride=2)] == [(0,), (2,), (3,), (0, 1), (2, 3)]
    assert len(turn_windows(EN, 9)) == 4 + 3 + 2 + 1


def test_the_batch_changes_nothing_but_rounding(loaded, result):
    alone = nli_support([ZH, EN], PREDICTIONS, loaded, turns=2, batch_size=1)
    for a, b in zip(alone.per_prediction, result.per_prediction, strict=True):
        assert [one.score for one in a] == pytest.approx([one.score for one in b], abs=1e-5)


def test_windows_that_do_not_fit_are_left_out_and_single_turns_cut_and_both_counted(loaded):
    long = Dialogue("long", (Turn("Ann", "parcel " * 400), Turn("Agent", "Yes."), Turn("Ann", "Thanks.")))
    found = nli_support([long], [Prediction("long", "user", "Ann thanks.", ("x",))], loaded, turns=3)
    assert found.metadata["windows_skipped"] == 2  # turns 0-1 and 0-2
    assert found.metadata["inputs_truncated"] == 1 and found.metadata["inputs"] == 4
    assert 0 < found.per_prediction[0][0].score < 1


def test_a_model_without_the_label_is_refused_with_the_labels_it_has():
    with pytest.raises(ModelError, match="no label entailment; it has: LABEL_0, LABEL_1"):
        nli_support([EN], PREDICTIONS[:1], str(classifier_dir(("LABEL_0", "LABEL_1"), "unnamed")), device="cpu")
    two = str(classifier_dir(("entailment", "not_entailment"), "two"))
    assert nli_support([EN], PREDICTIONS[:1], two, turns=1, device="cpu").metadata["labels"] == {
        "entailment": "entailment"
    }
    with pytest.raises(ModelError, match="no label contradiction"):
        nli_support([EN], PREDICTIONS[:1], two, contradiction=True, device="cpu")


def test_a_model_whose_classifier_would_be_random_is_refused():
    with pytest.raises(ModelError, match="missing tensors: classifier"):
        nli_support([EN], PREDICTIONS[:1], str(encoder_dir()), device="cpu")


def test_predictions_without_a_dialogue_and_windows_of_nothing_are_refused(loaded):
    with pytest.raises(DataError, match="first: en"):
        nli_support([ZH], PREDICTIONS[:1], loaded)
    with pytest.raises(UsageError, match="at least 1"):
        nli_support([EN], PREDICTIONS[:1], loaded, turns=0)
