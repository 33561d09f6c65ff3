"""evaluate without a model, compare and judge, as a user calls them."""

import json

import pytest

from helpers.command import rolesum
from rolesum.evaluation.report.precision import rounded


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for engine in ("lead-2", "oracle"):
        done = rolesum(
            *("evaluate", "--engine", engine, "--data", "sample:zh-test", "--limit", 6, "--out", folder / engine)
        )
        assert done.returncode == 0, done.stderr
        assert "scorer csds v2" in done.stdout
        assert "repeated 4-grams" in done.stdout
        assert "report.html" in done.stdout
    return folder


def test_results_say_how_they_were_made(runs):
    results = json.loads((runs / "oracle" / "results.json").read_text(encoding="utf-8"))
    assert (results["system"], results["data"], results["limit"]) == ("oracle", "sample:zh-test", 6)
    assert results["command"].startswith("rolesum evaluate --engine oracle --data sample:zh-test")
    assert len(results["data_sha256"]) == 64
    assert "max_new_tokens" not in results


def test_compare_prints_a_table_and_the_same_as_json(runs, tmp_path):
    done = rolesum("compare", runs / "lead-2", runs / "oracle", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "A = lead-2, B = oracle" in done.stdout
    rows = json.loads(rolesum("compare", runs / "lead-2", runs / "oracle", "--json").stdout)["rows"]
    assert rows == json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))["rows"]
    (row,) = [row for row in rows if (row["role"], row["measure"]) == ("user", "rouge1")]
    assert row["value_b"] - row["value_a"] == pytest.approx(row["difference"], abs=1e-4)
    assert rounded(row["value_b"], row["pairs"]) in done.stdout


def test_outputs_of_ones_own_are_scored_as_the_engines_were(runs):
    written = runs / "oracle" / "predictions.jsonl"
    alone = rolesum("evaluate", "--predictions", written, "--json")
    beside = rolesum("evaluate", "--predictions", written, "--data", "sample:zh-test", "--limit", 6, "--json")
    before = json.loads((runs / "oracle" / "results.json").read_text(encoding="utf-8"))["roles"]
    for done in (alone, beside):
        roles = json.loads(done.stdout)["roles"]
        assert {role: of["means"] for role, of in roles.items()} == {role: of["means"] for role, of in before.items()}
    assert json.loads(beside.stdout)["roles"]["user"]["checks"] == before["user"]["checks"]


def test_judgments_that_nobody_gave_are_no_results(runs, tmp_path):
    done = rolesum("annotate", runs / "lead-2", runs / "oracle", "--results", "--store", tmp_path / "none.sqlite")
    assert done.returncode == 2
    assert "name the judgments with --store" in done.stderr
    assert not (tmp_path / "none.sqlite").exists()
