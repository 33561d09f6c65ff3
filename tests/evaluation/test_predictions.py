import json
from pathlib import Path

import pytest

from rolesum.dialogue import SummaryQuote, SummaryStatement
from rolesum.errors import DataError
from rolesum.evaluation.evaluated_run import write_evaluation
from rolesum.evaluation.evaluation import Evaluation, score_roles
from rolesum.evaluation.predictions import Prediction, read_pairs, read_predictions


@pytest.fixture
def pairs_of(tmp_path):
    """Writes two files, of texts or of records, and reads them as pairs."""

    def read(predictions, references):
        paths = []
        for name, content in (("predictions", predictions), ("references", references)):
            path = tmp_path / name
            text = content if isinstance(content, str) else "".join(json.dumps(one) + "\n" for one in content)
            path.write_text(text, encoding="utf-8")
            paths.append(path)
        return read_pairs(*paths)

    return read


def refusal(pairs_of, predictions, references):
    with pytest.raises(DataError) as caught:
        pairs_of(predictions, references)
    return [f"{problem.where.rpartition('/')[2]}: {problem.what}" for problem in caught.value.problems]


def test_texts_are_aligned_by_line(pairs_of):
    found = pairs_of("one\n two \n", "eins\nzwei")
    assert found == [
        Prediction("1", "summary", "one", ("eins",)),
        Prediction("2", "summary", "two", ("zwei",)),
    ]


def test_an_empty_prediction_is_a_prediction(pairs_of):
    assert [pair.prediction for pair in pairs_of("one\n\nthree\n", "a\nb\nc\n")] == ["one", "", "three"]


def test_an_empty_last_prediction_is_one_too(pairs_of):
    assert [pair.prediction for pair in pairs_of("one\n\n", "a\nb\n")] == ["one", ""]


def test_texts_of_different_lengths_are_refused_with_both_counts(pairs_of):
    (told,) = refusal(pairs_of, "one\ntwo\nthree\n", "a\nb\n")
    assert "3 predictions but 2 references" in told


def test_every_empty_reference_is_told(pairs_of):
    assert refusal(pairs_of, "one\ntwo\nthree\n", "a\n\n \n") == [
        "references:2: the reference is empty",
        "references:3: the reference is empty",
    ]


def test_a_text_that_begins_with_a_bracket_is_a_text(pairs_of):
    found = pairs_of("[数字]元已退。\n客服道歉。\n", "用户退款。\n客服道歉。\n")
    assert [pair.prediction for pair in found] == ["[数字]元已退。", "客服道歉。"]


def test_a_text_file_and_a_json_file_do_not_go_together(pairs_of):
    (told,) = refusal(pairs_of, "one\n", [{"id": "1", "reference": "a"}])
    assert "one file is text, the other JSON" in told


def test_json_lines_are_joined_by_id_and_role_in_any_order(pairs_of):
    found = pairs_of(
        [
            {"id": "2", "role": "user", "prediction": "two"},
            {"id": 1, "role": "agent", "prediction": "one, agent"},
            {"id": 1, "role": "user", "prediction": "one, user"},
        ],
        [
            {"id": "1", "role": "user", "reference": "a"},
            {"id": "1", "role": "agent", "reference": "b"},
            {"id": "2", "role": "user", "references": ["c", "d"]},
        ],
    )
    assert found == [
        Prediction("1", "user", "one, user", ("a",)),
        Prediction("1", "agent", "one, agent", ("b",)),
        Prediction("2", "user", "two", ("c", "d")),
    ]


def test_a_line_may_hold_the_summaries_of_all_roles(pairs_of):
    found = pairs_of(
        [{"id": "1", "summaries": {"user": "one", "agent": "two"}}],
        [{"id": "1", "summaries": {"agent": ["b", "c"], "user": "a"}}],
    )
    assert found == [Prediction("1", "agent", "two", ("b", "c")), Prediction("1", "user", "one", ("a",))]


