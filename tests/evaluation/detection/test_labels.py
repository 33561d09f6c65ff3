"""Files of labels: what is read from each form, and what is refused."""

import csv
import io
import json

import pytest

from rolesum.errors import DataError, UsageError
from rolesum.evaluation.detection.labels import check_classes, read_labels
from rolesum.formats import ReadOptions, read_dialogues

CHAT = "Ann: Where is my parcel?\nBen: It comes on Monday."
OTHER = "Ann: Is it blue?\nBen: No, red."
ROWS = [
    {"id": "a", "dialogue": CHAT, "summary": "It comes on Monday.", "error": 0, "system": "one"},
    {"id": "b", "dialogue": CHAT, "summary": "It came.", "error": 1, "system": "two", "kinds": ["tense", "negation"]},
    {"id": "c", "dialogue": OTHER, "summary": "It is red.", "error": False, "role": "all"},
    {"id": 4, "dialogue": OTHER, "summary": "It is blue.", "error": True, "kinds": [], "split": None},
]


def written(tmp_path, rows, name="labels.jsonl"):
    path = tmp_path / name
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def as_csv(tmp_path, rows, delimiter=","):
    names = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, delimiter=delimiter, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**row, "kinds": "; ".join(row.get("kinds") or ())} for row in rows)
    (path := tmp_path / "labels.csv").write_text(text.getvalue(), encoding="utf-8")
    return path


def problems(path, **options):
    """What is wrong with a file: the message and its place."""
    with pytest.raises(DataError) as caught:
        read_labels(path, ReadOptions(**options))
    return [(one.what, one.where.removeprefix(f"{path}")) for one in caught.value.problems]


def changed(**fields):
    """The first row with other fields; a field of ... is left out."""
    return {key: value for key, value in {**ROWS[0], **fields}.items() if value is not ...}


@pytest.mark.parametrize("form", ["lines", "array", "comma", "tab"])
def test_a_table_is_read_from_json_and_csv(tmp_path, form):
    if form == "array":
        (path := tmp_path / "labels.json").write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    else:
        path = written(tmp_path, ROWS) if form == "lines" else as_csv(tmp_path, ROWS, {"comma": ",", "tab": "\t"}[form])
    labels = read_labels(path)
    assert [one.id for one in labels.summaries] == ["a", "b", "c", "4"]
    assert labels.errors.tolist() == [False, True, False, True]
    assert [one.kinds for one in labels.summaries] == [(), ("tense", "negation"), (), ()]
    assert [one.system for one in labels.summaries] == ["one", "two", "", ""]
    assert {one.role for one in labels.summaries} == {"overall"}
    assert [turn.text for turn in labels.summaries[3].dialogue.turns] == ["Is it blue?", "No, red."]


def test_rows_with_the_same_turns_are_of_one_dialogue(tmp_path):
    turns = [{"speaker": "Ann", "text": "Where is  my parcel?"}, {"speaker": "Ben", "text": "It comes on Monday."}]
    labels = read_labels(written(tmp_path, [*ROWS, changed(id="e", dialogue=..., turns=turns)]))
    assert labels.groups.tolist() == [0, 0, 1, 1, 0] and len(labels.dialogues) == 2
    assert labels.by_dialogue == [[0, 1, 4], [2, 3]]


def test_turns_may_say_who_plays_which_role(tmp_path):
    turns = [{"speaker": "Ann", "text": "Hello."}, {"speaker": "Ben", "text": "Hi."}]
    row = changed(dialogue=..., turns=turns, roles={"Ann": "customer", "Ben": "agent"}, role="customer")
    (one,) = read_labels(written(tmp_path, [row])).summaries
    assert one.role == "user" and one.dialogue.roles == {"Ann": "user", "Ben": "agent"}


def test_speakers_of_a_text_get_roles_from_the_options(tmp_path):
    options = ReadOptions(speakers={"Ann": "user"})
    assert read_labels(written(tmp_path, ROWS), options).dialogues[0].roles == {"Ann": "user"}
    with pytest.raises(UsageError, match="no turn is spoken by Tom"):
        read_labels(written(tmp_path, ROWS), ReadOptions(speakers={"Tom": "user"}))


def test_statements_are_summaries_of_one_sentence_for_their_role():
    dialogues = read_dialogues("sample:dialogues-zh-test")
    labels = read_labels("sample:dialogues-zh-test")
    said = [(one.id, number, each) for one in dialogues for number, each in enumerate(one.statements, 1)]
    assert len(said) == len(labels.summaries) == 372 and len(labels.dialogues) == len(dialogues)
    for (identity, number, statement), one in zip(said, labels.summaries, strict=True):
        assert one.id == f"{identity}#{number}" and one.has_error is not statement.supported
        assert (one.text, one.role) == (statement.text, statement.role)
        assert one.kinds == (() if statement.supported else (statement.kind,))


