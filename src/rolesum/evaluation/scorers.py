"""Named scorers: each is one exact recipe for ROUGE (and BLEU), and refuses texts that it would misjudge.

A ROUGE figure without its recipe means nothing: one output scores ROUGE-L 44.7 or 50.8 by the tool used. Every result
carries the scorer's name, its version and the versions of the libraries behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from rolesum.dialogue import language_of
from rolesum.errors import DataError, UsageError, did_you_mean

Pairs = Sequence[tuple[str, Sequence[str]]]  # prediction and its references


@dataclass(frozen=True)
class Score:
    """What a scorer found: means in percent, and each pair's values for intervals and comparisons."""

    scorer: str
    version: int
    libraries: Mapping[str, str]
    references: str  # how several references were joined: "single" or "mean"
    means: Mapping[str, float]
    per_pair: Mapping[str, Sequence[float]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scorer:
    """One recipe. `prepare` is applied to both texts; `tokenizer` is rouge-score's, None for its own."""

    name: str
    version: int
    language: str
    description: str
    measures: tuple[str, ...]
    tokenizer: Callable[[], Any] | None = None
    stemming: bool = False
    prepare: Callable[[str], str] = str
    bleu_tokenize: str | None = None


class _Characters:
    """Every character but the newline is a token (rouge-score's tokenizer interface)."""

    def tokenize(self, text: str) -> list[str]:
        return [character for character in text if character != "\n"]


def _sentences_zh(text: str) -> str:
    """A line for each sentence, so that rougeLsum sees them."""
    return text.replace("。", "。\n")


SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        Scorer(
            name="csds",
            version=1,
            language="zh",
            description="CSDS protocol: character ROUGE-1/2/Lsum over sentences, character BLEU",
            measures=("rouge1", "rouge2", "rougeLsum"),
            tokenizer=_Characters,
            prepare=_sentences_zh,
            bleu_tokenize="char",
        ),
        Scorer(
            name="samsum",
            version=1,
            language="en",
            description="rouge-score with stemming, ROUGE-L on the whole text; rougeLsum on lines",
            measures=("rouge1", "rouge2", "rougeL", "rougeLsum"),
            stemming=True,
        ),
    )
}

DEFAULT_SCORER = {"zh": "csds", "en": "samsum"}

# The measures that tables show, and how they are headed.
HEADINGS = {"rouge1": "R-1", "rouge2": "R-2", "rougeL": "R-L", "rougeLsum": "R-Lsum", "bleu": "BLEU"}


def get_scorer(name: str) -> Scorer:
    if name not in SCORERS:
        raise UsageError(f'unknown scorer "{name}"', fix=did_you_mean(name, SCORERS))
    return SCORERS[name]


def score(name: str, pairs: Pairs) -> Score:
    """Score predictions against their references.

    ROUGE is the mean of F1 over the pairs, times 100; with several references of a pair, their mean. BLEU is the
    corpus's, over first references. Raises DataError for texts in a language that the scorer misjudges.
    """
    scorer = get_scorer(name)
    if not pairs:
        raise DataError("nothing to score", fix="check the files and the roles")
    check_language(scorer, pairs)
    per_pair = _rouge(scorer, pairs)
    means = {measure: sum(values) / len(values) for measure, values in per_pair.items()}
    libraries = {"rouge-score": metadata.version("rouge-score")}
    if scorer.bleu_tokenize:
        means["bleu"] = _bleu(scorer, pairs)
        libraries["sacrebleu"] = metadata.version("sacrebleu")
    several = any(len(references) > 1 for _, references in pairs)
    return Score(scorer.name, scorer.version, libraries, "mean" if several else "single", means, per_pair)


def _rouge(scorer: Scorer, pairs: Pairs) -> dict[str, list[float]]:
    from rouge_score import rouge_scorer

    tokenizer = scorer.tokenizer() if scorer.tokenizer else None
    rouge = rouge_scorer.RougeScorer(list(scorer.measures), use_stemmer=scorer.stemming, tokenizer=tokenizer)
    per_pair: dict[str, list[float]] = {measure: [] for measure in scorer.measures}
    for prediction, references in pairs:
        made = scorer.prepare(prediction)
        found = [rouge.score(scorer.prepare(reference), made) for reference in references]
        for measure, values in per_pair.items():
            values.append(100 * sum(one[measure].fmeasure for one in found) / len(found))
    return per_pair


def _bleu(scorer: Scorer, pairs: Pairs) -> float:
    import sacrebleu

    predictions = [prediction for prediction, _ in pairs]
    first = [references[0] for _, references in pairs]
    return float(sacrebleu.corpus_bleu(predictions, [first], tokenize=scorer.bleu_tokenize).score)


def check_language(scorer: Scorer, pairs: Pairs) -> None:
    """Refuse references in a language that the scorer misjudges: rouge-score keeps [a-z0-9] only, and would print 4.79.

    A character scorer looks at all references together (a Chinese set may hold a pair of product names); a word scorer
    at each pair, because one pair in another script is scored as empty.
    """
    references = [" ".join(several) for _, several in pairs]
    if scorer.tokenizer is None:
        bad = [place for place, text in enumerate(references) if not _is_latin(text)]
        if bad:
            what = f"scorer {scorer.name} reads a-z and 0-9 only; another script in {len(bad)} of {len(references)}"
            chinese = language_of(references[bad[0]]) == "zh"
            fix = "use --scorer csds for Chinese" if chinese else "leave these texts out"
            raise DataError(f"{what} references, first: {references[bad[0]][:40]!r}", fix=fix)
    elif language_of(" ".join(references)) != scorer.language:
        raise DataError(f"scorer {scorer.name} is for Chinese; the references are not", fix="use --scorer samsum")


def _is_latin(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return not letters or sum(character.isascii() for character in letters) / len(letters) >= 0.5
