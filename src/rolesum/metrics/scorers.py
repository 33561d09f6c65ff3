"""Named scorers: each is one exact recipe for ROUGE, BLEU and chrF, and refuses texts that it would misjudge.

One output scores ROUGE-L 44.7 or 50.8 depending on the tool. So every result states the scorer's name, its version and
the libraries whose scores it reproduces, and the versions of those that it calls.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rolesum.dialogue import detect_language
from rolesum.errors import DataError, UsageError, did_you_mean
from rolesum.metrics import bleu, bootstrap
from rolesum.metrics.bootstrap import Statistic
from rolesum.metrics.rouge import rouge
from rolesum.metrics.tokenizers import (
    TextTokenizer,
    TokenizedTexts,
    characters,
    characters_without_space,
    mteval,
    stems,
    words,
)

Pairs = Sequence[tuple[str, Sequence[str]]]  # prediction and its references
MultiReference = Literal["mean", "best"]

THREADS = 2
PAIRS_PER_BLOCK = 1000  # bounds the memory of one step
PAIRWISE_MEASURES = 3  # of a scorer's measures: ROUGE-1, ROUGE-2 and ROUGE-L


@dataclass(frozen=True)
class Score:
    """The scores of a set of pairs: means in percent, each pair's values, and the statistics behind them.

    `libraries` are those that computed a part of it, with their versions; `equal_to` those whose scores it equals
    (tests/equality/test_scoring.py). `multi_reference` says how several references of a pair were combined: "single"
    (there was one), "mean" or "best". `per_pair` lacks measures that only a corpus has (BLEU, chrF); `statistics` has
    all.
    """

    scorer: str
    version: int
    libraries: Mapping[str, str]
    equal_to: Sequence[str]
    multi_reference: str
    means: Mapping[str, float]
    per_pair: Mapping[str, Sequence[float]] = field(repr=False)
    statistics: Mapping[str, Statistic] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scorer:
    """One recipe. `prepare` is applied to both texts before ROUGE; BLEU and chrF take them as they are.

    `rouge_l_power` is what precision and recall of rougeL are raised to before F. `compute` takes the place of all
    this: from predictions and as many references to each measure's values, 0 to 1.
    """

    name: str
    version: int
    language: str
    description: str
    measures: tuple[str, ...]
    tokenize: TextTokenizer = words
    prepare: Callable[[str], str] = str
    bleu_tokenize: TextTokenizer | None = None
    rouge_l_power: float = 1.0
    libraries: tuple[str, ...] = ()
    equal_to: tuple[str, ...] = ("rouge-score 0.1.2", "sacrebleu 2")
    compute: Callable[[Sequence[str], Sequence[str]], dict[str, NDArray[np.float64]]] | None = None


def _sentences_zh(text: str) -> str:
    """A line for each sentence, so that rougeLsum sees them."""
    return text.replace("。", "。\n")


def _marked_sentences_zh(text: str) -> str:
    return text.replace("。", "。0\n")


def _as_llamafactory(predictions: Sequence[str], references: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    from rolesum.metrics.llamafactory import similarities

    return similarities(predictions, references)


SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        Scorer(
            name="csds",
            version=2,  # 2: BLEU against all references of a pair, not the first; chrF
            language="zh",
            description="CSDS protocol: character ROUGE-1/2/Lsum over sentences, character BLEU",
            measures=("rouge1", "rouge2", "rougeLsum"),
            tokenize=characters,
            prepare=_sentences_zh,
            bleu_tokenize=characters_without_space,
        ),
        Scorer(
            name="csds-glc",
            version=1,
            language="zh",
            description='csds with a token "0" counted after each "。", as BART-GLC\'s script and newer files2rouge do',
            measures=("rouge1", "rouge2", "rougeLsum"),
            tokenize=characters,
            prepare=_marked_sentences_zh,
            bleu_tokenize=characters_without_space,
        ),
        Scorer(
            name="samsum",
            version=1,
            language="en",
            description="rouge-score with stemming, ROUGE-L on the whole text; rougeLsum on lines",
            measures=("rouge1", "rouge2", "rougeL", "rougeLsum"),
            tokenize=stems,
            bleu_tokenize=mteval,
            libraries=("nltk", "sacrebleu"),
        ),
        Scorer(
            name="samsum-pyrouge",
            version=1,
            language="en",
            description="py-rouge compatible, as SAMSum's first papers: ROUGE-L of P and R to the power 1/1.2",
            measures=("rouge1", "rouge2", "rougeL"),
            tokenize=stems,
            rouge_l_power=1 / 1.2,
            libraries=("nltk",),
            equal_to=(),
        ),
        Scorer(
            name="hf",
            version=1,
            language="en",
            description="rouge-score without stemming: the default of Hugging Face evaluate",
            measures=("rouge1", "rouge2", "rougeL", "rougeLsum"),
            bleu_tokenize=mteval,
            libraries=("sacrebleu",),
        ),
        Scorer(
            name="llamafactory",
            version=1,
            language="zh",
            description="LLaMA-Factory's: jieba words, rouge-chinese, character BLEU-4 (extra llamafactory)",
            measures=("rouge1", "rouge2", "rougeL", "bleu4"),
            libraries=("jieba", "rouge-chinese", "nltk"),
            equal_to=(),
            compute=_as_llamafactory,
        ),
    )
}

DEFAULT_SCORER = {"zh": "csds", "en": "samsum"}

# The measures that tables show, and how they are headed.
HEADINGS = {
    "rouge1": "R-1",
    "rouge2": "R-2",
    "rougeL": "R-L",
    "rougeLsum": "R-Lsum",
    "bleu": "BLEU",
    "bleu4": "BLEU-4",
    "chrf": "chrF",
}


def get_scorer(name: str) -> Scorer:
    if name not in SCORERS:
        raise UsageError(f'unknown scorer "{name}"', fix=did_you_mean(name, SCORERS))
    return SCORERS[name]


def software(found: Mapping[str, Any]) -> str:
    """What stands behind a name of a scorer in brackets: "equal to rouge-score 0.1.2; nltk 3.10.4", from results.json.

    Results of version 0.1 have no "equal_to".
    """
    equal_to = " and ".join(found.get("equal_to", ()))
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    return "; ".join(part for part in (equal_to and f"equal to {equal_to}", libraries) if part)


def default_scorer(pairs: Pairs) -> str:
    """The usual scorer for the references' language."""
    return DEFAULT_SCORER[detect_language(" ".join(text for _, several in pairs for text in several))]


