"""Run a GGUF file with llama.cpp's server inside this process; it listens on the loopback address and needs a key."""

import importlib.util
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.errors import ModelError, UsageError

# Likely tokens that llama.cpp returns at each position.
_TOP_LOGPROBS = 20


def is_installed() -> bool:
    """Whether llama.cpp's Python package is there."""
    return importlib.util.find_spec("xllamacpp") is not None


@dataclass(frozen=True, slots=True)
class LlamaCppCompletion:
    """New ids including the end token, their text by llama.cpp, and whether they stopped before the token limit.

    `logprobs` are those that llama.cpp returns: it leaves out tokens that end within a character. `ids` is empty for a
    text that was streamed.
    """

    ids: tuple[int, ...]
    text: str
    tokens: int
    stopped: bool
    logprobs: tuple[float, ...]


class LlamaCpp:
    """A loaded GGUF file. Raises UsageError where xllamacpp is not installed, ModelError for a file that is refused."""

    def __init__(
        self,
        file: Path,
        length: int = 1024,
        threads: int = 1,
        *,
        slots: int = 1,
        exact: bool = True,
        on_gpu: bool = True,
    ) -> None:
        """Load `file` with a context of `length` tokens per slot. If `exact`, compute in float32 where possible."""
        if not is_installed():
            raise UsageError("llama.cpp's Python package is not installed", fix="pip install 'rolesum[llamacpp]'")
        import xllamacpp

        self._key = secrets.token_urlsafe()
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx, params.n_parallel, params.warmup, params.port, params.verbosity = (
            length * slots,
            slots,
            False,
            0,
            0,
        )
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.api_keys = [self._key]
        if not on_gpu:
            params.n_gpu_layers = 0
        if exact:
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ModelError(f"llama.cpp does not load the file: {error}", str(file), "export it again") from None
        # A server that is freed before its task loop has begun never ends. An answer through the queue says it has.
        self._post("/completion", prompt=[0], n_predict=0, cache_prompt=False)

    def tokenize(self, text: str, add_special: bool = False) -> list[int]:
        """llama.cpp's own ids of a text, in which control tokens are read as text."""
        body = {"content": text, "add_special": add_special, "parse_special": False}
        tokens: list[int] = self._post("/tokenize", **body)["tokens"]
        return tokens

    def vocabulary(self) -> int:
        """How many tokens the file knows."""
        with self._open("/v1/models") as answer:
            return int(json.load(answer)["data"][0]["meta"]["n_vocab"])

    def detokenize(self, ids: Sequence[int]) -> str:
        """llama.cpp's own text of ids, control tokens by their surface."""
        return str(self._post("/detokenize", tokens=list(ids))["content"])

    def greedy(self, ids: Sequence[int], new_tokens: int) -> tuple[list[int], dict[int, list[dict[str, Any]]]]:
        """The new ids, and by position in them the likeliest ids with their log-probabilities.

        llama.cpp leaves out positions that end within a character; then only ids that occur once have a position.
        """
        options = {"n_predict": new_tokens, "samplers": ["top_k"], "top_k": 1, "n_probs": _TOP_LOGPROBS}
        reply = self._post("/completion", prompt=list(ids), return_tokens=True, cache_prompt=False, **options)
        new, steps = reply["tokens"], reply.get("completion_probabilities", [])
        if len(steps) == len(new):
            return new, {place: step["top_logprobs"] for place, step in enumerate(steps)}
        return new, {new.index(step["id"]): step["top_logprobs"] for step in steps if new.count(step["id"]) == 1}

    def complete(
        self, ids: Sequence[int], on_text: Callable[[str], None] | None = None, **options: Any
    ) -> LlamaCppCompletion:
        """Complete a prompt; the slot keeps its KV cache. `options` are llama.cpp's own parameters.

        `on_text` is called with the whole text so far whenever it has grown.
        """
        body = {"prompt": list(ids), "return_tokens": True, "cache_prompt": True, "n_probs": 1, **options}
        if on_text is None:
            reply = self._post("/completion", **body)
            return _completion(reply, reply["tokens"], reply["content"], reply.get("completion_probabilities", []))
        text: str = ""
        steps: list[dict[str, Any]] = []
        with self._open("/completion", {**body, "stream": True}) as lines:
            for line in lines:
                if line.startswith(b"data: "):
                    reply = json.loads(line.removeprefix(b"data: "))
                    text += reply["content"]
                    steps += reply.get("completion_probabilities", [])
                    on_text(text)
        return _completion(reply, (), text, steps)

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        with self._open(path, body) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def _open(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        data = strict_json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._server.listening_address + path, data, headers)
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            reply = error.read().decode(errors="replace")[:300]
            raise ModelError(f"llama.cpp refuses: {reply}", fix="use another engine") from None


def _completion(
    reply: dict[str, Any], ids: Sequence[int], text: str, steps: Sequence[dict[str, Any]]
) -> LlamaCppCompletion:
    logprobs = tuple(float(one["logprob"]) for one in steps)
    return LlamaCppCompletion(tuple(ids), text, reply["tokens_predicted"], reply["stop_type"] != "limit", logprobs)
