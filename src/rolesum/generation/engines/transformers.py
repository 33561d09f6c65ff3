"""The transformers engine: a loaded model, its prompts as ids, and texts by continuous batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf

import torch

from rolesum.errors import DataError, Problem
from rolesum.generation.decoding.decoder import Decoder, EncodedPrompt
from rolesum.generation.decoding.encoder_decoder import Seq2SeqDecoder
from rolesum.generation.decoding.padded import PaddedDecoder
from rolesum.generation.decoding.prefix_shared import PrefixSharedDecoder, can_share_prefix
from rolesum.generation.decoding.scheduler import GenerationRequest, Scheduler, SchedulerConfig, decode
from rolesum.generation.decoding.search import Completion, OnToken
from rolesum.generation.engine import Decoding, Generation, OnText
from rolesum.generation.engines.prompt_encoder import TOO_LONG_FIX, IncrementalDetokenizer
from rolesum.instructions import Prompt, PromptLayout
from rolesum.models.allocator import keep_freed_memory
from rolesum.models.loading import LoadedModel

# Memory that a batch's keys and values may take on a processor; on a GPU it is a share of what is free.
CACHE_BYTES = 2**31
CACHE_SHARE = 0.5
# Rows that run at once, and tokens of the prompts that are computed at once. More rows make a step cheaper for each
# only as long as reading the weights is what it costs: on a processor, up to some dozens.
CPU_ROWS, CPU_PREFILL_TOKENS = 96, 4096
GPU_ROWS, GPU_PREFILL_TOKENS = 512, 2**15


class TransformersEngine:
    """Decoding with a loaded model. In float32 its texts equal `model.generate` on one prompt at a time."""

    name = "transformers"

    def __init__(
        self, loaded: LoadedModel, layout: PromptLayout | None = None, token_budget: int | None = None
    ) -> None:
        """`token_budget` is the number of cache positions of a batch; by default what `CACHE_BYTES` hold."""
        self.loaded = loaded
        self.layout = layout or loaded.layout()
        self.token_budget = token_budget or _token_budget(loaded)
        if loaded.device.type == "cpu":
            keep_freed_memory()

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        encoded = [self.encode(index, prompt) for index, prompt in enumerate(prompts)]
        self._check_lengths(prompts, encoded, decoding.max_new_tokens)
        results: list[dict[int, Generation]] = [{} for _ in prompts]
        growing: dict[tuple[int, int], IncrementalDetokenizer] = {}

        def tell(owner: tuple[int, int], text: str) -> None:
            if on_text and (added := growing.setdefault(owner, IncrementalDetokenizer()).new(text)):
                on_text(*owner, added)

        on_token = (lambda text: tell(text.key, self.decode(text.ids))) if on_text else None
        for ended in self.texts(encoded, [prompt.dialogue.id for prompt in prompts], decoding, on_token):
            index, branch = ended.hypothesis.key
            results[index][branch] = made = self.to_generation(ended)
            tell(ended.hypothesis.key, made.text)
            if on_done and len(results[index]) == len(encoded[index].branches):
                on_done(1)
        return [[row[branch] for branch in sorted(row)] for row in results]

    def texts(
        self,
        encoded: Sequence[EncodedPrompt],
        identities: Sequence[str],
        decoding: Decoding,
        on_token: OnToken | None = None,
    ) -> Iterator[Completion]:
        """All texts of the prompts, as they end."""
        pairs = zip(encoded, identities, strict=True)
        return decode(
            self.new_scheduler(on_token), [GenerationRequest(one, decoding, identity) for one, identity in pairs]
        )

    def new_scheduler(self, on_token: OnToken | None = None, chunked_prefill_threshold: float = inf) -> Scheduler:
        """A batch that prompts may join at any time; those of more than `whole` tokens a piece at a time. See Batch."""
        limits = replace(self._limits(self.token_budget), chunked_prefill_threshold=chunked_prefill_threshold)
        return Scheduler(self._rows, limits, self.loaded.check_finite, on_token)

    def make_request(
        self, index: int, prompt: Prompt, decoding: Decoding, low_priority: bool = False
    ) -> GenerationRequest:
        """A prompt as a batch takes it. Raises DataError where it does not fit the model."""
        encoded = self.encode(index, prompt)
        self._check_lengths([prompt], [encoded], decoding.max_new_tokens)
        return GenerationRequest(encoded, decoding, prompt.dialogue.id, low_priority)

    def encode(self, index: int, prompt: Prompt) -> EncodedPrompt:
        encode, sides = self.loaded.encoder.encode, self.loaded.encoder_decoder_spec
        begin = sides.decoder_prompt(self.layout.chat_format_for(prompt.dialogue)) if sides else []
        return EncodedPrompt(index, encode(prompt.prefix), [encode(branch) for branch in prompt.branches], begin)

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Whether the model takes a prompt and as many new tokens."""
        return not self._too_long(prompt, self.encode(0, prompt), max_new_tokens)

    def _limits(self, keys: int) -> SchedulerConfig:
        stops = torch.tensor(self.loaded.stop_ids, device=self.loaded.device)
        if self.loaded.device.type == "cpu":
            return SchedulerConfig(stops, keys, CPU_ROWS, CPU_PREFILL_TOKENS)
        return SchedulerConfig(stops, keys, GPU_ROWS, GPU_PREFILL_TOKENS)

    def _rows(self) -> Decoder:
        if self.loaded.encoder_decoder_spec:
            return Seq2SeqDecoder(self.loaded)
        return PrefixSharedDecoder(self.loaded) if can_share_prefix(self.loaded) else PaddedDecoder(self.loaded)

    def _check_lengths(self, prompts: Sequence[Prompt], encoded: Sequence[EncodedPrompt], max_new_tokens: int) -> None:
        pairs = zip(prompts, encoded, strict=True)
        found = [self._too_long(prompt, one, max_new_tokens) for prompt, one in pairs]
        if problems := [problem for problem in found if problem]:
            raise DataError(problems)

    def _too_long(self, prompt: Prompt, one: EncodedPrompt, max_new_tokens: int) -> Problem | None:
        """What is wrong with a prompt's length, if anything is."""
        limit, sides = self.loaded.max_length, self.loaded.encoder_decoder_spec
        if sides is None and one.max_row_tokens(max_new_tokens) > limit:
            what = (
                f"{one.max_row_tokens(0)} tokens and up to {max_new_tokens} new ones; {self.loaded.name} takes {limit}"
            )
            return Problem(what, prompt.dialogue.location, TOO_LONG_FIX)
        if sides and one.max_row_tokens(0) > limit:
            return Problem(
                f"{one.max_row_tokens(0)} tokens; {self.loaded.name} reads {limit}",
                prompt.dialogue.location,
                TOO_LONG_FIX,
            )
        if sides and len(one.decoder_start_ids) + max_new_tokens - 1 > sides.target_length:
            what = f"up to {max_new_tokens} new tokens; {self.loaded.name} writes {sides.target_length}"
            return Problem(what, prompt.dialogue.location, "lower --max-new-tokens")
        return None

    def decode(self, ids: Sequence[int]) -> str:
        ended = bool(ids) and ids[-1] in self.loaded.stop_ids
        kept = list(ids[:-1] if ended else ids)
        return str(self.loaded.tokenizer.decode(kept, skip_special_tokens=True)).strip()

    def to_generation(self, ended: Completion) -> Generation:
        ids, logprobs = ended.hypothesis.ids, ended.hypothesis.logprobs
        reason = "stop" if ended.stopped else "length"
        mean = sum(logprobs) / len(logprobs)
        return Generation(self.decode(ids), len(ids), reason, mean, min(logprobs), ended.seconds)


def _token_budget(loaded: LoadedModel) -> int:
    """Cache positions that the device's memory has room for."""
    config = loaded.language_model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 16
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    one = 2 * config.num_hidden_layers * key_heads * width * loaded.model.dtype.itemsize
    room = CACHE_BYTES
    if loaded.device.type == "cuda":
        room = int(CACHE_SHARE * torch.cuda.mem_get_info(loaded.device)[0])
    return max(1024, room // one)