def score(name: str, pairs: Pairs, multi_reference: MultiReference = "mean") -> Score:
    """Score predictions against their references.

    ROUGE is the mean of F1 over the pairs, times 100; `multi_reference` says whether several references of a pair
    count by the mean or by the best of each measure. BLEU and chrF are the corpus's, against all references. Raises
    DataError for texts in a language that the scorer misjudges.
    """
    scorer = get_scorer(name)
    if not pairs:
        raise DataError("nothing to score", fix="check the files and the roles")
    check_language(scorer, pairs)
    blocks = [pairs[begin : begin + PAIRS_PER_BLOCK] for begin in range(0, len(pairs), PAIRS_PER_BLOCK)]
    if len(blocks) == 1:
        found = [_score_block(scorer, multi_reference, pairs)]
    else:
        with ThreadPoolExecutor(THREADS) as threads:  # numpy lets go of the interpreter for its long loops
            found = list(threads.map(lambda block: _score_block(scorer, multi_reference, block), blocks))
    joined = {
        measure: replace(found[0][measure], rows=np.concatenate([of[measure].rows for of in found]))
        for measure in found[0]
    }
    per_pair = {measure: joined[measure].rows[:, 0].tolist() for measure in scorer.measures}
    several = any(len(texts) > 1 for _, texts in pairs)
    return Score(
        scorer.name,
        scorer.version,
        {library: metadata.version(library) for library in scorer.libraries},
        scorer.equal_to,
        multi_reference if several else "single",
        {measure: statistic.value for measure, statistic in joined.items()},
        per_pair,
        joined,
    )


