"""Greedy decoding with an encoder-decoder: every source is encoded once, then all targets grow token by token.

A source holds the instruction too and is read in both directions, so the roles of a dialogue share nothing. Nothing of
the checkpoint's own generation settings is used: no sampling, no beams, no minimal length, no penalties, no ban of
repeated n-grams, no forced end. What every target begins with (BART's `<s>`, a language code of mBART's) is given, as
forced_bos_token_id would force it.
"""

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache

from rolesum.models.causal import logits
from rolesum.models.loading import LoadedModel
from rolesum.models.seq2seq import decoded, encoded

# Rows are taken out of the cache once this share of them has ended: each time costs a copy of the cache.
LEAVE_SHARE = 0.25


def greedy_targets(
    loaded: LoadedModel, sources: Sequence[Sequence[int]], begins: Sequence[Sequence[int]], max_new_tokens: int
) -> list[list[int]]:
    """The new ids of each source, with the id that ended it; `begins`, of one length, are what the decoder is given."""
    model, device = loaded.language_model, loaded.device
    ids = pad_sequence([torch.tensor(source) for source in sources], batch_first=True).to(device)
    lengths = torch.tensor([len(source) for source in sources], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()  # (rows, longest source)
    memory = encoded(model, ids, mask)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    stops = torch.tensor(loaded.stop_ids, device=device)
    targets: list[list[int]] = [[] for _ in sources]
    owners = list(range(len(sources)))
    alive = torch.ones(len(sources), dtype=torch.bool, device=device)
    given = torch.tensor([list(begin) for begin in begins], device=device)  # (rows, what is new)
    for step in range(max_new_tokens):
        scores = logits(model, decoded(model, given, memory, mask, cache)[:, -1])
        if step == 0:
            loaded.check_numbers(scores)
        chosen = scores.argmax(-1)
        for owner, token, living in zip(owners, chosen.tolist(), alive.tolist(), strict=True):
            if living:
                targets[owner].append(token)
        alive &= ~torch.isin(chosen, stops)
        if step + 1 == max_new_tokens or not alive.any():
            break
        if (~alive).float().mean() >= LEAVE_SHARE:
            kept = alive.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            memory, mask, chosen, alive = memory[kept], mask[kept], chosen[kept], alive[kept]
            owners = [owners[row] for row in kept.tolist()]
        given = chosen[:, None]
    return targets
