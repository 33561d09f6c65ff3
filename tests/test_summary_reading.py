import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import summary_reading
from summary_reading import agreement_rows, answer_fault, share_rows

from rolesum.errors import DataError
from rolesum.evaluation.detection.labels import read_labels
from rolesum.formats import read_dialogues

DATA = "sample:dialogues-en-test"
ROLES = ("overall", "user", "agent")
LABELS = {"sentence": "true", "matter": "yes", "outcome": "no", "amounts": "none"}


def predictions(folder, text_of, roles=ROLES, references=None):
    """An evaluation's directory with `text_of(dialogue, role)` for every dialogue of the data."""
    folder.mkdir()
    rows = [
        {
            "id": one.id,
            "role": role,
            "prediction": text_of(one, role),
            "references": references or list(one.summaries[role]),
        }
        for one in read_dialogues(DATA)
        for role in roles
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def systems(tmp_path):
    """Three systems: the first reference, the second, and one that wrote the same as the first."""
    first = predictions(tmp_path / "one", lambda one, role: one.summaries[role][0])
    second = predictions(tmp_path / "two", lambda one, role: one.summaries[role][1])
    return [f"ann-a={first}", f"ben-b={second}", f"copy-c={first / 'predictions.jsonl'}"]


def write_sheets(out, systems, *more):
    return summary_reading.main(["sheets", "--data", DATA, "--out", str(out), "--dialogues", "4", *more, *systems])


def key_items(out):
    files = sorted((out / "keys").glob("*.key"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def lines_of(reader, summaries):
    """Collected lines: for each (dialogue, system, labels of its sentences, answers to the three questions)."""
    for dialogue, system, labels, answers in summaries:
        about = {"reader": reader, "language": "en", "dialogue": dialogue, "role": "user", "systems": [system]}
        about["sentences"] = len(labels)
        for place, label in enumerate(labels):
            yield {**about, "asked": "sentence", "text": f"S{place}.", "label": label}
        for asked, label in zip(("matter", "outcome", "amounts"), answers, strict=True):
            yield {**about, "asked": asked, "label": label}


def test_sheets_hide_the_systems_and_show_equal_summaries_once(systems, tmp_path):
    assert write_sheets(tmp_path / "read", systems, "--parts", "2") == 0
    assert sorted(one.name for one in (tmp_path / "read" / "sheets").iterdir()) == ["en-1.txt", "en-2.txt"]
    for sheet in (tmp_path / "read" / "sheets").iterdir():
        text = sheet.read_text(encoding="utf-8")
        assert "summary 2 of 2" in text and "of 3" not in text
        assert not any(name in text for name in ("ann-a", "ben-b", "copy-c"))
    items = key_items(tmp_path / "read")
    assert {tuple(item["systems"]) for item in items} == {("ann-a", "copy-c"), ("ben-b",)}
    assert {item["role"] for item in items} == set(ROLES) and len({item["dialogue"] for item in items}) == 4


def test_sheets_come_out_the_same_again_and_mix_the_order(systems, tmp_path):
    for out in ("first", "again"):
        write_sheets(tmp_path / out, systems)
    assert key_items(tmp_path / "first") == key_items(tmp_path / "again")
    begins = dict[tuple[str, str], list[str]]()
    for item in key_items(tmp_path / "first"):
        begins.setdefault((item["dialogue"], item["role"]), item["systems"])
    assert {one[0] for one in begins.values()} == {"ann-a", "ben-b"}


def test_a_repeated_sentence_is_asked_once_and_an_empty_summary_is_told(tmp_path):
    loop = predictions(tmp_path / "loop", lambda *_: "It broke. It broke. It broke.")
    empty = predictions(tmp_path / "empty", lambda *_: "")
    write_sheets(tmp_path / "read", [f"a={loop}", f"b={empty}"], "--with-reference")
    sheet = (tmp_path / "read" / "sheets" / "en-1.txt").read_text(encoding="utf-8")
    assert sheet.count("It broke. (stands 3 times)") == 3
    assert sheet.count("(The summary is empty.) Holds the matter?") == 3
    assert ["reference"] in [item["systems"] for item in key_items(tmp_path / "read")]


def test_sheets_are_not_written_over_others(systems, tmp_path, capsys):
    write_sheets(tmp_path / "read", systems)
    assert write_sheets(tmp_path / "read", systems) == 1
    assert "there are sheets already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"roles": ("overall", "user")}, "has no summary for agent"),
        ({"references": ["Another."]}, "was evaluated with other references"),
    ],
)
def test_systems_that_cannot_be_read_side_by_side_are_refused(systems, tmp_path, capsys, changed, told):
    odd = predictions(tmp_path / "odd", lambda *_: "Something.", **changed)
    assert write_sheets(tmp_path / "read", [*systems, f"odd={odd}"]) == 1
    assert told in capsys.readouterr().err and not (tmp_path / "read").exists()


def test_a_system_of_other_dialogues_is_refused(systems, tmp_path, capsys):
    (tmp_path / "other.jsonl").write_text('{"id": "1", "role": "user", "prediction": "A.", "references": ["A."]}\n')
    assert write_sheets(tmp_path / "read", [*systems, f"other={tmp_path / 'other.jsonl'}"]) == 1
    assert "other has no summary of the dialogues drawn" in capsys.readouterr().err


def test_answers_come_back_with_their_systems_and_give_the_shares(systems, tmp_path, capsys):
    out = tmp_path / "read"
    write_sheets(out, systems)
    (tmp_path / "answers").mkdir()
    for key in (out / "keys").glob("*.key"):
        items = [json.loads(line) for line in key.read_text(encoding="utf-8").splitlines()]
        answers = [
            "false: made up" if item["systems"] == ["ben-b"] and item["asked"] == "sentence" else LABELS[item["asked"]]
            for item in items
        ]
        text = "".join(f"{number}. {answer}\n" for number, answer in enumerate(answers, 1))
        (tmp_path / "answers" / f"{key.stem}.answers").write_text(text, encoding="utf-8")
    capsys.readouterr()
    command = ["collect", str(tmp_path / "answers"), "--keys", str(out / "keys"), "--reader", "a"]
    assert summary_reading.main(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(key_items(out))
    rows = {(row["role"], row["system"]): row for row in share_rows(lines)}
    assert list(dict.fromkeys(role for role, _ in rows)) == ["all", *ROLES]
    assert rows["all", "copy-c"]["judgments"] == 12 and rows["user", "copy-c"]["judgments"] == 4
    assert rows["all", "ann-a"]["without false"] == rows["all", "copy-c"]["without false"] == "100.0 % (100–100)"
    assert rows["all", "ben-b"]["without false"] == "0.0 % (0–0)"
    assert rows["all", "ben-b"]["matter"] == "100.0 % (100–100)"
    assert rows["all", "ben-b"]["outcome"] == "0.0 % (0–0)"
    assert rows["all", "ben-b"]["amounts"] == "none to hold"


def test_labels_are_the_summaries_on_which_all_readers_agree(systems, tmp_path, capsys):
    dialogues = read_dialogues(DATA)[:3]
    wrong = {"first": (True, False, True), "second": (True, False, False)}
    files = []
    for reader, of in wrong.items():
        readings = [
            (dialogue.id, "ann-a", ["true", "false" if one else "true"], ["yes", "yes", "none"])
            for dialogue, one in zip(dialogues, of, strict=True)
        ]
        files.append(tmp_path / f"{reader}.jsonl")
        files[-1].write_text("".join(json.dumps(line) + "\n" for line in lines_of(reader, readings)))
    command = ["labels", *systems, "--data", DATA, "--readers", *map(str, files)]
    assert summary_reading.main(command) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    labels = [(row["id"], row["error"]) for row in rows]
    assert labels == [(f"{dialogues[0].id}-user-ann-a", 1), (f"{dialogues[1].id}-user-ann-a", 0)]
    assert rows[0]["summary"] == dialogues[0].summaries["user"][0]
    assert "left out: 1 summary on which the readers do not agree" in err
    (tmp_path / "labels.jsonl").write_text(out, encoding="utf-8")
    assert [one.has_error for one in read_labels(tmp_path / "labels.jsonl").summaries] == [True, False]


def test_a_sentence_that_is_not_true_needs_a_reason():
    sentence, question = {"asked": "sentence"}, {"asked": "matter"}
    assert answer_fault(sentence, "misleading", "") == "no reason"
    assert answer_fault(sentence, "misleading", "who?") == answer_fault(sentence, "true", "") == ""
    assert answer_fault(question, "none", "") == ""
    assert answer_fault(question, "true", "") and answer_fault(sentence, "yes", "")


def test_shares_count_summaries_and_leave_out_what_has_none_to_hold():
    summaries = [
        ("en-1", "x", ["true", "true"], ["yes", "yes", "none"]),
        ("en-2", "x", ["true", "not said"], ["yes", "no", "yes"]),
        ("en-3", "x", ["misleading"], ["yes", "no", "no"]),
        ("en-4", "x", [], ["no", "no", "no"]),
    ]
    [row, _] = share_rows(list(lines_of("a", summaries)))
    shares = {name: row[name].split(" %")[0] for name in ("without false", "matter", "outcome", "amounts")}
    assert shares == {"without false": "25.0", "matter": "75.0", "outcome": "25.0", "amounts": "33.3"}


def test_two_readers_are_compared_by_sentence_summary_and_question():
    first = [("en-1", "x", ["true", "false"], ["yes", "no", "none"]), ("en-2", "x", ["true"], ["yes", "yes", "yes"])]
    second = [
        ("en-1", "x", ["true", "misleading"], ["yes", "no", "no"]),
        ("en-2", "x", ["true"], ["no", "yes", "yes"]),
    ]
    rows = {row["about"]: row for row in agreement_rows([*lines_of("a", first), *lines_of("b", second)])}
    assert rows["sentence: true or not"]["agreement"] == 1.0 and rows["sentence: true or not"]["labels"] == 3
    assert rows["sentence: four labels"]["agreement"] == pytest.approx(2 / 3)
    assert [rows[name]["agreement"] for name in ("without false", "matter", "outcome", "amounts")] == [1, 0.5, 1, 0.5]
    assert agreement_rows(list(lines_of("a", first))) == []


def test_a_summary_read_in_part_or_twice_is_refused():
    lines = list(lines_of("a", [("en-1", "x", ["true", "false"], ["yes", "no", "none"])]))
    for of_reader in (lines[1:], lines[:-1], [*lines, lines[0]]):
        with pytest.raises(DataError, match=r"in part|two answers"):
            share_rows(of_reader)
