"""benchmarks/labeled_statements.py and verify_again.py: own statements, their labels, and another model's support."""

import json
import sys
from pathlib import Path

import pytest

from helpers.verify_runs import many_statements, verify_adapter
from rolesum.checks.statements import split_statements
from rolesum.evaluation.predictions import read_predictions
from rolesum.formats import read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.models.loading import load_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import labeled_statements
import verify_again

DATA = "sample:dialogues-en-validation"


def predictions(folder, data, text="The agent refused a refund. The agent promised to call."):
    """An evaluation's directory, in which every dialogue has one text for two roles, with the support 0.5."""
    folder.mkdir()
    spans = [
        {"text": one.text, "start": one.start, "end": one.end, "support": 0.5} for one in split_statements(text, "en")
    ]
    row = {"prediction": text, "references": ["It was."], "statements": spans, "support_threshold": 0.8}
    rows = [{"id": one.id, "role": role, **row} for one in read_dialogues(data)[:4] for role in ("overall", "agent")]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def sheets(tmp_path):
    run = predictions(tmp_path / "own", DATA)
    assert labeled_statements.main(["sheets", str(run), "--data", DATA, "--out", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def collect(sheets, answers, capsys):
    folder = sheets / "answers"
    folder.mkdir()
    for name, lines in answers.items():
        (folder / f"{name}.answers").write_text("\n".join(lines), encoding="utf-8")
    capsys.readouterr()
    code = labeled_statements.main(["collect", str(folder), "--keys", str(sheets / "keys"), "--reader", "one"])
    return code, capsys.readouterr()


def test_a_statement_of_two_roles_is_asked_once_and_its_support_is_hidden(sheets):
    sheet = (sheets / "sheets" / "own-1.txt").read_text(encoding="utf-8")
    keys = [json.loads(line) for line in (sheets / "keys" / "own-1.key").read_text(encoding="utf-8").splitlines()]
    assert sheet.count("The agent refused a refund.") == 2  # once for each of the two dialogues of this sheet
    assert [one["role"] for one in keys] == ["overall"] * 4 and {one["support"] for one in keys} == {0.5}
    assert "0.5" not in sheet and "support" not in sheet


def test_labels_become_statements_beside_the_dialogues_own(sheets, tmp_path, capsys):
    answers = {name: ["1 true", "2 untrue: nobody said so", "3 true", "4 true"] for name in ("own-1", "own-2")}
    code, printed = collect(sheets, answers, capsys)
    assert (code, printed.err) == (0, "")
    labels = tmp_path / "labels.jsonl"
    labels.write_text(printed.out, encoding="utf-8")
    out = tmp_path / "train.jsonl"
    assert labeled_statements.main(["add", str(labels), "--data", DATA, "--out", str(out)]) == 0
    known = {one.id: one for one in read_dialogues(DATA)}
    made = read_dialogues(out)
    assert len(made) == 4
    new = [one for dialogue in made for one in dialogue.statements[len(known[dialogue.id].statements) :]]
    assert sorted(one.supported for one in new) == [False, False, *[True] * 6]
    assert {one.kind for one in new if not one.supported} == {"own"}
    for dialogue in made:
        own = known[dialogue.id].statements
        assert dialogue.statements[: len(own)] == own


def test_a_missing_answer_and_a_missing_reason_are_told(sheets, capsys):
    code, printed = collect(sheets, {"own-1": ["1 true", "2 untrue", "3 true"]}, capsys)
    assert code == 1
    assert "no reason for 2" in printed.err and "no answer for 4" in printed.err


def added(tmp_path, *labels):
    """The result of `add` for one statement with the labels of (reader, label), and the file that it writes."""
    line = {"dialogue": read_dialogues(DATA)[0].id, "role": "overall", "text": "It was."}
    file, out = tmp_path / "labels.jsonl", tmp_path / "out.jsonl"
    rows = [json.dumps({**line, "reader": reader, "label": label}) for reader, label in labels]
    file.write_text("\n".join(rows), encoding="utf-8")
    return labeled_statements.main(["add", str(file), "--data", DATA, "--out", str(out)]), out


def test_a_reader_with_two_labels_of_one_statement_is_refused(tmp_path, capsys):
    code, out = added(tmp_path, ("a", "true"), ("a", "untrue"))
    assert code == 1 and not out.exists()
    assert "two labels of 'It was.' by reader a" in capsys.readouterr().err


@pytest.mark.parametrize(("second", "count"), [("true", 1), ("untrue", 0)])
def test_only_statements_on_which_the_readers_agree_are_added(tmp_path, second, count):
    code, out = added(tmp_path, ("a", "true"), ("b", second), ("c", "true"))
    assert code == 0
    own = len(read_dialogues(DATA)[0].statements)
    assert [one.text for one in read_dialogues(out)[0].statements[own:]] == ["It was."] * count


def test_another_model_gives_its_own_support_to_the_same_statements(tmp_path, capsys):
    data, adapter = str(many_statements()), str(verify_adapter())
    run = predictions(tmp_path / "own", data)
    out = tmp_path / "again.jsonl"
    named = [str(run), "--data", data, "--adapter", adapter, "--out", str(out), "--dtype", "float32", "--device", "cpu"]
    assert verify_again.main(named) == 0
    before, after = read_predictions(run / "predictions.jsonl"), read_predictions(out)
    assert [(one.id, one.role, one.prediction) for one in after] == [
        (one.id, one.role, one.prediction) for one in before
    ]
    verifier = Verifier(TransformersEngine(load_model(adapter=adapter, dtype="float32", device="cpu")))
    dialogues = {one.id: one for one in read_dialogues(data)}
    for one in after:
        expected = verifier.verify(dialogues[one.id], [said.text for said in one.statements])
        assert [said.support for said in one.statements] == pytest.approx(expected, abs=1e-5)
    assert verify_again.main([*named[:2], DATA, *named[3:]]) == 1
    assert "a summary of no dialogue" in capsys.readouterr().err


def test_a_summary_counts_as_true_where_all_its_statements_are(tmp_path, capsys):
    run = predictions(tmp_path / "own", DATA)
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    unverified = [{key: row[key] for key in ("id", "role", "prediction", "references")} for row in rows]
    (run / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unverified), encoding="utf-8")
    out = tmp_path / "out"
    assert labeled_statements.main(["sheets", str(run), "--data", DATA, "--out", str(out), "--limit", "3"]) == 0
    answers = {"own-1": ["1 true", "2 untrue: no", "3 true", "4 true"], "own-2": ["1 true", "2 true"]}
    _, printed = collect(out, answers, capsys)
    labels = tmp_path / "labels.jsonl"
    labels.write_text(printed.out, encoding="utf-8")
    assert labeled_statements.main(["report", str(run), "--labels", str(labels), "--data", DATA]) == 0
    assert capsys.readouterr().out == "5 of 6 statements true; 4 of 6 summaries without an untrue one\n"
