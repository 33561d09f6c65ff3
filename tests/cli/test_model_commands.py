"""Commands that load a model, with a tiny model: called through the entry point, and once as a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.command import rolesum
from helpers.tiny import model_dir, short_dialogues

ROLESUM = Path(sys.executable).with_name("rolesum")
CHAT = "Customer: My parcel 4417 is late.\nAgent: I am sorry, it arrives on Monday.\nCustomer: Fine."


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run made by the command line itself."""
    folder = tmp_path_factory.mktemp("cli")
    recipe = {
        "name": "tiny",
        "base": str(model_dir("llama")),
        "data": {"train": {"path": str(short_dialogues())}},
        "roles": ["user", "客服"],
        "training": {"log_steps": 1},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    done = rolesum("train", "tiny.yaml", "--set", "training.learning_rate=5e-3", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "tokens/s" in done.stderr or "training" in done.stderr
    return folder / json.loads(done.stdout)["adapter"]


def test_a_chat_from_a_pipe_gives_one_block_per_role():
    command = [str(ROLESUM), "summarize", "--model", str(model_dir("llama")), "--max-new-tokens", "4"]
    done = subprocess.run(command, input=CHAT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line in ("[overall]", "[user]", "[agent]")] == [
        "[overall]",
        "[user]",
        "[agent]",
    ]


def test_json_lines_in_give_json_lines_out_by_id_and_in_order(tmp_path):
    out = tmp_path / "out.jsonl"
    done = rolesum(
        "summarize",
        "sample:en-test",
        "--model",
        model_dir("llama"),
        "--roles",
        "agent,user",
        "--max-new-tokens",
        2,
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    wanted = [
        json.loads(line)["id"] for line in (Path(__file__).parents[2] / "src/rolesum/samples/en-test.jsonl").open()
    ]
    assert [row["id"] for row in rows] == wanted
    assert all(list(row["summaries"]) == ["agent", "user"] for row in rows)


def test_an_adapter_brings_its_base_and_its_roles(tuned):
    done = rolesum("summarize", "--adapter", tuned, "--max-new-tokens", 3, "--json", stdin=CHAT)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["summaries"]) == ["user", "agent"]


def test_evaluate_writes_predictions_results_and_report(tuned, tmp_path):
    done = rolesum(
        *("evaluate", "--adapter", tuned, "--data", short_dialogues("en-test", 4), "--max-new-tokens", 6),
        *("--out", tmp_path / "eval", "--json"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert list(results["roles"]) == ["user", "agent"]
    assert results == json.loads((tmp_path / "eval" / "results.json").read_text())
    assert results["roles"]["user"]["scorer"] == "samsum" and results["roles"]["user"]["pairs"] == 4
    rows = [json.loads(line) for line in (tmp_path / "eval" / "predictions.jsonl").open()]
    assert len(rows) == 8 and rows[0]["references"]
    assert "<svg" in (tmp_path / "eval" / "report.html").read_text()


def test_data_show_says_which_tokens_carry_loss():
    done = rolesum("data", "show", "sample:en-test", "--model", model_dir("llama"), "--roles", "user", "--json")
    segments = json.loads(done.stdout)
    assert [(one["kind"], one["branch"], one["loss"]) for one in segments] == [
        ("control", "", False),
        ("dialogue", "", False),
        ("instruction", "user", False),
        ("control", "user", False),
        ("target", "user", True),
        ("control", "user", True),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("summarize", "--model", "no-such-model"), 4, "no model"),
        (("summarize", "--roles", "usr"), 2, 'did you mean "user"'),
        (("summarize", "--speaker", "Anna"), 2, "LABEL=ROLE"),
        (("summarize", "--language", "fr"), 2, "known: en, zh"),
        (("summarize", "--adapter", "nowhere"), 4, "no adapter here"),
        (("summarize", "--adapter", "rolesum-smollm2"), 4, "or rolesum-smollm2-135m"),
        (("evaluate", "--data", "nowhere.json"), 3, "cannot read the file"),
        (("evaluate", "--data", "sample:en-test", "--scorer", "rouge"), 2, 'unknown value "rouge" for --scorer'),
        (("train", "sample", "--set", "base=no/such/thing", "--out", "OUT"), 4, "no model"),
        (
            ("train", "dialogues-smollm2-135m", "--set", "data.train.path=nowhere.jsonl", "--out", "OUT"),
            3,
            "cannot read the file",
        ),
        (("train", "sample", "--resume", "--out", "OUT"), 2, "nothing to resume"),
    ],
)
def test_bad_input_gets_its_exit_code_and_a_remedy_and_no_traceback(arguments, code, said, tmp_path):
    arguments = [str(tmp_path / "run") if one == "OUT" else one for one in arguments]
    done = rolesum(*arguments, stdin=CHAT)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "→" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "adapter").exists()


@pytest.mark.embedded
def test_a_chinese_chat_for_an_english_model_is_refused_with_a_model_that_reads_it():
    done = rolesum("summarize", "--adapter", "rolesum-smollm2-135m", stdin="用户：我的快递到哪里了？\n客服：明天送到。")
    assert done.returncode == 4
    assert "does not read Chinese" in done.stderr and "gemma3-270m" in done.stderr
