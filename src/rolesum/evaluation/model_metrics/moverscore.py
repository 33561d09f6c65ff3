"""MoverScore: the cost of moving one text's meaning onto another's, by a model's hidden states (Zhao et al. 2019)."""

import string
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rolesum.errors import DataError, UsageError
from rolesum.evaluation.model_metrics.bertscore import hidden_by_chunk
from rolesum.evaluation.model_metrics.encoder import Encoder, load_encoder
from rolesum.evaluation.model_metrics.idf import InverseDocumentFrequency
from rolesum.evaluation.model_metrics.model_score import ModelScore
from rolesum.metrics.scorers import Pairs

if TYPE_CHECKING:
    from torch import Tensor

POOLED_LAYERS = 5
PUNCTUATION = frozenset(string.punctuation)
Floats = NDArray[np.float64]
Weigh = Callable[[Sequence[int]], list[float]]  # token ids to weights


def moverscore(
    pairs: Pairs,
    model: str | Encoder,
    *,
    power_means: bool = False,
    layer: int | None = None,
    n_gram: int = 1,
    idf: bool = True,
    stop_words: Collection[str] = (),
    device: str = "auto",
    batch_size: int = 32,
) -> ModelScore:
    """1 minus the earth mover's distance of each pair's tokens, times 100; with several references, their mean.

    Without `power_means` as the authors' moverscore_v2: one layer (default: the last), Euclidean distance, single
    tokens. With them as their moverscore: the minimum, mean and maximum of the last five layers side by side, squared
    Euclidean distance, n-grams of 1 or 2. Punctuation (ASCII), WordPiece continuations ("##") and `stop_words` are left
    out. Weights are inverse document frequencies, of predictions and of references each among themselves. An empty text
    scores 0; a pair without a token that counts is undefined. Zhao et al., EMNLP 2019. Needs the extra `moverscore`.
    """
    _check(pairs, power_means, layer, n_gram)
    emd = _earth_mover()
    encoder = load_encoder(model, device) if isinstance(model, str) else model
    layers = _layers(encoder, power_means, layer)
    texts = {text for prediction, references in pairs for text in (prediction, *references)}
    ids = {text: encoder.encode(text) for text in texts}
    rows = {text: row for text, (row, _) in ids.items()}
    weigh_predicted: Weigh = _even
    weigh_reference: Weigh = _even
    if idf:
        weigh_predicted = InverseDocumentFrequency(rows[prediction] for prediction, _ in pairs)
        weigh_reference = InverseDocumentFrequency(rows[one] for _, several in pairs for one in several)
    kept = {text: _kept(encoder, row, stop_words) for text, row in rows.items()}
    values: list[float] = []
    for chunk, hidden in hidden_by_chunk(encoder, pairs, rows, layers, batch_size):
        pooled = {text: _power_means(states) if power_means else states[0] for text, states in hidden.items()}
        for prediction, references in chunk:
            if not prediction.strip():
                values.append(0.0)
                continue
            predicted = _weighted_ngrams(
                pooled[prediction], weigh_predicted(rows[prediction]), kept[prediction], n_gram
            )
            written = [
                _weighted_ngrams(pooled[one], weigh_reference(rows[one]), kept[one], n_gram) for one in references
            ]
            values.append(100 * sum(_score(predicted, one, power_means, emd) for one in written) / len(written))
    facts = {
        **encoder.checkpoint.metadata,
        "unit": "percent",
        **_variant(power_means),
        "layers_used": layers,
        "layers": encoder.depth,
        "n_gram": n_gram,
        "token_weights": "inverse document frequency, each side by itself" if idf else "even",
        "left_out": "ASCII punctuation, WordPiece continuations" + (", stop words" if stop_words else ""),
        "stop_words": len(stop_words),
        "multi_reference": "mean" if any(len(several) > 1 for _, several in pairs) else "single",
        "texts_truncated": sum(cut for _, cut in ids.values()),
    }
    facts["libraries"] = {**facts["libraries"], "pot": metadata.version("pot")}
    return ModelScore("moverscore", facts, {"moverscore": values})


