"""Rows of an encoder-decoder: every source is encoded once, then all targets grow token by token.

A source holds the instruction too and is read in both directions, so the roles of a dialogue share nothing. Nothing of
the checkpoint's own generation settings is used: no sampling, no beams, no minimal length, no penalties, no ban of
repeated n-grams, no forced end. What every target begins with (BART's `<s>`, a language code of mBART's) is given, as
forced_bos_token_id would force it.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache

from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.models.encoder_decoder import run_decoder, run_encoder
from rolesum.models.lm_head import apply_lm_head
from rolesum.models.loading import LoadedModel


class Seq2SeqDecoder:
    """Rows of targets with the memory of their sources."""

    can_join = False

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.device = loaded, loaded.device
        self.model = loaded.language_model
        self.memory = self.mask = torch.zeros(0)
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def cache_size(self, prompts: Sequence[EncodedPrompt], lanes: int, max_new_tokens: int) -> int:
        return (
            lanes
            * sum(len(one.branches) for one in prompts)
            * max(one.max_row_tokens(max_new_tokens) for one in prompts)
        )

    def prefill(self, prompts: Sequence[EncodedPrompt], lanes: int) -> torch.Tensor:
        sources = [torch.tensor([*one.prefix, *branch]) for one in prompts for branch in one.branches]
        ids = pad_sequence(sources, batch_first=True).to(self.device)
        lengths = torch.tensor([len(source) for source in sources], device=self.device)
        self.mask = (torch.arange(ids.shape[1], device=self.device) < lengths[:, None]).long()  # (rows, longest source)
        self.memory = run_encoder(self.model, ids, self.mask)
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return self._forward([one.decoder_start_ids for one in prompts for _ in one.branches])

    def prefill_chunked(self, prompt: EncodedPrompt, lanes: int) -> Iterator[torch.Tensor | None]:
        yield self.prefill([prompt], lanes)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        return self._forward([[token] for token in tokens])

    def reorder(self, rows: Sequence[int]) -> None:
        kept = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        self.cache.batch_select_indices(kept)
        self.memory, self.mask = self.memory[kept], self.mask[kept]

    def _forward(self, given: Sequence[Sequence[int]]) -> torch.Tensor:
        ids = torch.tensor([list(one) for one in given], device=self.device)  # (rows, what is new)
        return apply_lm_head(self.model, run_decoder(self.model, ids, self.memory, self.mask, self.cache)[:, -1])
