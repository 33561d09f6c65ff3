"""The scores that LLaMA-Factory prints for Chinese, for comparison; their scale differs from character ROUGE.

Words by jieba, rouge-1/2/l by rouge-chinese, BLEU-4 of one sentence's characters with NLTK's third smoothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rolesum.errors import UsageError

MEASURES = {"rouge1": "rouge-1", "rouge2": "rouge-2", "rougeL": "rouge-l"}


def similarities(predictions: Sequence[str], references: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """rouge1, rouge2, rougeL (F) and bleu4 of each pair, 0 to 1. Raises UsageError where the extra is not installed."""
    try:
        import jieba
        from rouge_chinese import Rouge
    except ImportError:
        fix = "pip install 'rolesum[llamafactory]'"
        raise UsageError("scorer llamafactory needs jieba and rouge-chinese", fix=fix) from None
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    jieba.setLogLevel("ERROR")
    rouge, smoothing = Rouge(), SmoothingFunction().method3
    found = {measure: np.zeros(len(predictions)) for measure in (*MEASURES, "bleu4")}
    for place, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        prediction_words, reference_words = (" ".join(jieba.cut(text)) for text in (prediction, reference))
        if prediction_words.split() and reference_words.split():
            of_pair = rouge.get_scores(prediction_words, reference_words)[0]
            for measure, their_name in MEASURES.items():
                found[measure][place] = of_pair[their_name]["f"]
        if prediction:
            found["bleu4"][place] = sentence_bleu([list(reference)], list(prediction), smoothing_function=smoothing)
    return found
