"""The vLLM engine: many dialogues at once on a GPU (or a CPU), with vLLM's prefix cache and the adapter as LoRA.

The roles of a dialogue are adjacent requests, so that all but the first find the dialogue in the prefix cache.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from rolesum.errors import ModelError, UsageError, error_summary
from rolesum.generation.engine import Decoding, Engine, EngineFeatures, Generation, OnText, check_decoding
from rolesum.generation.engines.collector import ResultCollector
from rolesum.generation.engines.prompt_encoder import PromptEncoder, TokenRequest, make_generation
from rolesum.instructions import Prompt, PromptLayout
from rolesum.models.adapter_metadata import CONFIG_FILE, beyond_plain_lora
from rolesum.models.checkpoint import read_json
from rolesum.models.loading import pick_dtype

if TYPE_CHECKING:
    from rolesum.models.prompt_model import PromptModel

# The LoRA ranks that vLLM can be started for.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# Set before vLLM is imported, unless the user has set them: it reports usage to its makers, and its log is long.
_QUIET = {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
# Requests that vLLM is given at once: enough for any batch, and the memory does not grow with the input.
_MAX_RUNNING = 2048


class VLLMEngine(Engine):
    """Generates with vLLM in this process and its workers: the model of `prompt_encoder`, with its adapter."""

    name = "vllm"
    features = EngineFeatures(min_new_tokens=True, json_schema=True, token_logprobs=True)

    def __init__(
        self, prompt_encoder: PromptEncoder, layout: PromptLayout | None = None, *, dtype: str = "auto", **options: Any
    ) -> None:
        """`options` are arguments of `vllm.LLM`, such as gpu_memory_utilization, tensor_parallel_size …"""
        self.prompt_encoder, self.model = prompt_encoder, prompt_encoder.model
        self.layout = layout or self.model.layout()
        self._vllm = _imported()
        adapter = self.model.adapter
        options = {"skip_tokenizer_init": True, **options}  # prompts and texts are ids to it
        self._has_tokenizer = not options["skip_tokenizer_init"]
        lora = {"enable_lora": True, "max_lora_rank": _rank_of(adapter), "max_loras": 1} if adapter else {}
        try:
            self._engine = self._vllm.LLM(
                model=str(self.model.path),
                dtype=_dtype(dtype, self.model),
                max_model_len=prompt_encoder.max_length,
                enable_prefix_caching=True,
                generation_config="vllm",  # nothing of the checkpoint's own
                **lora,
                **options,
            ).llm_engine
        except Exception as error:  # vLLM, torch, pydantic and huggingface each have errors of their own
            fix = "see what vLLM says with VLLM_LOGGING_LEVEL=INFO, or use --engine transformers"
            raise ModelError(f"vLLM does not load it: {error_summary(error)}", str(self.model.path), fix) from None
        self._adapter = None
        if adapter:
            from vllm.lora.request import LoRARequest

            self._adapter = LoRARequest("adapter", 1, str(adapter))

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
        if any(prompt.json_schema for prompt in prompts) and not self._has_tokenizer:
            fix = "start it with --vllm-option skip_tokenizer_init=false"
            raise UsageError("vLLM holds texts to a JSON schema only with its own tokenizer", fix=fix)
        waiting = self.prompt_encoder.requests(prompts, decoding)[::-1]
        collector = ResultCollector(prompts, on_done, on_text)
        running: dict[str, _Text] = {}
        try:
            while waiting or running:
                while waiting and len(running) < _MAX_RUNNING:
                    text = _Text(waiting.pop(), len(waiting))
                    running[text.name] = text
                    self._add(text, decoding)
                for output in self._step():
                    text = running[output.request_id]
                    text.extend(output.outputs[0])
                    if on_text:
                        ended = text.ended(self.prompt_encoder.stop_ids)
                        collector.update(
                            text.request.index, text.request.branch, self.prompt_encoder.decode(text.ids, ended)
                        )
                    if output.finished:
                        del running[text.name]
                        collector.add(text.request.index, text.request.branch, self._generation(text))
        finally:
            if running:  # after a failure or Ctrl-C, vLLM would go on generating
                self._engine.abort_request(list(running), internal=False)
        return collector.results()

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        return self.prompt_encoder.fits(prompt, max_new_tokens)

    def _add(self, text: "_Text", decoding: Decoding) -> None:
        prompt = {"prompt_token_ids": list(text.request.ids)}
        try:
            parameters = self._parameters(text.request, decoding)
            self._engine.add_request(text.name, prompt, parameters, lora_request=self._adapter)
        except ValueError as error:
            raise UsageError(f"vLLM refuses: {error_summary(error)}", text.request.prompt.dialogue.location) from None

    def _step(self) -> Sequence[Any]:
        try:
            return list(self._engine.step())
        except Exception as error:  # of the adapter too, which vLLM reads with the first prompt
            fix = "see what vLLM says with VLLM_LOGGING_LEVEL=INFO, or use --engine transformers"
            raise ModelError(f"vLLM failed: {error_summary(error)}", str(self.model.path), fix) from None

    def _parameters(self, request: TokenRequest, decoding: Decoding) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=decoding.max_new_tokens,
            min_tokens=decoding.min_new_tokens,
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            seed=request.seed if decoding.temperature else None,
            stop_token_ids=list(self.prompt_encoder.stop_ids),
            logprobs=0,  # of the chosen tokens, by the model's own distribution
            detokenize=False,
            structured_outputs=self._structured(request.prompt.json_schema),
            output_kind=self._vllm.sampling_params.RequestOutputKind.DELTA,
        )

    def _structured(self, schema: str | None) -> Any:
        """vLLM's own form of a JSON schema; None without one."""
        return None if schema is None else self._vllm.sampling_params.StructuredOutputsParams(json=schema)

    def _generation(self, text: "_Text") -> Generation:
        stopped = text.ended(self.prompt_encoder.stop_ids)
        words = self.prompt_encoder.decode(text.ids, stopped)
        logprobs = text.logprobs if len(text.logprobs) == len(text.ids) else None
        return make_generation(words, len(text.ids), stopped, logprobs, time.monotonic() - text.started, text.ids)


