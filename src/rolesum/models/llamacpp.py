"""A GGUF file in llama.cpp, inside this process, with everything in float32 that can be."""

import importlib.util
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rolesum.errors import ModelError, UsageError

# Likely tokens that llama.cpp tells at each place.
_TOLD = 20


def is_installed() -> bool:
    """Whether llama.cpp's Python package is there."""
    return importlib.util.find_spec("xllamacpp") is not None


class LlamaCpp:
    """A loaded file. Raises UsageError where xllamacpp is not installed, ModelError for a file that is refused."""

    def __init__(self, file: Path, length: int = 1024, threads: int = 1) -> None:
        if not is_installed():
            raise UsageError("llama.cpp's Python package is not installed", fix="pip install 'rolesum[llamacpp]'")
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx, params.n_parallel, params.warmup, params.port, params.verbosity = length, 1, False, 0, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ModelError(f"llama.cpp does not load the file: {error}", str(file), "export it again") from None

    def tokenize(self, text: str, add_special: bool = False) -> list[int]:
        """llama.cpp's own ids of a text, in which control tokens are read as text."""
        tokens: list[int] = self._post("/tokenize", content=text, add_special=add_special, parse_special=False)[
            "tokens"
        ]
        return tokens

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

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        address = self._server.listening_address + path
        request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            told: dict[str, Any] = json.load(answer)
        return told
