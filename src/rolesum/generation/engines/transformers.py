"""The transformers engine: a loaded model, decoded by the scheduler in continuous batches."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib import metadata
from math import inf

import torch

from rolesum.counts import counted
from rolesum.errors import LengthError, Problem
from rolesum.generation.decoding.decoder import EncodedPrompt
from rolesum.generation.decoding.decoder_check import choose_decoder
from rolesum.generation.decoding.follow_up import FollowUp
from rolesum.generation.decoding.json_constraint import JSONConstraints
from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.generation.decoding.scheduler import GenerationRequest, Scheduler, SchedulerConfig
from rolesum.generation.decoding.search import Completion, Hypothesis, OnToken, TokenConstraint
from rolesum.generation.engine import (
    Decoding,
    EngineFeatures,
    FollowUpEngine,
    Generation,
    MakeFollowUp,
    OnText,
    check_constrained_decoding,
)
from rolesum.generation.engines.collector import ResultCollector
from rolesum.generation.engines.prompt_encoder import TOO_LONG_FIX, make_generation
from rolesum.instructions import Prompt, PromptLayout
from rolesum.models.allocator import keep_freed_memory
from rolesum.models.config_sizes import kv_cache_numbers_per_token
from rolesum.models.prompt_model import LoadedModel

# Memory for the keys and values of a batch on a CPU; on a GPU, the share of its free memory.
CACHE_BYTES = 2**31
CACHE_SHARE = 0.5
# Rows that are decoded at once, and tokens of one prefill. More rows make a step cheaper for each of them only as long
# as reading the weights is what it costs: on a CPU, up to some dozens.
CPU_ROWS, CPU_PREFILL_TOKENS = 96, 4096
GPU_ROWS, GPU_PREFILL_TOKENS = 512, 2**15


class TransformersEngine(FollowUpEngine):
    """Decodes with a loaded model. In float32 its texts equal those of `model.generate` on one prompt at a time."""

    name = "transformers"
    features = EngineFeatures(beams=True, min_new_tokens=True, follow_ups=True, json_schema=True, token_logprobs=True)

    def __init__(
        self, loaded: LoadedModel, layout: PromptLayout | None = None, token_budget: int | None = None
    ) -> None:
        """`token_budget` is the number of cache positions of a batch; by default what `CACHE_BYTES` hold."""
        self.loaded = loaded
        self.layout = layout or loaded.layout()
        self.new_decoder = choose_decoder(loaded)
        self.token_budget = token_budget or _token_budget(loaded)
        self.max_prefill_tokens = CPU_PREFILL_TOKENS if loaded.device.type == "cpu" else GPU_PREFILL_TOKENS
        if loaded.device.type == "cpu":
            keep_freed_memory()

    @property
    def text_model(self) -> LoadedModel:
        return self.loaded

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
        follow_up: MakeFollowUp | None = None,
    ) -> list[list[Generation]]:
        requests = self._requests(prompts, decoding, follow_up)
        collector = ResultCollector(prompts, on_done, on_text)

        def update(hypothesis: Hypothesis) -> None:
            collector.update(*hypothesis.key, self.decode(hypothesis.ids))

        for completion in self.new_scheduler(update if on_text else None).run(requests):
            generation = self.to_generation(completion)
            collector.update(*completion.hypothesis.key, generation.text)
            collector.add(*completion.hypothesis.key, generation)
        return collector.results()

    def describe(self) -> dict[str, str]:
        dtype, device = str(self.loaded.model.dtype).removeprefix("torch."), str(self.loaded.device)
        versions = {name: metadata.version(name) for name in ("torch", "transformers")}
        return {"dtype": dtype, "device": device, **versions}

    def new_scheduler(self, on_token: OnToken | None = None, chunked_prefill_threshold: float = inf) -> Scheduler:
        """A scheduler to which requests can be added at any time; see SchedulerConfig for the threshold."""
        on_cpu = self.loaded.device.type == "cpu"
        config = SchedulerConfig(
            torch.tensor(self.loaded.stop_ids, device=self.loaded.device),
            self.token_budget,
            CPU_ROWS if on_cpu else GPU_ROWS,
            self.max_prefill_tokens,
            chunked_prefill_threshold,
        )
        return Scheduler(self.new_decoder, config, self.loaded.check_finite, on_token)

    def make_request(
        self,
        index: int,
        prompt: Prompt,
        decoding: Decoding,
        low_priority: bool = False,
        follow_up: FollowUp | None = None,
        kept: KeptPrefix | None = None,
    ) -> GenerationRequest:
        """The request that a scheduler takes. Raises LengthError for a prompt that does not fit the model."""
        encoded = self.encode(index, prompt)
        if problem := self._too_long(prompt, encoded, decoding.max_new_tokens):
            raise LengthError([problem])
        constraint = self._constraint(prompt.json_schema, decoding) if prompt.json_schema else None
        return GenerationRequest(encoded, decoding, prompt.dialogue.id, low_priority, follow_up, kept, constraint)

    def _constraint(self, schema: str, decoding: Decoding) -> Callable[[], TokenConstraint]:
        """Makes what holds a text to a JSON schema. Raises UsageError and ModelError where it cannot be held to it."""
        check_constrained_decoding(decoding)
        self.constraints.new(schema)
        return partial(self.constraints.new, schema)

    @cached_property
    def constraints(self) -> JSONConstraints:
        """What holds texts to JSON schemas; reading the vocabulary for it takes seconds."""
        return JSONConstraints(self.loaded)

    def encode(self, index: int, prompt: Prompt) -> EncodedPrompt:
        encode, spec = self.loaded.encoder.encode, self.loaded.encoder_decoder_spec
        begin = spec.decoder_prompt(self.layout.chat_format_for(prompt.dialogue)) if spec else []
        return EncodedPrompt(index, encode(prompt.prefix), [encode(branch) for branch in prompt.branches], begin)

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Whether the model takes a prompt and as many new tokens."""
        return not self._too_long(prompt, self.encode(0, prompt), max_new_tokens)

    def _requests(
        self, prompts: Sequence[Prompt], decoding: Decoding, follow_up: MakeFollowUp | None
    ) -> list[GenerationRequest]:
        """The requests of all prompts. Raises LengthError with all the prompts that do not fit."""
        requests, problems = list[GenerationRequest](), list[Problem]()
        for index, prompt in enumerate(prompts):
            try:
                further = follow_up(index, prompt) if follow_up else None
                requests.append(self.make_request(index, prompt, decoding, follow_up=further))
            except LengthError as error:
                problems += error.problems
        if problems:
            raise LengthError(problems)
        return requests

    def _too_long(self, prompt: Prompt, one: EncodedPrompt, max_new_tokens: int) -> Problem | None:
        """What is wrong with a prompt's length, if anything is."""
        name, limit, spec = self.loaded.name, self.loaded.max_length, self.loaded.encoder_decoder_spec
        tokens, where = one.max_row_tokens(0), prompt.dialogue.location
        if spec is None and tokens + max_new_tokens > limit:
            what = f"{counted(tokens, 'token')} and up to {counted(max_new_tokens, 'new one')}; {name} takes {limit}"
            return Problem(what, where, TOO_LONG_FIX)
        if spec and tokens > limit:
            return Problem(f"{counted(tokens, 'token')}; {name} reads {limit}", where, TOO_LONG_FIX)
        if spec and len(one.decoder_start_ids) + max_new_tokens - 1 > spec.target_length:
            what = f"up to {counted(max_new_tokens, 'new token')}; {name} writes {spec.target_length}"
            return Problem(what, where, "lower --max-new-tokens")
        return None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of new ids, without a stop id at the end."""
        ended = bool(ids) and ids[-1] in self.loaded.stop_ids
        kept = list(ids[:-1] if ended else ids)
        return str(self.loaded.tokenizer.decode(kept, skip_special_tokens=True)).strip()

    def to_generation(self, completion: Completion) -> Generation:
        """The text of a completion with its statistics."""
        ids, logprobs = completion.hypothesis.ids, completion.hypothesis.logprobs
        return make_generation(self.decode(ids), len(ids), completion.stopped, logprobs, completion.seconds, ids)


def _token_budget(loaded: LoadedModel) -> int:
    """Cache positions that the device's memory has room for."""
    one = kv_cache_numbers_per_token(loaded.language_model.config.get_text_config()) * loaded.model.dtype.itemsize
    room = CACHE_BYTES
    if loaded.device.type == "cuda":
        room = int(CACHE_SHARE * torch.cuda.mem_get_info(loaded.device)[0])
    return int(max(1024, room // one))
