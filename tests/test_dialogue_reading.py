import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import dialogue_reading
from reading import cohens_kappa, collect_answers


def test_kappa_is_that_of_a_worked_example():
    # 50 applications read by two: 20 twice yes, 15 twice no, 5 and 10 differ (observed 0.7, by chance 0.5)
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([("yes", "yes")] * 3) == 1.0


def test_sheets_hide_the_labels_and_answers_come_back_with_their_sentences(tmp_path, capsys):
    assert dialogue_reading.main(["sheets", "--out", str(tmp_path), "--parts", "3"]) == 0
    sheets = sorted(path.name for path in tmp_path.glob("*.txt"))
    assert sheets == [f"{of}-{part}.txt" for of in ("en", "zh") for part in ("test-1", "test-2", "test-3", "train")]
    sheet = (tmp_path / "en-test-1.txt").read_text(encoding="utf-8")
    assert not any(word in sheet for word in ("supported", "who-did-what", "number-or-date"))
    items = [json.loads(line) for line in (tmp_path / "en-test-1.key").read_text(encoding="utf-8").splitlines()]
    labels = ["said" if item["supported"] is not False else "not said: made up" for item in items]
    labels[0] = "misleading - who?"
    answers = "".join(f"{number}. {label}\n" for number, label in enumerate(labels, 1))
    (tmp_path / "en-test-1.answers").write_text(answers, encoding="utf-8")
    capsys.readouterr()
    assert dialogue_reading.main(["collect", str(tmp_path), "--reader", "a"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == [item["text"] for item in items]
    assert (lines[0]["label"], lines[0]["note"]) == ("misleading", "who?")
    [row] = dialogue_reading.statement_rows(lines)
    assert (row["agreement"], row["kappa"]) == (1.0, 1.0)
    misleading = {row["role"]: row["misleading"] for row in dialogue_reading.reference_rows(lines)}
    assert misleading["all"] > 0 and misleading["brief"] == 0


def test_a_sentence_without_an_answer_is_told(tmp_path, capsys):
    (tmp_path / "en-test-1.key").write_text(json.dumps({"dialogue": "en-0005", "role": "user", "text": "A."}) + "\n")
    (tmp_path / "en-test-1.answers").write_text("2 said\n")
    assert dialogue_reading.main(["collect", str(tmp_path), "--reader", "a"]) == 1
    assert "no answer for 1" in capsys.readouterr().err


def test_readers_who_differ_are_compared_with_each_other_and_with_the_writer():
    lines = [
        {"reader": reader, "sheet": "en-test-1", "dialogue": "en-0005", "text": text, "supported": True, "label": label}
        for reader, text, label in (("a", "x", "said"), ("a", "y", "said"), ("b", "x", "said"), ("b", "y", "not said"))
    ]
    rows = {row["between"]: row["agreement"] for row in dialogue_reading.statement_rows(lines)}
    assert rows == {"writer and readers": 0.75, "two readers": 0.5}


def test_answers_that_fit_no_item_or_label_are_told(tmp_path, capsys):
    (tmp_path / "s.key").write_text('{"text": "A."}\n{"text": "B."}\n')
    (tmp_path / "s.answers").write_text("1 said\n1 Not said: who?\n2 true\n7 said\nmy own note\n")
    assert collect_answers(tmp_path, tmp_path, "a", ["said", "not said"], lambda *_: "") == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["label"] == "not said"
    for what in ("two answers for 1", "no label in '2 true'", "no item 7", "no answer for 2"):
        assert what in told.err
    assert "my own note" not in told.err