@pytest.mark.parametrize("key", ["prediction", "summary", "text"])
def test_a_line_without_a_role_is_the_one_summary_of_its_dialogue(pairs_of, key):
    (pair,) = pairs_of([{"id": "1", key: "one"}], [{"id": "1", "text": "a"}])
    assert pair == Prediction("1", "summary", "one", ("a",))


def test_all_that_does_not_match_is_told_at_once(pairs_of):
    told = refusal(
        pairs_of,
        '{"id": "1", "prediction": "one"}\n'
        '{"id": "2", "prediction": "two"}\n'
        '{"id": "2", "prediction": "two again"}\n'
        '{"prediction": "three"}\n'
        '{"id": "4"}\n'
        '{"id": "5", \n'
        '{"id": "6", "role": "user", "prediction": "six"}\n',
        [
            {"id": "1", "reference": "a"},
            {"id": "2", "reference": []},
            {"id": "7", "reference": "g"},
        ],
    )
    for expected in (
        "predictions:3: id 2, role summary stands twice",
        "predictions:4: no id",
        "predictions:5, id 4: no text",
        "predictions:6: broken JSON",
        "references:2, id 2: no text",
        "predictions:7: no reference for id 6, role user",
        "references:3: no prediction for id 7, role summary",
    ):
        assert sum(line.startswith(expected) for line in told) == 1, expected
    assert not any("id 1," in line for line in told)


@pytest.mark.parametrize("reference", ["", " ", ["a", ""]])
def test_an_empty_reference_is_refused_in_json_too(pairs_of, reference):
    (told,) = refusal(pairs_of, [{"id": "1", "prediction": "one"}], [{"id": "1", "reference": reference}])
    assert told.startswith("references:1")


def test_an_empty_prediction_in_json_is_a_prediction(pairs_of):
    (pair,) = pairs_of([{"id": "1", "prediction": ""}], [{"id": "1", "reference": "a"}])
    assert pair.prediction == ""


def test_several_predictions_for_one_role_are_not_cut_to_the_first_in_silence(pairs_of):
    (told,) = refusal(pairs_of, [{"id": "1", "prediction": ["one", "two"]}], [{"id": "1", "reference": "a"}])
    assert told.startswith("predictions:1")


def test_written_predictions_can_be_scored_against_themselves_again(tmp_path):
    predictions = (
        Prediction("1", "user", "She asks.", ("She asks for a refund.", "A refund."), 3, "length"),
        Prediction("2", "agent", "", ("He agrees.",), 0, "stop"),
    )
    scores = score_roles(predictions, "samsum")
    write_evaluation(Evaluation(predictions, scores, {"system": "test"}), tmp_path)
    written = tmp_path / "predictions.jsonl"
    again = read_pairs(written, written)
    assert [(one.id, one.role, one.prediction, one.references) for one in again] == [
        (one.id, one.role, one.prediction, one.references) for one in predictions
    ]
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["system"] == "test"
    assert results["roles"]["user"]["means"]["rouge1"] == round(scores["user"].means["rouge1"], 2)
    assert (results["roles"]["agent"]["empty"], results["roles"]["user"]["empty"]) == (1, 0)
    assert (results["roles"]["agent"]["truncated_by_limit"], results["roles"]["user"]["truncated_by_limit"]) == (0, 1)


def test_references_for_roles_that_the_system_did_not_write_are_left_out(pairs_of):
    made = [{"id": "1", "summaries": {"agent": "one"}}]
    (pair,) = pairs_of(made, [{"id": "1", "summaries": {"overall": "a", "客服": ["b", "c"]}}])
    assert pair == Prediction("1", "agent", "one", ("b", "c"))


def test_nothing_to_score_is_an_error(pairs_of):
    (told,) = refusal(pairs_of, [{"id": 1, "summaries": {}}], [{"id": 1, "summaries": {}}])
    assert "no texts to score" in told


