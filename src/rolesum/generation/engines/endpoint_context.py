"""The context window of an endpoint, as its server reports it, and whether it read the whole of a prompt.

Ollama and LM Studio drop the beginning of a prompt that is too long, without an error. The window is asked for before
any dialogue is sent; afterwards the number of tokens that the server says it read is compared with the prompt.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolesum.generation.engines.openai_client import OpenAIClient

# Keys of a model in /v1/models: of vLLM and SGLang, OpenRouter, Groq. LM Studio's max_context_length is not what it
# has loaded.
_LISTED_KEYS = ("max_model_len", "context_length", "context_window")
# What an Ollama without OLLAMA_CONTEXT_LENGTH takes that does not report the context of the models that it runs.
_OLD_OLLAMA_TOKENS = 2048
_OLLAMA_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)

# What every usual tokenizer gives at least one token: a word, a number, marks that no word follows.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_ONE_TOKEN = re.compile(rf"[^\W\d_{_CJK}]+(?:['’][^\W\d_{_CJK}]+)*|\d+|[^\w\s]+(?!\w)")
_CJK_CHARACTER = re.compile(f"[{_CJK}]")


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """The tokens of prompt and answer together; `is_reported` where the server says so, else they are its default."""

    tokens: int
    is_reported: bool = True


def find_context(client: OpenAIClient, model: str, listed: Sequence[Mapping[str, Any]]) -> ContextWindow | None:
    """The context of a served model; None where the server does not report one. `listed` are those of /v1/models."""
    entry = next((one for one in listed if one["id"] == model), {})
    for key in _LISTED_KEYS:
        if tokens := _positive(entry.get(key)):
            return ContextWindow(tokens)
    return _of_llamacpp(client) or _of_ollama(client, model) or _of_lm_studio(client, model)


def least_tokens(text: str) -> int:
    """A number of tokens that no usual tokenizer stays under.

    It is three quarters of the true number for English text, half of it or less for Chinese.
    """
    return len(_ONE_TOKEN.findall(text)) + len(_CJK_CHARACTER.findall(text)) // 2


def _of_llamacpp(client: OpenAIClient) -> ContextWindow | None:
    """The context of one slot of llama.cpp's server."""
    settings = (client.ask("/props") or {}).get("default_generation_settings")
    tokens = _positive(settings.get("n_ctx")) if isinstance(settings, dict) else None
    return ContextWindow(tokens) if tokens else None


def _of_ollama(client: OpenAIClient, model: str) -> ContextWindow | None:
    """The context that Ollama gives to requests that do not name one, as those of OpenAI's API cannot."""
    shown = client.ask("/api/show", {"model": model})
    if shown is None or not isinstance(shown.get("model_info", shown.get("details")), dict):
        return None
    if found := _OLLAMA_NUM_CTX.search(str(shown.get("parameters") or "")):
        return ContextWindow(int(found[1]))
    # Loaded as the requests will load it: with the server's default context, not that of another client's options.
    client.ask("/api/generate", {"model": model, "stream": False}, timeout=client.timeout)
    for running in _objects(client.ask("/api/ps"), "models"):
        names = (running.get("name"), running.get("model"))
        if (model in names or f"{model}:latest" in names) and (tokens := _positive(running.get("context_length"))):
            return ContextWindow(tokens)
    return ContextWindow(_OLD_OLLAMA_TOKENS, is_reported=False)


def _of_lm_studio(client: OpenAIClient, model: str) -> ContextWindow | None:
    """The context of a model that LM Studio has loaded."""
    for one in _objects(client.ask("/api/v0/models"), "data"):
        if one.get("id") == model and (tokens := _positive(one.get("loaded_context_length"))):
            return ContextWindow(tokens)
    return None


def _objects(answer: Mapping[str, Any] | None, key: str) -> Iterator[Mapping[str, Any]]:
    found = (answer or {}).get(key)
    return (one for one in (found if isinstance(found, list) else []) if isinstance(one, dict))


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
