"""Batch runs that fill in fields: the shards have them, and a dialogue whose answer is cut off is a failure."""

import json

import pytest

from helpers.tiny import model_dir, short_dialogues
from rolesum.batch import run_batch
from rolesum.errors import UsageError
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.instructions import load_fields

GIVEN = short_dialogues("en-train", 3, 2)
SHORT = {"type": "object", "properties": {"kind": {"enum": ["question", "order"]}}, "required": ["kind"]}
LONG = {"type": "object", "properties": {"text": {"type": "string", "minLength": 90}}, "required": ["text"]}


def config(schema, **given):
    spec = EngineSpec(model=str(model_dir("llama")), device="cpu", dtype="float32")
    return SummarizerConfig(spec).with_fields(load_fields(schema), given)


def lines(out, pattern):
    return [json.loads(line) for path in sorted(out.glob(pattern)) for line in path.open(encoding="utf-8")]


def test_each_line_has_the_fields_and_another_schema_does_not_resume_the_run(tmp_path):
    out = tmp_path / "out"
    assert run_batch([str(GIVEN)], out, config(SHORT), shard_size=2).summarized == 3
    assert all(load_fields(SHORT).problems(one["fields"]) == [] for one in lines(out, "summaries-*.jsonl"))
    with pytest.raises(UsageError, match="fields was"):
        run_batch([str(GIVEN)], out, config(LONG), shard_size=2)


def test_a_dialogue_whose_answer_is_cut_off_is_a_failure_with_the_reason(tmp_path):
    out = tmp_path / "out"
    assert run_batch([str(GIVEN)], out, config(LONG, max_new_tokens=5), shard_size=2).failed == 3
    failed = lines(out, "failed-*.jsonl")
    assert len(failed) == 3 and all("cut the answer off" in one["reason"] for one in failed)
    assert lines(out, "summaries-*.jsonl") == []
