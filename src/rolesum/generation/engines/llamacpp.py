"""The llama.cpp engine: a GGUF file on this machine's processor, several dialogues at a time.

A slot takes a dialogue and writes its roles one behind the other, so that the dialogue is read once.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from rolesum.errors import ModelError, UsageError
from rolesum.generation.engine import Decoding, Generation, OnText
from rolesum.generation.engines.prompt_encoder import IncrementalDetokenizer, PromptEncoder, TokenRequest, generation
from rolesum.generation.engines.thread_pool import run_concurrently
from rolesum.instructions import Prompt, PromptLayout
from rolesum.models.export.llamacpp import LlamaCpp, LlamaCppCompletion

SLOTS = 8
# A slot's length is a multiple of it.
_STEP = 256


class LlamaCppEngine:
    """Texts by a GGUF file whose prompts are those of `prompt_encoder`: the model that it was exported from."""

    name = "llamacpp"

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
        self.file, self.prompt_encoder, self.side = file, prompt_encoder, prompt_encoder.model
        self.layout = layout or self.side.layout()
        self.slots, self.on_gpu, self.exact = slots, on_gpu, exact
        self._llama: LlamaCpp | None = None
        self._length = self._lanes = 0

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        if decoding.beams > 1 or decoding.min_new_tokens:
            what = "llama.cpp has no beams" if decoding.beams > 1 else "llama.cpp has no least length"
            raise UsageError(what, fix="leave the option out, or use --engine transformers")
        asked = self.prompt_encoder.requests(prompts, decoding)
        if not asked:
            return [[] for _ in prompts]
        llama = self._opened(max(len(one.ids) for one in asked) + decoding.max_new_tokens, len(prompts))
        self._check_tokens(llama, asked[0])
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(self._lanes):
            free.put(slot)
        jobs = [
            partial(self._texts, llama, free, list(group), decoding, on_text is not None)
            for _, group in groupby(asked, key=lambda one: one.index)
        ]
        found: list[list[Generation]] = [[] for _ in prompts]
        for index, texts in run_concurrently(jobs, self._lanes, on_text):
            found[index] = texts
            if on_done:
                on_done(1)
        return found

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        return self.prompt_encoder.fits(prompt, max_new_tokens)

    def _opened(self, needed: int, dialogues: int) -> LlamaCpp:
        """llama.cpp with room for the longest text in every slot; opened anew where there is not enough."""
        length = -(-needed // _STEP) * _STEP
        lanes = min(self.slots, dialogues)
        if self._llama is None or length > self._length or lanes > self._lanes:
            self._llama = None  # the old one's memory goes first
            self._length, self._lanes = max(length, self._length), max(lanes, self._lanes)
            self._llama = LlamaCpp(
                self.file,
                self._length,
                torch.get_num_threads(),
                slots=self._lanes,
                exact=self.exact,
                on_gpu=self.on_gpu,
            )
        return self._llama

    def _check_tokens(self, llama: LlamaCpp, first: TokenRequest) -> None:
        """Raise ModelError where ids mean other texts to the file: it would answer to another question."""
        ours = self.side.tokenizer.decode(list(first.ids))
        theirs = llama.detokenize(first.ids) if max(first.ids) < llama.vocabulary() else ""
        if "".join(theirs.split()) != "".join(ours.split()):
            what = f"its tokens are not those of {self.side.name}"
            raise ModelError(what, str(self.file), "give --model the model that the file was exported from")

    def _texts(
        self,
        llama: LlamaCpp,
        free: "SimpleQueue[int]",
        asked: Sequence[TokenRequest],
        decoding: Decoding,
        growing: bool,
        tell: OnText,
    ) -> tuple[int, list[Generation]]:
        """The texts of one dialogue, by one slot."""
        slot, texts = free.get(), []
        try:
            for one in asked:
                started = time.monotonic()
                made = llama.complete(
                    one.ids, _teller(one, tell) if growing else None, **_parameters(one, decoding, slot)
                )
                texts.append(self._generation(made, time.monotonic() - started))
        finally:
            free.put(slot)
        return asked[0].index, texts

    def _generation(self, made: LlamaCppCompletion, seconds: float) -> Generation:
        """The text up to the first of our own stop ids: llama.cpp ends at those that it knows by itself."""
        ids, logprobs, tokens, stopped, text = made.ids, made.logprobs, made.tokens, made.stopped, made.text.strip()
        whole = len(logprobs) == tokens
        if ids:
            end = next((place for place, token in enumerate(ids, 1) if token in self.prompt_encoder.stop_ids), None)
            if end is not None:
                ids, logprobs, tokens, stopped = ids[:end], logprobs[:end], end, True
            text = self.prompt_encoder.decode(ids, stopped)
        return generation(text, tokens, stopped, logprobs if whole else None, seconds)


def _teller(one: TokenRequest, tell: OnText) -> Callable[[str], None]:
    growing = IncrementalDetokenizer()

    def told(whole: str) -> None:
        if added := growing.new(whole):
            tell(one.index, one.branch, added)

    return told


def _parameters(one: TokenRequest, decoding: Decoding, slot: int) -> dict[str, Any]:
    """llama.cpp's parameters; all its other samplers are left out."""
    asked: dict[str, Any] = {"n_predict": decoding.max_new_tokens, "id_slot": slot}
    if decoding.greedy:
        return {**asked, "samplers": ["top_k"], "top_k": 1}
    sampled = {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p, "min_p": 0.0}
    return {**asked, **sampled, "samplers": ["temperature", "top_k", "top_p"], "seed": one.seed}
