"""Encoder-decoders: the tokens around a source and a target, how the decoder begins, and calls of each half.

What is put around a text is read off the tokenizer's own output, so that a source looks as it did in pretraining:
`<s> … </s>` for BART, `… </s>` for T5, a language code before or after for mBART.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import EncoderDecoderCache, PretrainedConfig, PreTrainedModel

from rolesum.errors import ModelError
from rolesum.instructions import ChatFormat
from rolesum.models.checkpoint import read_json
from rolesum.models.families import OTHER_ENCODER_DECODER, Family
from rolesum.models.lm_head import apply_lm_head
from rolesum.models.protocols import Backbone, MultilingualTokenizer, Tokenizer

# mBART's codes of the languages that rolesum reads.
LANGUAGE_CODES = {"en": "en_XX", "zh": "zh_CN"}
# For checkpoints that state no length (T5 v1.1, mT5): relative positions have no limit of their own.
UNSTATED_LENGTH = 2048
# A tokenizer without a length of its own says 10^30.
_NO_LENGTH = 10**6
_PROBE = "x"


@dataclass(frozen=True, slots=True)
class EncoderDecoderSpec:
    """Lengths, first decoder token and source format of an encoder-decoder.

    Lengths are in tokens. `decoder_start` is None where the decoder begins with the last token of its target.
    `chat_formats` are by language, where tokens of a language stand around a text.
    """

    source_length: int
    target_length: int
    decoder_start: int | None
    chat_formats: Mapping[str, ChatFormat]

    def decoder_prompt(self, form: ChatFormat) -> list[int]:
        """The ids that the decoder starts with: its start token, and what every target begins with."""
        start = form.answer_end[-1] if self.decoder_start is None else self.decoder_start
        return [int(start), *map(int, form.answer_start)]


def encoder_decoder_spec(
    path: Path, config: PretrainedConfig, tokenizer: Tokenizer, family: Family
) -> EncoderDecoderSpec | None:
    """The spec of a checkpoint; None for a causal model. Raises ModelError where the checkpoint leaves it open."""
    if not family.encoder_decoder:
        return None
    source, target = _lengths(config, tokenizer)
    return EncoderDecoderSpec(source, target, _decoder_start(path, config, family), _formats(tokenizer, str(path)))


def frame(tokenizer: Tokenizer, place: str) -> ChatFormat:
    """The ids that the tokenizer puts around a source (head, tail) and around a target (answer_start, answer_end)."""
    try:
        head, tail = _around(tokenizer, tokenizer(_PROBE).input_ids)
        start, end = _around(tokenizer, tokenizer(text_target=_PROBE).input_ids)
    except Exception as error:  # tokenizers of languages raise many kinds where none is set
        what = f"the tokenizer does not encode a source and a target: {error}"
        raise ModelError(what, place, "set src_lang and tgt_lang in tokenizer_config.json") from None
    if not end:
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end-of-text token", place, "set eos_token in tokenizer_config.json")
        end = (tokenizer.eos_token_id,)
    return ChatFormat(head, tail, end, start)


def run_encoder(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The encoder's hidden states (batch, length, hidden) of sources (batch, length), padded where `mask` is 0."""
    encoder: Backbone = model.get_encoder()
    return encoder(input_ids=ids, attention_mask=mask)[0]


def run_decoder(
    model: PreTrainedModel,
    ids: torch.Tensor,
    memory: torch.Tensor,
    mask: torch.Tensor,
    cache: EncoderDecoderCache | None = None,
) -> torch.Tensor:
    """The decoder's hidden states (batch, length, hidden) of ids (batch, length) that follow those in the cache.

    `memory` is the encoder's output (batch, source length, hidden) and `mask` (batch, source length) its padding mask.
    """
    decoder: Backbone = model.get_decoder()  # type: ignore[no-untyped-call]  # not annotated
    return decoder(
        input_ids=ids,
        encoder_hidden_states=memory,
        encoder_attention_mask=mask,
        past_key_values=cache,
        use_cache=cache is not None,
    )[0]


def check_encoder_decoder(model: PreTrainedModel, family: Family, spec: EncoderDecoderSpec, place: str) -> None:
    """Raise ModelError where encoder, decoder and head together do not equal the model's own forward.

    Families of the table are covered by tests; another model is tried on a few tokens.
    """
    if family is OTHER_ENCODER_DECODER and not _halves_equal_forward(model, spec):
        what = f"{type(model).__name__} computes its logits in a way of its own"
        raise ModelError(what, place, "use a model of a family that rolesum models lists")


def _halves_equal_forward(model: PreTrainedModel, spec: EncoderDecoderSpec) -> bool:
    words = torch.arange(10, 22, device=model.device)[None] % model.config.get_text_config().vocab_size
    source, target = words[:, :7], words[:, 7:]
    start = target.new_full((1, 1), spec.decoder_start or 0)
    try:
        with torch.no_grad():
            expected = model(input_ids=source, labels=target).logits[0].float()
            mask = torch.ones_like(source)
            hidden = run_decoder(
                model, torch.cat([start, target[:, :-1]], dim=1), run_encoder(model, source, mask), mask
            )
            found = apply_lm_head(model, hidden[0])
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return False
    tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def _lengths(config: Any, tokenizer: Tokenizer) -> tuple[int, int]:
    stated = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not stated and tokenizer.model_max_length < _NO_LENGTH:
        stated = tokenizer.model_max_length
    both = int(stated or UNSTATED_LENGTH)
    source, target = (getattr(config, f"max_{side}_position_embeddings", None) for side in ("encoder", "decoder"))
    return int(source or both), int(target or both)


def _decoder_start(path: Path, config: PretrainedConfig, family: Family) -> int | None:
    if family.wraps_target:
        return None
    generation = read_json(path / "generation_config.json")
    for said in (getattr(config, "decoder_start_token_id", None), generation.get("decoder_start_token_id")):
        if isinstance(said, int):
            return said
    fix = "set decoder_start_token_id in config.json: T5's is the padding token's id"
    raise ModelError("the checkpoint does not say with which token its decoder begins", str(path), fix)


def _formats(tokenizer: Tokenizer, place: str) -> dict[str, ChatFormat]:
    """The chat format for each language of LANGUAGE_CODES that the tokenizer knows. The tokenizer is left as it was."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    multilingual = cast(MultilingualTokenizer, tokenizer)
    before, known = (multilingual.src_lang, multilingual.tgt_lang), tokenizer.get_vocab()
    formats = {}
    try:
        for language, code in LANGUAGE_CODES.items():
            if code in known:
                multilingual.src_lang = multilingual.tgt_lang = code
                formats[language] = frame(tokenizer, place)
    finally:
        multilingual.src_lang, multilingual.tgt_lang = before
    return formats


def _around(tokenizer: Tokenizer, whole: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids before and after those of the probe text."""
    plain = tokenizer.encode(_PROBE, add_special_tokens=False)
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(whole[:start]), tuple(whole[start + len(plain) :])
    raise ValueError(f"{plain} is not in {whole}")