def _layers(encoder: Encoder, power_means: bool, layer: int | None) -> list[int]:
    """The layers whose states are compared: the last five with `power_means`, else one."""
    if power_means:
        return list(range(max(1, encoder.depth - POOLED_LAYERS + 1), encoder.depth + 1))
    return [encoder.check_layer(layer if layer is not None else encoder.depth)]


def _variant(power_means: bool) -> dict[str, str]:
    if power_means:
        return {"form": "power means (the authors' moverscore)", "distance": "squared Euclidean"}
    return {"form": "one layer (the authors' moverscore_v2)", "distance": "Euclidean"}


def _check(pairs: Pairs, power_means: bool, layer: int | None, n_gram: int) -> None:
    if not pairs:
        raise DataError("nothing to score", fix="check the files and the roles")
    if n_gram not in (1, 2):
        raise UsageError(f"MoverScore of {n_gram}-grams", fix="n_gram is 1 or 2")
    if n_gram == 2 and not power_means:
        what = "moverscore_v2 has no bigrams: it takes the option and ignores it"
        raise UsageError(what, fix="use n_gram 1, or power_means")
    if power_means and layer is not None:
        raise UsageError("power means take the last five layers", fix="leave the layer out, or power_means")


def _earth_mover() -> Callable[[Any, Any, Any], float]:
    """POT's exact earth mover's distance of two weightings and a matrix of costs."""
    try:
        import ot
    except ImportError:
        fix = "pip install 'rolesum[moverscore]'"
        raise UsageError("MoverScore needs the package POT, which is not installed", fix=fix) from None
    return lambda predicted, reference_ngrams, costs: float(ot.emd2(predicted, reference_ngrams, costs))


def _even(ids: Sequence[int]) -> list[float]:
    return [1.0] * len(ids)


def _kept(encoder: Encoder, ids: Sequence[int], stop_words: Collection[str]) -> list[int]:
    """The places of the tokens that count."""
    names = encoder.checkpoint.tokenizer.convert_ids_to_tokens(list(ids))
    words = [str(name).lstrip("Ġ▁") for name in names]
    return [
        place
        for place, word in enumerate(words)
        if word not in stop_words and "##" not in word and word not in PUNCTUATION
    ]


def _power_means(states: "Tensor") -> "Tensor":
    """(layers, length, hidden) -> (length, 3 hidden): minimum, mean and maximum over the layers' unit vectors."""
    import torch

    unit = states / states.norm(dim=-1, keepdim=True)
    return torch.cat([unit.amin(dim=0), unit.mean(dim=0), unit.amax(dim=0)], dim=-1)


@dataclass(frozen=True)
class _WeightedNgrams:
    """A text's n-grams: unit vectors (n-grams, hidden) and weights (n-grams,), as float64 arrays; weights may be 0."""

    vectors: Floats
    weights: Floats


def _weighted_ngrams(states: "Tensor", weights: Sequence[float], kept: Sequence[int], n_gram: int) -> _WeightedNgrams:
    """The n-grams of the kept tokens (a text that is shorter is one n-gram): weighted means, with summed weights."""
    vectors, shares = states.double().numpy()[list(kept)], np.asarray(weights, dtype=float)[list(kept)]
    width = max(1, min(n_gram, len(kept)))
    windows = range(len(kept) - width + 1) if len(kept) else ()
    sums = np.array([shares[place : place + width].sum() for place in windows])
    centers = [shares[place : place + width] @ vectors[place : place + width] for place in windows]
    solid = [place for place, total in enumerate(sums) if total > 0]
    if not solid:
        return _WeightedNgrams(vectors[:0], sums[:0])
    placed = np.stack([centers[place] for place in solid])
    return _WeightedNgrams(placed / np.linalg.norm(placed, axis=1, keepdims=True), sums[solid] / sums[solid].sum())


def _score(
    predicted: _WeightedNgrams, reference_ngrams: _WeightedNgrams, squared: bool, emd: Callable[[Any, Any, Any], float]
) -> float:
    """1 minus the distance; NaN where a side has no token that counts."""
    if not len(predicted.weights) or not len(reference_ngrams.weights):
        return float("nan")
    costs = np.maximum(2 - 2 * predicted.vectors @ reference_ngrams.vectors.T, 0)  # of unit vectors, squared distances
    return 1 - emd(predicted.weights, reference_ngrams.weights, costs if squared else np.sqrt(costs))
