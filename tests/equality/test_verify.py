"""Statements as branches of a dialogue's prefix: loss, gradients and probabilities are those of each one by itself."""

import pytest
import torch

from helpers.tiny import model_dir
from helpers.verify_runs import STATEMENTS, alone, answer_set, verify_recipe
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.verification import Verifier
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model
from rolesum.training.batching import SampleRef
from rolesum.training.collate import collate
from rolesum.training.data import read_training_data
from rolesum.training.forward import training_forward
from rolesum.training.objective import count_of_recipe, loss_of_recipe
from rolesum.training.prepare_model import prepare_model

KINDS = ("llama", "qwen2", "gemma3", "bloom")
ANSWER_SET = load_instruction_set(answer_set())


def one_by_one(model, bundles, weight):
    """The weighted loss of a step and its gradients, each example by the library's own forward on its whole text."""
    model.zero_grad()
    total, weights = 0.0, 0.0
    for bundle in bundles:
        for branch in bundle.branches:
            ids = torch.tensor([[*bundle.prefix, *branch.ids]])
            first = ids.shape[1] - branch.targets
            logprobs = model(input_ids=ids).logits[0, first - 1 : -1].log_softmax(-1)
            counted = 1.0 if branch.role else weight
            loss = -counted * logprobs.gather(-1, ids[0, first:, None]).sum()
            loss.backward()
            total, weights = total + loss.item(), weights + counted * branch.targets
    return total, weights, gradients(model)


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("roles", [["overall", "user"], []], ids=["with summaries", "alone"])
def test_loss_and_gradients_of_bundles_with_statements_equal_those_one_by_one(kind, roles):
    recipe = verify_recipe(base=str(model_dir(kind)), roles=roles, verify={"weight": 3.5}, neftune={"alpha": 0})
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    data = read_training_data(recipe, loaded)
    model = prepare_model(loaded.language_model, loaded.family, recipe)
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    theirs, weights, their_gradients = one_by_one(model, data.encoded, 3.5)
    answers = [branch for bundle in data.encoded for branch in bundle.branches if not branch.role]
    assert len(answers) == 12 and all(branch.targets == 1 for branch in answers)
    assert len({branch.ids[-1] for branch in answers}) == 2
    assert loaded.shares_prefix == (max(len(bundle.branches) for bundle in data.encoded) > 1)
    model.zero_grad()
    model.train()
    batches = [data.encoded[::2], data.encoded[1::2]]  # of one step
    loss, count = torch.zeros(()), 0.0
    with training_forward(model, loaded.family, 0.0, loaded.device, loss_of_recipe(recipe)):
        for bundles in batches:
            batch = collate([(SampleRef(0, number, 0), bundle) for number, bundle in enumerate(bundles)], 0)
            loss = loss + model(**batch)
            count += count_of_recipe(recipe)(batch)
        loss.backward()
    assert count == pytest.approx(weights) and loss.item() == pytest.approx(theirs, rel=1e-5)
    largest = max(float(one.abs().max()) for one in their_gradients.values())
    assert largest > 0
    for name, one in gradients(model).items():
        torch.testing.assert_close(one, their_gradients[name], rtol=1e-3, atol=largest * 1e-5, msg=name)


def verifier(kind, token_budget=None, **options):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    return Verifier(TransformersEngine(loaded, loaded.layout(instructions=ANSWER_SET), token_budget), **options)


@pytest.mark.parametrize("kind", [*KINDS, "mistral", "baichuan2-7b", "baichuan2-13b", "chatglm3-6b"])
def test_a_statements_probability_is_the_same_alone_in_a_bundle_and_in_any_batch(kind):
    together = verifier(kind)
    dialogues = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=3))
    statements = [[one.text for one in dialogue.statements] for dialogue in dialogues]
    statements[0] = [*statements[0], statements[0][0]]  # one of them twice
    odds = together.log_odds(dialogues, statements)
    probabilities = together.verify_all(dialogues, statements)
    for dialogue, of, found, likely in zip(dialogues, statements, odds, probabilities, strict=True):
        expected = [alone(together.engine, dialogue, statement) for statement in of]
        assert found == pytest.approx([one for one, _ in expected], abs=2e-5)
        assert likely == pytest.approx([one for _, one in expected], abs=5e-6)
    for budget in (1, 2000):  # each statement in a batch of its own, and some of them together
        apart = verifier(kind, budget).log_odds(dialogues, statements)
        assert all(one == pytest.approx(other, abs=2e-5) for one, other in zip(apart, odds, strict=True))
    assert together.verify(dialogues[1], statements[1][:1]) == pytest.approx(probabilities[1][:1], abs=5e-6)


def test_the_question_is_encoded_as_in_training():
    recipe = verify_recipe(roles=[])
    engine = verifier("llama").engine
    for bundle, dialogue in zip(
        read_training_data(recipe, engine.loaded).encoded, read_dialogues(STATEMENTS)[:4], strict=True
    ):
        asked = engine.encode(0, engine.layout.verify_prompt(dialogue, [one.text for one in dialogue.statements]))
        assert tuple(asked.prefix) == bundle.prefix
        assert [tuple(branch) for branch in asked.branches] == [branch.ids[:-1] for branch in bundle.branches]