@pytest.mark.parametrize(
    ("predictions", "references", "texts"),
    [
        ("score-p4.txt", "score-r4.txt", ["{name} said the parcel is late", "b c"]),
        ("score-p6.txt", "score-r4.txt", ['["late" said Anna', "b c"]),
        ("score-p2.txt", "score-r2.txt", ["", "", ""]),
    ],
)
def test_texts_that_begin_with_a_brace_or_are_blank_are_texts(predictions, references, texts):
    folder = Path(__file__).parent.parent / "assets" / "inputs"
    found = read_pairs(folder / predictions, folder / references)
    assert [pair.prediction for pair in found] == texts
    if not any(texts):
        (score,) = score_roles(found, "samsum", "mean").values()
        assert set(score.means.values()) == {0.0}


def test_a_json_file_with_a_broken_first_line_is_still_one_of_json(pairs_of):
    told = refusal(
        pairs_of, '{"id": "1", "prediction": "a\n{"id": "2", "prediction": "b"}\n', [{"id": "2", "reference": "b"}]
    )
    assert "broken JSON" in told[0]


SAID = SummaryStatement(0, 9, "She asks.", 1 / 3, (2, 0), ("the dialogue does not say 3",))
LOST = SummaryStatement(9, 9, "She left.", None)


def test_statements_are_read_again_as_they_were_written(tmp_path):
    verified = Prediction(
        "1", "user", "She asks.", ("a",), 3, "stop", (SAID,), (LOST,), 0.3334, (SummaryQuote(0, 9, 1, "12:40"),)
    )
    plain = Prediction("2", "user", "She asks.", ("a",), 3, "stop")
    both = (verified, plain)
    write_evaluation(Evaluation(both, score_roles(both, "samsum"), {}), tmp_path)
    assert tuple(read_predictions(tmp_path / "predictions.jsonl")) == both
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[0]["statements"] == [
        {
            "text": "She asks.",
            "start": 0,
            "end": 9,
            "support": 1 / 3,
            "turns": [2, 0],
            "flags": ["the dialogue does not say 3"],
        }
    ]
    assert lines[0]["quotes"] == [{"start": 0, "end": 9, "turn": 1, "time": "12:40"}] and "quotes" not in lines[1]
    assert "statements" not in lines[1] and "support_threshold" not in lines[1]
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["support"]["total"]["without_doubt"] == 0 and results["support"]["threshold"] == 0.3334
    assert results["roles"]["user"]["support"]["unknown"] == 1 and list(results["support"]["languages"]) == ["en"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"support_threshold": "high"}, "support_threshold is not a number from 0 to 1"),
        ({"support_threshold": 2}, "support_threshold is not a number from 0 to 1"),
        ({"statements": [{"text": "x"}]}, "statement 0"),
        ({"statements": "x"}, "statement"),
        ({"statements": [{"text": "x", "start": 0, "end": 99}]}, "outside its text: 0 to 99"),
        ({"statements": [{"text": "x", "start": 0, "end": 1, "support": 7}]}, "a support of 7"),
        ({"dropped": [{"text": "x", "start": 0, "end": 1, "turns": [-1]}]}, "counted from 0"),
        ({"quotes": [{"start": 0, "end": 1}]}, "quote 0.turn"),
        ({"quotes": [{"start": 3, "end": 1, "turn": 0}]}, "a quote's place is outside its text: 3 to 1"),
        ({"quotes": [{"start": 0, "end": 1, "turn": -1}]}, "a quote's turn is counted from 0"),
    ],
)
def test_broken_statements_are_told_with_their_line(changes, told, tmp_path):
    value = {"id": "1", "role": "user", "prediction": "She asks.", "references": ["a"], "support_threshold": 0.5}
    (tmp_path / "p.jsonl").write_text(json.dumps(value | changes) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=told) as caught:
        read_predictions(tmp_path / "p.jsonl")
    assert caught.value.problems[0].where.endswith("p.jsonl:1")
