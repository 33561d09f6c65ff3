"""The evaluations of a run: when, the best adapter by them, stopping early, ROUGE on the way."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some
from transformers import TrainerControl, TrainerState

from helpers.small_runs import (
    HELD_OUT,
    STEPS_PER_EPOCH,
    TRAIN,
    cut_at,
    evaluations,
    last,
    loss_of,
    raw_recipe,
    recipe,
    same,
    trained,
    weights,
)
from helpers.tiny import short_dialogues
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.evaluate import evaluate
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model
from rolesum.recipe_loading import parse_recipe
from rolesum.roles import DEFAULT_ROLES
from rolesum.training import Run, callbacks, result
from rolesum.training.metrics_file import read_metrics
from rolesum.training.validation import ValidationRouge

# When to evaluate


@given(some.integers(1, 400), some.integers(1, 60))
def test_evaluations_are_spread_evenly_and_the_last_is_after_the_last_step(steps, count):
    count = min(count, steps)
    watcher, asked = callbacks.EvaluateEvenly(steps, count), []
    for step in range(1, steps + 1):
        control = TrainerControl()
        watcher.on_step_end(None, TrainerState(global_step=step), control)
        if control.should_evaluate:
            asked.append(step)
    assert len(asked) == count and asked[-1] == steps
    gaps = [after - before for before, after in zip([0, *asked], asked, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_processes_whose_clocks_differ_save_no_more_often_than_one(monkeypatch):
    """Five minutes apart, of steps that take a second; one began 0.4 seconds after the other."""
    now = 0.0
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now)
    clocks, saves = [callbacks.SaveByClock(5)], []
    now = 0.4
    clocks.append(callbacks.SaveByClock(5))
    for step in range(1, 3601):
        now = 0.4 + step
        controls = [TrainerControl() for _ in clocks]
        state = TrainerState(global_step=step, max_steps=10_000)
        for clock, control in zip(clocks, controls, strict=True):
            clock.on_step_end(None, state, control)
        if any(control.should_save for control in controls):
            saves.append(step)
            now += 3
            for clock, control in zip(clocks, controls, strict=True):
                clock.on_save(None, state, control)
    assert len(saves) > 10 and all(after - before >= 300 for before, after in pairwise(saves))


@pytest.mark.parametrize(
    ("per_epoch", "steps"), [(1, [3, 6]), (2, [2, 3, 4, 6]), (50, [1, 2, 3, 4, 5, 6])], ids=["one", "two", "many"]
)
def test_a_run_evaluates_as_often_in_an_epoch_as_the_recipe_says(per_epoch, steps, tmp_path):
    chosen = recipe(validation={"per_epoch": per_epoch}, training={"epochs": 2})
    run = trained(tmp_path / "run", chosen)
    assert list(evaluations(run)) == steps
    assert evaluations(run)[6] == pytest.approx(
        loss_of(load_model(adapter=run.adapter, dtype="float32", device="cpu")), rel=2e-5
    )


# The best adapter, by loss


RISING = {
    "data": {"train": {"path": str(TRAIN)}, "validation": {"path": str(short_dialogues("zh-test", 3, 1))}},
    "training": {"epochs": 4, "learning_rate": 0.1, "schedule": "constant", "warmup": 0.0},
}


def rising(**validation):
    """Steps too large, looked at after each: the validation loss goes up and down."""
    raw = raw_recipe(validation={"per_epoch": STEPS_PER_EPOCH, **validation})
    return parse_recipe({**raw, "data": RISING["data"], "training": {**raw["training"], **RISING["training"]}}, "test")


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """The validation losses by step of the whole run."""
    found = evaluations(trained(tmp_path_factory.mktemp("rising") / "run", rising()))
    assert list(found) == list(range(1, 13))
    return found


def test_keep_best_ends_with_the_adapter_of_the_lowest_validation_loss(losses, tmp_path):
    best = min(losses, key=losses.__getitem__)
    assert best < 12 and losses[best] < losses[12] - 0.01
    run = trained(tmp_path / "run", rising(keep="best"))
    assert evaluations(run) == losses
    loss = loss_of(load_model(adapter=run.adapter, dtype="float32", device="cpu"), short_dialogues("zh-test", 3, 1))
    assert loss == pytest.approx(losses[best], rel=2e-5)
    assert {path.name for path in run.path.iterdir()} == {"adapter", "recipe.yaml", "metrics.jsonl", "environment.json"}


def test_patience_stops_after_so_many_evaluations_without_a_new_best_and_says_so(losses, tmp_path, capsys):
    best, stop = 1, None
    for step, loss in losses.items():
        best = step if loss < losses[best] else best
        if step - best == 2:
            stop = step
            break
    assert stop is not None and stop < 12
    run = trained(tmp_path / "run", rising(patience=2))
    assert list(evaluations(run)) == list(range(1, stop + 1))
    said = capsys.readouterr().err
    assert f"no better eval_loss in 2 evaluations: stopping, the best was {losses[best]:.4g}" in said
    loss = loss_of(load_model(adapter=run.adapter, dtype="float32", device="cpu"), short_dialogues("zh-test", 3, 1))
    assert loss == pytest.approx(losses[stop], rel=2e-5)  # keep: last
    assert not run.checkpoints.exists()


@pytest.mark.slow
def test_a_run_that_patience_ended_and_that_failed_to_write_its_adapter_ends_there_again(tmp_path, monkeypatch):
    """Though a checkpoint is written after every step."""
    chosen = rising(patience=2)
    chosen = chosen.model_copy(update={"training": chosen.training.model_copy(update={"save_minutes": 1e-6})})
    whole = trained(tmp_path / "whole", chosen)
    with monkeypatch.context() as patched:
        patched.setattr(result, "save_adapter", lambda *_, **__: pytest.fail("gone"))
        with pytest.raises(pytest.fail.Exception, match="gone"):
            trained(tmp_path / "run", chosen)
    run = trained(tmp_path / "run", chosen, resume=True)
    assert read_metrics(run.metrics) == read_metrics(whole.metrics)
    assert same(weights(run), weights(whole))


# The best adapter, by ROUGE; what it is, the test decides


def script_rouge(monkeypatch, *values):
    """Lets the evaluations to come give these values as ROUGE, one each."""
    coming = iter(values)

    def compute(self):
        value = next(coming)
        return {"rouge1": 1 - value, "rouge2": 0.5, "rougeL": value}

    monkeypatch.setattr(ValidationRouge, "compute", compute)


def by_rouge(**validation):
    return recipe(
        validation={"per_epoch": 3, "summaries": 1, "best_by": "rouge", **validation},
        training={"epochs": 2},
        lora={"dropout": 0.1},
    )


SCRIPT = (0.1, 0.9, 0.3, 0.2, 0.8, 0.4)  # the best is after step 2


@pytest.fixture
def after_two_steps(tmp_path, monkeypatch):
    """The adapter as it is after step 2."""
    script_rouge(monkeypatch, *SCRIPT)
    return cut_at(2, tmp_path / "cut", by_rouge(keep="best"), monkeypatch)[1]


def test_best_by_rouge_keeps_the_adapter_with_the_highest_rouge_l(after_two_steps, tmp_path, monkeypatch):
    script_rouge(monkeypatch, *SCRIPT)
    run = trained(tmp_path / "run", by_rouge(keep="best"))
    assert evaluations(run, "eval_rougeL") == dict(enumerate(SCRIPT, 1))
    assert same(weights(run), after_two_steps)
    script_rouge(monkeypatch, *SCRIPT)
    other = trained(tmp_path / "last", by_rouge(keep="last"))
    assert not same(weights(other), after_two_steps)


def test_the_best_of_a_tie_is_the_earlier(after_two_steps, tmp_path, monkeypatch):
    script_rouge(monkeypatch, 0.1, 0.9, 0.9, 0.2, 0.9, 0.4)
    run = trained(tmp_path / "run", by_rouge(keep="best"))
    assert same(weights(run), after_two_steps)


def test_with_patience_the_best_is_kept_and_the_run_is_finished(after_two_steps, tmp_path, monkeypatch, capsys):
    script_rouge(monkeypatch, *SCRIPT)
    run = trained(tmp_path / "run", by_rouge(keep="best", patience=2))
    assert list(evaluations(run, "eval_rougeL")) == [1, 2, 3, 4]
    assert "no better eval_rougeL in 2 evaluations: stopping, the best was 0.9" in capsys.readouterr().err
    assert same(weights(run), after_two_steps)
    with pytest.raises(UsageError, match="is finished already"):
        script_rouge(monkeypatch)
        trained(run.path, by_rouge(keep="best", patience=2), resume=True)


@pytest.mark.parametrize("cut", [2, 3])
@pytest.mark.parametrize(("patience", "seen"), [(0, 6), (2, 4)], ids=["to the end", "with patience"])
def test_a_resumed_run_remembers_the_best_and_how_long_ago_it_was(
    cut, patience, seen, after_two_steps, tmp_path, monkeypatch
):
    chosen = by_rouge(keep="best", patience=patience)
    script_rouge(monkeypatch, *SCRIPT)
    run, _ = cut_at(cut, tmp_path / "run", chosen, monkeypatch)
    script_rouge(monkeypatch, *SCRIPT[cut:])
    trained(run.path, chosen, resume=True)
    assert evaluations(run, "eval_rougeL") == dict(enumerate(SCRIPT[:seen], 1))
    assert same(weights(run), after_two_steps)


# Summaries on the way


@pytest.mark.slow
def test_summaries_on_the_way_are_those_of_the_adapter_that_comes_of_it(tmp_path, monkeypatch):
    """Of the first N validation dialogues; the last evaluation's are what the loaded adapter writes."""
    chosen = recipe(validation={"summaries": 2}, training={"epochs": 2, "learning_rate": 0.05}, lora={"dropout": 0.1})
    written = []

    def write(loaded, dialogues):
        engine = TransformersEngine(loaded)
        prompts = [engine.layout.prompt(one, DEFAULT_ROLES) for one in dialogues]
        written.append([one.text for row in engine.generate(prompts, Decoding(max_new_tokens=12)) for one in row])
        assert [one.id for one in dialogues] == [one.id for one in read_dialogues(HELD_OUT)[:2]]

    def compute(self):
        self.loaded.model.eval()
        write(self.loaded, self.dialogues)
        return {"rougeL": 0.25}

    with monkeypatch.context() as patched:
        patched.setattr(ValidationRouge, "compute", compute)
        run = trained(tmp_path / "run", chosen)
    assert evaluations(run, "eval_rougeL") == {3: 0.25, 6: 0.25}
    loaded = load_model(adapter=run.adapter, dtype="float32", device="cpu")
    write(loaded, read_dialogues(HELD_OUT)[:2])
    assert len(written) == 3 and len(written[-1]) == 6 and len(set(written[-1])) > 1
    assert written[-2] == written[-1] != written[0]

    plain = recipe(training={"epochs": 2, "learning_rate": 0.05}, lora={"dropout": 0.1})
    assert same(weights(trained(tmp_path / "plain", plain)), weights(run))  # looking changes nothing


