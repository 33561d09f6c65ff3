"""benchmarks/preference_pairs.py: false statements put into references."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rolesum.dialogue import Dialogue, Statement, Turn
from rolesum.formats import read_dialogues

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from preference_pairs import doubtful_summaries, make_pairs, pairs_with_doubtful, pairs_with_errors  # noqa: E402

SUMMARY = "Anna reported a broken kettle. Tom promised a refund of 30 dollars by Friday."


def pairs(*statements, summary=SUMMARY, seed=1, language="en"):
    dialogue = Dialogue(
        "1", (Turn("Anna", "hi"),), summaries={"overall": (summary,)}, statements=statements, language=language
    )
    return list(make_pairs(dialogue, seed))


def false(text, role="overall"):
    return Statement(text, role, False)


def test_the_sentence_that_shares_most_content_is_replaced():
    ((pair, replaced),) = pairs(false("Tom promised a refund of 50 dollars."))
    assert replaced and pair.chosen == SUMMARY
    assert pair.rejected == "Anna reported a broken kettle. Tom promised a refund of 50 dollars."


def test_a_statement_like_no_sentence_is_added_between_whole_sentences():
    said = "She moved to Lisbon."
    places = {pairs(false(said), seed=seed)[0][0].rejected.index(said) for seed in range(20)}
    assert places == {0, len("Anna reported a broken kettle. "), len(SUMMARY) + 1}


def test_the_only_sentence_of_a_summary_is_not_replaced():
    ((pair, replaced),) = pairs(false("汤姆答应退五十元。"), summary="汤姆答应退三十元。", language="zh")
    assert not replaced and sorted(pair.rejected.split("。")) == ["", "汤姆答应退三十元", "汤姆答应退五十元"]


def test_true_statements_other_roles_and_the_reference_itself_make_no_pair():
    others = (Statement("Tom promised a refund.", "overall", True), false("Anna left.", role="user"))
    assert pairs(*others, false("Anna reported a broken kettle.")) == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_bundled_statements_give_pairs_that_are_read_again_and_the_same_twice(language, tmp_path):
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for file in files:
        source = f"sample:dialogues-{language}-validation"
        command = [sys.executable, ROOT / "benchmarks" / "preference_pairs.py", source, file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert files[0].read_bytes() == files[1].read_bytes()
    made = read_dialogues(files[0])
    assert all(
        pair.rejected != pair.chosen and pair.chosen in one.summaries[pair.role] for one in made for pair in one.pairs
    )


DIALOGUE = Dialogue(
    "1",
    (
        Turn("Anna", "My kettle broke on Monday, I paid 30 dollars."),
        Turn("Tom", "If it is broken you get 45 on Friday."),
    ),
    summaries={"overall": ("Anna asked for 30 dollars on Friday; Tom agreed to pay, if the kettle was broken.",)},
    language="en",
)


def test_an_error_of_each_kind_is_put_into_the_reference():
    found = {}
    for seed in range(30):
        for pair, kind in pairs_with_errors(DIALOGUE, seed, count=5):
            found.setdefault(kind, set()).add(pair.rejected)
    (reference,) = DIALOGUE.summaries["overall"]
    assert found["number"] == {reference.replace("30", "45")}
    assert found["condition"] == {"Anna asked for 30 dollars on Friday; Tom agreed to pay."}
    assert reference.replace("Anna", "Tom") in found["actor"] and reference.replace("Tom", "Anna") in found["actor"]
    assert found["outcome"] == {reference.replace("agreed to", "refused to"), reference.replace("asked for", "got")}
    assert len(found["weekday"]) == 6 and all("Friday" not in text for text in found["weekday"])


def test_each_reference_gets_so_many_errors_and_the_same_ones_for_a_seed():
    made = [[pair.rejected for pair, _ in pairs_with_errors(DIALOGUE, 3, count=2)] for _ in range(2)]
    assert made[0] == made[1] and len(made[0]) == 2


def test_what_a_model_wrote_is_rejected_where_it_doubts_it(tmp_path):
    rows = [
        {"id": "1", "role": "overall", "prediction": "Tom asked.", "statements": [{"support": 0.9}, {"support": 0.2}]},
        {"id": "1", "role": "user", "prediction": "Anna asked.", "statements": [{"support": 0.1}]},
        {"id": "2", "role": "overall", "prediction": "Anna asked.", "statements": [{"support": 0.1}]},
    ]
    (tmp_path / "predictions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    ((pair, kind),) = pairs_with_doubtful(DIALOGUE, doubtful_summaries(tmp_path, 0.5))
    assert (pair.role, pair.rejected, kind) == ("overall", "Tom asked.", "doubtful")
    assert doubtful_summaries(tmp_path, 0.15).keys() == {("1", "user"), ("2", "overall")}
