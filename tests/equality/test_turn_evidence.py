"""Evidence: what each method computes behind a shared prefix equals what the library's own forward gives for one text.

All comparisons are in float32, with attention weights, masks and gradients of the eager implementation.
"""

import math

import pytest
import torch

from helpers.tiny import WINDOW, model_dir
from helpers.verify_runs import answer_set
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.evidence import EvidenceFinder
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model

KINDS = ("llama", "qwen2", "gemma3", "mistral")  # the last two with windows shorter than the dialogue
ORIGINALS = ("baichuan2-7b", "baichuan2-13b", "chatglm3-6b")
DIALOGUE = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=2))[1]
DIALOGUE = DIALOGUE.with_turns(DIALOGUE.turns[:6])
STATEMENTS = ["Somebody called about a bill.", "The caller agreed to send two photos.", "It rained."]


def finder(kind):
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    return EvidenceFinder(TransformersEngine(loaded, loaded.layout(instructions=load_instruction_set(answer_set()))))


def rows(own, dialogue):
    """The token ids of each statement's whole text, and the number of them that are the dialogue's prefix."""
    asked = own.engine.encode(0, own.engine.layout.verify_prompt(dialogue, STATEMENTS))
    return [[*asked.prefix, *branch] for branch in asked.branches], len(asked.prefix)


def log_odds(own, ids, **inputs):
    """The log-odds of the answers behind one row, by the model's own forward."""
    answers = own.loaded.encoder.answer_ids(own.engine.layout.instruction_set_for(DIALOGUE).answer_pairs)
    given = inputs if "inputs_embeds" in inputs else {"input_ids": torch.tensor([ids]), **inputs}
    said, not_said = own.loaded.model(**given).logits[0, -1, list(answers)].double()
    return said - not_said


def eager(own):
    own.loaded.language_model.set_attn_implementation("eager")
    return own


def text_mask(kind, length, prefix, span):
    """An additive mask (1, 1, length, length) in which the tokens behind the prefix do not attend to a span of it."""

    def sees(query, key, window):
        is_hidden = query >= prefix and span[0] <= key < span[1]
        return key <= query and query - key < window and not is_hidden

    def mask(window):
        entries = [[0.0 if sees(query, key, window) else -1e30 for key in range(length)] for query in range(length)]
        return torch.tensor(entries)[None, None]

    if kind == "gemma3":
        return {"full_attention": mask(math.inf), "sliding_attention": mask(WINDOW)}
    return mask(WINDOW if kind == "mistral" else math.inf)


@pytest.mark.parametrize("kind", [*KINDS, *ORIGINALS])
def test_leaving_a_turn_out_gives_the_log_odds_of_the_dialogue_without_it(kind):
    own = finder(kind)
    found = own.left_out(DIALOGUE, STATEMENTS)
    with torch.inference_mode():
        whole = [log_odds(own, ids) for ids in rows(own, DIALOGUE)[0]]
        for place in range(len(DIALOGUE.turns)):
            turns = list(DIALOGUE.turns)
            del turns[place]
            rest = rows(own, DIALOGUE.with_turns(turns))[0]
            expected = [float(one - log_odds(own, ids)) for one, ids in zip(whole, rest, strict=True)]
            assert [of[place] for of in found] == pytest.approx(expected, abs=5e-5)
    assert max(abs(score) for of in found for score in of) > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_masking_a_turn_gives_the_log_odds_of_a_branch_that_cannot_see_it(kind):
    own = finder(kind)
    found, spans = own.masked(DIALOGUE, STATEMENTS), own.turn_spans(DIALOGUE)
    own = eager(own)
    texts, prefix = rows(own, DIALOGUE)
    with torch.inference_mode():
        for ids, of in zip(texts, found, strict=True):
            whole = log_odds(own, ids)
            hidden = [log_odds(own, ids, attention_mask=text_mask(kind, len(ids), prefix, span)) for span in spans]
            assert of == pytest.approx([float(whole - one) for one in hidden], abs=5e-5)
    assert max(abs(score) for of in found for score in of) > 1e-2


@pytest.mark.parametrize("kind", [*KINDS, *ORIGINALS])
def test_attention_weights_are_those_that_the_eager_implementation_puts_out(kind):
    own = finder(kind)
    found, spans = own.attention(DIALOGUE, STATEMENTS), own.turn_spans(DIALOGUE)
    own = eager(own)
    texts, prefix = rows(own, DIALOGUE)
    for number, ids in enumerate(texts):
        with torch.inference_mode():
            out = own.loaded.language_model(input_ids=torch.tensor([ids]), output_attentions=True)
        for layer, weights in enumerate(out.attentions):
            by_turn = torch.stack([weights[0, :, prefix:, start:end].sum(-1) for start, end in spans], dim=-1)
            torch.testing.assert_close(found.answer[number, layer], by_turn[:, -1], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found.question[number, layer], by_turn.mean(1), rtol=1e-4, atol=1e-5)
    assert found.answer.shape[1] == len(out.attentions) and float(found.question.amax()) > 1e-2


@pytest.mark.parametrize("kind", [*KINDS, *ORIGINALS])
def test_gradient_times_input_is_that_of_the_whole_text_without_a_cache(kind):
    own = finder(kind)
    found, spans = own.gradient(DIALOGUE, STATEMENTS), own.turn_spans(DIALOGUE)
    scores = own.scores(DIALOGUE, STATEMENTS, "gradient")
    own = eager(own)
    texts, prefix = rows(own, DIALOGUE)
    for number, ids in enumerate(texts):
        inputs = own.loaded.language_model.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(log_odds(own, ids, inputs_embeds=inputs), inputs)
        expected = (gradient * inputs).sum(-1)[0, :prefix].detach()
        torch.testing.assert_close(found[number], expected, rtol=1e-3, atol=2e-8 + 1e-4 * float(expected.abs().max()))
        by_turn = [float(expected[start:end].sum()) for start, end in spans]
        assert scores[number] == pytest.approx(by_turn, abs=2e-8 + 1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("method", ["left-out", "masked", "attention"])
def test_scores_are_the_same_in_rows_of_one_text_and_for_one_statement(method):
    own = finder("gemma3")
    together = own.scores(DIALOGUE, STATEMENTS, method)
    alone = [own.scores(DIALOGUE, [statement], method)[0] for statement in STATEMENTS]
    own.row_tokens = 1
    for found in (alone, own.scores(DIALOGUE, STATEMENTS, method)):
        assert all(one == pytest.approx(other, abs=2e-5) for one, other in zip(found, together, strict=True))