def test_summaries_log_rouge_over_all_roles_and_for_each(tmp_path):
    chosen = recipe(validation={"summaries": 1, "max_new_tokens": 8})
    run = trained(tmp_path / "run", chosen)
    row = next(row for row in read_metrics(run.metrics) if "eval_loss" in row)
    measures = ("rouge1", "rouge2", "rougeL")
    assert {name for name in row if "rouge" in name} == {
        f"eval_{measure}{role}" for measure in measures for role in ("", "_overall", "_user", "_agent")
    }
    loaded = load_model(adapter=run.adapter, dtype="float32", device="cpu")
    again = ValidationRouge(chosen, loaded, read_dialogues(HELD_OUT)).compute()
    for measure in measures:
        by_role = [row[f"eval_{measure}_{role}"] for role in DEFAULT_ROLES]
        assert row[f"eval_{measure}"] == pytest.approx(sum(by_role) / 3, abs=1e-5)
    for name, value in again.items():
        assert row[f"eval_{name}"] == pytest.approx(value, abs=1e-5)


def test_chinese_summaries_log_the_rouge_l_of_their_scorer(tmp_path):
    raw = raw_recipe(validation={"summaries": 1, "max_new_tokens": 8})
    raw["data"] = {
        "train": {"path": str(short_dialogues("zh-train", 3, 1))},
        "validation": {"path": str(short_dialogues("zh-test", 1, 2))},
    }
    chosen = parse_recipe(raw, "test")
    run = trained(tmp_path / "run", chosen)
    logged = last({row["step"]: row["eval_rougeL_user"] for row in read_metrics(run.metrics) if "eval_loss" in row})
    loaded = load_model(adapter=run.adapter, dtype="float32", device="cpu")
    held_out = read_dialogues(chosen.data.validation.path)
    done = evaluate(TransformersEngine(loaded), held_out, roles=["user"], decoding=Decoding(max_new_tokens=8))
    assert done.scores["user"].scorer == "csds"
    assert logged == pytest.approx(done.scores["user"].means["rougeLsum"], abs=1e-5)


