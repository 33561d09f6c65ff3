"""The vLLM engine: many dialogues at once on a GPU (or a processor), with its prefix cache and the adapter as LoRA.

The roles of a dialogue are given to it next to each other, so that all but the first find the dialogue in the cache.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rolesum.errors import ModelError, UsageError
from rolesum.generation.engine import Decoding, Generation, OnText
from rolesum.generation.engines.prompt_encoder import IncrementalDetokenizer, PromptEncoder, TokenRequest, generation
from rolesum.instructions import Prompt, PromptLayout
from rolesum.models.adapters import CONFIG_FILE
from rolesum.models.checkpoint import in_short, read_json
from rolesum.models.loading import fast_dtype

# The ranks for which vLLM has room.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# Said before vLLM is imported, unless the user says otherwise: it tells its makers about runs, and its log is long.
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
# Requests that are with vLLM at once: enough for any batch, and the memory does not grow with the input.
_WAITING = 2048


class VLLMEngine:
    """Texts by vLLM in this process and its workers, of the model that `prompt_encoder` names, with its adapter."""

    name = "vllm"

    def __init__(
        self, prompt_encoder: PromptEncoder, layout: PromptLayout | None = None, *, dtype: str = "auto", **options: Any
    ) -> None:
        """`options` are vLLM's own, as in `vllm.LLM`: gpu_memory_utilization, tensor_parallel_size …"""
        self.prompt_encoder, self.side = prompt_encoder, prompt_encoder.model
        self.layout = layout or self.side.layout()
        self._vllm = _imported()
        adapter = self.side.adapter
        told = {"enable_lora": True, "max_lora_rank": _rank_of(adapter), "max_loras": 1} if adapter else {}
        try:
            self._engine = self._vllm.LLM(
                model=str(self.side.path),
                dtype=_dtype(dtype),
                max_model_len=prompt_encoder.max_length,
                enable_prefix_caching=True,
                skip_tokenizer_init=True,  # prompts and texts are ids to it
                generation_config="vllm",  # nothing of the checkpoint's own
                **told,
                **options,
            ).llm_engine
        except Exception as error:  # vLLM, torch, pydantic and huggingface each have errors of their own
            fix = "see what vLLM says with VLLM_LOGGING_LEVEL=INFO, or use --engine transformers"
            raise ModelError(f"vLLM does not load it: {in_short(error)}", str(self.side.path), fix) from None
        self._adapter = None
        if adapter:
            from vllm.lora.request import LoRARequest

            self._adapter = LoRARequest("adapter", 1, str(adapter))

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        if decoding.beams > 1:
            raise UsageError("the vLLM engine has no beams", fix="leave --beams out, or use --engine transformers")
        waiting = self.prompt_encoder.requests(prompts, decoding)[::-1]
        found: list[dict[int, Generation]] = [{} for _ in prompts]
        on_way: dict[str, _Text] = {}
        try:
            while waiting or on_way:
                while waiting and len(on_way) < _WAITING:
                    text = _Text(waiting.pop(), len(waiting))
                    on_way[text.name] = text
                    self._add(text, decoding)
                for output in self._step():
                    text = on_way[output.request_id]
                    text.take(output.outputs[0])
                    if on_text and (added := text.growing.new(self.prompt_encoder.decode(text.ids, text.ended(self)))):
                        on_text(text.asked.index, text.asked.branch, added)
                    if output.finished:
                        del on_way[text.name]
                        self._keep(text, found, on_done)
        finally:
            if on_way:  # a failure, or Ctrl-C: what nobody waits for would be written all the same
                self._engine.abort_request(list(on_way), internal=False)
        return [[texts[branch] for branch in sorted(texts)] for texts in found]

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        return self.prompt_encoder.fits(prompt, max_new_tokens)

    def _add(self, text: "_Text", decoding: Decoding) -> None:
        prompt = {"prompt_token_ids": list(text.asked.ids)}
        try:
            parameters = self._parameters(text.asked, decoding)
            self._engine.add_request(text.name, prompt, parameters, lora_request=self._adapter)
        except ValueError as error:
            raise UsageError(f"vLLM refuses: {in_short(error)}", text.asked.prompt.dialogue.location) from None

    def _step(self) -> Sequence[Any]:
        try:
            return list(self._engine.step())
        except Exception as error:  # of the adapter too, which vLLM reads with the first prompt
            fix = "see what vLLM says with VLLM_LOGGING_LEVEL=INFO, or use --engine transformers"
            raise ModelError(f"vLLM failed: {in_short(error)}", str(self.side.path), fix) from None

    def _parameters(self, asked: TokenRequest, decoding: Decoding) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=decoding.max_new_tokens,
            min_tokens=decoding.min_new_tokens,
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            seed=asked.seed if decoding.temperature else None,
            stop_token_ids=list(self.prompt_encoder.stop_ids),
            logprobs=0,  # of the chosen tokens, by the model's own distribution
            detokenize=False,
            output_kind=self._vllm.sampling_params.RequestOutputKind.DELTA,
        )

    def _keep(self, text: "_Text", found: list[dict[int, Generation]], on_done: Callable[[int], None] | None) -> None:
        asked, stopped = text.asked, text.ended(self)
        words = self.prompt_encoder.decode(text.ids, stopped)
        whole = text.logprobs if len(text.logprobs) == len(text.ids) else None
        made = generation(words, len(text.ids), stopped, whole, time.monotonic() - text.started)
        found[asked.index][asked.branch] = made
        if on_done and len(found[asked.index]) == len(asked.prompt.branches):
            on_done(1)


class _Text:
    """One text while vLLM writes it."""

    def __init__(self, asked: TokenRequest, number: int) -> None:
        self.asked, self.name = asked, str(number)
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.growing, self.started = IncrementalDetokenizer(), time.monotonic()

    def take(self, piece: Any) -> None:
        self.ids += piece.token_ids
        for token, told in zip(piece.token_ids, piece.logprobs or (), strict=False):
            self.logprobs.append(told[token].logprob)

    def ended(self, engine: VLLMEngine) -> bool:
        return bool(self.ids) and self.ids[-1] in engine.prompt_encoder.stop_ids


def _imported() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        what = f"vLLM is not installed, or does not fit this machine: {in_short(error)}"
        raise UsageError(what, fix="pip install 'rolesum[vllm]'; docs/engines.md says how without a GPU") from None
    return vllm


def _dtype(name: str) -> str:
    """vLLM's name of a dtype; auto is the checkpoint's own on a GPU, and the fast one on a processor."""
    if name != "auto" or torch.cuda.is_available():
        return name
    return str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")


def _rank_of(adapter: Any) -> int:
    """The smallest room that holds the adapter's largest rank. Raises ModelError where vLLM has none."""
    config = read_json(adapter / CONFIG_FILE)
    rank = max([int(config.get("r", 8)), *map(int, (config.get("rank_pattern") or {}).values())])
    for room in _RANKS:
        if rank <= room:
            return room
    raise ModelError(
        f"an adapter of rank {rank}; vLLM takes up to {_RANKS[-1]}", str(adapter), "merge it: rolesum export"
    )
