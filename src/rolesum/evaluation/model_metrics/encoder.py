"""Load a checkpoint for a metric, and compute the hidden states of texts with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from rolesum.errors import ModelError, ResourceError, UsageError
from rolesum.os_errors import os_error

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Families whose byte-level tokenizers tell a word at the begin of a text from the same word behind a space: their texts
# get a space in front, as the authors of BERTScore have it.
PREFIX_SPACE = {"roberta", "gpt2", "bart", "longformer", "led", "deberta"}
# Families whose positions begin behind the padding id: two fewer tokens fit than the config says.
SHIFTED_POSITIONS = {"roberta", "xlm-roberta", "camembert", "longformer", "mpnet"}
NO_LIMIT = 1_000_000  # a tokenizer's length above this is no limit


class ForwardOutput(Protocol):
    """A model's output: hidden states of all layers, (batch, length, hidden) each, or logits, (batch, labels)."""

    hidden_states: Sequence["Tensor"]
    logits: "Tensor"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A model on its device with its tokenizer; `limit` is the tokens that fit, control tokens included."""

    name: str
    path: Path
    tokenizer: "PreTrainedTokenizerBase" = field(repr=False)
    model: "PreTrainedModel" = field(repr=False)
    device: "torch.device"
    max_tokens: int

    @property
    def metadata(self) -> dict[str, Any]:
        """Which model it is, with a hash of some of its weights, and the versions behind it."""
        from rolesum.models.adapters import compute_fingerprint

        return {
            "model": self.name,
            "architecture": type(self.model).__name__,
            "weights": compute_fingerprint(self.model, self.path)["weights"],
            "token_limit": self.max_tokens,
            "device": str(self.device),
            "libraries": {name: metadata.version(name) for name in ("torch", "transformers")},
        }

    def forward(self, ids: Sequence[Sequence[int]], **others: Any) -> ForwardOutput:
        """The model's output for rows of ids, padded on the right."""
        import torch

        pad = self.tokenizer.pad_token_id or 0
        width = max(map(len, ids))
        rows = torch.tensor([[*row, *[pad] * (width - len(row))] for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
        segments = others.pop("token_type_ids", None)
        if segments is not None:
            filled = [[*row, *[0] * (width - len(row))] for row in segments]
            others["token_type_ids"] = torch.tensor(filled).to(self.device)
        try:
            with torch.inference_mode():
                output: ForwardOutput = self.model(
                    input_ids=rows.to(self.device), attention_mask=mask.to(self.device), **others
                )
            return output
        except torch.OutOfMemoryError:
            fix = "use a smaller batch size, or the device cpu"
            raise ResourceError("the batch does not fit the device's memory", self.name, fix) from None


def load_checkpoint(name: str, auto: str, device: str = "auto") -> LoadedCheckpoint:
    """A checkpoint by directory, hub id or alias, in float32; `auto` is transformers' class, such as "AutoModel".

    Raises ModelError where it is not there or lacks tensors that the class needs, ResourceError where a download fails.
    """
    import torch
    import transformers

    from rolesum.models.checkpoint import load_config, load_tokenizer, raise_tensor_problems, read_config
    from rolesum.models.loading import find_model, pick_device
    from rolesum.models.transformers_logging import quiet_transformers

    chosen = pick_device(device)
    path = find_model(name)
    raw = read_config(path)
    with quiet_transformers():
        config = load_config(path)
        tokenizer = cast("PreTrainedTokenizerBase", load_tokenizer(path, raw))
        try:
            model, info = getattr(transformers, auto).from_pretrained(
                path,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # OSError, ValueError, RuntimeError: all mean a checkpoint that is no good for this
            fix = "name a whole model of the kind that the measure needs"
            raise os_error(error, "the model cannot be loaded", path, fix, kind=ModelError) from None
    missing = {key for key in info["missing_keys"] if auto != "AutoModel" or "pooler" not in key}
    fix = "name a model that was trained for this" if auto != "AutoModel" else "fetch the model again"
    raise_tensor_problems({"missing": missing}, str(path), fix)
    return LoadedCheckpoint(name, path, tokenizer, model.eval().to(chosen), chosen, _limit(tokenizer, config, name))


def _limit(tokenizer: "PreTrainedTokenizerBase", config: "PreTrainedConfig", name: str) -> int:
    text = config.get_text_config()
    positions = int(getattr(text, "max_position_embeddings", 0) or 0)
    if positions and config.model_type in SHIFTED_POSITIONS:
        positions -= 2
    stated = [int(one) for one in (tokenizer.model_max_length, positions) if 0 < one < NO_LIMIT]
    if not stated:
        raise ModelError("neither tokenizer nor config says how many tokens fit", name, "set model_max_length")
    return min(stated)


@dataclass(frozen=True)
class Encoder:
    """A checkpoint whose hidden states are read. `depth` is the number of its layers; layer 0 is the embeddings."""

    checkpoint: LoadedCheckpoint
    depth: int
    prefix_space: bool
    control_ids: frozenset[int]

    def encode(self, text: str) -> tuple[list[int], bool]:
        """The token ids of a text with the model's control tokens, and whether its end was cut to fit."""
        stripped = text.strip()
        shaped = f" {stripped}" if self.prefix_space and stripped else stripped
        whole = list(self.checkpoint.tokenizer(shaped, verbose=False)["input_ids"])
        if len(whole) <= self.checkpoint.max_tokens:
            return whole, False
        cut = self.checkpoint.tokenizer(shaped, truncation=True, max_length=self.checkpoint.max_tokens)
        return list(cut["input_ids"]), True

    def hidden_states(self, rows: Sequence[Sequence[int]], layers: Sequence[int], batch_size: int) -> list["Tensor"]:
        """For each row of ids the hidden states of `layers`, a float32 tensor (layers, length, hidden) on the CPU."""
        import torch

        found: list[Tensor | None] = [None] * len(rows)
        places = sorted((place for place, row in enumerate(rows) if row), key=lambda place: len(rows[place]))
        for begin in range(0, len(places), batch_size):
            batch = places[begin : begin + batch_size]
            output = self.checkpoint.forward([rows[place] for place in batch], output_hidden_states=True)
            chosen = torch.stack([output.hidden_states[layer] for layer in layers]).cpu()  # (layers, batch, length, h)
            for row, place in enumerate(batch):
                found[place] = chosen[:, row, : len(rows[place])].clone()
        empty = next((states[:, :0] for states in found if states is not None), torch.zeros(len(layers), 0, 1))
        return [empty if states is None else states for states in found]

    def check_layer(self, layer: int) -> int:
        """The layer, counted from the end where it is negative. Raises UsageError where the model has none such."""
        if not -self.depth <= layer <= self.depth:
            where = self.checkpoint.name
            raise UsageError(f"no layer {layer}", where, f"it has the layers 0 (embeddings) to {self.depth}")
        return layer if layer >= 0 else self.depth + 1 + layer


def load_encoder(name: str, device: str = "auto") -> Encoder:
    """Any model that transformers' AutoModel knows; of an encoder-decoder, its encoder. Raises as load_checkpoint."""
    loaded = load_checkpoint(name, "AutoModel", device)
    model, tokenizer = loaded.model, loaded.tokenizer
    config = model.config.get_text_config()
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
        loaded = LoadedCheckpoint(name, loaded.path, tokenizer, model, loaded.device, loaded.max_tokens)
    control = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return Encoder(
        loaded,
        int(config.num_hidden_layers),
        model.config.model_type in PREFIX_SPACE,
        frozenset(one for one in (*control, tokenizer.pad_token_id) if one is not None),
    )


def parse_model_layer(spec: str) -> tuple[str, int | None]:
    """ "MODEL@LAYER" or "MODEL" as name and layer. Raises UsageError for a layer that is no number."""
    name, mark, layer = spec.rpartition("@")
    if not mark:
        return spec, None
    try:
        return name, int(layer)
    except ValueError:
        raise UsageError(f'"{layer}" is not a layer', spec, "write MODEL@LAYER, such as bert-base-chinese@8") from None
