"""Batch runs with an adapter that verifies: the shards have the statements, and a run goes on as it was started."""

import json
import shutil
from dataclasses import replace

import pytest

from helpers.tiny import model_dir, short_dialogues
from helpers.verify_runs import verify_adapter
from rolesum.batch import run_batch
from rolesum.errors import UsageError
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.summary_output import summary_record
from rolesum.models.adapter_metadata import store_verify

GIVEN = short_dialogues("en-train", 3, 2)


def records(out):
    return [json.loads(line) for path in sorted(out.glob("summaries-*.jsonl")) for line in path.open(encoding="utf-8")]


def statements(out):
    return [
        (one["summaries"], one["statements"], one.get("dropped"), one.get("quotes"), one["support_threshold"])
        for one in records(out)
    ]


def supports(record):
    """Of the statements that stayed, and of those for which quotes stand."""
    return [one["support"] for kind in ("statements", "dropped") for one in record.get(kind, {}).get("overall", ())]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return shutil.copytree(verify_adapter(), tmp_path_factory.mktemp("own") / "adapter")


@pytest.fixture(scope="module")
def config(adapter):
    spec = EngineSpec(adapter=adapter, device="cpu", dtype="float32")
    return SummarizerConfig(spec, ("overall",), Decoding(max_new_tokens=12))


def test_a_run_that_verifies_is_resumed_with_the_same_choice_only(config, adapter, tmp_path):
    out = tmp_path / "out"
    assert run_batch([str(GIVEN)], out, config, shard_size=2).summarized == 3
    first = statements(out)
    assert all(threshold == 0.5 for *_, threshold in first) and any("quotes" in one for one in records(out))
    alone = [summary_record(one) for one in Summarizer(config).summarize(read_dialogues(GIVEN))]
    for one, other in zip(records(out), alone, strict=True):
        assert (one["summaries"], one.get("quotes")) == (other["summaries"], other.get("quotes"))
        assert supports(one) and supports(one) == pytest.approx(supports(other), abs=2e-4)
    settings = json.loads((out / "state.json").read_text(encoding="utf-8"))["settings"]
    assert settings["verify"] == "quote" and settings["support_threshold"] is None
    (out / "summaries-00001.jsonl").unlink()  # as if the run had been stopped before
    assert run_batch([str(GIVEN)], out, replace(config, verify="quote"), shard_size=2).summarized == 3
    assert statements(out) == first
    others = [
        ({"verify": "flag"}, 'verify was "quote", now "flag"'),
        ({"verify": "off"}, 'verify was "quote", now "off"'),
    ]
    others += [({"support_threshold": 0.7}, "support_threshold was null, now 0.7")]
    for changed, told in others:
        with pytest.raises(UsageError, match=told):
            run_batch([str(GIVEN)], out, replace(config, **changed), shard_size=2)
    store_verify(adapter, {"threshold": 0.6})
    with pytest.raises(UsageError, match=r"changed since the run .*rolesum\.json"):
        run_batch([str(GIVEN)], out, config, shard_size=2)


def test_a_run_that_leaves_statements_out_is_resumed_to_the_same_shards(config, tmp_path):
    out, dropping = tmp_path / "out", replace(config, verify="drop", support_threshold=1.0)
    assert run_batch([str(GIVEN)], out, dropping, shard_size=2).summarized == 3
    first = statements(out)
    assert all(threshold == 1 for *_, threshold in first)
    (out / "summaries-00001.jsonl").unlink()
    assert run_batch([str(GIVEN)], out, dropping, shard_size=2).summarized == 3
    assert statements(out) == first
    with pytest.raises(UsageError, match=r"support_threshold was 1\.0, now null"):
        run_batch([str(GIVEN)], out, replace(dropping, support_threshold=None), shard_size=2)


def test_a_run_that_cannot_verify_is_resumed_with_verify_off(tmp_path):
    spec = EngineSpec(model=str(model_dir("llama")), device="cpu", dtype="float32")
    config = SummarizerConfig(spec, ("overall",), Decoding(max_new_tokens=4))
    for verify in (None, "off", None):
        assert run_batch([str(GIVEN)], tmp_path / "out", replace(config, verify=verify)).summarized == 3
    assert all("statements" not in one for one in records(tmp_path / "out"))


def test_what_cannot_verify_is_refused_before_the_inputs_are_indexed(tmp_path):
    config = SummarizerConfig(EngineSpec(model="smollm2-135m"), verify="drop")
    with pytest.raises(UsageError, match="trained to verify statements"):
        run_batch([str(GIVEN)], tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
