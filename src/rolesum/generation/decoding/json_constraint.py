"""Holds the tokens of a text to a JSON schema: which may come next, by llguidance (extra: fields).

llguidance and not xgrammar: it needs no other package (xgrammar brings Triton and TVM's runtime, with which a CPU has
nothing to do), one wheel of 3 MB fits all versions of Python, and it says what it does not support of a schema.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rolesum.errors import ModelError, UsageError
from rolesum.instructions.schema_check import json_grammar
from rolesum.models.prompt_model import LoadedModel

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT_GRAMMARS = 16  # of the schemas that were used last


class JSONConstraint:
    """The state of one text: which tokens may come next, given those before.

    Where a grammar becomes too large while it is used, the text ends, as no JSON: other texts of the batch go on.
    """

    def __init__(self, matcher: "LLMatcher") -> None:
        self._matcher = matcher

    def allowed(self, vocabulary: int) -> torch.Tensor:
        """Which of the model's tokens may come next, bool (vocabulary,); after a complete text, those that end it."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        found = torch.zeros(vocabulary, dtype=torch.bool)
        size = min(vocabulary, len(bits))
        found[:size] = torch.from_numpy(bits[:size].astype(bool))
        return found

    def accept(self, token: int) -> None:
        """Append a token."""
        self._matcher.consume_token(token)


class JSONConstraints:
    """Makes the constraints of a model's texts. The first one takes seconds: the vocabulary is read."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Raises UsageError for a model without a fast tokenizer, and where the extra is not installed."""
        self._name = loaded.name
        self._tokenizer = _read_tokenizer(loaded)
        self._matcher = lru_cache(KEPT_GRAMMARS)(self._compile)

    def new(self, schema: str) -> JSONConstraint:
        """The constraint of a text that begins. `schema` is JSON. Raises ModelError where it is too large."""
        return JSONConstraint(self._matcher(schema).deep_copy())

    def _compile(self, schema: str) -> "LLMatcher":
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokenizer, json_grammar(schema), log_level=0)
        if matcher.is_error():
            said = " ".join(matcher.get_error().split())[:200]
            raise ModelError(f"{self._name} cannot be held to the schema: {said}", fix="use a simpler schema")
        return matcher


def _read_tokenizer(loaded: LoadedModel) -> "LLTokenizer":
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = loaded.tokenizer
    json_grammar("{}")  # an error now where the extra is not installed
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        what = f"the answers of {loaded.name} cannot be held to a schema: it has no fast tokenizer"
        raise UsageError(what, fix="use another model, or --engine vllm")
    from llguidance.hf import from_tokenizer

    return from_tokenizer(tokenizer, eos_token=list(loaded.stop_ids))
