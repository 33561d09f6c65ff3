"""`rolesum summarize --verify` with an adapter of a tiny model that was trained to summarize and to verify."""

import contextlib
import io
import json
import sys
from unittest import mock

import pytest

from helpers.command import rolesum
from helpers.tiny import model_dir
from helpers.verify_runs import verify_adapter
from rolesum.cli import main
from rolesum.formats import open_source, read_dialogues
from rolesum.generation.verification import verify
from rolesum.models.loading import load_model

CHAT = "Customer: My lamp broke, call 020 7946 0958.\nAgent: Sorry! Tom sends a new one.\n"
FEW = ("--max-new-tokens", 12, "--dtype", "float32", "--device", "cpu", "--roles", "overall,user")


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    path = tmp_path_factory.mktemp("chat") / "chat.txt"
    path.write_text(CHAT, encoding="utf-8")
    return path


def summarize(chat, *arguments, model=None):
    chosen = ("--model", model) if model else ("--adapter", verify_adapter())
    return rolesum("summarize", chat, *chosen, *FEW, *arguments)


def output(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def record(chat):
    return json.loads(output(summarize(chat, "--json")))


def test_every_statement_of_the_record_has_its_place_and_the_models_probability(chat, record):
    loaded = load_model(adapter=verify_adapter(), dtype="float32", device="cpu")
    (dialogue,) = read_dialogues(open_source(str(chat)))
    assert set(record["statements"]) == {"overall", "user"} and record["support_threshold"] == 0.5
    for role, statements in record["statements"].items():
        assert statements, record["summaries"]
        said = verify(dialogue, [one["text"] for one in statements], loaded)
        assert [one["support"] for one in statements] == pytest.approx(said, abs=1e-4)
        for one in statements:
            assert set(one) == {"text", "start", "end", "support", "turns", "flags"}
            own = record["summaries"][role][one["start"] : one["end"]]
            assert own and own.casefold() in one["text"].casefold()


def test_text_marks_what_is_under_the_threshold_and_names_it_behind_a_stream(chat, record):
    texts = record["summaries"]
    marked = output(summarize(chat, "--support-threshold", 1))
    assert marked.count("\n(?) the dialogue may not say ") == 2 and "\x1b" not in marked
    assert len(record["statements"]["overall"]) == 1 and f"[overall]\n{texts['overall']} (?)" in marked
    assert "(?)" not in output(summarize(chat, "--support-threshold", 0))
    streamed = output(summarize(chat, "--support-threshold", 1, "--stream"))
    assert streamed.startswith(f"[overall]\n{texts['overall']}") and f"[user]\n{texts['user']}" in streamed
    assert streamed.count('\n(?) the dialogue may not say: "') == 2


def test_a_terminal_shows_what_is_doubtful_dim(chat):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    asked = ["rolesum", "summarize", str(chat), "--adapter", str(verify_adapter()), *map(str, FEW)]
    asked += ["--no-stream", "--support-threshold", "1"]
    patched = mock.patch.object(sys, "argv", asked)
    with contextlib.redirect_stdout(Terminal()) as shown, patched, contextlib.suppress(SystemExit):
        main.run()
    assert shown.getvalue().count("\x1b[2m") == shown.getvalue().count(" (?)\x1b[0m") >= 2


def test_off_verifies_nothing_and_writes_the_same_texts(chat, record):
    plain = json.loads(output(summarize(chat, "--json", "--verify", "off")))
    assert plain["summaries"] == record["summaries"]
    assert set(plain) == set(record) - {"statements", "support_threshold"}


def test_drop_keeps_a_text_of_which_nothing_would_remain(chat, record):
    dropped = json.loads(output(summarize(chat, "--json", "--verify", "drop", "--support-threshold", 1)))
    assert dropped["summaries"] == record["summaries"] and "dropped" not in dropped
    assert [len(of) for of in dropped["statements"].values()] == [len(of) for of in record["statements"].values()]


def test_rerank_takes_the_best_supported_of_the_samples(chat):
    asked = ("--json", "--samples", 4, "--temperature", 1, "--seed", 3)
    best = json.loads(output(summarize(chat, *asked, "--verify", "rerank")))
    for role in ("overall", "user"):
        lowest = min(one["support"] for one in best["statements"][role])
        for choice in ("likeliest", "mbr"):
            other = json.loads(output(summarize(chat, *asked, "--choose", choice)))
            assert lowest >= min(one["support"] for one in other["statements"][role]) - 1e-4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--verify", "flags"), 'did you mean "flag"'),
        (("--verify", "rerank"), "--samples 4"),
        (("--verify", "rerank", "--samples", 4, "--temperature", 1, "--choose", "mbr"), "both choose a sample"),
        (("--verify", "flag", "--engine", "vllm"), "use --engine transformers"),
        (("--support-threshold", 2), "--support-threshold: 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_remedy(chat, arguments, told):
    done = summarize(chat, *arguments)
    assert (done.returncode, done.stdout) == (2, "") and told in done.stderr


def test_a_model_that_was_not_trained_to_verify_writes_summaries_and_refuses_to_verify(chat):
    plain = json.loads(output(summarize(chat, "--json", model=model_dir("llama"))))
    assert set(plain["summaries"]) == {"overall", "user"} and "statements" not in plain
    refused = summarize(chat, "--verify", "flag", model=model_dir("llama"))
    assert refused.returncode == 2 and "trained to verify statements" in refused.stderr
