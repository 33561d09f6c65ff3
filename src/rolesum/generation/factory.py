"""Opens engines: EngineSpec holds the options of an engine, and makes it in this process or in another."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from rolesum.console import log_once
from rolesum.errors import ModelError, Problem, UsageError, did_you_mean
from rolesum.generation.engine import Engine
from rolesum.generation.engines.openai_client import API_KEY_VARIABLE, OpenAIClient, check_endpoint_url
from rolesum.instructions import ChatFormat, InstructionSet, PromptLayout
from rolesum.instructions.asked import AskedInstruction
from rolesum.instructions.sections import SectionSet
from rolesum.instructions.sets import check_language_name
from rolesum.models.adapter_metadata import adapter_directory
from rolesum.models.bundled_adapters import bundled_adapters, default_adapter, license_notice
from rolesum.models.revisions import cache_dir

if TYPE_CHECKING:
    from rolesum.models.prompt_model import PromptModel

EngineName = Literal["transformers", "vllm", "llamacpp", "openai"]
ENGINES: tuple[str, ...] = get_args(EngineName)

# Field -> its option and the engines that have it; a field that is not here is for all engines.
_OPTIONS = {
    "gguf": ("--gguf", ("llamacpp",)),
    "url": ("--url", ("openai",)),
    "served_model": ("--served-model", ("openai",)),
    "api_key_env": ("--api-key-env", ("openai",)),
    "concurrency": ("--concurrency", ("openai", "llamacpp")),
    "device": ("--device", ("transformers", "llamacpp")),
    "dtype": ("--dtype", ("transformers", "vllm")),
    "vllm_options": ("--vllm-option", ("vllm",)),
}
_UNSET = (None, "auto")


@dataclass(frozen=True)
class EngineSpec:
    """The options of an engine, as plain values that can be sent to other processes.

    `model` and `adapter` decide the prompts of every engine; transformers and vLLM run them too. A GGUF file and an
    endpoint run weights of their own, which must be those of `model` with `adapter` merged into it. An endpoint without
    a `model` is sent plain messages. `api_key_env` names an environment variable. `context` lowers the model's length;
    for an endpoint without `model`, it is the length. `vllm_options` are arguments of `vllm.LLM`.

    Without `model` and `adapter`, transformers and vLLM take the bundled adapter. The name of a bundled adapter is
    taken for `model` too.
    """

    engine: str = "transformers"
    model: str | None = None
    adapter: Path | None = None
    gguf: Path | None = None
    url: str | None = None
    served_model: str | None = None
    api_key_env: str | None = None
    concurrency: int | None = None
    context: int | None = None
    language: str | None = None
    definitions: Mapping[str, str] | None = None
    instructions: InstructionSet | None = None
    sections: SectionSet | None = None
    asked: Mapping[str, AskedInstruction] | None = None
    device: str = "auto"
    dtype: str = "auto"
    vllm_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for options that exclude each other, before anything is loaded."""
        if self.engine not in ENGINES:
            raise UsageError(f'no engine "{self.engine}"', fix=did_you_mean(self.engine, ENGINES))
        check_language_name(self.language)
        self._choose_adapter()
        for name, (option, engines) in _OPTIONS.items():
            if getattr(self, name) not in _UNSET and self.engine not in engines:
                what = f"{option} is not for the engine {self.engine}"
                raise UsageError(what, fix=f"leave it out, or use --engine {' or '.join(engines)}")
        for name, number in (("--concurrency", self.concurrency), ("--context", self.context)):
            if number is not None and number < 1:
                raise UsageError(f"{name} {number}", fix="at least 1")
        if self.engine == "openai":
            if self.url is None:
                raise UsageError("no endpoint is named", fix="add --url http://localhost:8000/v1")
            check_endpoint_url(self.url, self.api_key_env or API_KEY_VARIABLE)
        if self.engine == "llamacpp":
            if self.gguf is None:
                raise UsageError("no GGUF file is named", fix="add --gguf FILE; rolesum export RUN --to gguf makes one")
            if self.device not in ("auto", "cpu"):
                raise UsageError(
                    f"llama.cpp chooses its devices itself, not {self.device}", fix="use --device cpu or auto"
                )

    def _choose_adapter(self) -> None:
        adapter = self.adapter
        if adapter is None and self.model in bundled_adapters():
            adapter = bundled_adapters()[str(self.model)]
            object.__setattr__(self, "model", None)
        elif adapter is None and self.model is None and self.engine in ("transformers", "vllm"):
            adapter = default_adapter()
        if adapter is not None:
            object.__setattr__(self, "adapter", adapter_directory(adapter))

    def open(self) -> Engine:
        """The engine, ready. Raises UsageError where its extra is not installed, ModelError, ResourceError."""
        return open_engine(self)