class _Text:
    """One text while vLLM generates it."""

    def __init__(self, request: TokenRequest, number: int) -> None:
        self.request, self.name = request, str(number)
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.started = time.monotonic()

    def extend(self, output: Any) -> None:
        """Append the new tokens of one of vLLM's outputs."""
        self.ids += output.token_ids
        for token, logprobs in zip(output.token_ids, output.logprobs or (), strict=False):
            self.logprobs.append(logprobs[token].logprob)

    def ended(self, stop_ids: Sequence[int]) -> bool:
        return bool(self.ids) and self.ids[-1] in stop_ids


def _imported() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        what = f"vLLM is not installed, or does not fit this machine: {error_summary(error)}"
        raise UsageError(what, fix="pip install 'rolesum[vllm]'; docs/engines.md says how without a GPU") from None
    return vllm


def _dtype(name: str, model: "PromptModel") -> str:
    """vLLM's name of a dtype; auto is the checkpoint's own on a GPU, and the faster one on a processor."""
    if name != "auto" or torch.cuda.is_available():
        return name
    return pick_dtype(name, torch.device("cpu"), model.config).name


def _rank_of(adapter: Any) -> int:
    """The smallest room that holds the adapter's rank. Raises ModelError where vLLM has none, or ignores the rest."""
    config = read_json(adapter / CONFIG_FILE)
    if beyond := beyond_plain_lora(config):
        what = f"vLLM takes plain LoRA adapters only, and this one has {'; '.join(beyond)}"
        raise ModelError(what, str(adapter), "merge it: rolesum export --to merged")
    rank = int(config.get("r", 8))
    for room in _RANKS:
        if rank <= room:
            return room
    raise ModelError(
        f"an adapter of rank {rank}; vLLM takes up to {_RANKS[-1]}", str(adapter), "merge it: rolesum export"
    )
