import json

import pytest

from rolesum.dialogue import Turn
from rolesum.formats import ReadOptions, Source, parse_dialogues
from rolesum.formats.check import check_file

RECORD = {
    "id": "b0",
    "turns": [" my watch is dead ", "Sorry! Which model?", "the first one"],
    "refs": [
        {"user": "The watch is dead.", "agent": "Asked for the model."},
        {"user": "A dead watch.", "agent": " "},
        {"agent": "Asked back."},
    ],
}


def only(record):
    (dialogue,) = parse_dialogues(Source("tweets.jsonl", json.dumps(record)), ReadOptions(format="tweetsumm"))
    return dialogue


def test_the_customer_speaks_first_and_the_two_sides_alternate():
    assert only(RECORD).turns == (
        Turn("Customer", "my watch is dead"),
        Turn("Agent", "Sorry! Which model?"),
        Turn("Customer", "the first one"),
    )
    assert only(RECORD).roles == {"Customer": "user", "Agent": "agent"}


def test_that_the_speakers_were_inferred_is_said():
    assert "inferred" in only(RECORD).meta["speakers"]


def test_a_blank_turn_is_dropped_and_still_counts_for_who_speaks():
    turns = ["hello", " ", "anyone there?"]
    assert only({**RECORD, "turns": turns}).turns == (Turn("Customer", "hello"), Turn("Customer", "anyone there?"))


def test_every_annotators_summary_is_a_reference_and_blank_ones_are_none():
    assert only(RECORD).summaries == {
        "user": ("The watch is dead.", "A dead watch."),
        "agent": ("Asked for the model.", "Asked back."),
    }


def test_an_annotators_null_is_no_reference():
    record = {**RECORD, "refs": [{"user": None, "agent": "Asked back."}]}
    assert only(record).summaries == {"agent": ("Asked back.",)}


@pytest.mark.parametrize(("name", "dialogues"), [("train", 868), ("valid", 108), ("test", 110)])
def test_the_real_data_is_read_whole(shared, name, dialogues):
    found = check_file(shared / "data" / "tweetsumm" / f"derived_{name}.jsonl")
    assert (found.format, found.dialogues) == ("tweetsumm", dialogues)
    assert found.speakers_by_role == {"user": dialogues, "agent": dialogues}
    assert found.summaries["user"] == found.summaries["agent"] >= 3 * dialogues
    assert all("stands twice" in problem.what for problem in found.problems)
    assert len(found.problems) == (1 if name == "train" else 0)
