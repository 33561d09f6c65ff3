"""How the support of a model's own statements follows from its tokens: their places, the weights, the threshold."""

import math
from dataclasses import replace

import pytest

from helpers.scripted_engine import CHAT, ScriptedEngine, WritingEngine
from helpers.tiny import tokenizer
from rolesum.checks.statements import split_statements
from rolesum.errors import ModelError
from rolesum.generation import Generation
from rolesum.generation.engines.collector import token_texts
from rolesum.generation.own_text_support import OwnTextWeights, own_text_weights, statement_logprobs
from rolesum.generation.summarizer import Summarizer
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.support import SupportFinder, support_reranker
from rolesum.generation.verification import Verifier

TEXT = "The lamp broke. Tom sends a new one."
SPANS = split_statements(TEXT, "en")
STORED = {"constant": 0.5, "answer": 0.0, "mean_logprob": 1.0, "unlikely_tokens": -0.25, "threshold": 0.4}


def tokens_of(text, logprobs=None):
    ids = tokenizer().encode(text, add_special_tokens=False)
    return list(zip(ids, logprobs or [-0.1 * place for place in range(len(ids))], strict=True))


def test_a_token_belongs_to_the_statement_whose_characters_it_has():
    tokens = [
        ("The", -0.1),
        (" lamp", -0.2),
        (" broke", -0.3),
        (".", -0.4),
        (" Tom sends", -2.0),
        (" a new one.", -3.0),
    ]
    assert statement_logprobs(TEXT, tokens, SPANS) == [[-0.1, -0.2, -0.3, -0.4], [-2.0, -3.0]]


def test_all_tokens_of_one_character_count_for_its_statement():
    spans = split_statements("灯坏了。汤姆😀道歉。", "zh")
    tokens = [
        ("灯坏了", -0.1),
        ("。", -0.2),
        ("汤姆", -0.3),
        ("", -0.4),
        ("", -0.5),
        ("😀", -0.6),
        ("道歉。", -0.7),
        ("", -9.0),
    ]
    found = statement_logprobs("灯坏了。汤姆😀道歉。", tokens, spans)
    assert found == [[-0.1, -0.2], [-0.3, -0.4, -0.5, -0.6, -0.7]]  # the token that ended the text is none of it


@pytest.mark.parametrize("text", ["灯坏了。汤姆😀道歉。", TEXT, "Ann — “sorry” — 45 € …"])
def test_token_texts_join_to_the_text_whatever_the_tokenizer_splits(text):
    ids = tokenizer().encode(text, add_special_tokens=False)
    assert "".join(token_texts(tokenizer(), ids)) == tokenizer().decode(ids)


def test_tokens_that_are_not_the_texts_tell_nothing():
    assert statement_logprobs(TEXT, [("The lamp broke.", -0.1)], SPANS) == [[], []]
    assert statement_logprobs(TEXT, [], SPANS) == [[], []]


def test_the_support_is_finite_and_in_range_however_sure_the_answer_and_the_tokens_are():
    weights = OwnTextWeights(1.0, 40.0, 5.0, -5.0, threshold=0.5)
    for answer in (0.0, 1e-300, 0.5, 1.0):
        for logprobs in ([0.0], [-1e4] * 300):
            assert 0 <= weights.support(answer, logprobs) <= 1
    assert weights.support(0.5, [-0.5, -1.5]) == pytest.approx(1 / (1 + math.exp(9)))


def test_a_statement_is_doubtful_under_the_threshold_of_own_texts():
    engine = WritingEngine({"overall": TEXT}, {"verify": {"weight": 1, "threshold": 0.99, "own_text": STORED}})
    made = Summarizer(engine=engine)
    ((found,),) = made.summarize([CHAT], roles=[["overall"]])
    # The tokens are certain, and the answer has no weight: the support is sigmoid(0.5) for both.
    assert [one.support for one in found.statements] == pytest.approx([1 / (1 + math.exp(-0.5))] * 2)
    assert found.support_threshold == made.support_threshold == 0.4 and not found.doubtful
    assert made.describe_verification()["own_text"] == STORED
    marking = replace(made.config, verify="flag", support_threshold=0.7)
    ((strict,),) = Summarizer(marking, engine).summarize([CHAT], roles=[["overall"]])
    assert len(strict.doubtful) == 2


def test_without_tokens_a_statement_is_doubtful_where_its_answer_is_under_the_threshold_of_answers():
    alone = Verifier(ScriptedEngine({})).verify(CHAT, [one.text for one in SPANS])
    for threshold in (sum(alone) / 2, min(alone) / 2, (1 + max(alone)) / 2):
        metadata = {"verify": {"weight": 1, "threshold": threshold, "own_text": {**STORED, "answer": 0.5}}}
        marking = Summarizer(SummarizerConfig(verify="flag"), ScriptedEngine({"overall": TEXT}, metadata))
        ((found,),) = marking.summarize([CHAT], roles=[["overall"]])
        assert found.support_threshold == 0.4
        assert [found.is_doubtful(one) for one in found.statements] == [one < threshold for one in alone]
    weights = OwnTextWeights(9.0, 0.5, 9.0, 9.0, threshold=0.4)
    assert weights.support_without_tokens(0.8, 0.8) == pytest.approx(0.4)
    odds = math.log(0.4 / 0.6) + 0.5 * (math.log(0.3 / 0.7) - math.log(0.8 / 0.2))
    assert weights.support_without_tokens(0.3, 0.8) == pytest.approx(1 / (1 + math.exp(-odds)))


def test_of_samples_the_one_is_taken_whose_tokens_were_the_likeliest():
    engine = ScriptedEngine({}, {"verify": {"weight": 1, "own_text": STORED}})
    texts = [
        Generation(text, 9, "stop", token_logprobs=tuple((id, logprob) for id, _ in tokens_of(text)))
        for text, logprob in (("The lamp broke.", -0.9), (TEXT, -0.2), ("Tom is sorry.", -0.5))
    ]
    assert support_reranker(SupportFinder(Verifier(engine)))(CHAT, "overall", texts) == 1


@pytest.mark.parametrize(
    "broken", [[], 3, {}, {**STORED, "answer": "much"}, {**STORED, "constant": math.nan}, {**STORED, "threshold": 1.5}]
)
def test_what_are_no_weights_is_refused_with_what_is_wrong(broken):
    with pytest.raises(
        ModelError, match=r"verify\.own_text: constant, answer, mean_logprob, unlikely_tokens, threshold"
    ):
        own_text_weights({"verify": {"weight": 1, "own_text": broken}})


def test_metadata_without_weights_have_none():
    assert own_text_weights({}) is own_text_weights({"verify": None}) is own_text_weights({"verify": {}}) is None
