"""What a recipe's runs minimize: the summed loss of a batch, and what it is divided by over the whole optimizer step.

Each is a sum over the batches of a step, so that accumulation and several processes change nothing:

- of summaries, the cross-entropy of their tokens, divided by the number of these tokens;
- of summaries and statements, sum(w * cross-entropy) / sum(w), with w = 1 for a token of a summary and w =
  verify.weight for the one token that answers whether the dialogue says a statement;
- of pairs, the loss of preference.py, divided by the number of pairs.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch

from rolesum.recipe import Recipe
from rolesum.training.loss import Reduce, sum_losses
from rolesum.training.preference import preference_loss

# What the summed loss of a batch is divided by.
Count = Callable[[Mapping[str, torch.Tensor]], float]


def loss_of_recipe(recipe: Recipe) -> Reduce:
    """The summed loss of a batch, from the cross-entropy of each target token."""
    if recipe.preference:
        return partial(preference_loss, preference=recipe.preference)
    return weighted_sum if recipe.verify else sum_losses


def count_of_recipe(recipe: Recipe) -> Count:
    """What the loss of a batch is divided by, summed over the step."""
    if recipe.preference:
        return count_pairs
    return count_weights if recipe.verify else count_targets


def weighted_sum(losses: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The sum of losses (targets,), each times the weight of its example: (), float32."""
    return (losses * batch["weights"].repeat_interleave(batch["target_counts"])).sum()


def count_targets(batch: Mapping[str, torch.Tensor]) -> float:
    """The number of target tokens."""
    return batch["target_ids"].numel()


def count_weights(batch: Mapping[str, torch.Tensor]) -> float:
    """The sum of the target tokens' weights."""
    return float((batch["weights"] * batch["target_counts"]).sum())


def count_pairs(batch: Mapping[str, torch.Tensor]) -> float:
    """The number of pairs."""
    return batch["references"].numel() // 2