def test_summaries_that_cannot_be_written_are_refused_before_the_first_step(tmp_path):
    chosen = recipe(validation={"summaries": 2, "max_new_tokens": 2040})
    with pytest.raises(DataError, match="no validation dialogue fits the model with a summary"):
        trained(tmp_path / "run", chosen)
    assert not (tmp_path / "run").exists()


def test_validation_rouge_is_not_computed_unless_the_recipe_asks_for_it(tmp_path):
    chosen = recipe(data={"train": {"path": str(TRAIN)}, "validation": {"path": str(one_sided(tmp_path))}})
    assert trained(tmp_path / "run", chosen).adapter.is_dir()


def one_sided(folder):
    """A dialogue in which nobody plays the agent, for whom it has a summary all the same."""
    return short_dialogues("en-test", 1, 1)


def too_long(folder):
    """A dialogue that fits the model only without its middle."""
    one = json.loads(short_dialogues("en-test", 1, 3).read_text())
    path = folder / "long.jsonl"
    path.write_text(json.dumps({**one, "turns": one["turns"] * 60}))
    return path


@pytest.mark.parametrize("made", [one_sided, too_long], ids=["no speaker for a role", "too long without drop-middle"])
def test_a_validation_dialogue_that_cannot_be_summarized_does_not_end_a_run_that_has_begun(made, tmp_path):
    chosen = recipe(
        data={"train": {"path": str(TRAIN)}, "validation": {"path": str(made(tmp_path))}},
        validation={"summaries": 1, "max_new_tokens": 4},
        training={"long_dialogues": "drop-middle", "tokens_per_batch": 2048},
    )
    try:
        run = trained(tmp_path / "run", chosen)
    except DataError:
        assert not read_metrics(Run(tmp_path / "run").metrics)
    else:
        assert evaluations(run, "eval_rougeL")
