"""The transformers engine: batched greedy decoding with one prefill of each dialogue for all its roles.

A batch goes through three phases. The prefixes are computed once, padded on the right. Their KV cache is copied to
the branches, whose instructions follow it. Then tokens are added one by one, and rows that end leave the batch. The
cache has holes where padding was; masks and position ids are made so that no row notices. An encoder-decoder shares no
prefix and goes its own way (seq2seq.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from rolesum.errors import DataError, Problem, ResourceError
from rolesum.generation.engine import Generation
from rolesum.generation.seq2seq import LEAVE_SHARE, greedy_targets
from rolesum.instructions import Prompt, PromptLayout
from rolesum.models.attention import model_mask
from rolesum.models.causal import body, logits
from rolesum.models.loading import LoadedModel

# Most cache positions of one batch: rows times (longest prompt + new tokens).
TOKEN_BUDGET = {"cpu": 16_384, "cuda": 131_072, "mps": 16_384}


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A prompt's ids: `index` is its place in the input. `begin` is what a decoder of its own is given."""

    index: int
    prefix: list[int]
    branches: list[list[int]]
    begin: list[int]

    def width(self, max_new_tokens: int) -> int:
        return len(self.prefix) + max(map(len, self.branches)) + max_new_tokens


@dataclass
class _Rows:
    """The state of a batch while it decodes: one row per branch."""

    cache: DynamicCache
    key_positions: torch.Tensor  # (rows, keys), position of each cached token
    key_valid: torch.Tensor  # (rows, keys), False on padding
    owners: list[tuple[int, int]]  # (index of the prompt, number of the branch)
    texts: dict[tuple[int, int], list[int]] = field(default_factory=dict)


