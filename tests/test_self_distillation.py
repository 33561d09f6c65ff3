"""benchmarks/self_distillation.py: a model's own summaries as the targets of dialogues that have none."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.tiny import model_dir, short_dialogues
from rolesum.cli.main import app
from rolesum.formats import read_dialogues

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from self_distillation import main  # noqa: E402


def made(tmp_path, *records, data="chat.jsonl"):
    """The dialogues that are written for a file of the dialogues a, b and c with these records of summaries."""
    turns = [{"speaker": "Anna", "text": "hi"}]
    lines = [json.dumps({"id": one, "turns": turns, "summaries": {"overall": "Old."}}) for one in "abc"]
    (tmp_path / data).write_text("\n".join(lines))
    (tmp_path / "own.jsonl").write_text("\n".join(json.dumps(one) for one in records))
    assert main([str(tmp_path / data), str(tmp_path / "own.jsonl"), "--out", str(tmp_path / "out.jsonl")]) == 0
    return {one.id: dict(one.summaries) for one in read_dialogues(tmp_path / "out.jsonl")}


def test_whole_summaries_take_the_place_of_others_and_cut_or_empty_ones_are_left_out(tmp_path, capsys):
    found = made(
        tmp_path,
        {"id": "a", "summaries": {"overall": "New.", "user": "Cut in the mid"}, "truncated": ["user"]},
        {"id": "b", "summaries": {"overall": " "}},
        {"id": "c", "summaries": {"overall": "Cut"}, "truncated": ["overall"]},
    )
    assert found == {"a": {"overall": ("New.",)}}
    assert capsys.readouterr().out == "1 dialogue, 1 summary; left out: 2 that the limit cut off\n"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"id": "z", "summaries": {"overall": "New."}}], "no dialogue z"),
        ([{"id": "a", "summaries": {"overall": "x"}}] * 2, "a stands twice"),
        ([{"id": "a", "summaries": {"overall": ""}}], "no summary"),
    ],
)
def test_summaries_of_other_dialogues_repeated_or_empty_ones_are_refused(tmp_path, records, said):
    with pytest.raises(SystemExit, match=said):
        made(tmp_path, *records)


def test_what_summarize_writes_of_samples_becomes_training_data(tmp_path):
    data, own, out = short_dialogues("en-test", 3, 2), tmp_path / "own.jsonl", tmp_path / "out.jsonl"
    command = ["summarize", str(data), "--model", str(model_dir("llama")), "--device", "cpu", "--out", str(own)]
    samples = ["--samples", "3", "--temperature", "1", "--choose", "mbr", "--max-new-tokens", "6"]
    done = CliRunner().invoke(app, [*command, *samples, "--json", "--roles", "user,agent"])
    assert done.exit_code == 0, done.output
    with pytest.raises(SystemExit, match="no summary"):  # random weights end no text within six tokens
        main([str(data), str(own), "--out", str(out)])
    written = [json.loads(line) for line in own.read_text().splitlines()]
    own.write_text("\n".join(json.dumps({**one, "truncated": []}) for one in written))
    assert main([str(data), str(own), "--out", str(out)]) == 0
    found = {one.id: {role: texts[0].split() for role, texts in one.summaries.items()} for one in read_dialogues(out)}
    assert found == {one["id"]: {role: text.split() for role, text in one["summaries"].items()} for one in written}
    assert [one.turns for one in read_dialogues(out)] == [one.turns for one in read_dialogues(data)]
