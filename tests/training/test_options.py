"""What a recipe may ask of a run beside the plain one: stopping, the best adapter, other methods, other reports."""

import json

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as some
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerControl, TrainerState
from transformers.models.llama.modeling_llama import LlamaAttention

from rolesum.dialogue import bundle_of
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.validation import rouge
from rolesum.formats import read_dialogues
from rolesum.generation.transformers_engine import TransformersEngine
from rolesum.instructions import instruction_set
from rolesum.metrics import read_metrics
from rolesum.models.loading import load_model, load_text_side, load_weights
from rolesum.recipe import load_recipe, parse_recipe
from rolesum.roles import BUILT_IN
from rolesum.training import Interrupted, Run, callbacks, finetune, train
from rolesum.training.data import read_training_data
from rolesum.training.encode import encode_bundles
from rolesum.training.trainable import trainable
from tiny import model_dir, short_dialogues

TRAIN, HELD_OUT = short_dialogues("en-train", 5, 1), short_dialogues("en-test", 3, 2)
STEPS_PER_EPOCH = 3  # of TRAIN at 1,100 tokens a batch


def raw_recipe(validation=None, training=None, lora=None, **others):
    return {
        "name": "tiny",
        "base": str(model_dir("llama")),
        "dtype": "float32",
        "data": {"train": {"path": str(TRAIN)}, "validation": {"path": str(HELD_OUT)}},
        "lora": {"rank": 4, "alpha": 8, **(lora or {})},
        "training": {"tokens_per_batch": 1100, "learning_rate": 0.01, "log_steps": 1, **(training or {})},
        "validation": {"per_epoch": 1, **(validation or {})},
        **others,
    }


def recipe(**sections):
    return parse_recipe(raw_recipe(**sections), "test")


def trained(folder, chosen, **options):
    return train(chosen, folder, device="cpu", **options)


def weights(run):
    return load_file(run.adapter / "adapter_model.safetensors")


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def evaluations(run, metric="eval_loss"):
    """Step -> what was measured there."""
    return {row["step"]: row[metric] for row in read_metrics(run.metrics) if metric in row}


def last(measured):
    return measured[max(measured)]


def loss_of(loaded, file=HELD_OUT, roles=BUILT_IN):
    """The mean loss per target token by the library's own labels and loss, one example at a time."""
    bundles = [bundle_of(dialogue, roles) for dialogue in read_dialogues(file)]
    encoded = encode_bundles(bundles, loaded.layout(), loaded.encoder, max_length=2048).bundles
    total, tokens = 0.0, 0
    for bundle in encoded:
        for branch in bundle.branches:
            ids = torch.tensor([[*bundle.prefix, *branch.ids]])
            labels = ids.clone()
            labels[0, : ids.shape[1] - branch.targets] = -100
            with torch.no_grad():
                total += loaded.model(input_ids=ids, labels=labels).loss.item() * branch.targets
            tokens += branch.targets
    return total / tokens


def stop_at(monkeypatch, step):
    """A run with a deadline stops after this step, whatever the clock says."""

    def on_step_end(self, args, state, control, **_):
        if state.global_step == step:
            control.should_save = control.should_training_stop = True

    monkeypatch.setattr(callbacks.StopAfter, "on_step_end", on_step_end)


def cut_at(step, folder, chosen, monkeypatch, **options):
    """A run that was stopped after this step, and the weights of its checkpoint."""
    with monkeypatch.context() as patched:
        stop_at(patched, step)
        with pytest.raises(Interrupted, match=f"stopped at step {step} "):
            trained(folder, chosen, max_minutes=1000, **options)
    return Run(folder), load_file(folder / "checkpoints" / f"checkpoint-{step}" / "adapter_model.safetensors")


# Stopping


