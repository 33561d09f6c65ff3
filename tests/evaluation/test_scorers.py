import re
import string
from importlib import metadata

import pytest
import sacrebleu
from rouge_score import rouge_scorer

from rolesum.errors import DataError, UsageError
from rolesum.evaluation import SCORERS, score
from rolesum.evaluation.pairs import read_pairs
from rolesum.formats import read_dialogues


class OneCharacterIsOneToken:
    def tokenize(self, text):
        return list(text.replace("\n", ""))


def lead(dialogue):
    """A summary that needs no model: the first and the last turn."""
    return " ".join(f"{turn.speaker}: {turn.text}" for turn in (dialogue.turns[0], dialogue.turns[-1]))


def leads(name):
    """Pairs of the bundled dialogues: each role's lead and its reference."""
    return [(lead(one), texts) for one in read_dialogues(f"sample:{name}") for texts in one.summaries.values()]


def independent(pairs, measures, split=str, **options):
    rouge = rouge_scorer.RougeScorer(measures, **options)
    found = [rouge.score(split(references[0]), split(prediction)) for prediction, references in pairs]
    return {measure: 100 * sum(one[measure].fmeasure for one in found) / len(found) for measure in measures}


def sentences(text):
    return "\n".join(re.findall(r"[^。]*。|[^。]+", text))


def means(scorer, *pairs):
    return score(scorer, [(prediction, (reference,)) for prediction, reference in pairs]).means


def test_csds_equals_an_independent_computation():
    pairs = [*leads("zh-test"), *leads("zh-train")]
    found = score("csds", pairs).means
    wanted = independent(pairs, ["rouge1", "rouge2", "rougeLsum"], sentences, tokenizer=OneCharacterIsOneToken())
    assert {measure: found[measure] for measure in wanted} == pytest.approx(wanted)
    assert 5 < wanted["rougeLsum"] < wanted["rouge1"] < 95


def test_csds_bleu_equals_an_independent_computation():
    pairs = [(prediction.replace(" ", ""), texts) for prediction, texts in leads("zh-train")]
    spaced = [" ".join(prediction) for prediction, _ in pairs]
    references = [" ".join(texts[0].replace(" ", "")) for _, texts in pairs]
    wanted = sacrebleu.corpus_bleu(spaced, [references], tokenize="none").score
    assert score("csds", pairs).means["bleu"] == pytest.approx(wanted, abs=0.01)
    assert 1 < wanted < 95


def test_samsum_equals_an_independent_computation():
    pairs = leads("en-test")
    found = score("samsum", pairs).means
    measures = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    assert dict(found) == pytest.approx(independent(pairs, measures, use_stemmer=True))
    assert 5 < found["rougeL"] < found["rouge1"] < 95


def test_csds_by_hand():
    found = means("csds", ("用户询问。", "用户询问退款。"))
    assert found["rouge1"] == pytest.approx(100 * 2 * 5 / (5 + 7))  # 5 of 5 and 5 of 7 characters
    assert found["rouge2"] == pytest.approx(100 * 2 * 3 / (4 + 6))  # 用户 户询 询问
    assert found["rougeLsum"] == pytest.approx(100 * 2 * 5 / (5 + 7))


def test_csds_rouge_l_goes_sentence_by_sentence():
    found = means("csds", ("丙丁。甲乙。", "甲乙。丙丁。"))
    assert found["rougeLsum"] == pytest.approx(100)
    assert found["rouge2"] == pytest.approx(100 * 4 / 5)


def test_csds_counts_every_character_but_the_newline_as_it_stands():
    assert means("csds", ("你好\n", "你\n好"))["rouge1"] == pytest.approx(100)
    assert means("csds", ("你 好", "你好"))["rouge1"] == pytest.approx(100 * 2 * 2 / (3 + 2))
    assert means("csds", ("你好A", "你好a"))["rouge1"] == pytest.approx(100 * 2 / 3)
    assert means("csds", ("你好１", "你好1"))["rouge1"] == pytest.approx(100 * 2 / 3)


def test_samsum_by_hand():
    found = means("samsum", ("The cat sat.", "the cats SAT down"))
    assert found["rouge1"] == pytest.approx(100 * 2 * 3 / (3 + 4))  # stems: the cat sat / the cat sat down
    assert found["rouge2"] == pytest.approx(100 * 2 * 2 / (2 + 3))
    assert found["rougeL"] == pytest.approx(100 * 2 * 3 / (3 + 4))


