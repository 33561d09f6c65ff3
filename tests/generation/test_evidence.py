"""Evidence: which tokens are a turn's, how attention and n-grams become scores, and what is refused."""

from dataclasses import replace

import pytest
import torch

from helpers.tiny import model_dir
from helpers.verify_runs import answer_set
from rolesum.checks.evidence import ngram_scores
from rolesum.checks.index import DialogueIndex
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import DataError, ModelError, UsageError
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.generation.evidence import EvidenceFinder, EvidenceOptions, combine, turn_scores
from rolesum.instructions import load_instruction_set
from rolesum.models.loading import load_model

DIALOGUE = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=1))[0]
DIALOGUE = DIALOGUE.with_turns(DIALOGUE.turns[:4])
STATEMENTS = ["Somebody called about a bill.", "It rained."]
FULL_WIDTH = "灯坏了。<|im_end|> ＜</s>"


def loaded(kind="llama"):
    return load_model(model_dir(kind), dtype="float32", device="cpu")


def finder(kind="llama"):
    own = loaded(kind)
    return EvidenceFinder(TransformersEngine(own, own.layout(instructions=load_instruction_set(answer_set()))))


@pytest.mark.parametrize("kind", ["llama", "baichuan2-7b", "chatglm3-6b"])
def test_the_tokens_of_a_turn_are_those_of_its_line(kind):
    turns = (Turn("A", "Hello  there."), Turn("B", ""), Turn("A", f"Two\nlines, {FULL_WIDTH}"), Turn("B", "Bye."))
    dialogue = Dialogue("1", turns, language="en")
    own = finder(kind)
    layout, encoder = own.engine.layout, own.loaded.encoder
    ids = encoder.encode(layout.prefix(dialogue))
    spans = own.turn_spans(dialogue)
    lines = [text.strip() for text in layout.instruction_set_for(dialogue).turn_texts(dialogue)]
    assert [own.loaded.tokenizer.decode(ids[start:end]).strip() for start, end in spans] == lines
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    head, _ = layout.prefix(dialogue)
    assert spans[0][0] == len(encoder.encode([head])) and own.loaded.tokenizer.decode(ids[spans[-1][1] :]) == "\n\n"


def test_attention_is_reduced_over_the_chosen_heads_and_by_a_turns_length():
    own = finder()
    spans, found = own.turn_spans(DIALOGUE), own.attention(DIALOGUE, STATEMENTS)
    lengths = torch.tensor([end - start for start, end in spans])
    assert found.answer.shape == (2, 3, 4, 4)  # statements, layers, heads, turns
    cases = {
        EvidenceOptions(): found.answer.mean((1, 2)) / lengths,
        EvidenceOptions(reduce="max", per_token=False): found.answer.amax((1, 2)),
        EvidenceOptions("question", ((2, 3),), per_token=False): found.question[:, 2, 3],
        EvidenceOptions(heads=((0, 1), (2, 0))): (found.answer[:, 0, 1] + found.answer[:, 2, 0]) / 2 / lengths,
    }
    for options, expected in cases.items():
        scores = own.scores(DIALOGUE, STATEMENTS, "attention", options)
        torch.testing.assert_close(torch.tensor(scores), expected)
    with pytest.raises(UsageError, match="no head 4 in layer 0: the model has 3 layers of 4 heads"):
        own.scores(DIALOGUE, STATEMENTS, "attention", EvidenceOptions(heads=((0, 4),)))


def test_ngrams_and_attention_are_combined_as_shares_and_with_neighbors():
    assert combine([[1.0, 3.0], [0.0, 0.0]], [[2.0, 2.0], [0.0, 5.0]], 0.75) == [[0.3125, 0.6875], [0.0, 0.25]]
    own = finder()
    attention = own.scores(DIALOGUE, STATEMENTS, "attention")
    expected = combine(ngram_scores(STATEMENTS, DialogueIndex(DIALOGUE)), attention, 0.25)
    expected = [
        [one + 0.5 * other, other + 0.5 * (one + third), third + 0.5 * (other + last), last + 0.5 * third]
        for one, other, third, last in expected
    ]
    options = EvidenceOptions(ngram_weight=0.25, neighbor_weight=0.5)
    for found, of in zip(own.scores(DIALOGUE, STATEMENTS, "combined", options), expected, strict=True):
        assert found == pytest.approx(of)


def test_a_dialogue_of_one_turn_is_left_with_none():
    dialogue = DIALOGUE.with_turns(DIALOGUE.turns[:1])
    for method in ("left-out", "masked", "gradient", "attention"):
        (scores,) = finder().scores(dialogue, STATEMENTS[:1], method)
        assert len(scores) == 1 and scores[0] != 0


def test_a_model_in_training_stays_in_training():
    own = finder()
    weights = list(own.loaded.language_model.parameters())
    weights[0].requires_grad_(False)
    before = [one.requires_grad for one in weights]
    own.gradient(DIALOGUE, STATEMENTS)
    assert [one.requires_grad for one in weights] == before and any(before)
    assert all(one.grad is None for one in weights)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ModelError, match="shares no prefix"):
        turn_scores(DIALOGUE, STATEMENTS, loaded("bloom"))
    with pytest.raises(UsageError, match=r'no method "left_out".*\n.*left-out'):
        finder().scores(DIALOGUE, STATEMENTS, "left_out")
    long = replace(DIALOGUE, turns=(Turn("A", "word " * 3000),))
    with pytest.raises(DataError, match="takes 2048"):
        finder().scores(long, STATEMENTS, "attention")
    with pytest.raises(ModelError, match="are not one token each"):
        turn_scores(DIALOGUE, STATEMENTS, loaded(), "masked")


def test_no_statement_gives_no_scores():
    assert finder().scores(DIALOGUE, [], "left-out") == [] and turn_scores(DIALOGUE, [], loaded(), "ngrams") == []
