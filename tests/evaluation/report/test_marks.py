import pytest

from rolesum.evaluation.check_rates import check_predictions
from rolesum.evaluation.predictions import Prediction
from rolesum.evaluation.report.marks import mark_sentences, matching_spans
from rolesum.formats import read_dialogues


@pytest.mark.parametrize(
    ("text", "reference", "language", "marked"),
    [
        ("The lamp is broken now", "the lamp was broken now", "en", ["The lamp", "broken now"]),
        ("Yes. No lamp", "yes no lamp", "en", ["No lamp"]),
        ("用户询问退款", "客服询问退款时间", "zh", ["询问退款"]),
        ("用户", "用户", "zh", []),
        ("", "a b", "en", []),
    ],
)
def test_what_a_reference_says_in_the_same_words_is_marked(text, reference, language, marked):
    assert [text[start:end] for start, end in matching_spans(text, [reference], language)] == marked


def test_the_pieces_of_a_marked_text_are_the_text():
    dialogues = read_dialogues("sample:zh-test")
    predictions = [
        Prediction(one.id, role, one.turns[0].text + one.turns[-1].text, tuple(texts))
        for one in dialogues
        for role, texts in one.summaries.items()
    ]
    for role, checks in check_predictions(predictions, dialogues).items():
        found = [one for one in predictions if one.role == role]
        for one, checked in zip(found, checks.checked, strict=True):
            cut = mark_sentences(one.prediction, matching_spans(one.prediction, one.references, "zh"), checked)
            assert "".join(piece.text for sentence in cut for piece in sentence.pieces) == one.prediction


def test_a_summary_that_was_not_checked_has_no_unsupported_sentence():
    assert not any(one.is_unsupported for one in mark_sentences("A b c.", []))