def _score_block(scorer: Scorer, several: MultiReference, pairs: Pairs) -> dict[str, Statistic]:
    """Each measure's statistic; those of ROUGE are means over the pairs."""
    predictions = [prediction for prediction, _ in pairs]
    references = [texts for _, texts in pairs]
    counts = np.array([len(texts) for texts in references])
    owners = np.repeat(np.arange(len(pairs)), counts)
    flat = [text for texts in references for text in texts]
    join = np.maximum if several == "best" else np.add
    begins = np.cumsum(counts) - counts
    found: dict[str, Statistic] = {}
    for measure, values in _by_reference(scorer, predictions, flat, owners).items():
        joined = join.reduceat(values, begins) / (1 if several == "best" else counts)
        found[measure] = bootstrap.mean(100 * joined)
    if scorer.bleu_tokenize:
        found["bleu"] = bleu.bleu(predictions, references, scorer.bleu_tokenize)
        found["chrf"] = bleu.chrf(predictions, references)
    return found


def _by_reference(
    scorer: Scorer, predictions: Sequence[str], references: Sequence[str], owners: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Each measure's value, 0 to 1, for each reference; `owners` is the position of its prediction."""
    if scorer.compute:
        return scorer.compute([predictions[owner] for owner in owners], references)
    predicted = scorer.tokenize([scorer.prepare(text) for text in predictions])
    reference_tokens = scorer.tokenize([scorer.prepare(text) for text in references])
    if len(owners) > len(predictions):
        predicted = predicted.take(owners)
    return _rouge_f1(scorer, predicted, reference_tokens, scorer.measures)


def _rouge_f1(
    scorer: Scorer, predictions: TokenizedTexts, references: TokenizedTexts, measures: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """F1 of each measure, (pairs,), 0 to 1."""
    found = rouge(predictions, references, measures)
    return {measure: of.f1(scorer.rouge_l_power if measure == "rougeL" else 1.0) for measure, of in found.items()}


def pairwise_rouge_f1(scorer: Scorer, texts: Sequence[str]) -> NDArray[np.float64]:
    """How similar each text is to each other one, (texts, texts), 0 to 1.

    Entry (i, j) is the mean of the scorer's first three measures (ROUGE-1, 2 and L F1) with text i as the prediction
    and text j as the reference. Used for minimum Bayes risk reranking.
    """
    count = len(texts)
    prediction, reference = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
    measures = scorer.measures[:PAIRWISE_MEASURES]
    if scorer.compute:
        values = scorer.compute([texts[n] for n in prediction.tolist()], [texts[n] for n in reference.tolist()])
    else:
        tokens = scorer.tokenize([scorer.prepare(text) for text in texts])
        values = _rouge_f1(scorer, tokens.take(prediction), tokens.take(reference), measures)
    mean: NDArray[np.float64] = np.mean([values[measure] for measure in measures], axis=0).reshape(count, count)
    return mean


def check_language(scorer: Scorer, pairs: Pairs) -> None:
    """Refuse references in a language that the scorer misjudges: rouge-score keeps [a-z0-9] only, and would print 4.79.

    A scorer of Chinese looks at all references together (a Chinese set may hold a pair of product names); a word
    scorer at each pair, because one pair in another script is scored as empty.
    """
    references = [" ".join(several) for _, several in pairs]
    if scorer.language == "en":
        bad = [place for place, text in enumerate(references) if not _is_latin(text)]
        if bad:
            what = f"scorer {scorer.name} reads a-z and 0-9 only; another script in {len(bad)} of {len(references)}"
            chinese = detect_language(references[bad[0]]) == "zh"
            fix = "use --scorer csds for Chinese" if chinese else "leave these texts out"
            raise DataError(f"{what} references, first: {references[bad[0]][:40]!r}", fix=fix)
    elif detect_language(" ".join(references)) != scorer.language:
        raise DataError(f"scorer {scorer.name} is for Chinese; the references are not", fix="use --scorer samsum")


def _is_latin(text: str) -> bool:
    if text.isascii():
        return True
    letters = [character for character in text if character.isalpha()]
    return not letters or sum(character.isascii() for character in letters) / len(letters) >= 0.5
