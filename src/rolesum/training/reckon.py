"""What a training step costs in memory and arithmetic, from a model's shape alone: no weights are loaded."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from rolesum.models.loading import TextSide
from rolesum.models.quiet import quiet_transformers
from rolesum.recipe import Recipe
from rolesum.training.loss import CHUNK
from rolesum.training.trainable import trainable, trained_and_all

# A process that has imported torch and transformers, before a model is loaded.
INTERPRETER_BYTES = 500e6
# NF4 with its scales, per parameter.
FOUR_BIT_BYTES = 0.55


@dataclass(frozen=True)
class Shape:
    """A model's sizes, without its weights."""

    layers: int
    hidden: int
    inner: int
    heads_width: int
    vocabulary: int
    parameters: int
    trained: int
    body: int
    full: bool

    @classmethod
    def of(cls, side: TextSide, recipe: Recipe) -> "Shape":
        with quiet_transformers(), torch.device("meta"):
            model: nn.Module = AutoModelForCausalLM.from_config(side.config)
        table = model.get_input_embeddings().weight.numel()  # type: ignore[operator]
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight  # type: ignore[operator]
        own = sum(parameter.numel() for parameter in model.parameters())
        with torch.device("meta"):
            model = trainable(model, side.family, recipe)
        trained, everything = trained_and_all(model)
        config: Any = side.config.get_text_config()
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            inner=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            heads_width=heads * (getattr(config, "head_dim", None) or config.hidden_size // heads),
            vocabulary=config.vocab_size,
            parameters=everything,
            trained=trained,
            body=own - table * (1 if tied else 2),
            full=recipe.method == "full",
        )

    @property
    def forward_share(self) -> float:
        """The share of the forward in a training step: a frozen weight needs one product in the backward, not two."""
        return 1 / 3 if self.full else 1 / 2

    def flop(self, rows: int, length: int, targets: int) -> float:
        """Floating-point operations of a step on a batch: the body, attention, the head on the targets."""
        forward = 2 * rows * length * self.body + 2 * targets * self.hidden * self.vocabulary
        attention = 2 * 2 * rows * length**2 * self.heads_width * self.layers
        return forward / self.forward_share + 3.5 * attention

    def activation_bytes(self, recipe: Recipe, positions: int, targets: int, size: int) -> float:
        """What the forward keeps for the backward, with elements of `size` bytes: inputs of every product and norm."""
        layer = 4 * self.hidden + 5 * self.heads_width + 4 * self.inner
        kept = layer * self.layers
        if recipe.training.gradient_checkpointing:
            kept = self.hidden * self.layers + layer
        head = 3 * min(targets, CHUNK) * self.vocabulary * 4  # logits, their log-softmax and its gradient, in float32
        return positions * kept * size + head

    def memory(self, recipe: Recipe, positions: int, targets: int, dtype: torch.dtype, on_cpu: bool) -> float:
        """Peak bytes of a step: weights, gradients and AdamW's two moments in float32, activations."""
        weight = FOUR_BIT_BYTES if recipe.quantize else dtype.itemsize
        frozen = (self.parameters - self.trained) * weight
        trained = self.trained * 4 * (1 + 1 + 2)
        held = frozen + trained + self.activation_bytes(recipe, positions, targets, dtype.itemsize)
        return held + (INTERPRETER_BYTES if on_cpu else 0)