@pytest.mark.parametrize("minutes", [1e-6, 0])
def test_after_max_minutes_the_run_stops_after_a_step_with_a_checkpoint(minutes, tmp_path):
    with pytest.raises(Interrupted, match="stopped at step 1 of 3; a checkpoint was written") as caught:
        trained(tmp_path / "run", recipe(), max_minutes=minutes)
    assert "--resume" in str(caught.value)
    run = Run(tmp_path / "run")
    assert run.last_checkpoint() == run.checkpoints / "checkpoint-1"
    assert not run.adapter.exists()


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
        patched.setattr(finetune, "save_adapter", lambda *_, **__: pytest.fail("gone"))
        with pytest.raises(pytest.fail.Exception, match="gone"):
            trained(tmp_path / "run", chosen)
    run = trained(tmp_path / "run", chosen, resume=True)
    assert read_metrics(run.metrics) == read_metrics(whole.metrics)
    assert same(weights(run), weights(whole))


# The best adapter, by ROUGE; what it is, the test decides


def scripted(*values):
    """ROUGE by script, one value an evaluation."""
    coming = iter(values)

    def score(loaded, dialogues):
        value = next(coming)
        return {"rouge1": 1 - value, "rouge2": 0.5, "rougeL": value}

    return score


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
    return cut_at(2, tmp_path / "cut", by_rouge(keep="best"), monkeypatch, rouge=scripted(*SCRIPT))[1]


def test_best_by_rouge_keeps_the_adapter_with_the_highest_rouge_l(after_two_steps, tmp_path):
    run = trained(tmp_path / "run", by_rouge(keep="best"), rouge=scripted(*SCRIPT))
    assert evaluations(run, "eval_rougeL") == dict(enumerate(SCRIPT, 1))
    assert same(weights(run), after_two_steps)
    other = trained(tmp_path / "last", by_rouge(keep="last"), rouge=scripted(*SCRIPT))
    assert not same(weights(other), after_two_steps)


def test_the_best_of_a_tie_is_the_earlier(after_two_steps, tmp_path):
    run = trained(tmp_path / "run", by_rouge(keep="best"), rouge=scripted(0.1, 0.9, 0.9, 0.2, 0.9, 0.4))
    assert same(weights(run), after_two_steps)


def test_with_patience_the_best_is_kept_and_the_run_is_finished(after_two_steps, tmp_path, capsys):
    run = trained(tmp_path / "run", by_rouge(keep="best", patience=2), rouge=scripted(*SCRIPT))
    assert list(evaluations(run, "eval_rougeL")) == [1, 2, 3, 4]
    assert "no better eval_rougeL in 2 evaluations: stopping, the best was 0.9" in capsys.readouterr().err
    assert same(weights(run), after_two_steps)
    with pytest.raises(UsageError, match="is finished already"):
        trained(run.path, by_rouge(keep="best", patience=2), resume=True, rouge=scripted())


@pytest.mark.parametrize("cut", [2, 3])
@pytest.mark.parametrize(("patience", "seen"), [(0, 6), (2, 4)], ids=["to the end", "with patience"])
def test_a_resumed_run_remembers_the_best_and_how_long_ago_it_was(
    cut, patience, seen, after_two_steps, tmp_path, monkeypatch
):
    chosen = by_rouge(keep="best", patience=patience)
    run, _ = cut_at(cut, tmp_path / "run", chosen, monkeypatch, rouge=scripted(*SCRIPT))
    trained(run.path, chosen, resume=True, rouge=scripted(*SCRIPT[cut:]))
    assert evaluations(run, "eval_rougeL") == dict(enumerate(SCRIPT[:seen], 1))
    assert same(weights(run), after_two_steps)


# Summaries on the way