class TransformersEngine:
    """Greedy decoding with a loaded model. In float32 its texts equal `model.generate` on one prompt at a time."""

    name = "transformers"

    def __init__(
        self, loaded: LoadedModel, layout: PromptLayout | None = None, token_budget: int | None = None
    ) -> None:
        self.loaded = loaded
        self.layout = layout or loaded.layout()
        self.token_budget = token_budget or TOKEN_BUDGET.get(loaded.device.type, TOKEN_BUDGET["cpu"])

    def generate(
        self, prompts: Sequence[Prompt], max_new_tokens: int, on_done: Callable[[int], None] | None = None
    ) -> list[list[Generation]]:
        encoded = [self._encode(index, prompt) for index, prompt in enumerate(prompts)]
        self._check_lengths(prompts, encoded, max_new_tokens)
        results: list[list[Generation]] = [[] for _ in prompts]
        for batch in self._batches(encoded, max_new_tokens):
            texts = self._run_or_halve(batch, max_new_tokens)
            for one in batch:
                results[one.index] = [self._generation(texts[one.index, n]) for n in range(len(one.branches))]
            if on_done:
                on_done(len(batch))
        return results

    def _encode(self, index: int, prompt: Prompt) -> _Encoded:
        encode, sides = self.loaded.encoder.encode, self.loaded.sides
        begin = sides.begin(self.layout.form_for(prompt.dialogue)) if sides else []
        return _Encoded(index, encode(prompt.prefix), [encode(branch) for branch in prompt.branches], begin)

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Whether the model takes a prompt and as many new tokens."""
        return not self._too_long(prompt, self._encode(0, prompt), max_new_tokens)

    def _check_lengths(self, prompts: Sequence[Prompt], encoded: Sequence[_Encoded], max_new_tokens: int) -> None:
        pairs = zip(prompts, encoded, strict=True)
        found = [self._too_long(prompt, one, max_new_tokens) for prompt, one in pairs]
        if problems := [problem for problem in found if problem]:
            raise DataError(problems)

    def _too_long(self, prompt: Prompt, one: _Encoded, max_new_tokens: int) -> Problem | None:
        """What is wrong with a prompt's length, if anything is."""
        limit, sides = self.loaded.max_length, self.loaded.sides
        fix = "split the dialogue, lower --max-new-tokens, or use a model with a longer context"
        if sides is None and one.width(max_new_tokens) > limit:
            what = f"{one.width(0)} tokens and up to {max_new_tokens} new ones; {self.loaded.name} takes {limit}"
            return Problem(what, prompt.dialogue.place, fix)
        if sides and one.width(0) > limit:
            fix = "split the dialogue, or use a model that reads more"
            return Problem(f"{one.width(0)} tokens; {self.loaded.name} reads {limit}", prompt.dialogue.place, fix)
        if sides and len(one.begin) + max_new_tokens - 1 > sides.target_length:
            what = f"up to {max_new_tokens} new tokens; {self.loaded.name} writes {sides.target_length}"
            return Problem(what, prompt.dialogue.place, "lower --max-new-tokens")
        return None

    def _batches(self, encoded: Sequence[_Encoded], max_new_tokens: int) -> Iterator[list[_Encoded]]:
        """Prompts of like length together, longest first, within the token budget."""
        batch: list[_Encoded] = []
        rows = width = 0
        for one in sorted(encoded, key=lambda one: (-len(one.prefix), one.index)):
            wider = max(width, one.width(max_new_tokens))
            if batch and (rows + len(one.branches)) * wider > self.token_budget:
                yield batch
                batch, rows, wider = [], 0, one.width(max_new_tokens)
            batch.append(one)
            rows, width = rows + len(one.branches), wider
        if batch:
            yield batch

    def _run_or_halve(self, batch: Sequence[_Encoded], max_new_tokens: int) -> dict[tuple[int, int], list[int]]:
        """The new ids of a batch; where the device's memory runs out, those of its halves."""
        try:
            with torch.inference_mode():
                return self._run(batch, max_new_tokens)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise ResourceError("one dialogue does not fit the device's memory", fix="use --device cpu") from None
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return self._run_or_halve(batch[:half], max_new_tokens) | self._run_or_halve(batch[half:], max_new_tokens)

    def _run(self, batch: Sequence[_Encoded], max_new_tokens: int) -> dict[tuple[int, int], list[int]]:
        """The new ids of every branch of a batch."""
        if self.loaded.sides:
            return self._run_seq2seq(batch, max_new_tokens)
        rows = self._prefill(batch)
        branches = [branch for one in batch for branch in one.branches]
        starts = torch.tensor([len(one.prefix) for one in batch for _ in one.branches], device=self.loaded.device)
        scores = self._forward(rows, branches, starts)
        self.loaded.check_numbers(scores)
        positions = starts + torch.tensor([len(branch) for branch in branches], device=self.loaded.device)
        stops = torch.tensor(self.loaded.stop_ids, device=self.loaded.device)
        alive = torch.ones(len(branches), dtype=torch.bool, device=self.loaded.device)
        for step in range(max_new_tokens):
            chosen = scores.argmax(-1)
            for owner, token, living in zip(rows.owners, chosen.tolist(), alive.tolist(), strict=True):
                if living:
                    rows.texts.setdefault(owner, []).append(token)
            alive &= ~torch.isin(chosen, stops)
            if step + 1 == max_new_tokens or not alive.any():
                break
            if (~alive).float().mean() >= LEAVE_SHARE:
                self._leave(rows, alive)
                chosen, positions, alive = chosen[alive], positions[alive], alive[alive]
            scores = self._forward(rows, [[token] for token in chosen.tolist()], positions)
            positions = positions + 1
        return rows.texts

    def _run_seq2seq(self, batch: Sequence[_Encoded], max_new_tokens: int) -> dict[tuple[int, int], list[int]]:
        """The same by an encoder-decoder."""
        owners = [(one.index, number) for one in batch for number in range(len(one.branches))]
        sources = [[*one.prefix, *branch] for one in batch for branch in one.branches]
        begins = [one.begin for one in batch for _ in one.branches]
        return dict(zip(owners, greedy_targets(self.loaded, sources, begins, max_new_tokens), strict=True))

    def _prefill(self, batch: Sequence[_Encoded]) -> _Rows:
        """The prefixes' cache, one row per dialogue, then copied to its branches."""
        device = self.loaded.device
        rows = _Rows(
            cache=DynamicCache(),
            key_positions=torch.empty(len(batch), 0, dtype=torch.long, device=device),
            key_valid=torch.empty(len(batch), 0, dtype=torch.bool, device=device),
            owners=[],
        )
        starts = torch.zeros(len(batch), dtype=torch.long, device=device)
        self._forward(rows, [one.prefix for one in batch], starts, want_logits=False)
        copies = torch.tensor([row for row, one in enumerate(batch) for _ in one.branches], device=device)
        self._select(rows, copies)
        rows.owners = [(one.index, number) for one in batch for number in range(len(one.branches))]
        return rows

    def _forward(
        self, rows: _Rows, texts: Sequence[Sequence[int]], starts: torch.Tensor, want_logits: bool = True
    ) -> torch.Tensor:
        """Append `texts`, one a row, to the cache, and return the logits behind each (rows, vocabulary)."""
        device, longest = self.loaded.device, max(map(len, texts))
        lengths = torch.tensor([len(text) for text in texts], device=device)
        ids = torch.zeros(len(texts), longest, dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
        ids = ids.to(device)
        offsets = torch.arange(longest, device=device)
        valid = offsets < lengths[:, None]  # (rows, longest)
        positions = starts[:, None] + torch.minimum(offsets, lengths[:, None] - 1)
        rows.key_positions = torch.cat([rows.key_positions, positions], dim=1)
        rows.key_valid = torch.cat([rows.key_valid, valid], dim=1)
        last = lengths - 1
        model = self.loaded.language_model
        hidden = body(model)(
            input_ids=ids, past_key_values=rows.cache, use_cache=True, **self._attention(rows, positions)
        )[0]
        if not want_logits:
            return hidden
        return logits(model, hidden[torch.arange(len(texts), device=device), last])

    def _attention(self, rows: _Rows, positions: torch.Tensor) -> dict[str, Any]:
        """Mask and positions of the newest `positions` (rows, new)."""
        if not self.loaded.shares_prefix:  # ALiBi counts positions from the 2D mask, holes included
            return {"attention_mask": rows.key_valid.long()}
        keys, new = rows.key_valid.shape[1], positions.shape[1]
        earlier = torch.ones(new, keys, dtype=torch.bool, device=positions.device).tril(keys - new)
        visible = (rows.key_valid[:, None, :] & earlier)[:, None]
        config = self.loaded.language_model.config.get_text_config()
        mask = model_mask(config, visible, positions, rows.key_positions, self.loaded.model.dtype)
        return {"attention_mask": mask, "position_ids": positions}

    def _leave(self, rows: _Rows, alive: torch.Tensor) -> None:
        kept = alive.nonzero()[:, 0]
        self._select(rows, kept)
        rows.owners = [rows.owners[row] for row in kept.tolist()]

    def _select(self, rows: _Rows, kept: torch.Tensor) -> None:
        rows.cache.batch_select_indices(kept)
        rows.key_positions, rows.key_valid = rows.key_positions[kept], rows.key_valid[kept]

    def _generation(self, ids: Sequence[int]) -> Generation:
        ended = bool(ids) and ids[-1] in self.loaded.stop_ids
        kept = list(ids[:-1] if ended else ids)
        text = self.loaded.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return Generation(text, len(ids), "stop" if ended else "length")
