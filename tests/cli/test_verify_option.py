"""`rolesum summarize --verify` with an adapter of a tiny model that was trained to summarize and to verify."""

import contextlib
import io
import json
import sys
from unittest import mock

import pytest

from helpers.command import rolesum
from helpers.scripted_engine import ScriptedEngine
from helpers.tiny import model_dir
from helpers.verify_runs import verify_adapter
from rolesum.cli import main
from rolesum.formats import open_source, read_dialogues
from rolesum.generation.factory import EngineSpec
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
    return json.loads(output(summarize(chat, "--json", "--verify", "flag")))


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
    marked = output(summarize(chat, "--support-threshold", 1, "--verify", "flag"))
    assert marked.count("\n(?) the dialogue may not say ") == 2 and "\x1b" not in marked
    assert len(record["statements"]["overall"]) == 1 and f"[overall]\n{texts['overall']} (?)" in marked
    assert "(?)" not in output(summarize(chat, "--support-threshold", 0, "--verify", "flag"))
    streamed = output(summarize(chat, "--support-threshold", 1, "--stream"))
    assert streamed.startswith(f"[overall]\n{texts['overall']}") and f"[user]\n{texts['user']}" in streamed
    assert streamed.count('\n(?) the dialogue may not say: "') == 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(chat, *arguments):
    """What the command writes to a terminal, and what it logs."""
    asked = ["rolesum", "summarize", chat, "--adapter", verify_adapter(), *FEW, *arguments]
    with (
        contextlib.redirect_stdout(Terminal()) as shown,
        contextlib.redirect_stderr(io.StringIO()) as logged,
        mock.patch.object(sys, "argv", list(map(str, asked))),
        contextlib.suppress(SystemExit),
    ):
        main.run()
    return shown.getvalue(), logged.getvalue()


def test_a_terminal_shows_what_is_doubtful_dim(chat):
    shown, _ = on_terminal(chat, "--no-stream", "--support-threshold", 1, "--verify", "flag")
    assert shown.count("\x1b[2m") == shown.count(" (?)\x1b[0m") >= 2


FIRST, SECOND = "The customer has a broken lamp.", "Tom sends 45 new ones."
LAMP, SORRY = "Customer: “My lamp broke, call 020 7946 0958.”", "Agent: “Sorry! Tom sends a new one.”"
TEXTS = {"overall": f"{FIRST} {SECOND}", "user": "The lamp broke."}


@pytest.fixture
def written(monkeypatch):
    """The model writes TEXTS."""
    monkeypatch.setattr(EngineSpec, "open", lambda _: ScriptedEngine(TEXTS))


@pytest.fixture
def few_doubts(chat, written):
    """Options under which one of the two statements of the overall summary is doubtful, and its place."""
    found = json.loads(output(summarize(chat, "--json", "--verify", "flag", "--roles", "overall")))
    supports = [one["support"] for one in found["statements"]["overall"]]
    assert found["summaries"]["overall"] == TEXTS["overall"] and "quotes" not in found
    return ("--roles", "overall", "--support-threshold", sum(supports) / 2), supports.index(min(supports))


def test_unless_told_otherwise_the_dialogue_is_quoted_in_place_of_doubtful_statements(chat, few_doubts):
    options, place = few_doubts
    found = json.loads(output(summarize(chat, "--json", *options)))
    text = (f"{LAMP} {SECOND}", f"{FIRST} {SORRY}")[place]
    (quote,) = found["quotes"]["overall"]
    assert found["summaries"] == {"overall": text} and quote["turn"] == place
    assert text[quote["start"] : quote["end"]] == (LAMP, SORRY)[place]
    assert [one["text"] for one in found["dropped"]["overall"]] == [(FIRST, SECOND)[place]]
    assert [one["text"] for one in found["statements"]["overall"]] == [(SECOND, FIRST)[place]]
    plain = output(summarize(chat, *options))
    assert plain.startswith(f"[overall]\n{text}\n(1 statement that the dialogue may not say was replaced by quotes)\n")
    assert "(?)" not in plain and plain == output(summarize(chat, *options, "--verify", "quote"))


def test_a_stream_that_is_asked_for_is_marked_and_can_be_told_to_quote(chat, few_doubts):
    options, place = few_doubts
    marked = output(summarize(chat, *options, "--stream"))
    assert marked.startswith(f"[overall]\n{TEXTS['overall']}\n(?) the dialogue may not say: ")
    assert f'"{(FIRST, SECOND)[place]}"' in marked and "quotes stand" not in marked
    quoted = output(summarize(chat, *options, "--stream", "--verify", "quote"))
    assert quoted == output(summarize(chat, *options))


def test_a_terminal_shows_the_progress_where_the_text_is_not_shown_as_it_grows(chat, few_doubts):
    options, _ = few_doubts
    assert on_terminal(chat, *options)[0] == output(summarize(chat, *options))
    for mode, shows_progress in (("quote", True), ("drop", True), ("flag", False)):
        shown, logged = on_terminal(chat, *options, "--verify", mode)
        assert shown.startswith("[overall]\n") and ("summarize" in logged) is shows_progress


@pytest.mark.parametrize("suffix", [".md", ".docx"])
def test_a_document_says_that_quotes_stand_for_statements(chat, few_doubts, tmp_path, suffix):
    options, place = few_doubts
    path = tmp_path / f"chat{suffix}"
    output(summarize(chat, *options, "--out", path))
    if suffix == ".md":
        lines = path.read_text(encoding="utf-8").split("\n")
    else:
        docx = pytest.importorskip("docx")
        lines = [one.text for one in docx.Document(str(path)).paragraphs]
    text = (f"{LAMP} {SECOND}", f"{FIRST} {SORRY}")[place]
    note = "Quotes stand for what the dialogue may not say (1)."
    assert text in lines and ({note, f"> {note}"} & {*lines})
    assert not any("Left out" in line or "(?)" in line for line in lines)


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
            other = json.loads(output(summarize(chat, *asked, "--choose", choice, "--verify", "flag")))
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
