"""Types of what transformers leaves untyped: a tokenizer's results for one text, and the output of a model's backbone.

They are Protocols, so transformers' own classes are used as they are; nothing inherits from them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import AddedToken


class Tokenizer(Protocol):
    """The part of transformers' PreTrainedTokenizerBase that rolesum uses, typed for one text at a time.

    transformers declares `decode` and `convert_ids_to_tokens` as a text or a list of texts, and special tokens not at
    all. Only fast tokenizers have a `backend_tokenizer`: ask for it with getattr.
    """

    chat_template: Any  # a Jinja template, or several by name; None where the model was not tuned to chat
    model_max_length: int
    bos_token: str | None
    eos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]: ...

    @property
    def all_special_ids(self) -> Sequence[int]: ...

    @property
    def unk_token_id(self) -> int | None: ...

    def __len__(self) -> int: ...

    def __call__(self, text: str | None = None, *, text_target: str | None = None) -> Any: ...

    def encode(
        self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False
    ) -> list[int]: ...

    def decode(self, ids: Sequence[int] | torch.Tensor, *, skip_special_tokens: bool = False) -> str: ...

    def convert_ids_to_tokens(self, index: int) -> str: ...

    def convert_tokens_to_ids(self, token: str) -> int: ...

    def get_vocab(self) -> dict[str, int]: ...

    def add_tokens(self, tokens: list[AddedToken], *, special_tokens: bool = False) -> int: ...

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool = False, **options: Any
    ) -> Any: ...

    def save_pretrained(self, directory: str | Path) -> Any: ...


class MultilingualTokenizer(Tokenizer, Protocol):
    """A tokenizer that puts language codes around texts, such as mBART's."""

    src_lang: str | None
    tgt_lang: str | None


class HiddenStates(Protocol):
    """The output of a backbone. Item 0 is the last layer's hidden states, (batch, length, hidden)."""

    def __getitem__(self, index: int, /) -> torch.Tensor: ...


class Backbone(Protocol):
    """A language model without its head (transformers' `base_model`), called with the model's keyword arguments.

    Token ids or embeddings, an attention mask, position ids and a KV cache go in; hidden states come out.
    """

    def __call__(self, **inputs: Any) -> HiddenStates: ...
