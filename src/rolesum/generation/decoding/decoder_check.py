"""Chooses the decoder of a model: the fastest one that gives the logits of the model's own forward.

For listed families the choice is a fact that tests cover. A model of no listed family is tried on two dialogues, with
rows beyond its sliding window: a prefill, forked rows, steps, branches behind prefixes that are held, and a prefill in
chunks (see models/self_check.py).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from rolesum.errors import ModelError
from rolesum.generation.decoding.decoder import Decoder, EncodedPrompt
from rolesum.generation.decoding.encoder_decoder import Seq2SeqDecoder
from rolesum.generation.decoding.padded import PaddedDecoder
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder, can_share_prefix
from rolesum.generation.decoding.separate import SeparateDecoder
from rolesum.models.prompt_model import LoadedModel
from rolesum.models.self_check import (
    CheckPrompts,
    assert_close,
    make_check_prompts,
    narrow_windows,
    passes,
    reference_logits,
    remembered,
    require_reach,
)

# From the fastest to the one that asks least of a model.
DECODERS: dict[str, Callable[[LoadedModel], Decoder]] = {
    "shared": PrefixSharedDecoder,
    "padded": PaddedDecoder,
    "separate": SeparateDecoder,
}
CHECK_CHUNK = 10  # tokens of a piece of the chunked prefill


def choose_decoder(loaded: LoadedModel) -> Callable[[], Decoder]:
    """What makes decoders for the model. Raises ModelError where none gives the model's own logits."""
    if loaded.encoder_decoder_spec:
        return partial(Seq2SeqDecoder, loaded)
    if loaded.is_listed:
        return partial(PrefixSharedDecoder if can_share_prefix(loaded) else PaddedDecoder, loaded)
    name = remembered("generation", loaded.language_model, lambda: find_decoder(loaded))
    if name not in DECODERS:
        what = f"{type(loaded.language_model).__name__} does not generate in rolesum what it generates by itself"
        raise ModelError(what, str(loaded.path), "use a model of a family that rolesum models lists")
    return partial(DECODERS[name], loaded)


def find_decoder(loaded: LoadedModel) -> str | None:
    """The name of the first decoder that is exact for the model; None where there is none."""
    model = loaded.language_model
    with narrow_windows(model), torch.no_grad():
        prompts = make_check_prompts(model.config.get_text_config())
        return next((name for name in DECODERS if passes(partial(_check, loaded, name, prompts))), None)


def _check(loaded: LoadedModel, name: str, prompts: CheckPrompts) -> None:
    """Raise where a decoder fails or its logits differ from those of the model's own forward."""
    if name != "separate":
        require_reach(loaded.language_model.config.get_text_config())
    if name == "shared" and not can_share_prefix(loaded):
        raise AssertionError("its attention cannot be replaced")
    decoder = DECODERS[name](loaded)
    encoded = [
        EncodedPrompt(index, prefix, branches, [])
        for index, (prefix, branches) in enumerate(zip(prompts.prefixes, prompts.branches, strict=True))
    ]
    rows = prompts.rows
    _assert_exact(loaded, decoder.prefill(encoded, 2), rows)
    kept = [*range(len(rows) - 1), len(rows) - 1, len(rows) - 1]  # the last row is forked
    decoder.reorder(kept)
    rows = [rows[row] for row in kept]
    for step in range(2):
        tokens = [prompts.prefixes[0][step + number] for number in range(len(rows))]
        rows = [[*row, token] for row, token in zip(rows, tokens, strict=True)]
        _assert_exact(loaded, decoder.step(tokens), rows)
    if isinstance(decoder, PrefixSharedDecoder):
        held = [decoder.hold(row, len(one.prefix)) for row, one in zip((0, len(rows) - 1), encoded, strict=True)]
        _assert_exact(loaded, decoder.prefill_held(held, encoded), prompts.rows)
        chunked = PrefixSharedDecoder(loaded)
        chunked.chunk_tokens = CHECK_CHUNK
        *_, logits = chunked.prefill_chunked(encoded[0], 1)
        assert logits is not None
        _assert_exact(loaded, logits, prompts.rows[: len(prompts.branches[0])])


def _assert_exact(loaded: LoadedModel, logits: torch.Tensor, rows: Sequence[Sequence[int]]) -> None:
    """Raise AssertionError where the next token's logits of rows differ from those of the model's own forward."""
    expected = torch.stack([reference_logits(loaded.language_model, row)[-1] for row in rows])
    assert_close(logits, expected, loaded.model.dtype)
