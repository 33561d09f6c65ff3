"""`rolesum evaluate` with an adapter that verifies: predictions, figures, and `rolesum compare` of such runs."""

import json
import shutil
from dataclasses import replace

import pytest

from helpers.command import rolesum
from helpers.scripted_engine import CHAT, ScriptedEngine
from helpers.verify_runs import STATEMENTS, verify_adapter
from rolesum.api import evaluate as evaluate_in_python
from rolesum.checks.evidence import find_turns
from rolesum.checks.index import DialogueIndex
from rolesum.evaluation.evaluated_run import read_run
from rolesum.evaluation.predictions import read_predictions
from rolesum.formats import read_dialogues
from rolesum.generation.factory import EngineSpec
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.verification import verify
from rolesum.models.loading import load_model

FEW = ("--max-new-tokens", 12, "--dtype", "float32", "--device", "cpu", "--data", STATEMENTS, "--no-checks")


def evaluate(*arguments, adapter=None):
    return rolesum("evaluate", "--adapter", adapter or verify_adapter(), *FEW, *arguments)


def output(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of one adapter: as it is, with a threshold over its usual supports, and sampled; and what each printed."""
    folder = tmp_path_factory.mktemp("runs")
    others = {
        "plain": (),
        "strict": ("--support-threshold", 0.99),
        "sampled": ("--samples", 3, "--temperature", 1, "--verify", "rerank"),
    }
    return folder, {name: output(evaluate("--out", folder / name, *more)) for name, more in others.items()}


def test_predictions_carry_the_statements_with_the_models_probabilities(runs):
    folder, _ = runs
    loaded = load_model(adapter=verify_adapter(), dtype="float32", device="cpu")
    dialogues = {one.id: one for one in read_dialogues(STATEMENTS)}
    predictions = read_run(folder / "plain").predictions
    assert {one.role for one in predictions} == {"overall", "user", "agent"} and len(predictions) == 15
    for one in predictions:
        said = verify(dialogues[one.id], [each.text for each in one.statements], loaded) if one.statements else []
        assert [each.support for each in one.statements] == pytest.approx(said, abs=1e-4)
        assert one.support_threshold == 0.5
        index = DialogueIndex(dialogues[one.id])
        for each in one.statements:
            assert each.turns == find_turns(one.prediction[each.start : each.end], index)
    assert sum(len(one.statements) for one in predictions) >= 10


def test_results_and_terminal_count_the_summaries_without_a_doubtful_statement(runs):
    folder, printed = runs
    for name in ("plain", "strict"):
        results = json.loads((folder / name / "results.json").read_text(encoding="utf-8"))
        predictions = read_predictions(folder / name / "predictions.jsonl")
        known = [one for one in predictions if one.statements]
        clear = [one for one in known if not one.doubtful]
        total = results["support"]["total"]
        assert (total["without_doubt"], total["summaries"]) == (len(clear), len(known))
        assert total["unknown"] == len(predictions) - len(known)
        by_role = {role: of["support"]["without_doubt"] for role, of in results["roles"].items()}
        assert by_role == {role: sum(one.role == role for one in clear) for role in by_role}
        share = f"{len(clear)} of {len(known)} ({100 * len(clear) / len(known):.0f} %"
        assert f"summaries without a doubtful statement: {share}" in printed[name]
        assert "Intervals over 5 dialogues are unreliable" in printed[name] and "; user " in printed[name]
        facts = results["verify"]
        assert (facts["mode"], facts["threshold"]) == ("flag", results["support"]["threshold"])
        assert len(facts["adapter"]) == 64 and facts["temperature"] == 1.0
    assert json.loads(output(evaluate("--limit", 1, "--json")))["support"]["total"]["dialogues"] == 1


def test_rerank_and_its_choice_are_recorded(runs):
    results = json.loads((runs[0] / "sampled" / "results.json").read_text(encoding="utf-8"))
    assert results["verify"]["mode"] == "rerank"
    assert results["decoding"]["samples"] == 3 and results["decoding"]["choose"] == "support"


def test_off_verifies_nothing_and_writes_the_same_texts(runs, tmp_path):
    printed = output(evaluate("--verify", "off", "--out", tmp_path / "off"))
    assert "doubtful" not in printed
    off, plain = (read_run(one) for one in (tmp_path / "off", runs[0] / "plain"))
    assert [one.prediction for one in off.predictions] == [one.prediction for one in plain.predictions]
    assert "support" not in off.results and "verify" not in off.results
    assert not any(one.statements for one in off.predictions)


WRITTEN = "The customer has a broken lamp."
LAMP, MONDAY = "Customer: “My lamp broke, call 020 7946 0958.”", "Agent: “Sorry! Tom sends a new one on Monday.”"


def test_what_the_model_wrote_is_scored_unless_quotes_are_asked_for(tmp_path):
    known = replace(CHAT, summaries={"overall": (WRITTEN,)})

    def evaluated(**config):
        config = SummarizerConfig(EngineSpec(), ("overall",), support_threshold=1.0, **config)
        made = Summarizer(config, ScriptedEngine({"overall": WRITTEN}))
        found = evaluate_in_python(made, [known], roles="overall", out=tmp_path / str(config.verify))
        assert read_run(tmp_path / str(config.verify)).predictions == found.predictions
        return found.predictions[0], found.scores["overall"].means["rouge1"], found.metadata["verify"]["mode"]

    one, rouge, mode = evaluated()
    assert (one.prediction, rouge, mode) == (WRITTEN, pytest.approx(100), "flag")
    assert len(one.doubtful) == 1 and one.quotes == one.dropped == ()
    one, rouge, mode = evaluated(verify="quote")
    assert (one.prediction, mode) == (f"{LAMP} {MONDAY}", "quote") and rouge < 50
    quotes = [(one.prediction[each.start : each.end], each.turn) for each in one.quotes]
    assert quotes == [(LAMP, 0), (MONDAY, 1)]
    assert [each.text for each in one.dropped] == [WRITTEN]


def test_a_summarizer_that_quotes_by_default_is_evaluated_by_what_it_wrote():
    few = {"device": "cpu", "dtype": "float32", "max_new_tokens": 12}
    texts = []
    for mode in (None, "off"):
        with Summarizer.from_pretrained(verify_adapter(), verify=mode, **few) as made:
            found = evaluate_in_python(made, STATEMENTS, checks=False)
            assert made.verify == (mode or "quote")
        texts.append([one.prediction for one in found.predictions])
        assert found.metadata.get("verify", {}).get("mode") == (None if mode else "flag")
    assert texts[0] == texts[1]


def test_compare_shows_the_paired_difference_of_runs_that_one_model_verified(runs, tmp_path):
    folder, _ = runs
    done = rolesum("compare", folder / "plain", folder / "sampled", "--out", tmp_path / "out")
    assert "no doubtful statement, %" in output(done)
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))["rows"]
    support = {row["role"]: row for row in rows if row["scorer"] == "support"}
    assert list(support) == ["all roles", "overall", "user", "agent"]
    whole = support["all roles"]
    for name, value in (("plain", whole["value_a"]), ("sampled", whole["value_b"])):
        results = json.loads((folder / name / "results.json").read_text(encoding="utf-8"))
        assert value == pytest.approx(100 * results["support"]["total"]["share"], abs=0.01)
    assert whole["low"] <= whole["difference"] <= whole["high"] and whole["pairs"] == 5
    assert whole["p_bootstrap"] is None and whole["p_randomization"] > 0
    assert {"wins", "ties", "losses"} <= support["user"].keys() and support["user"]["wins"] is not None


def test_compare_leaves_out_what_different_thresholds_or_models_decided(runs, tmp_path):
    folder, _ = runs
    other = shutil.copytree(folder / "plain", tmp_path / "other")
    results = json.loads((other / "results.json").read_text(encoding="utf-8"))
    results["verify"]["adapter"] = "another"
    (other / "results.json").write_text(json.dumps(results), encoding="utf-8")
    for second in (folder / "strict", other):
        done = rolesum("compare", folder / "plain", second)
        assert "no doubtful statement" not in output(done) and "not verified by one model" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--engine", "lead-1", "--data", STATEMENTS, "--verify", "flag"), "leave out --verify"),
        (("--predictions", "x.jsonl", "--support-threshold", 0.3), "leave out --verify"),
        (("--labels", STATEMENTS, "--verify", "off"), "leave out --verify"),
        (("--model", "smollm2-135m", "--data", STATEMENTS, "--verify", "drop"), "trained to verify statements"),
    ],
)
def test_what_cannot_be_verified_is_refused(arguments, told):
    done = rolesum("evaluate", *arguments)
    assert done.returncode == 2 and told in done.stderr
