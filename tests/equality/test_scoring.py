"""The bulk scorers against rouge-score and sacrebleu, called pair by pair, on random texts of both languages."""

import random

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer

from rolesum.metrics import bleu, bootstrap
from rolesum.metrics.rouge import rouge
from rolesum.metrics.scorers import score
from rolesum.metrics.tokenizers import characters, characters_without_space, mteval, stems, words

MEASURES = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]
HAN = "用户询问退款客服表示可以。 \t\n\n😀A"
ENGLISH = [
    "the",
    "The",
    "cats",
    "sat",
    "running",
    "runs",
    "of",
    "12.5",
    "x-y",
    "don't",
    "&amp;",
    "İs",
    "naïve",
    "(ok),",
    "\n",
    "\n",
]


class OneCharacterIsOneToken:
    def tokenize(self, text):
        return [character for character in text if character != "\n"]


def chinese(draw, longest):
    """A text of few kinds of characters, so that much of it recurs."""
    kinds = draw.randint(1, len(HAN))
    return "".join(draw.choice(HAN[:kinds]) for _ in range(draw.randint(0, longest)))


def english(draw, longest):
    kinds = draw.randint(1, len(ENGLISH))
    return " ".join(draw.choice(ENGLISH[-kinds:]) for _ in range(draw.randint(0, longest)))


def texts(make, count, longest, seed):
    draw = random.Random(seed)
    return [(make(draw, longest), make(draw, longest)) for _ in range(count)] + [("", ""), ("\n", "a"), ("a", "\n\n")]


@pytest.mark.parametrize("longest", [6, 40, 150])  # 150: more than two words of 64 bits
@pytest.mark.parametrize(
    ("make", "tokenize", "options"),
    [
        (chinese, characters, {"tokenizer": OneCharacterIsOneToken()}),
        (english, words, {}),
        (english, stems, {"use_stemmer": True}),
    ],
    ids=["characters", "words", "stems"],
)
def test_precision_recall_and_f_are_rouge_scores(make, tokenize, options, longest):
    pairs = texts(make, 120, longest, longest)
    theirs = rouge_scorer.RougeScorer(MEASURES, **options)
    ours = rouge(tokenize([made for made, _ in pairs]), tokenize([written for _, written in pairs]), MEASURES)
    f1 = {measure: ours[measure].f1() for measure in MEASURES}
    for place, (made, written) in enumerate(pairs):
        wanted = theirs.score(written, made)
        for measure in MEASURES:
            found = (ours[measure].precision[place], ours[measure].recall[place], f1[measure][place])
            assert found == pytest.approx(wanted[measure], abs=1e-9), (measure, made, written)


def test_the_union_of_lines_is_rouge_scores_on_many_short_texts():
    """Where an LCS is not unique, which one is read out decides: short texts of five words have many."""
    draw = random.Random(5)
    pairs = [tuple(" ".join(draw.choices("abcde\n", k=draw.randint(0, 16))) for _ in "ab") for _ in range(3000)]
    theirs = rouge_scorer.RougeScorer(["rougeLsum"])
    ours = rouge(words([made for made, _ in pairs]), words([written for _, written in pairs]), ["rougeLsum"])
    wanted = [theirs.score(written, made)["rougeLsum"].recall for made, written in pairs]
    assert ours["rougeLsum"].recall == pytest.approx(wanted, abs=1e-9)
    assert 0.2 < np.mean(wanted) < 0.9


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 60])
@pytest.mark.parametrize(
    ("make", "tokenize", "name"), [(chinese, characters_without_space, "char"), (english, mteval, "13a")]
)
def test_bleu_and_chrf_are_sacrebleus(make, tokenize, name, count, references):
    draw = random.Random(count)
    for _ in range(10):
        made = [make(draw, 40) for _ in range(count)]
        written = [[make(draw, 40) for _ in range(references)] for _ in range(count)]
        columns = [list(column) for column in zip(*written, strict=True)]
        ours = bleu.bleu(made, written, tokenize).value
        assert ours == pytest.approx(sacrebleu.corpus_bleu(made, columns, tokenize=name).score, abs=1e-9)
        ours = bleu.chrf(made, written).value
        assert ours == pytest.approx(sacrebleu.corpus_chrf(made, columns).score, abs=1e-9)


def test_a_resample_of_bleu_is_sacrebleus_of_the_pairs_drawn():
    draw = random.Random(3)
    made, written = ([english(draw, 20) for _ in range(30)] for _ in "ab")
    statistic = bleu.bleu(made, [[one] for one in written], mteval)
    drawn = [draw.randrange(30) for _ in range(30)]
    wanted = sacrebleu.corpus_bleu([made[place] for place in drawn], [[written[place] for place in drawn]]).score
    assert statistic.subset(drawn).value == pytest.approx(wanted, abs=1e-9)


def test_several_references_are_rouge_scores_best_or_the_mean():
    draw = random.Random(4)
    pairs = [
        (english(draw, 20) + " x", [english(draw, 20) + " x" for _ in range(draw.randint(1, 4))]) for _ in range(50)
    ]
    theirs = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    best, mean = (score("samsum", pairs, how) for how in ("best", "mean"))
    for place, (made, written) in enumerate(pairs):
        wanted = theirs.score_multi(written, made)
        each = [theirs.score(one, made) for one in written]
        for measure in ("rouge1", "rougeL"):
            assert best.per_pair[measure][place] == pytest.approx(100 * wanted[measure].fmeasure, abs=1e-7)
            average = 100 * sum(one[measure].fmeasure for one in each) / len(each)
            assert mean.per_pair[measure][place] == pytest.approx(average, abs=1e-7)
    assert (best.multi_reference, mean.multi_reference) == ("best", "mean")
    assert best.means["rouge1"] > mean.means["rouge1"] + 1


def test_many_pairs_in_blocks_score_as_each_alone():
    draw = random.Random(6)
    some = [(chinese(draw, 30), [chinese(draw, 30) + "询问用户退款"]) for _ in range(50)]
    many = [some[draw.randrange(50)] for _ in range(2500)]
    one_by_one = {
        made + "\0" + written[0]: score("csds", [(made, written)]).per_pair["rougeLsum"][0] for made, written in some
    }
    found = score("csds", many)
    wanted = [one_by_one[made + "\0" + written[0]] for made, written in many]
    assert found.per_pair["rougeLsum"] == pytest.approx(wanted, abs=1e-9)
    predictions, references = [made for made, _ in many], [[written[0] for _, written in many]]
    assert found.means["bleu"] == pytest.approx(
        sacrebleu.corpus_bleu(predictions, references, tokenize="char").score, abs=1e-9
    )
    assert found.means["rougeLsum"] == pytest.approx(bootstrap.mean(wanted).value)