@pytest.mark.slow
def test_summaries_on_the_way_are_those_of_the_adapter_that_comes_of_it(tmp_path):
    """Of the first N validation dialogues; the last evaluation's are what the loaded adapter writes."""
    chosen = recipe(validation={"summaries": 2}, training={"epochs": 2, "learning_rate": 0.05}, lora={"dropout": 0.1})
    written = []

    def write(loaded, dialogues):
        engine = TransformersEngine(loaded)
        prompts = [engine.layout.prompt(one, BUILT_IN) for one in dialogues]
        written.append([one.text for row in engine.generate(prompts, 12) for one in row])
        assert [one.id for one in dialogues] == [one.id for one in read_dialogues(HELD_OUT)[:2]]
        return {"rougeL": 0.25}

    run = trained(tmp_path / "run", chosen, rouge=write)
    assert evaluations(run, "eval_rougeL") == {3: 0.25, 6: 0.25}
    loaded = load_model(adapter=run.adapter, dtype="float32", device="cpu")
    write(loaded, read_dialogues(HELD_OUT)[:2])
    assert len(written) == 3 and len(written[-1]) == 6 and len(set(written[-1])) > 1
    assert written[-2] == written[-1] != written[0]

    plain = recipe(training={"epochs": 2, "learning_rate": 0.05}, lora={"dropout": 0.1})
    assert same(weights(trained(tmp_path / "plain", plain)), weights(run))  # looking changes nothing


def test_summaries_log_rouge_over_all_roles_and_for_each(tmp_path):
    chosen = recipe(validation={"summaries": 1, "max_new_tokens": 8})
    run = trained(tmp_path / "run", chosen, rouge=rouge(chosen))
    row = next(row for row in read_metrics(run.metrics) if "eval_loss" in row)
    measures = ("rouge1", "rouge2", "rougeL")
    assert {name for name in row if "rouge" in name} == {
        f"eval_{measure}{role}" for measure in measures for role in ("", "_overall", "_user", "_agent")
    }
    again = rouge(chosen)(load_model(adapter=run.adapter, dtype="float32", device="cpu"), read_dialogues(HELD_OUT)[:1])
    for measure in measures:
        by_role = [row[f"eval_{measure}_{role}"] for role in BUILT_IN]
        assert row[f"eval_{measure}"] == pytest.approx(sum(by_role) / 3, abs=1e-5)
    for name, value in again.items():
        assert row[f"eval_{name}"] == pytest.approx(value, abs=1e-5)


