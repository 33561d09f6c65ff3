"""The training loss of a batch: the model's body, then its head on the positions that predict a target token only.

`summed_loss` replaces a model's forward with this while it trains, so that PEFT, DDP and the Trainer call it through
their own wrappers as they would call the model's. Shapes are those of collate.py: `rows` bundles of up to `length`
tokens, or `source` and `target` tokens of encoder-decoders; `hidden` is the model's width, and `targets` the number of
target tokens of the whole batch.
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

# Target positions whose logits exist at one time: 1,024 of a vocabulary of 262,144 take 1 GiB in float32.
LOGITS_CHUNK = 1024
# The same under a frozen head: on a CPU, so few that the logits stay in its cache.
FROZEN_HEAD_CHUNK = {"cpu": 128}


# Makes a batch's loss of the cross-entropy of each of its target tokens (targets,).
Reduce = Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor]


def sum_losses(losses: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The summed cross-entropy: ()."""
    return losses.sum()


@contextmanager
def summed_loss(causal_lm: PreTrainedModel, neftune_alpha: float, reduce: Reduce = sum_losses) -> Iterator[None]:
    """Inside, `causal_lm(**batch)` returns the summed cross-entropy over the batch's target tokens: (), float32.

    Another `reduce` makes another loss of the cross-entropy of each target token: see preference.py. In training mode
    NEFTune noise of `neftune_alpha` is added to the embeddings (0 adds none); never in evaluation.
    """

    def forward(self: PreTrainedModel, **inputs: Any) -> torch.Tensor:
        batch = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        return _summed_loss(self, batch, neftune_alpha if self.training else 0.0, reduce)

    with replaced_forward(causal_lm, MethodType(forward, causal_lm)):
        yield


