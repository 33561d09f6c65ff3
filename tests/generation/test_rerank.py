import random

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.generation import Generation
from rolesum.generation.rerank import RERANKERS, count_flags, get_reranker
from rolesum.metrics.scorers import get_scorer, pairwise_rouge_f1

DIALOGUE = Dialogue(
    "d",
    (
        Turn("Amanda", "I baked 12 cookies. Do you want some?"),
        Turn("Jerry", "Sure! Shall I come over at 5 pm?"),
        Turn("Amanda", "I'll bring you some tomorrow."),
    ),
)
CHAT = Dialogue(
    "z",
    (Turn("用户", "我的订单什么时候发货？"), Turn("客服", "您好，明天发货，请放心。")),
    roles={"用户": "user", "客服": "agent"},
)


def samples(*texts, logprobs=None):
    logprobs = logprobs or [-1.0] * len(texts)
    return [Generation(text, 5, "stop", one, one) for text, one in zip(texts, logprobs, strict=True)]


def choice(name, texts, dialogue=DIALOGUE, role="overall"):
    return texts[get_reranker(name)(dialogue, role, texts)].text


def test_mbr_takes_the_text_that_the_others_resemble_most():
    texts = samples(
        "The weather is nice in May.",
        "Amanda baked cookies and will bring Jerry some.",
        "Amanda baked cookies for Jerry.",
        "Amanda will bring Jerry some cookies tomorrow.",
    )
    assert choice("mbr", texts) == "Amanda baked cookies and will bring Jerry some."


def test_mbr_is_the_mean_of_rouge_to_the_other_samples_as_rouge_score_has_it():
    made = random.Random(3)
    words = ["amanda", "jerry", "bakes", "baked", "cookies", "tomorrow", "brings", "some", "for", "at", "noon"]
    texts = [" ".join(made.choices(words, k=made.randint(3, 9))) for _ in range(7)]
    texts += [texts[2], texts[4]]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)

    def alike(one, other):
        return np.mean([found.fmeasure for found in scorer.score(other, one).values()])

    gains = [np.mean([alike(texts[i], texts[j]) for j in range(9) if j != i]) for i in range(9)]
    assert get_reranker("mbr")(DIALOGUE, "overall", samples(*texts)) == int(np.argmax(np.round(gains, 9)))
    expected = [[alike(one, other) for other in texts] for one in texts]
    assert np.allclose(pairwise_rouge_f1(get_scorer("samsum"), texts), expected, atol=1e-9)


def test_mbr_counts_a_text_as_often_as_it_was_sampled():
    once = samples("Jerry comes at noon.", "Amanda bakes.", "Amanda bakes bread.")
    often = samples("Jerry comes at noon.", "Amanda bakes.", "Amanda bakes bread.", *["Jerry comes at noon."] * 3)
    assert choice("mbr", once) == "Amanda bakes."
    assert choice("mbr", often) == "Jerry comes at noon."


def test_mbr_reads_chinese_by_characters_and_scripts_that_the_word_scorers_do_not_see():
    chinese = samples("今天天气很好。", "用户询问订单发货时间。", "用户问订单什么时候发货。")
    assert choice("mbr", chinese, CHAT) != "今天天气很好。"
    russian = samples("Сегодня хорошая погода.", "Аманда испекла печенье.", "Аманда испекла печенье для Джерри.")
    assert choice("mbr", russian) != "Сегодня хорошая погода."


def test_a_scorer_may_be_named():
    texts = samples("cookie baked", "cookies baking", "cookies baking more", "cookie baked most")
    assert choice("mbr:hf", texts) in {"cookie baked", "cookies baking"}
    assert get_reranker("mbr:csds")(CHAT, "overall", samples("用户问。", "客服答。", "客服答。")) == 1


def test_checks_prefer_what_the_dialogue_supports():
    texts = samples(
        "Amanda baked 15 cookies.",
        "Amanda baked cookies, and Peter will bring some.",
        "Amanda baked 12 cookies.",
        "Amanda baked 12 cookies and then",
    )
    assert choice("checks", texts) == "Amanda baked 12 cookies."


def test_checks_prefer_a_summary_of_the_role_that_was_asked_for():
    texts = samples("客服表示明天发货。", "用户询问订单什么时候发货。")
    assert choice("checks", texts, CHAT, "user") == "用户询问订单什么时候发货。"
    assert choice("checks", texts, CHAT, "agent") == "客服表示明天发货。"


def test_a_text_caught_in_a_loop_is_a_fault_and_so_is_a_sentence_said_twice():
    loop = "Amanda baked cookies " + "and baked some cookies " * 6 + "."
    assert count_flags(DIALOGUE, "overall", loop) == 1
    assert count_flags(DIALOGUE, "overall", "Amanda baked cookies. Amanda baked cookies.") == 1
    assert count_flags(DIALOGUE, "overall", "Amanda baked cookies.") == 0


def test_of_as_many_faults_the_likelier_text_is_taken_and_then_the_first():
    texts = samples("Amanda baked cookies.", "Jerry wants some.", "Jerry says sure.", logprobs=[-2.0, -0.5, -0.5])
    assert choice("checks", texts) == "Jerry wants some."
    unknown = samples("Amanda baked cookies.", "Jerry wants some.", logprobs=[None, None])
    assert choice("checks", unknown) == "Amanda baked cookies."


def test_the_likeliest_needs_log_probabilities():
    texts = samples("a", "b", "c", logprobs=[-1.0, -0.2, None])
    assert choice("likeliest", texts) == "b"
    with pytest.raises(UsageError, match="log-probabilities"):
        choice("likeliest", samples("a", "b", logprobs=[None, None]))


@pytest.mark.parametrize("name", RERANKERS)
def test_a_text_without_words_is_taken_only_where_none_has_any(name):
    texts = samples("", "", "Amanda baked 99 cookies with Peter", " ", logprobs=[-0.1, -0.1, -9.0, -0.1])
    assert choice(name, texts) == "Amanda baked 99 cookies with Peter"
    assert get_reranker(name)(DIALOGUE, "overall", samples("", " ")) == 0


@pytest.mark.parametrize("name", RERANKERS)
def test_equally_good_texts_in_any_number_give_the_first(name):
    assert get_reranker(name)(DIALOGUE, "overall", samples(*["Amanda baked cookies."] * 32)) == 0
    assert get_reranker(name)(DIALOGUE, "overall", samples("Jerry agrees.")) == 0


@pytest.mark.parametrize(("name", "hint"), [("mbrr", "mbr"), ("mbr:samsun", "samsum"), ("check", "checks")])
def test_an_unknown_choice_is_a_usage_error_with_a_hint(name, hint):
    with pytest.raises(UsageError, match=f'did you mean "{hint}'):
        get_reranker(name)
    with pytest.raises(UsageError, match="unknown choice"):
        get_reranker("checks:samsum")
