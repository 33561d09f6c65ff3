"""The training loss of a batch of bundles: the body, then the head on the positions that predict a target only.

`summed_loss` puts this in the place of a model's forward while it trains, so that PEFT, DDP and the Trainer
call it through their own wrappers as they would call the model's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from rolesum.models.attention.masks import bundle_visibility, make_attention_mask
from rolesum.models.attention.segments import segment_mask, segment_table, uses_segment_attention
from rolesum.models.encoder_decoder import run_decoder, run_encoder
from rolesum.models.lm_head import apply_lm_head, backbone
from rolesum.training.neftune import neftune_noise

# Target positions whose logits exist at one time: 1,024 rows of 262,144 words are 1 GiB in float32.
LOGITS_CHUNK = 1024
# The same under a frozen head: on a processor, so few that the logits stay in its cache.
FROZEN_HEAD_CHUNK = {"cpu": 128}


@contextmanager
def summed_loss(causal_lm: PreTrainedModel, neftune_alpha: float) -> Iterator[None]:
    """Inside, `causal_lm(**batch)` gives the summed loss over the batch's target tokens (a scalar, float32).

    In training mode with NEFTune noise of `neftune_alpha` (0 is none); never in evaluation mode.
    """

    def forward(self: PreTrainedModel, **inputs: Any) -> torch.Tensor:
        batch = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        return _summed_loss(self, batch, neftune_alpha if self.training else 0.0)

    with _forward_of(causal_lm, MethodType(forward, causal_lm)):
        yield


@contextmanager
def _forward_of(module: torch.nn.Module, forward: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Inside, the module computes `forward`; after it what it did before: its class's, or another in its place."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def _summed_loss(model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float) -> torch.Tensor:
    if model.config.is_encoder_decoder:
        return _targets_loss(model, _hidden_of_decoder(model, batch, alpha), batch["target_ids"])
    embedded = model.get_input_embeddings()(batch["input_ids"])  # (rows, length, width)
    if alpha > 0:
        embedded = embedded + neftune_noise(
            batch["example_lengths"], batch["noise_seeds"], embedded.shape[-1], alpha, embedded.dtype
        )
    hidden = _hidden_of_segments if uses_segment_attention(model) else _hidden_of_rows
    return _targets_loss(model, hidden(model, embedded, batch), batch["target_ids"])


def _hidden_of_rows(model: PreTrainedModel, embedded: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The hidden states that predict a target (targets, width), from padded rows.

    A row of one branch is a plain left-to-right text, which needs no mask: padding on its right changes nothing.
    """
    how: dict[str, Any] = {}
    if int(batch["branches"].max()) > 1:
        positions, visible = batch["position_ids"], bundle_visibility(batch["branches"])
        mask = make_attention_mask(model.config.get_text_config(), visible, positions, positions, embedded.dtype)
        how = {"attention_mask": mask, "position_ids": positions}
    hidden = backbone(model)(inputs_embeds=embedded, use_cache=False, **how)[0]
    return hidden.flatten(0, 1)[batch["predicting"]]


def _hidden_of_segments(model: PreTrainedModel, embedded: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same, from all rows joined into one without padding."""
    kept = batch["branches"].flatten() >= 0
    mask = segment_mask(model.config.get_text_config(), segment_table(batch["branches"]))
    hidden = backbone(model)(
        inputs_embeds=embedded.flatten(0, 1)[kept][None],
        position_ids=batch["position_ids"].flatten()[kept][None],
        attention_mask=mask,
        use_cache=False,
    )[0]
    return hidden[0, (kept.cumsum(0) - 1)[batch["predicting"]]]


def _hidden_of_decoder(model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float) -> torch.Tensor:
    """The same, from the decoder over padded sources. The decoder needs no mask: padding is on its targets' right."""
    mask = batch["attention_mask"]
    with _noised(model, mask, batch["noise_seeds"], alpha):
        memory = run_encoder(model, batch["input_ids"], mask)
    hidden = run_decoder(model, batch["decoder_input_ids"], memory, mask)
    return hidden.flatten(0, 1)[batch["predicting"]]


@contextmanager
def _noised(model: PreTrainedModel, mask: torch.Tensor, seeds: torch.Tensor, alpha: float) -> Iterator[None]:
    """Inside, the encoder's embedding gives its vectors with noise, by the length of each source.

    The noise is added where the embedding's vectors come from, because encoders take ready ones differently: Pegasus
    scales its own behind the embedding, and ready ones not at all.
    """
    if alpha == 0:
        yield
        return
    embedding = model.get_encoder().get_input_embeddings()
    plain = embedding.forward

    def noised(ids: torch.Tensor) -> torch.Tensor:
        vectors = plain(ids)
        lengths = functional.pad(mask * mask.sum(1, keepdim=True), (0, ids.shape[1] - mask.shape[1]))  # LED pads more
        return vectors + neftune_noise(lengths, seeds, vectors.shape[-1], alpha, vectors.dtype)

    with _forward_of(embedding, noised):
        yield


def _targets_loss(model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The summed loss, chunk by chunk, inside one call of the head's module.

    In that call's hooks FSDP gathers the head's weight. Were the module called for each chunk, it would be gathered for
    each of them in the backward, and processes with different numbers of chunks would wait for each other for ever.
    """
    head = model.get_output_embeddings()
    plain = head.forward

    def chunked(hidden: torch.Tensor) -> torch.Tensor:
        if not any(parameter.requires_grad for parameter in head.parameters()):
            return FrozenHeadLoss.apply(hidden, targets, lambda some: apply_lm_head(model, some, plain))
        if len(targets) <= LOGITS_CHUNK:
            return _chunk_loss(model, plain, hidden, targets)
        chunks = zip(hidden.split(LOGITS_CHUNK), targets.split(LOGITS_CHUNK), strict=True)
        losses = [checkpoint(_chunk_loss, model, plain, *chunk, use_reentrant=False) for chunk in chunks]
        return torch.stack(losses).sum()

    with _forward_of(head, chunked):
        return head(hidden)


class FrozenHeadLoss(torch.autograd.Function):
    """The summed loss of hidden states (targets, width) under a head that is not trained.

    Each chunk's gradient, softmax less one at the target, is taken as soon as its loss is there, so that only one
    chunk's logits ever exist, and the head multiplies once each way. `logits_of` gives them as float32.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, logits_of: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        wanted = ctx.needs_input_grad[0]
        size = FROZEN_HEAD_CHUNK.get(hidden.device.type, LOGITS_CHUNK)
        total, grads = torch.zeros((), dtype=torch.float32, device=hidden.device), []
        for some, expected in zip(hidden.split(size), targets.split(size), strict=True):
            with torch.set_grad_enabled(wanted):
                leaf = some.detach().requires_grad_(wanted)
                scores = logits_of(leaf)
            likelihood = functional.log_softmax(scores.detach(), dim=-1)
            total += functional.nll_loss(likelihood, expected, reduction="sum")
            if wanted:
                scores_grad = likelihood.exp_()
                scores_grad[torch.arange(len(expected), device=expected.device), expected] -= 1
                grads += torch.autograd.grad(scores, leaf, scores_grad)
        if wanted:
            ctx.save_for_backward(torch.cat(grads))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (hidden_grad,) = ctx.saved_tensors
        return (hidden_grad * grads[0]).to(hidden_grad.dtype), None, None


def _chunk_loss(
    model: PreTrainedModel, head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    return functional.cross_entropy(apply_lm_head(model, hidden, head), targets, reduction="sum")
