import re
from importlib import metadata

import pytest
import sacrebleu
from rouge_score import rouge_scorer

from rolesum.errors import DataError, UsageError
from rolesum.evaluation import SCORERS, score
from rolesum.evaluation.predictions import read_pairs
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
    assert {measure: found[measure] for measure in measures} == pytest.approx(
        independent(pairs, measures, use_stemmer=True)
    )
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
    for measure in found.per_pair:
        value = found.means[measure]
        alone = [means("samsum", (prediction, reference))[measure] for reference in references]
        assert value == pytest.approx(sum(alone) / 3)
    assert found.means["rouge1"] == pytest.approx((100 + 200 / 3 + 0) / 3)
    assert found.multi_reference == "mean"
    assert score("samsum", [(prediction, references[:1])]).multi_reference == "single"


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
    assert found.libraries == {library: metadata.version(library) for library in found.libraries}
    assert "rouge-score" not in found.libraries  # it computes nothing here
    assert ("sacrebleu 2" in found.equal_to) == ("bleu" in found.means)
    assert ("rouge-score 0.1.2" in found.equal_to) == (name not in ("llamafactory", "samsum-pyrouge"))
    assert metadata.version("rouge-score") == "0.1.2"


@pytest.mark.parametrize(("scorer", "text"), [("csds", "用户问。"), ("samsum", "They talk."), ("hf", "They talk.")])
def test_every_figure_is_a_statistic_of_its_pairs(scorer, text):
    found = score(scorer, [(text, (text,)), ("", (text,))])
    assert found.statistics.keys() == found.means.keys()
    assert all(len(statistic.rows) == 2 for statistic in found.statistics.values())
    assert found.statistics["rouge1"].subset([0]).value == pytest.approx(100)
    assert found.statistics["bleu"].subset([1]).value == 0


def test_glc_counts_a_token_after_each_sentence():
    found = means("csds-glc", ("用户问。", "客服答。"))
    assert found["rouge1"] == pytest.approx(100 * 2 / 5)  # the full stop and its token, of five
    assert found["rouge2"] == pytest.approx(100 * 1 / 4)
    assert means("csds", ("用户问。", "客服答。"))["rouge1"] == pytest.approx(100 * 1 / 4)


def test_pyrouge_raises_precision_and_recall_of_rouge_l_to_a_power():
    plain, found = (means(name, ("the cat sat", "the cat sat down there")) for name in ("samsum", "samsum-pyrouge"))
    precision, recall = 1.0, (3 / 5) ** (1 / 1.2)
    assert found["rougeL"] == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    assert found["rouge1"] == plain["rouge1"]
    assert found["rougeL"] > plain["rougeL"]


def test_hf_does_not_stem():
    assert means("samsum", ("refunds", "refund"))["rouge1"] == pytest.approx(100)
    assert means("hf", ("refunds", "refund"))["rouge1"] == 0


@pytest.mark.parametrize("name", [name for name, scorer in SCORERS.items() if scorer.language == "en"])
def test_every_scorer_of_english_refuses_chinese(name):
    with pytest.raises(DataError, match="--scorer csds"):
        score(name, [("用户", ("用户询问。",))])


@pytest.mark.parametrize("name", [name for name, scorer in SCORERS.items() if scorer.language == "zh"])
def test_every_scorer_of_chinese_refuses_english(name):
    with pytest.raises(DataError, match="--scorer samsum"):
        score(name, [("They talk.", ("They talk.",))])


# The published table, R-L, BLEU.
CSDS_TABLE = {
    ("final", "Longest"): (30.02, 15.52, 28.00, 11.19),
    ("user", "Longest"): (35.42, 20.26, 33.49, 13.14),
    ("agent", "Longest"): (25.94, 13.84, 24.01, 9.94),
    ("final", "LexPageRank"): (36.32, 19.43, 34.67, 13.48),
    ("user", "LexPageRank"): (35.15, 19.29, 33.82, 14.14),
    ("agent", "LexPageRank"): (30.81, 16.56, 29.37, 12.65),
    ("final", "PGN"): (55.58, 39.19, 53.46, 32.31),
    ("user", "PGN"): (53.55, 37.06, 51.05, 29.64),
    ("agent", "PGN"): (50.20, 35.12, 47.59, 28.25),
    ("final", "BERTAbs"): (55.41, 39.42, 53.41, 27.77),
    ("user", "BERTAbs"): (52.71, 36.39, 50.45, 30.17),
    ("agent", "BERTAbs"): (49.61, 33.88, 46.88, 27.02),
}


def published(shared, role, system):
    outputs = shared / "data" / "csds-system-outputs" / role
    pairs = read_pairs(outputs / f"{system}.txt", outputs / "references.txt")
    assert len(pairs) == 800
    return [(pair.prediction, pair.references) for pair in pairs]


@pytest.mark.parametrize(("role", "system"), CSDS_TABLE)
def test_csds_gives_the_figures_of_the_published_table(shared, role, system):
    found = score("csds", published(shared, role, system)).means
    rouge1, rouge2, rouge_l, bleu = CSDS_TABLE[role, system]
    wanted = {"rouge1": rouge1, "rouge2": rouge2, "rougeLsum": rouge_l, "bleu": bleu}
    assert {measure: found[measure] for measure in wanted} == pytest.approx(wanted, abs=0.05)


def test_glc_gives_its_known_figures_of_pgn(shared):
    pairs = published(shared, "final", "PGN")
    found = score("csds-glc", pairs).means
    assert [found[name] for name in ("rouge1", "rouge2", "rougeLsum")] == pytest.approx([56.89, 41.37, 54.88], abs=0.05)


@pytest.mark.slow
def test_llamafactory_gives_its_known_figures_of_pgn(shared):
    pytest.importorskip("jieba")
    found = score("llamafactory", published(shared, "final", "PGN")).means
    assert [found[name] for name in ("rouge1", "rouge2", "rougeL")] == pytest.approx([52.72, 28.14, 44.50], abs=0.05)
