"""BERTScore: how well the tokens of two texts match by the hidden states of a model (Zhang et al. 2020)."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolesum.errors import DataError, UsageError
from rolesum.evaluation.model_metrics.encoder import Encoder, load_encoder
from rolesum.evaluation.model_metrics.idf import InverseDocumentFrequency
from rolesum.evaluation.model_metrics.model_score import ModelScore
from rolesum.metrics.scorers import Pairs
from rolesum.os_errors import os_error

if TYPE_CHECKING:
    from torch import Tensor

MEASURES = ("precision", "recall", "f1")
# The layer that correlated best with people in the authors' tests, by the last part of the model's name.
RECOMMENDED_LAYER = {
    "bert-base-chinese": 8,
    "bert-base-multilingual-cased": 9,
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "distilbert-base-uncased": 5,
    "roberta-base": 10,
    "roberta-large": 17,
    "roberta-large-mnli": 19,
    "xlm-roberta-base": 9,
    "xlm-roberta-large": 17,
    "deberta-large-mnli": 18,
    "deberta-xlarge-mnli": 40,
}
CHUNK = 64  # pairs whose hidden states are held at once


def bertscore(
    pairs: Pairs,
    model: str | Encoder,
    *,
    layer: int | None = None,
    rescale: float | str | Path | None = None,
    idf: bool = False,
    device: str = "auto",
    batch_size: int = 32,
) -> ModelScore:
    """Precision, recall and F1 of each pair, times 100; with several references, the best of each measure.

    Each token is matched with the most similar one of the other text, by the cosine of their hidden states in `layer`
    (default: the authors' choice for models they tried, else the last). Control tokens can be matched but count
    nothing. `idf` weighs tokens by their frequency in the references. `rescale` is a baseline b, (x - b) / (1 - b), or
    a baseline file of the package bert-score (LAYER,P,R,F). An empty text scores 0. Zhang et al., ICLR 2020.
    """
    if not pairs:
        raise DataError("nothing to score", fix="check the files and the roles")
    encoder = load_encoder(model, device) if isinstance(model, str) else model
    used, chosen_by = _layer(encoder, layer)
    baseline, baseline_text = _baseline(rescale, used)
    texts = {text for prediction, references in pairs for text in (prediction, *references)}
    ids = {text: encoder.encode(text) for text in texts}
    rows = {text: row for text, (row, _) in ids.items()}
    frequency = InverseDocumentFrequency(rows[one] for _, several in pairs for one in several) if idf else None
    weights = {text: _weights(encoder, row, frequency) for text, row in rows.items()}
    values: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for chunk, hidden in hidden_by_chunk(encoder, pairs, rows, used, batch_size):
        for prediction, references in chunk:
            found = [_match(hidden[prediction], hidden[one], weights[prediction], weights[one]) for one in references]
            for place, measure in enumerate(MEASURES):
                best = max((one[place] for one in found if not math.isnan(one[place])), default=math.nan)
                values[measure].append(100 * (best - baseline[place]) / (1 - baseline[place]))
    facts = {
        **encoder.checkpoint.metadata,
        "unit": "percent",
        "layer": used,
        "layers": encoder.depth,
        "layer_chosen_by": chosen_by,
        "rescaling": baseline_text,
        "token_weights": "inverse document frequency in the references" if idf else "even",
        "multi_reference": "best of each measure" if any(len(several) > 1 for _, several in pairs) else "single",
        "space_before_text": encoder.prefix_space,
        "texts_truncated": sum(cut for _, cut in ids.values()),
    }
    return ModelScore("bertscore", facts, values)


def hidden_by_chunk(
    encoder: Encoder, pairs: Pairs, ids: dict[str, list[int]], layers: int | Sequence[int], batch_size: int
) -> Iterator[tuple[Pairs, dict[str, "Tensor"]]]:
    """Some pairs at a time, with the hidden states of their texts: (length, hidden), or (layers, length, hidden)."""
    wanted = [layers] if isinstance(layers, int) else list(layers)
    for begin in range(0, len(pairs), CHUNK):
        chunk = pairs[begin : begin + CHUNK]
        texts = list(dict.fromkeys(text for prediction, several in chunk for text in (prediction, *several)))
        states = encoder.hidden_states([ids[text] for text in texts], wanted, batch_size)
        if isinstance(layers, int):
            states = [one[0] for one in states]
        yield chunk, dict(zip(texts, states, strict=True))


def _match(
    predicted: "Tensor",
    reference: "Tensor",
    predicted_weights: "Tensor | None",
    reference_weights: "Tensor | None",
) -> tuple[float, float, float]:
    """Precision, recall and F1, 0 to 1, of hidden states (length, hidden) and weights that sum to 1; 0 of nothing."""
    if predicted_weights is None or reference_weights is None:
        return 0.0, 0.0, 0.0
    similar = _unit(predicted) @ _unit(reference).T  # (predicted, reference)
    precision = float((similar.max(dim=1).values * predicted_weights).sum())
    recall = float((similar.max(dim=0).values * reference_weights).sum())
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both and not math.isnan(both) else both


def _unit(states: "Tensor") -> "Tensor":
    unit: Tensor = states / states.norm(dim=-1, keepdim=True)
    return unit


def _weights(encoder: Encoder, ids: Sequence[int], frequency: InverseDocumentFrequency | None) -> "Tensor | None":
    """Each token's share, (length,), None for an empty text; NaN where all tokens of a text count nothing."""
    import torch

    counted = [token not in encoder.control_ids for token in ids]
    if not any(counted):
        return None
    raw = frequency(ids) if frequency else [1.0] * len(ids)
    weights = torch.tensor([value if counts else 0.0 for value, counts in zip(raw, counted, strict=True)])
    return weights / weights.sum()


def _layer(encoder: Encoder, layer: int | None) -> tuple[int, str]:
    if layer is not None:
        return encoder.check_layer(layer), "the user"
    known = RECOMMENDED_LAYER.get(Path(encoder.checkpoint.name).name)
    if known is not None and known <= encoder.depth:
        return known, "the authors of BERTScore"
    return encoder.depth, "default: the last layer"


def _baseline(rescale: float | str | Path | None, layer: int) -> tuple[tuple[float, float, float], Any]:
    """The baseline of precision, recall and F1, and what the result says of it."""
    if rescale is None:
        return (0.0, 0.0, 0.0), "none"
    try:
        value = float(rescale)  # type: ignore[arg-type]  # a path is no number, and raises
    except (TypeError, ValueError):
        return _baseline_file(Path(str(rescale)), layer)
    if not -1 < value < 1:
        raise UsageError(f"a baseline of {value}", fix="give a cosine below 1, such as 0.83, or a baseline file")
    return (value, value, value), {"baseline": value}


def _baseline_file(path: Path, layer: int) -> tuple[tuple[float, float, float], Any]:
    fix = "give a baseline file of bert-score, with the lines LAYER,P,R,F"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise os_error(error, "no baseline to read", path, fix, kind=UsageError) from None
    rows = [line.split(",") for line in text.splitlines()[1:] if line.strip()]
    try:
        found = {int(row[0]): (float(row[1]), float(row[2]), float(row[3])) for row in rows}
    except (ValueError, IndexError):
        raise DataError("not a baseline file", str(path), fix) from None
    if layer not in found:
        raise DataError(f"no baseline for layer {layer}", str(path), f"it has the layers {', '.join(map(str, found))}")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return found[layer], {"file": path.name, "sha256": digest, **dict(zip(MEASURES, found[layer], strict=True))}