def test_the_limit_counts_dialogues_and_skip_names_summaries(tmp_path):
    path = written(tmp_path, [ROWS[0], ROWS[2], ROWS[1], ROWS[3]])
    assert [one.id for one in read_labels(path, ReadOptions(limit=1)).summaries] == ["a", "b"]
    assert [one.id for one in read_labels(path, ReadOptions(skip=("a", "4"))).summaries] == ["c", "b"]
    assert len(read_labels("sample:dialogues-en-test", ReadOptions(limit=2)).dialogues) == 2


def test_a_skipped_row_may_be_broken(tmp_path):
    assert len(read_labels(written(tmp_path, [*ROWS, {"id": "bad"}]), ReadOptions(skip=("bad",))).summaries) == 4


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"error": ...}, "no label"),
        ({"error": None}, "no label"),
        ({"error": 2}, "error is 2"),
        ({"error": "maybe"}, "error is 'maybe'"),
        ({"summary": "  "}, "no summary"),
        ({"summary": ["x"]}, "no summary"),
        ({"dialogue": ...}, "no dialogue"),
        ({"turns": []}, "both dialogue and turns"),
        ({"dialogue": [{"speaker": "Ann", "text": "Hi."}]}, "dialogue is not a text"),
        ({"dialogue": ..., "turns": []}, "the dialogue has no turns"),
        ({"roles": {"Ann": "user"}}, "roles without turns"),
        ({"kinds": [1]}, "kinds must be a list of texts"),
        ({"kinds": ["negation"]}, "kinds of an error, and error is 0"),
        ({"split": "train"}, "unknown split 'train'"),
        ({"system": 3}, "system is not a text"),
        ({"role": "narrator"}, 'unknown role "narrator"'),
    ],
)
def test_a_broken_row_is_named_with_its_place(tmp_path, fields, what):
    assert problems(written(tmp_path, [changed(**fields)])) == [(what, ":1, id a")]


def test_all_problems_of_a_file_are_shown_and_each_unknown_field_once(tmp_path):
    rows = [changed(label=1, sumary="x"), changed(id="b", label=0, error=...), changed(id=None), "text"]
    with pytest.raises(DataError) as caught:
        read_labels(written(tmp_path, rows))
    found = [(one.what, one.fix) for one in caught.value.problems]
    assert [what for what, _ in found] == [
        'unknown field "label"',
        'unknown field "sumary"',
        "no label",
        "no id",
        "not a JSON object",
    ]
    assert found[1][1] == 'did you mean "summary"?'


def test_an_id_that_stands_twice_is_refused(tmp_path):
    path = written(tmp_path, [ROWS[0], ROWS[2], changed(summary="Something else.")])
    assert problems(path) == [(f"id a stands in {path}:1 too", ":3")]


def test_a_table_without_a_column_is_refused_once(tmp_path):
    path = as_csv(tmp_path, [{"id": "a", "dialogue": CHAT, "text": "It comes."}] * 3)
    ((what, where),) = problems(path)
    assert what.startswith("no column summary, error (the file has: id, dialogue, text") and where == ":1"


def test_dialogues_without_statements_have_no_label():
    ((what, _),) = problems("sample:en-test")
    assert what.startswith("no label: the dialogues have no statements")


def test_options_that_map_the_fields_of_dialogues_are_refused(tmp_path):
    for options in ({"format": "samsum"}, {"columns": {"id": "a"}}, {"unknown_speaker": "continue"}):
        with pytest.raises(UsageError, match="are for files of dialogues"):
            read_labels(written(tmp_path, ROWS), ReadOptions(**options))


def test_labels_of_one_class_are_refused(tmp_path):
    labels = read_labels(written(tmp_path, ROWS))
    check_classes(labels.summaries, "labels.jsonl")
    for chosen, what in ((labels.summaries[1::2], "all 2 summaries"), (labels.summaries[::2], "none of 2")):
        with pytest.raises(DataError, match=f"{what}.*nothing to tell apart"):
            check_classes(chosen, "labels.jsonl")
    with pytest.raises(DataError, match="no labeled summaries"):
        check_classes([], "labels.jsonl")


def test_the_human_labels_of_faceval_are_read(shared):
    path = shared / "data" / "faithfulness" / "faceval.jsonl"
    if not path.is_file():
        pytest.skip("FacEval is absent")
    labels = read_labels(path)
    assert (len(labels.summaries), len(labels.dialogues), labels.errors.sum()) == (750, 150, 294)
    assert len({one.system for one in labels.summaries}) == 5
    assert len({kind for one in labels.summaries for kind in one.kinds}) == 6