def test_summaries_without_a_way_to_score_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="summaries needs a way to score") as caught:
        trained(tmp_path / "run", recipe(validation={"summaries": 1}))
    assert "rolesum.evaluation.validation.rouge" in str(caught.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


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
def test_a_validation_dialogue_that_cannot_be_summarised_does_not_end_a_run_that_has_begun(made, tmp_path):
    chosen = recipe(
        data={"train": {"path": str(TRAIN)}, "validation": {"path": str(made(tmp_path))}},
        validation={"summaries": 1, "max_new_tokens": 4},
        training={"on_long": "drop-middle", "tokens_per_batch": 2048},
    )
    try:
        run = trained(tmp_path / "run", chosen, rouge=rouge(chosen))
    except DataError:
        assert not read_metrics(Run(tmp_path / "run").metrics)
    else:
        assert evaluations(run, "eval_rougeL")


# All weights

TWO = ("user", "overall")


def full_recipe(kind="llama", **others):
    training = {"epochs": 3, "learning_rate": 3e-3}
    return recipe(base=str(model_dir(kind)), method="full", training=training, roles=list(TWO), **others)


@pytest.mark.parametrize("kind", ["llama", "tied-llama", "bloom"])
def test_method_full_trains_all_weights_and_leaves_a_model_that_both_libraries_load(kind, tmp_path):
    run = trained(tmp_path / "run", full_recipe(kind))
    assert {path.name for path in run.path.iterdir()} == {"model", "recipe.yaml", "metrics.jsonl", "environment.json"}
    before, after = (
        load_model(model_dir(kind), dtype="float32", device="cpu"),
        load_model(run.model, dtype="float32", device="cpu"),
    )
    assert loss_of(after, roles=TWO) < loss_of(before, roles=TWO) - 0.1
    assert loss_of(after, roles=TWO) == pytest.approx(last(evaluations(run)), rel=2e-5)
    library, old = AutoModelForCausalLM.from_pretrained(run.model).state_dict(), before.model.state_dict()
    assert library.keys() == old.keys()
    for name, tensor in after.model.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(library[name], tensor), name
        assert not torch.equal(tensor, old[name]), name


def test_a_tuned_models_note_knows_roles_and_instructions_and_its_prompts_are_those_it_was_trained_with(tmp_path):
    own = instruction_set("en").model_dump() | {"name": "own", "turn": "{speaker} says {text}"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    run = trained(tmp_path / "run", full_recipe(instructions=str(tmp_path / "own.yaml"), language="en"))
    note = json.loads((run.model / "rolesum.json").read_text())
    assert note["roles"] == list(TWO) and note["instructions"]["turn"] == "{speaker} says {text}"
    loaded, dialogue = load_model(run.model, dtype="float32", device="cpu"), read_dialogues(HELD_OUT)[0]
    assert loaded.note == note and loaded.adapter is None
    said = "".join(segment.text for segment in loaded.layout().prefix(dialogue))
    assert f"{dialogue.turns[0].speaker} says {dialogue.turns[0].text}" in said
    assert loss_of(loaded, roles=TWO) == pytest.approx(last(evaluations(run)), rel=2e-5)


def test_all_weights_trained_in_bfloat16_keep_a_float32_master(tmp_path):
    run = trained(tmp_path / "run", full_recipe(dtype="bfloat16"))
    tensors = load_file(run.model / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in tensors.values())
    exact = last(evaluations(trained(tmp_path / "exact", full_recipe())))
    assert last(evaluations(run)) == pytest.approx(exact, rel=0.01)


def test_method_full_stopped_and_resumed_ends_as_if_never_stopped_and_keeps_its_best(tmp_path, monkeypatch):
    chosen = full_recipe("tied-llama", validation={"keep": "best", "per_epoch": 3})
    whole = trained(tmp_path / "whole", chosen)
    with monkeypatch.context() as patched:
        stop_at(patched, 5)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run", chosen, max_minutes=1000)
    run = trained(tmp_path / "run", chosen, resume=True)
    assert same(load_file(run.model / "model.safetensors"), load_file(whole.model / "model.safetensors"))
    assert read_metrics(run.metrics) == read_metrics(whole.metrics)


def test_the_card_of_a_tuned_model_does_not_call_it_an_adapter(tmp_path):
    card = (trained(tmp_path / "run", full_recipe()).model / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "LoRA" not in card and "--adapter" not in card and "An adapter" not in card


# Kinds of LoRA


@pytest.mark.parametrize(
    ("lora", "said"),
    [({"dora": True}, "use_dora"), ({"rslora": True}, "use_rslora"), ({"dora": True, "rslora": True}, "use_dora")],
    ids=["dora", "rslora", "both"],
)
def test_dora_and_rslora_train_save_and_load(lora, said, tmp_path):
    run = trained(tmp_path / "run", recipe(lora=lora, training={"epochs": 2}))
    assert json.loads((run.adapter / "adapter_config.json").read_text())[said] is True
    magnitudes = [name for name in weights(run) if "magnitude" in name]
    assert len(magnitudes) == (3 * 7 if "dora" in lora else 0)
    found = evaluations(run)
    assert found[6] < found[3]
    assert loss_of(load_model(adapter=run.adapter, dtype="float32", device="cpu")) == pytest.approx(found[6], rel=2e-5)
    plain = trained(tmp_path / "plain", recipe(training={"epochs": 2}))
    assert evaluations(plain)[6] != pytest.approx(found[6], rel=1e-5)


# How it is computed


def test_gradient_checkpointing_gives_the_same_adapter_and_computes_activations_again(tmp_path, monkeypatch):
    calls = 0
    original = LlamaAttention.forward

    def counted(self, *args, **kwargs):
        nonlocal calls
        calls += torch.is_grad_enabled()
        return original(self, *args, **kwargs)

    monkeypatch.setattr(LlamaAttention, "forward", counted)
    adapters, counts = [], []
    for again in (False, True):
        calls = 0
        chosen = recipe(training={"gradient_checkpointing": again, "epochs": 2}, lora={"dropout": 0.2})
        adapters.append(weights(trained(tmp_path / f"run{again}", chosen)))
        counts.append(calls)
    assert counts == [3 * 6, 2 * 3 * 6]  # layers times steps
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_share_prefix_false_gives_one_example_a_row_and_trains_the_same(tmp_path):
    """All examples in one step, so that only the rows differ."""
    adapters = []
    for share in (True, False):
        chosen = recipe(
            training={"share_prefix": share, "gradient_accumulation": 1000, "epochs": 2}, neftune={"alpha": 0}
        )
        data = read_training_data(chosen, load_text_side(chosen.base))
        assert {len(bundle.branches) for bundle in data.encoded} == ({3} if share else {1})
        assert data.examples == 15 and len(data.encoded) == (5 if share else 15)
        assert (data.tokens_shared > 0) is share
        adapters.append(weights(trained(tmp_path / f"run{share}", chosen)))
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_a_base_in_four_bits_trains_and_its_adapter_loads_on_the_base_as_it_is(tmp_path):
    pytest.importorskip("bitsandbytes")
    base = str(model_dir("wide-llama"))
    run = trained(tmp_path / "run", recipe(base=base, quantize="4bit", training={"epochs": 2}))
    found = evaluations(run)
    assert found[6] < found[3]
    whole = trained(tmp_path / "whole", recipe(base=base, training={"epochs": 2}))
    assert evaluations(whole)[6] != pytest.approx(found[6], rel=1e-6)  # it was held in four bits
    loaded = load_model(adapter=run.adapter, device="cpu", dtype="float32")
    assert loss_of(loaded) < loss_of(load_model(base, device="cpu", dtype="float32"))
    assert loss_of(loaded) == pytest.approx(found[6], rel=0.02)


def test_a_base_in_four_bits_has_the_same_gradients_before_and_after_an_evaluation():
    """bitsandbytes repacks weights in evaluation on some processors, for a kernel that has no backward."""
    pytest.importorskip("bitsandbytes")
    chosen = recipe(base=str(model_dir("wide-llama")), quantize="4bit")
    side = load_text_side(chosen.base)
    loaded = load_weights(side, dtype="float32", device="cpu", quantize="4bit")
    model = trainable(loaded.model, side.family, chosen)
    ids = torch.arange(40, 60)[None]

    def gradient():
        model.train()
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}

    before = gradient()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    after = gradient()
    assert max(float(one.abs().max()) for one in before.values()) > 0
    for name, one in before.items():
        torch.testing.assert_close(after[name], one, msg=name)


# Reports


def event_files(run):
    return [path.relative_to(run.path).parts[0] for path in run.path.rglob("events.out.tfevents.*")]


def test_report_to_tensorboard_writes_each_runs_events_into_its_own_directory(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    first, second = (
        trained(tmp_path / name, recipe(training={"report_to": ["tensorboard"]})) for name in ("first", "second")
    )
    assert event_files(first) == ["tensorboard"]
    assert event_files(second) == ["tensorboard"]


def test_a_logging_integration_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match="report_to: tensorbord is not installed"):
        trained(tmp_path / "run", recipe(training={"report_to": ["tensorbord"]}))
    assert not (tmp_path / "run").exists()


# What does not go together


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["data.validation=null", "validation.keep=best"], "keep: best and patience need data.validation"),
        (["data.validation=null", "validation.patience=2"], "keep: best and patience need data.validation"),
        (["data.validation=null", "validation.summaries=2"], "validation.summaries, keep: best"),
        (["validation.best_by=rouge"], "validation.best_by: rouge needs validation.summaries"),
        (["method=full", "quantize=4bit"], "method: full trains all weights, which quantize holds in 4 bits"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused_with_the_files_name(changes, said, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw_recipe()))
    load_recipe(file)
    with pytest.raises(UsageError) as caught:
        load_recipe(file, changes)
    assert said in str(caught.value) and str(file) in str(caught.value)
