"""The llama.cpp engine: a GGUF file on this machine's CPU or GPU, several dialogues at a time.

Each of llama.cpp's slots takes a dialogue and generates its roles one after the other, so that the dialogue is
prefilled once.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import torch

from rolesum.errors import ModelError, UsageError
from rolesum.generation.engine import Decoding, Engine, EngineFeatures, Generation, OnText, check_decoding
from rolesum.generation.engines.collector import ResultCollector
from rolesum.generation.engines.prompt_encoder import PromptEncoder, TokenRequest, make_generation
from rolesum.generation.engines.thread_pool import OnUpdate, run_concurrently
from rolesum.instructions import Prompt, PromptLayout
from rolesum.models.export.llamacpp import LlamaCpp, LlamaCppCompletion

if TYPE_CHECKING:
    from rolesum.models.prompt_model import PromptModel

SLOTS = 8
# The length of a slot in tokens is a multiple of this.
_LENGTH_STEP = 256


class LlamaCppEngine(Engine):
    """Generates with a GGUF file that was exported from the model of `prompt_encoder`."""

    name = "llamacpp"
    features = EngineFeatures(json_schema=True)

    def __init__(
        self,
        file: Path,
        prompt_encoder: PromptEncoder,
        layout: PromptLayout | None = None,
        *,
        slots: int = SLOTS,
        on_gpu: bool = True,
        exact: bool = False,
    ) -> None:
        """If `exact`, the cache and the attention are in float32; else in llama.cpp's own float16."""
        if slots < 1:
            raise UsageError(f"concurrency {slots}", fix="at least 1")
        if not file.is_file():
            raise ModelError("no such file", str(file), "rolesum export RUN --to gguf --out FILE makes one")
        self.file, self.prompt_encoder, self.model = file, prompt_encoder, prompt_encoder.model
        self.layout = layout or self.model.layout()
        self.slots, self.on_gpu, self.exact = slots, on_gpu, exact
        self._llama: LlamaCpp | None = None
        self._length = self._open_slots = 0

    @property
    def text_model(self) -> "PromptModel":
        return self.model

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        check_decoding(self, decoding)
        requests = self.prompt_encoder.requests(prompts, decoding)
        collector = ResultCollector(prompts, on_done, on_text)
        if not requests:
            return collector.results()
        llama = self._open(max(len(one.ids) for one in requests) + decoding.max_new_tokens, len(prompts))
        self._check_tokens(llama, requests[0])
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(self._open_slots):
            free.put(slot)
        jobs = [
            partial(self._generate_dialogue, llama, free, list(group), decoding, on_text is not None)
            for _, group in groupby(requests, key=lambda one: one.index)
        ]
        for index, texts in run_concurrently(jobs, self._open_slots, collector.update):
            for branch, text in enumerate(texts):
                collector.add(index, branch, text)
        return collector.results()

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        return self.prompt_encoder.fits(prompt, max_new_tokens)

    def close(self) -> None:
        self._llama = None

    def _open(self, needed: int, dialogues: int) -> LlamaCpp:
        """llama.cpp with room for `needed` tokens in every slot; started again where there is not enough."""
        length = -(-needed // _LENGTH_STEP) * _LENGTH_STEP
        slots = min(self.slots, dialogues)
        if self._llama is None or length > self._length or slots > self._open_slots:
            self._llama = None  # the old one's memory is freed first
            self._length, self._open_slots = max(length, self._length), max(slots, self._open_slots)
            self._llama = LlamaCpp(
                self.file,
                self._length,
                torch.get_num_threads(),
                slots=self._open_slots,
                exact=self.exact,
                on_gpu=self.on_gpu,
            )
        return self._llama

    def _check_tokens(self, llama: LlamaCpp, first: TokenRequest) -> None:
        """Raise ModelError where the file decodes ids to other texts: it would be given another prompt."""
        ours = str(self.model.tokenizer.decode(list(first.ids)))
        theirs = llama.detokenize(first.ids) if max(first.ids) < llama.vocabulary() else ""
        if "".join(theirs.split()) != "".join(ours.split()):
            what = f"its tokens are not those of {self.model.name}"
            raise ModelError(what, str(self.file), "give --model the model that the file was exported from")

    def _generate_dialogue(
        self,
        llama: LlamaCpp,
        free: "SimpleQueue[int]",
        requests: Sequence[TokenRequest],
        decoding: Decoding,
        streams: bool,
        update: OnUpdate,
    ) -> tuple[int, list[Generation]]:
        """The number of a dialogue's prompt, and its texts, generated one after the other in a free slot."""
        slot, texts = free.get(), []
        try:
            for one in requests:
                started = time.monotonic()
                on_text = partial(update, one.index, one.branch) if streams else None
                made = llama.complete(one.ids, on_text, **_parameters(one, decoding, slot))
                texts.append(self._generation(made, time.monotonic() - started))
        finally:
            free.put(slot)
        return requests[0].index, texts

    def _generation(self, made: LlamaCppCompletion, seconds: float) -> Generation:
        """The text up to the first of the model's stop ids: llama.cpp knows only some of them."""
        ids, logprobs, tokens, stopped, text = made.ids, made.logprobs, made.tokens, made.stopped, made.text.strip()
        whole = len(logprobs) == tokens
        if ids:
            end = next((place for place, token in enumerate(ids, 1) if token in self.prompt_encoder.stop_ids), None)
            if end is not None:
                ids, logprobs, tokens, stopped = ids[:end], logprobs[:end], end, True
            text = self.prompt_encoder.decode(ids, stopped)
        return make_generation(text, tokens, stopped, logprobs if whole else None, seconds)


def _parameters(one: TokenRequest, decoding: Decoding, slot: int) -> dict[str, Any]:
    """The parameters of one completion; all of llama.cpp's other samplers are left out."""
    parameters: dict[str, Any] = {"n_predict": decoding.max_new_tokens, "id_slot": slot}
    if one.prompt.json_schema:
        parameters["json_schema"] = json.loads(one.prompt.json_schema)  # llama.cpp makes a grammar of it
    if decoding.greedy:
        return {**parameters, "samplers": ["top_k"], "top_k": 1}
    sampled = {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p, "min_p": 0.0}
    return {**parameters, **sampled, "samplers": ["temperature", "top_k", "top_p"], "seed": one.seed}
