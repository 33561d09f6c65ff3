"""A GGUF file in llama.cpp, inside this process: its server, which listens on this machine only and wants a key."""

import importlib.util
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolesum.errors import ModelError, UsageError

# Likely tokens that llama.cpp tells at each place.
_TOLD = 20


def is_installed() -> bool:
    """Whether llama.cpp's Python package is there."""
    return importlib.util.find_spec("xllamacpp") is not None


@dataclass(frozen=True, slots=True)
class LlamaCppCompletion:
    """New ids with the one that ended them, their text as llama.cpp reads it, and whether the limit did not end it.

    `logprobs` are those that llama.cpp tells: it leaves out tokens that end within a character. Without `ids` where
    the text was told while it grew.
    """

    ids: tuple[int, ...]
    text: str
    tokens: int
    stopped: bool
    logprobs: tuple[float, ...]


class LlamaCpp:
    """A loaded file. Raises UsageError where xllamacpp is not installed, ModelError for a file that is refused."""

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
        """`length` is that of each of the `slots`. If `exact`, everything that can be is in float32."""
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

    def tokenize(self, text: str, add_special: bool = False) -> list[int]:
        """llama.cpp's own ids of a text, in which control tokens are read as text."""
        asked = {"content": text, "add_special": add_special, "parse_special": False}
        tokens: list[int] = self._post("/tokenize", **asked)["tokens"]
        return tokens

    def vocabulary(self) -> int:
        """How many tokens the file knows."""
        with self._open("/v1/models") as answer:
            return int(json.load(answer)["data"][0]["meta"]["n_vocab"])

    def detokenize(self, ids: Sequence[int]) -> str:
        """llama.cpp's own text of ids, control tokens by their surface."""
        return str(self._post("/detokenize", tokens=list(ids))["content"])

    def greedy(self, ids: Sequence[int], new_tokens: int) -> tuple[list[int], dict[int, list[dict[str, Any]]]]:
        """The new ids, and at most of their places the likeliest ids with their log-probabilities.

        llama.cpp leaves out the places that end within a character: then those are told whose id stands nowhere else.
        """
        asked = {"n_predict": new_tokens, "samplers": ["top_k"], "top_k": 1, "n_probs": _TOLD}
        said = self._post("/completion", prompt=list(ids), return_tokens=True, cache_prompt=False, **asked)
        new, told = said["tokens"], said.get("completion_probabilities", [])
        if len(told) == len(new):
            return new, {place: step["top_logprobs"] for place, step in enumerate(told)}
        return new, {new.index(step["id"]): step["top_logprobs"] for step in told if new.count(step["id"]) == 1}

    def complete(
        self, ids: Sequence[int], on_text: Callable[[str], None] | None = None, **asked: Any
    ) -> LlamaCppCompletion:
        """A text behind a prompt, whose cache its slot keeps. `asked` are llama.cpp's own parameters.

        `on_text` is told the whole text so far, as often as it grows.
        """
        body = {"prompt": list(ids), "return_tokens": True, "cache_prompt": True, "n_probs": 1, **asked}
        if on_text is None:
            said = self._post("/completion", **body)
            return _completed(said, said["tokens"], said["content"], said.get("completion_probabilities", []))
        text, told = "", []
        with self._open("/completion", {**body, "stream": True}) as lines:
            for line in lines:
                if line.startswith(b"data: "):
                    said = json.loads(line.removeprefix(b"data: "))
                    text += said["content"]
                    told += said.get("completion_probabilities", [])
                    on_text(text)
        return _completed(said, (), text, told)

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        with self._open(path, body) as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    def _open(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._server.listening_address + path, data, headers)
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:300]
            raise ModelError(f"llama.cpp refuses: {said}", fix="use another engine") from None


def _completed(
    said: dict[str, Any], ids: Sequence[int], text: str, told: Sequence[dict[str, Any]]
) -> LlamaCppCompletion:
    logprobs = tuple(float(one["logprob"]) for one in told)
    return LlamaCppCompletion(tuple(ids), text, said["tokens_predicted"], said["stop_type"] != "limit", logprobs)