@contextmanager
def replaced_forward(module: torch.nn.Module, forward: Callable[..., torch.Tensor]) -> Iterator[None]:
    """Inside, the module computes `forward`; afterwards what it did before: its class's, or an earlier replacement."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def _summed_loss(model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float, reduce: Reduce) -> torch.Tensor:
    if model.config.is_encoder_decoder:
        hidden = _decoder_hidden_states(model, batch, alpha)
    elif uses_segment_attention(model):
        hidden = _packed_hidden_states(model, batch, alpha)
    else:
        hidden = _padded_hidden_states(model, batch, alpha)
    return reduce(_target_losses(model, hidden, batch["target_ids"]), batch)


def _padded_hidden_states(model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float) -> torch.Tensor:
    """The hidden states that predict a target token (targets, hidden), from padded rows (rows, length, hidden).

    A row of one branch is a plain left-to-right text, which needs no mask: padding on its right changes nothing.
    """
    options: dict[str, Any] = {}
    if int(batch["branches"].max()) > 1:
        positions, visible = batch["position_ids"], bundle_visibility(batch["branches"])
        mask = make_attention_mask(model.config.get_text_config(), visible, positions, positions, model.dtype)
        options = {"attention_mask": mask, "position_ids": positions}
    with _noisy_embedding(model, batch, alpha, slice(None)):
        hidden = backbone(model)(input_ids=batch["input_ids"], use_cache=False, **options)[0]  # (rows, length, hidden)
    chosen: torch.Tensor = hidden.flatten(0, 1)[batch["predicting"]]
    return chosen


def _packed_hidden_states(model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float) -> torch.Tensor:
    """The same (targets, hidden), from all rows packed into one without padding: (1, tokens, hidden)."""
    kept = batch["branches"].flatten() >= 0  # (rows * length,)
    mask = segment_mask(model.config.get_text_config(), segment_table(batch["branches"]))
    with _noisy_embedding(model, batch, alpha, kept):
        hidden: torch.Tensor = backbone(model)(
            input_ids=batch["input_ids"].flatten()[kept][None],
            position_ids=batch["position_ids"].flatten()[kept][None],
            attention_mask=mask,
            use_cache=False,
        )[0]
    return hidden[0, (kept.cumsum(0) - 1)[batch["predicting"]]]


@contextmanager
def _noisy_embedding(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float, kept: torch.Tensor | slice
) -> Iterator[None]:
    """Inside, the embedding returns its vectors with NEFTune noise, by the true length of each example.

    `kept` are the flat positions of (rows * length) that the model is given. The model gets token ids, not vectors:
    Gemma 3n and 4 look up a second embedding for every layer.
    """
    if alpha == 0:
        yield
        return
    embedding = model.get_input_embeddings()
    plain = embedding.forward

    def noised(ids: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = plain(ids)  # (rows, length, hidden)
        lengths, seeds = batch["example_lengths"], batch["noise_seeds"]
        noise = neftune_noise(lengths, seeds, vectors.shape[-1], alpha, vectors.dtype)
        return vectors + noise.flatten(0, 1)[kept].view_as(vectors)

    with replaced_forward(embedding, noised):
        yield


def _decoder_hidden_states(model: PreTrainedModel, batch: dict[str, torch.Tensor], alpha: float) -> torch.Tensor:
    """The same (targets, hidden), from the decoder over padded sources; targets, padded on the right, need no mask."""
    mask = batch["attention_mask"]
    with _noisy_encoder_embedding(model, mask, batch["noise_seeds"], alpha):
        memory = run_encoder(model, batch["input_ids"], mask)
    hidden = run_decoder(model, batch["decoder_input_ids"], memory, mask)
    return hidden.flatten(0, 1)[batch["predicting"]]


@contextmanager
def _noisy_encoder_embedding(
    model: PreTrainedModel, mask: torch.Tensor, seeds: torch.Tensor, alpha: float
) -> Iterator[None]:
    """Inside, the encoder's embedding returns its vectors with NEFTune noise, by the length of each source.

    The noise is added to the embedding's output, because encoders treat `inputs_embeds` differently: Pegasus scales
    the embedding's output, but not `inputs_embeds`.
    """
    if alpha == 0:
        yield
        return
    embedding = model.get_encoder().get_input_embeddings()
    plain = embedding.forward

    def noised(ids: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = plain(ids)  # (rows, source, hidden)
        lengths = mask * mask.sum(1, keepdim=True)  # (rows, source)
        lengths = functional.pad(lengths, (0, ids.shape[1] - mask.shape[1]))  # LED pads further
        return vectors + neftune_noise(lengths, seeds, vectors.shape[-1], alpha, vectors.dtype)

    with replaced_forward(embedding, noised):
        yield


def _target_losses(model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss of each target (targets,), float32, from hidden states (targets, hidden).

    The head is applied chunk by chunk, inside one call of its module.

    In that call's hooks FSDP gathers the head's weight. Were the module called for each chunk, it would be gathered for
    each of them in the backward, and processes with different numbers of chunks would wait for each other forever.
    """
    head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # not annotated
    plain = head.forward

    def chunked(hidden: torch.Tensor) -> torch.Tensor:
        if not any(parameter.requires_grad for parameter in head.parameters()):
            losses: torch.Tensor = FrozenHeadLosses.apply(  # type: ignore[no-untyped-call]  # torch does not annotate
                hidden, targets, lambda some: apply_lm_head(model, some, plain)
            )
            return losses
        if len(targets) <= LOGITS_CHUNK:
            return _chunk_losses(model, plain, hidden, targets)
        chunks = zip(torch.split(hidden, LOGITS_CHUNK), torch.split(targets, LOGITS_CHUNK), strict=True)
        return torch.cat([checkpoint(_chunk_losses, model, plain, *chunk, use_reentrant=False) for chunk in chunks])

    with replaced_forward(head, chunked):
        found: torch.Tensor = head(hidden)
    return found


class FrozenHeadLosses(torch.autograd.Function):
    """The loss of each target (targets,) from hidden states (targets, hidden) under a head that is not trained.

    Each chunk's gradient, softmax minus one at the target, is computed together with its loss, so that only one chunk's
    logits (chunk, vocabulary) exist at a time, and the head multiplies once each way. `logits_of` returns float32.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, logits_of: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        needs_grad: bool = ctx.needs_input_grad[0]
        size = FROZEN_HEAD_CHUNK.get(hidden.device.type, LOGITS_CHUNK)
        losses: list[torch.Tensor] = []  # (chunk,) each
        grads: list[torch.Tensor] = []  # (chunk, hidden) each
        for some, expected in zip(torch.split(hidden, size), torch.split(targets, size), strict=True):
            with torch.set_grad_enabled(needs_grad):
                leaf = some.detach().requires_grad_(needs_grad)
                scores = logits_of(leaf)
            likelihood = functional.log_softmax(scores.detach(), dim=-1)
            losses.append(functional.nll_loss(likelihood, expected, reduction="none"))
            if needs_grad:
                scores_grad = likelihood.exp_()
                scores_grad[torch.arange(len(expected), device=expected.device), expected] -= 1
                grads += torch.autograd.grad(scores, leaf, scores_grad)
        if needs_grad:
            ctx.save_for_backward(torch.cat(grads))
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (hidden_grad,) = ctx.saved_tensors
        return (hidden_grad * grads[0][:, None]).to(hidden_grad.dtype), None, None


def _chunk_losses(
    model: PreTrainedModel, head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    return functional.cross_entropy(apply_lm_head(model, hidden, head), targets, reduction="none")
