"""rolesum evaluate --labels, as a user calls it."""

import json

import pytest

from helpers.command import rolesum
from helpers.small_runs import trained
from helpers.tiny import model_dir
from helpers.verify_runs import STATEMENTS, verify_recipe
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.evaluation.detection.run import DetectionTask, evaluate_labels
from rolesum.formats import ReadOptions
from rolesum.generation.factory import EngineSpec

TEST, VALIDATION = "sample:dialogues-en-test", "sample:dialogues-en-validation"
CHAT = "Ann: Where is parcel 12?\nBen: It comes on Monday."


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("verify") / "run", verify_recipe()).adapter


def written(tmp_path, *rows):
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def row(place, error, **others):
    dialogue = f"{CHAT}\nAnn: Thanks, that is {place} days."
    return {"id": f"r{place}", "dialogue": dialogue, "summary": "It comes on Monday.", "error": error, **others}


def by_name(record):
    return {one["detector"]: one for one in record["detectors"]}


def test_the_checks_alone_need_no_model_and_the_record_says_how_it_was_made(tmp_path):
    done = rolesum(
        *("evaluate", "--labels", TEST, "--labels-validation", VALIDATION, "--json", "--out", tmp_path / "out")
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record == json.loads((tmp_path / "out" / "detection.json").read_text(encoding="utf-8"))
    assert list(by_name(record)) == ["checks, any flag", "checks, number of flags", "checks, no evidence"]
    assert (record["summaries"], record["dialogues"], record["errors"]) == (390, 65, 195)
    assert record["thresholds"] == "fitted on validation" and record["fitted_on"] == 258
    assert record["command"].startswith("rolesum evaluate --labels") and record["rolesum"]
    assert len(record["labels_sha256"]) == len(record["validation_sha256"]) == 64
    for one in record["detectors"]:
        low, high = one["auroc"]["interval"]
        assert low <= one["auroc"]["value"] <= high
        assert sum(kind["summaries"] for kind in one["kinds"].values()) == 195


def test_each_measured_summary_is_written_with_its_scores(tmp_path):
    task = DetectionTask(TEST, VALIDATION, read_options=ReadOptions(limit=3), out=tmp_path / "out")
    done = evaluate_labels(task)
    lines = [json.loads(line) for line in (tmp_path / "out" / "detection.jsonl").read_text().splitlines()]
    assert len(lines) == done.metadata["summaries"] == 18
    assert lines[0]["id"] == "en-0005#1" and lines[0]["scores"].keys() == by_name(done.as_json()).keys()
    assert sum(line["error"] for line in lines) == done.metadata["errors"]


def test_the_table_shows_figures_with_intervals_and_says_where_thresholds_come_from():
    done = rolesum("evaluate", "--labels", TEST)
    assert done.returncode == 0, done.stderr
    assert "390 summaries of 65 dialogues, 195 with an error" in done.stdout
    assert "0.50–0.53" in done.stdout and "recall by kind of error" in done.stdout and "negation" in done.stdout
    assert "thresholds cross-fitted: in each half of the dialogues, the threshold is that of the other" in done.stdout
    few = rolesum("evaluate", "--labels", TEST, "--limit", 6)
    assert "intervals over 6 dialogues are unreliable: use 30 or more" in few.stdout


def test_a_model_is_asked_and_its_log_probabilities_are_taken(adapter):
    spec = EngineSpec(adapter=adapter, dtype="float32", device="cpu")
    record = evaluate_labels(DetectionTask(str(STATEMENTS), spec=spec)).as_json()
    assert list(by_name(record))[3:] == [
        "verify, lowest support",
        "verify, mean support",
        "log-probability, mean",
        "log-probability, lowest",
    ]
    model = record["model"]
    assert model["verify"] == {"trained": True, "temperature": 1.0}
    assert model["torch"] and model["transformers"] and model["dtype"] == "float32"
    assert len(model["fingerprint"]["weights"]) == 64
    assert len(by_name(record)["verify, lowest support"]["thresholds"]) == 2


def test_a_model_whose_answers_are_no_tokens_leaves_verify_out_and_says_so():
    done = rolesum("evaluate", "--labels", STATEMENTS, "--model", model_dir("llama"), "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "verify is left out: a statement cannot be verified" in done.stdout
    assert "log-probability, mean" in done.stdout and "verify, lowest support" not in done.stdout


def test_the_column_split_says_what_thresholds_are_fitted_on(tmp_path):
    rows = [row(place, place % 2, split="dev" if place < 6 else "test") for place in range(14)]
    done = evaluate_labels(DetectionTask(written(tmp_path, *rows)))
    assert (done.metadata["summaries"], done.metadata["fitted_on"]) == (8, 6)
    with pytest.raises(UsageError, match="a split of their own"):
        evaluate_labels(DetectionTask(written(tmp_path, *rows), VALIDATION))


def test_only_summaries_for_the_roles_asked_for_are_measured():
    done = evaluate_labels(DetectionTask(TEST, roles=("user",)))
    assert {one.role for one in done.labels.summaries} == {"user"} and 0 < done.metadata["summaries"] < 390


def test_labels_on_which_nothing_can_be_measured_are_refused(tmp_path):
    with pytest.raises(DataError, match="all 3 summaries have an error: there is nothing to tell apart"):
        evaluate_labels(DetectionTask(written(tmp_path, *(row(place, 1) for place in range(3)))))
    rows = [row(place, place < 3 or place % 2, split="test" if place >= 3 else "validation") for place in range(9)]
    with pytest.raises(DataError, match=r"split validation: all 3 summaries have an error"):
        evaluate_labels(DetectionTask(written(tmp_path, *rows)))
    with pytest.raises(DataError, match="validation and test have 65 dialogues in common"):
        evaluate_labels(DetectionTask(TEST, TEST))


def test_a_language_that_the_model_does_not_read_is_refused_before_it_is_loaded(tmp_path):
    spec = EngineSpec(model="smollm2-135m")
    with pytest.raises(ModelError, match="does not read Chinese, the language of 62 dialogues"):
        evaluate_labels(DetectionTask("sample:dialogues-zh-test", spec=spec))
    rows = [row(place, place % 2) for place in range(4)]
    labels = written(tmp_path, *rows, row(4, 1, summary="包裹星期一到。"))
    with pytest.raises(ModelError, match="does not read Chinese, the language of 1 summary") as caught:
        evaluate_labels(DetectionTask(labels, spec=spec))
    assert f"{labels}:5, dialogue r4" in str(caught.value)


def test_a_role_that_no_speaker_plays_is_refused_before_the_model_is_loaded(tmp_path):
    labels = written(tmp_path, *(row(place, place % 2, role="user") for place in range(4)))
    with pytest.raises(DataError, match="no speaker plays user"):
        evaluate_labels(DetectionTask(labels, spec=EngineSpec(model="smollm2-135m")))
    assert evaluate_labels(DetectionTask(labels)).metadata["summaries"] == 4  # the checks need no speaker


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--labels", TEST, "--data", TEST), "--data and --labels do not go together"),
        (("--labels", TEST, "--engine", "lead-3"), "--engine and --labels do not go together"),
        (("--labels", TEST, "--predictions", "x"), "--predictions and --labels do not go together"),
        (("--labels", TEST, "--no-checks"), "--no-checks and --labels do not go together"),
        (("--labels-validation", TEST), "--labels-validation without --labels"),
    ],
)
def test_options_that_do_not_go_with_labels_are_refused(options, what):
    done = rolesum("evaluate", *options)
    assert done.returncode == 2 and what in done.stderr


def test_the_checks_on_faceval_are_no_better_than_chance(shared):
    path = shared / "data" / "faithfulness" / "faceval.jsonl"
    if not path.is_file():
        pytest.skip("FacEval is absent")
    record = evaluate_labels(DetectionTask(str(path))).as_json()
    assert (record["summaries"], record["dialogues"], record["errors"]) == (750, 150, 294)
    found = by_name(record)
    for name in ("checks, any flag", "checks, no evidence"):
        low, high = found[name]["auroc"]["interval"]
        assert low < 0.5 < high
