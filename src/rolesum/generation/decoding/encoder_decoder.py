"""The decoder of encoder-decoder models: every source is encoded once, then all targets grow token by token.

A source holds the instruction too and is read in both directions, so the roles of a dialogue share nothing. Nothing of
the checkpoint's own generation settings is used: no sampling, no beams, no minimum length, no penalties, no ban of
repeated n-grams, no forced end. The tokens that every target begins with (BART's `<s>`, a language code of mBART's) are
given, as forced_bos_token_id would force them.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache

from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.models.encoder_decoder import run_decoder, run_encoder
from rolesum.models.lm_head import apply_lm_head
from rolesum.models.prompt_model import LoadedModel


class Seq2SeqDecoder:
    """A Decoder that holds the encoded source and the target's cache of each row."""

    can_join = False

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.device = loaded, loaded.device
        self.model = loaded.language_model
        self.memory = torch.zeros(0)  # encoder states (rows, longest source, hidden)
        self.mask = torch.zeros(0)  # (rows, longest source), 0 on padding
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def cache_size(self, prompts: Sequence[EncodedPrompt], beams: int, max_new_tokens: int) -> int:
        longest = max(one.max_row_tokens(max_new_tokens) for one in prompts)
        return beams * sum(len(one.branches) for one in prompts) * longest

    def prefill(self, prompts: Sequence[EncodedPrompt], beams: int) -> torch.Tensor:
        sources = [torch.tensor([*one.prefix, *branch]) for one in prompts for branch in one.branches]
        ids = pad_sequence(sources, batch_first=True).to(self.device)
        lengths = torch.tensor([len(source) for source in sources], device=self.device)
        self.mask = (torch.arange(ids.shape[1], device=self.device) < lengths[:, None]).long()
        self.memory = run_encoder(self.model, ids, self.mask)
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return self._forward([one.decoder_start_ids for one in prompts for _ in one.branches])

    def prefill_chunked(
        self, prompt: EncodedPrompt, beams: int, kept: KeptPrefix | None = None
    ) -> Iterator[torch.Tensor | None]:
        yield self.prefill([prompt], beams)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        return self._forward([[token] for token in tokens])

    def reorder(self, rows: Sequence[int]) -> None:
        kept = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        self.cache.batch_select_indices(kept)
        self.memory, self.mask = self.memory[kept], self.mask[kept]

    def _forward(self, new: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append the same number of new tokens to every target; the logits that follow (rows, vocabulary)."""
        ids = torch.tensor([list(one) for one in new], device=self.device)  # (rows, new)
        return apply_lm_head(self.model, run_decoder(self.model, ids, self.memory, self.mask, self.cache)[:, -1])