def open_engine(spec: EngineSpec) -> Engine:
    """The engine of a spec; see EngineSpec.open."""
    for weights in (spec.adapter, spec.model):
        if weights is not None and (notice := license_notice(Path(weights))):
            log_once(notice, cache_dir())
    if spec.engine == "transformers":
        return _open_transformers(spec)
    if spec.engine == "openai":
        return _open_openai(spec)
    from rolesum.generation.engines.prompt_encoder import PromptEncoder

    encoder = PromptEncoder(_prompt_model(spec), spec.context)
    layout = _layout(spec, encoder.model)
    if spec.engine == "vllm":
        from rolesum.generation.engines.vllm import VLLMEngine

        return VLLMEngine(encoder, layout, dtype=spec.dtype, **(spec.vllm_options or {}))
    from rolesum.generation.engines.llamacpp import SLOTS, LlamaCppEngine

    assert spec.gguf is not None
    slots, on_gpu = spec.concurrency or SLOTS, spec.device != "cpu"
    return LlamaCppEngine(spec.gguf, encoder, layout, slots=slots, on_gpu=on_gpu)


def _open_transformers(spec: EngineSpec) -> Engine:
    from rolesum.generation.decoding.linear import prepare_for_generation
    from rolesum.generation.engines.prompt_encoder import check_context
    from rolesum.generation.engines.transformers import TransformersEngine
    from rolesum.models.loading import load_model

    loaded = load_model(spec.model, adapter=spec.adapter, device=spec.device, dtype=spec.dtype, attach=False)
    if spec.context is not None:
        check_context(spec.context, loaded)
        loaded.max_length = spec.context
    prepare_for_generation(loaded)
    return TransformersEngine(loaded, _layout(spec, loaded))


def _open_openai(spec: EngineSpec) -> Engine:
    from rolesum.generation.engines.openai import CONCURRENCY, OpenAIEngine

    assert spec.url is not None
    client = OpenAIClient(spec.url, spec.api_key_env or API_KEY_VARIABLE)
    client.sdk_client()  # an error now where the extra is not installed
    concurrency = spec.concurrency or CONCURRENCY
    if spec.model is None and spec.adapter is None:
        layout = PromptLayout(ChatFormat(), spec.instructions, spec.language, spec.definitions, sections=spec.sections)
        layout = replace(layout, asked=spec.asked)
        return OpenAIEngine(
            client, layout, served_model=spec.served_model, concurrency=concurrency, context=spec.context
        )
    from rolesum.generation.engines.prompt_encoder import PromptEncoder

    try:
        encoder = PromptEncoder(_prompt_model(spec), spec.context)
    except ModelError as error:
        fix = "; for a model that only the endpoint has, give its name to --served-model, without --model"
        raise ModelError([Problem(one.what, one.where, one.fix + fix) for one in error.problems]) from None
    return OpenAIEngine(
        client,
        _layout(spec, encoder.model),
        served_model=spec.served_model,
        prompt_encoder=encoder,
        concurrency=concurrency,
    )


def _prompt_model(spec: EngineSpec) -> "PromptModel":
    from rolesum.models.loading import load_prompt_model

    return load_prompt_model(spec.model, spec.adapter)


def _layout(spec: EngineSpec, model: "PromptModel") -> PromptLayout:
    layout = model.layout(spec.language, spec.instructions, spec.definitions, spec.sections)
    return replace(layout, asked=spec.asked)