def test_samsum_rouge_l_takes_the_whole_text_and_rouge_lsum_its_lines():
    found = means("samsum", ("c d\na b", "a b\nc d"))
    assert found["rougeL"] == pytest.approx(50)
    assert found["rougeLsum"] == pytest.approx(100)


@pytest.mark.parametrize(("scorer", "text"), [("csds", "用户询问退款。"), ("samsum", "They talk of a refund.")])
def test_the_reference_itself_scores_100_and_an_empty_text_0(scorer, text):
    assert all(value == pytest.approx(100) for value in means(scorer, (text, text)).values())
    assert all(value == 0 for value in means(scorer, ("", text)).values())


def test_the_mean_is_the_plain_mean_over_the_pairs():
    one, other = ("a b", "a b c d"), ("x", "y")
    assert means("samsum", one, other)["rouge1"] == pytest.approx(means("samsum", one)["rouge1"] / 2)
    found = score("samsum", [("a b", ("a b c d",)), ("x", ("y",))])
    assert found.per_pair["rouge1"] == pytest.approx([100 * 2 / 3, 0])


def test_with_several_references_a_pair_scores_their_mean():
    prediction, references = "a b c", ("a b c", "a b x", "x y z")
    found = score("samsum", [(prediction, references)])
    for measure, value in found.means.items():
        alone = [means("samsum", (prediction, reference))[measure] for reference in references]
        assert value == pytest.approx(sum(alone) / 3)
    assert found.means["rouge1"] == pytest.approx((100 + 200 / 3 + 0) / 3)
    assert found.references == "mean"
    assert score("samsum", [(prediction, references[:1])]).references == "single"


def test_chinese_under_samsum_is_refused_and_not_scored_low():
    with pytest.raises(DataError, match="reads a-z and 0-9 only") as caught:
        score("samsum", [("用户询问退款。", ("用户询问退款。",))])
    assert caught.value.exit_code == 3
    assert "--scorer csds" in str(caught.value)


@pytest.mark.parametrize("foreign", ["用户询问退款。", "Клиент просит вернуть деньги."])
def test_one_pair_in_another_script_among_english_ones_is_refused_too(foreign):
    with pytest.raises(DataError, match="in 1 of 4 references"):
        score("samsum", [("They talk.", ("They talk.",))] * 3 + [(foreign, (foreign,))])


def test_english_under_csds_is_refused():
    with pytest.raises(DataError, match="for Chinese; the references are not") as caught:
        score("csds", [("They talk.", ("They talk.",))])
    assert caught.value.exit_code == 3
    assert "--scorer samsum" in str(caught.value)


def test_a_foreign_prediction_is_scored_for_the_references_decide():
    assert means("samsum", ("用户询问退款。", "They talk of a refund."))["rouge1"] == 0


def test_an_unknown_scorer_is_a_usage_error_with_the_nearest_one():
    with pytest.raises(UsageError, match='did you mean "samsum"'):
        score("samsun", [("a", ("a",))])


def test_nothing_to_score_is_a_data_error():
    with pytest.raises(DataError, match="nothing to score"):
        score("samsum", [])


@pytest.mark.parametrize("name", SCORERS)
def test_a_score_says_by_which_recipe_and_libraries_it_was_made(name):
    text = {"zh": "你好", "en": "hello"}[SCORERS[name].language]
    found = score(name, [(text, (text,))])
    assert (found.scorer, found.version) == (name, SCORERS[name].version)
    assert found.libraries["rouge-score"] == metadata.version("rouge-score")
    assert ("sacrebleu" in found.libraries) == ("bleu" in found.means)
    assert all(character in string.printable for character in "".join(found.libraries.values()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "system", "rouge1", "rouge2", "rouge_l", "bleu"),
    [
        ("final", "PGN", 55.56, 39.19, 53.46, 32.31),
        ("user", "PGN", 53.54, 37.04, 51.03, 29.64),
        ("agent", "PGN", 50.24, 35.16, 47.62, 28.29),
        ("final", "BERTAbs", 55.40, 39.41, 53.40, 27.77),
    ],
)
def test_csds_gives_the_figures_that_are_known_of_published_systems(
    shared, role, system, rouge1, rouge2, rouge_l, bleu
):
    outputs = shared / "data" / "csds-system-outputs" / role
    pairs = read_pairs(outputs / f"{system}.txt", outputs / "references.txt")
    assert len(pairs) == 800
    found = score("csds", [(pair.prediction, pair.references) for pair in pairs]).means
    wanted = {"rouge1": rouge1, "rouge2": rouge2, "rougeLsum": rouge_l, "bleu": bleu}
    assert dict(found) == pytest.approx(wanted, abs=0.05)
