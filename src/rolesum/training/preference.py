"""Preference tuning on pairs of summaries (DPO): the chosen and the rejected one are two branches of a shared prefix.

With log p(y) the summed log-probability of the target tokens of a summary y under the model, log q(y) the same under
the reference, which is the model as it is before the first step, and |y| the number of its target tokens, the loss of
a pair of the chosen summary c and the rejected summary r is

    -log sigmoid(beta * (gain(c) - gain(r))) - sft * log p(c) / |c|,    gain(y) = log p(y) - log q(y)

(Rafailov et al. 2023, arXiv 2305.18290; the second term: Pang et al. 2024, arXiv 2404.19733). Length-normalized, each
gain is divided by |y| (Lambert et al. 2024, arXiv 2411.15124). No noise is added: the reference has none either.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.errors import UsageError
from rolesum.models.prompt_model import LoadedModel
from rolesum.recipe import Preference
from rolesum.training.encode import EncodedBundle
from rolesum.training.forward import outputs_by_batch

References = list[list[float]]  # of each bundle's branches


def preference_loss(losses: torch.Tensor, batch: dict[str, torch.Tensor], preference: Preference) -> torch.Tensor:
    """The summed loss of a batch's pairs: (), float32. `losses` is the cross-entropy of each target token (targets,).

    The batch's examples are pairs, the chosen one first; `references` (examples,) has log q of each.
    """
    counts = batch["target_counts"]
    logprobs = example_logprobs(losses, batch)  # (examples,)
    gains = logprobs - batch["references"]
    if preference.length_normalized:
        gains = gains / counts
    margins = preference.beta * (gains[::2] - gains[1::2])  # (pairs,)
    written = logprobs[::2] / counts[::2]
    return -(functional.logsigmoid(margins) + preference.sft * written).sum()


def example_logprobs(losses: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The summed log-probability of each example's target tokens (examples,), from their losses (targets,)."""
    counts = batch["target_counts"]
    return losses.new_zeros(len(counts)).index_add(0, torch.repeat_interleave(counts), -losses)


def compute_references(
    loaded: LoadedModel, bundles: Sequence[EncodedBundle], budget: int, device: torch.device, autocast: bool
) -> References:
    """The log-probability of every target by the model as it is, in batches of `budget` tokens, without dropout.

    `autocast` is for weights in float32 that are trained in bfloat16.
    """
    found: References = [[] for _ in bundles]
    outputs = outputs_by_batch(
        loaded, bundles, budget, example_logprobs, label="reference", device=device, autocast=autocast
    )
    for samples, logprobs in outputs:
        first = 0
        for sample in samples:
            end = first + len(bundles[sample.index].branches)
            found[sample.index], first = logprobs[first:end], end
    return found


def with_references(bundles: Sequence[EncodedBundle], references: References) -> list[EncodedBundle]:
    """The bundles with the reference's log-probability in each branch. Raises ValueError where they do not fit."""
    return [
        replace(
            bundle,
            branches=tuple(
                replace(branch, reference=value) for branch, value in zip(bundle.branches, values, strict=True)
            ),
        )
        for bundle, values in zip(bundles, references, strict=True)
    ]


def write_references(file: Path, references: dict[str, References]) -> None:
    """Write the log-probabilities of each data set, by which a resumed run goes on: floats are written exactly."""
    atomic_write_text(file, strict_json.dumps(references) + "\n")


def read_references(file: Path, sizes: dict[str, list[int]]) -> dict[str, References]:
    """The stored log-probabilities, of bundles of `sizes` branches. Raises UsageError where they do not fit."""
    try:
        stored: dict[str, References] = json.loads(file.read_text(encoding="utf-8"))
        fits = {name: [len(values) for values in stored[name]] for name in stored} == sizes
    except (OSError, ValueError, TypeError):
        fits = False
    if not fits:
        fix = "restore the file, or remove it: then --resume computes them again"
        raise UsageError("the log-probabilities of the reference model do not fit the data", str(file), fix)
    return stored
