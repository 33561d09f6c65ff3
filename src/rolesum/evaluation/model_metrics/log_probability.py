"""The log-probability of given summaries under a model, token by token (BARTScore: Yuan et al. 2021, arXiv 2106.11520).

The model reads the dialogue and the instruction of the summary's role, as in training, and each token of the summary is
scored behind those before it. The end of the answer is one of them: a summary that stops too early is unlikely there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rolesum.dialogue import Bundle
from rolesum.errors import DataError

if TYPE_CHECKING:
    import torch

    from rolesum.instructions import PromptLayout
    from rolesum.models.prompt_model import LoadedModel

TOKENS_PER_BATCH = 4096


def summary_logprobs(
    loaded: "LoadedModel", layout: "PromptLayout", bundles: Sequence[Bundle]
) -> list[list[list[float]]]:
    """For each bundle, for each of its examples, the log-probability of each token of its target.

    Where the model allows it, a dialogue is computed once for all its summaries. Raises DataError with all the
    dialogues whose summaries do not fit the model.
    """
    from rolesum.training.batching import split_to_budget
    from rolesum.training.encode import encode_bundles
    from rolesum.training.forward import outputs_by_batch

    spec = loaded.encoder_decoder_spec
    try:
        encoded = encode_bundles(
            bundles,
            layout,
            loaded.encoder,
            max_length=loaded.max_length,
            target_length=spec.target_length if spec else None,
            share_prefix=loaded.shares_prefix,
        ).bundles
    except DataError as error:  # whose advice is for training
        fix = "leave it out, or use a model that reads more"
        raise DataError([replace(problem, fix=fix) for problem in error.problems]) from None
    budget = max([TOKENS_PER_BATCH, *(one.longest_example for one in encoded)])
    parts = split_to_budget(encoded, budget)
    computed: list[list[list[float]]] = [[] for _ in parts]
    for samples, losses in outputs_by_batch(
        loaded, parts, budget, _token_losses, label="log-probability", device=loaded.device
    ):
        first = 0
        for sample in samples:
            for branch in parts[sample.index].branches:
                computed[sample.index].append([-one for one in losses[first : first + branch.targets]])
                first += branch.targets
    in_order = iter(logprobs for of_part in computed for logprobs in of_part)
    return [[next(in_order) for _ in bundle.examples] for bundle in bundles]


def _token_losses(losses: "torch.Tensor", _: "dict[str, torch.Tensor]") -> "torch.Tensor":
    return losses
