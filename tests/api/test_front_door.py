"""`import rolesum`: what it gives, and that Python and the command line do the same with the same model."""

import inspect
import json
import subprocess
import sys
from dataclasses import fields
from importlib import resources

import pytest

import rolesum
from helpers.command import rolesum as command
from helpers.tiny import short_dialogues
from helpers.tiny_adapter import ship_tiny_adapter, tiny_adapter
from rolesum.errors import DataError, UsageError
from rolesum.formats import ReadOptions
from rolesum.formats.jsonl import to_json
from rolesum.models.bundled_adapters import adapter_for

CHAT = "Customer: My lamp 4711 broke, call 020 7946 0958.\nAgent: Sorry! We send a new one.\n"
FEW = {"max_new_tokens": 8, "device": "cpu", "dtype": "float32"}
FEW_OPTIONS = ("--max-new-tokens", 8, "--device", "cpu", "--dtype", "float32")


def texts(summaries):
    return {one.role: one.text for one in summaries}


def by_command(*options):
    done = command("summarize", *FEW_OPTIONS, "--json", *options, stdin=CHAT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["summaries"]


def test_every_name_is_there_and_importing_the_package_loads_no_torch():
    for name in rolesum.__all__:
        assert getattr(rolesum, name) is not None
    assert set(rolesum.__all__) <= set(dir(rolesum))
    code = "import sys, rolesum; rolesum.load_dialogues; rolesum.Summarizer; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
    assert resources.files("rolesum").joinpath("py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'summarise'"):
        rolesum.summarise  # noqa: B018


def test_load_dialogues_has_the_options_of_the_readers():
    taken = set(inspect.signature(rolesum.load_dialogues).parameters) - {"path"}
    assert taken == {one.name for one in fields(ReadOptions)} - {"max_problems"}
    assert len(rolesum.load_dialogues("sample:en-test", limit=2)) == 2
    with pytest.raises(UsageError, match="path is 3, no path"):
        rolesum.load_dialogues(3)
    with pytest.raises(DataError, match="cannot read the file"):
        rolesum.load_dialogues("nowhere.jsonl")


def test_score_is_the_command_of_that_name():
    found = rolesum.score(["a b c", "d"], [["a b d", "a b c"], "d"], scorer="samsum", multi_reference="best")
    assert (found.scorer, found.means["rouge1"]) == ("samsum", pytest.approx(100))
    for wrong in (("a", ["a"]), (["a"], [3]), (["a"], [[]]), (["a"], []), ([], [])):
        with pytest.raises(UsageError):
            rolesum.score(*wrong)


def test_python_and_the_command_write_the_same(monkeypatch, tmp_path):
    run = tiny_adapter().parent
    with rolesum.Summarizer.from_pretrained(run, **FEW) as summarizer:
        assert texts(summarizer(CHAT)) == by_command("--adapter", run)
        assert texts(summarizer(CHAT, roles="customer")) == by_command("--adapter", run, "--roles", "customer")
        assert texts(summarizer(CHAT, redact=True)) == by_command("--adapter", run, "--redact")
        sections = ("--sections", "situation-action-resolution")
        assert texts(summarizer(CHAT, sections=sections[1])) == by_command("--adapter", run, *sections)
        long = CHAT * 60
        with pytest.raises(DataError, match="--long-dialogues"):
            summarizer(long)
        assert {one.coverage.strategy for one in summarizer(long, long_dialogues="drop-middle")} == {"drop-middle"}
    ship_tiny_adapter(monkeypatch, tmp_path / "adapters")
    with rolesum.Summarizer.from_pretrained(**FEW) as bundled:
        assert bundled.config.spec.adapter == tmp_path / "adapters" / "en-zh"
        assert texts(bundled(CHAT)) == by_command()


def test_a_system_is_evaluated_in_python_as_by_the_command(tmp_path):
    data = short_dialogues("en-test", 3, 2)
    options = ("--data", data, "--adapter", tiny_adapter(), "--roles", "user", *FEW_OPTIONS, "--json")
    expected = json.loads(command("evaluate", *options).stdout)
    with rolesum.Summarizer.from_pretrained(tiny_adapter(), **FEW) as summarizer:
        found = rolesum.evaluate(summarizer, data, roles="user", out=tmp_path / "out")
        again = rolesum.evaluate(summarizer, rolesum.load_dialogues(data), roles=["user"])
    means = {name: round(value, 2) for name, value in found.scores["user"].means.items()}
    assert means == expected["roles"]["user"]["means"] and found.metadata["data_sha256"] == expected["data_sha256"]
    assert found.predictions == again.predictions and (tmp_path / "out" / "report.html").is_file()
    assert rolesum.evaluate("lead-3", data, limit=2).metadata["system"] == "lead-3"
    for wrong in ((3, data), (summarizer, 3), (summarizer, [])):
        with pytest.raises(UsageError):
            rolesum.evaluate(*wrong)


def test_a_recipe_is_trained_in_python_with_overrides(tmp_path):
    overrides = {"base_adapter": str(tiny_adapter()), "data.train.path": short_dialogues("en-train", 12, 2)}
    run = rolesum.train("mine", tmp_path / "run", overrides={**overrides, "training.epochs": 1}, device="cpu")
    assert (run.adapter / "adapter_config.json").is_file()
    assert rolesum.load_dialogues(run.held_out)
    with rolesum.Summarizer.from_pretrained(run.path, **FEW) as summarizer:
        assert list(texts(summarizer(CHAT))) == ["overall", "user", "agent"]
    for recipe, changes in ((3, None), ("mine", ["a"]), ("mine", {"roles": object()}), ("mine", {"rolls": []})):
        with pytest.raises(UsageError):
            rolesum.train(recipe, tmp_path / "other", overrides=changes)


@pytest.mark.embedded
@pytest.mark.slow
def test_the_small_bundled_adapter_summarizes_each_role_by_its_name_alone():
    with rolesum.Summarizer.from_pretrained("rolesum-smollm2-135m", max_new_tokens=24) as summarizer:
        assert summarizer.config.spec.adapter == adapter_for("smollm2-135m")
        found = summarizer("Customer: My parcel is late.\nAgent: I am sorry. I will check.")
        lines = to_json(rolesum.load_dialogues("sample:en-test", limit=1)[0])
        assert [one.role for one in found] == ["overall", "user", "agent"] and all(one.text for one in found)
        assert len(summarizer(json.loads(lines))) == 3
