"""Convert a checkpoint's tokenizer to GGUF. One that llama.cpp would run differently is refused, with the reason."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gguf import GGUFWriter, TokenType
from tokenizers import pre_tokenizers

from rolesum.errors import ModelError
from rolesum.models.architectures.sentencepiece import MODEL_FILE, SPACE, fast_tokenizer
from rolesum.models.checkpoint import read_json

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def _split(digits: str) -> list[dict[str, Any]]:
    """Words as GPT-4's tokenizer cuts them, with so many digits together; then bytes."""
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        rf"{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    cut = {"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": False}
    return [cut, {**_BYTES, "use_regex": False}]


# llama.cpp's name of a pre-tokenizer -> what does the same in tokenizer.json, and its ignore_merges.
PRE_TOKENIZERS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "gpt-2": ([_BYTES], False),
    "smollm": ([{"type": "Digits", "individual_digits": True}, _BYTES], False),
    "llama-bpe": (_split(r"\p{N}{1,3}"), True),
    "qwen2": (_split(r"\p{N}"), False),
}


@dataclass
class GGUFVocabulary:
    """A tokenizer in GGUF's terms: `kind` "llama" is SentencePiece's BPE, "gpt2" is byte-level BPE."""

    kind: Literal["llama", "gpt2"]
    pre: str
    tokens: list[str]
    types: list[TokenType]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    adds_space: bool = False
    bos: int | None = None  # put before every text
    eos: int | None = None  # put behind every text

    def padded_to(self, rows: int, directory: Path) -> "GGUFVocabulary":
        """With a name for each of the model's rows. Raises ModelError where the model has fewer rows than tokens."""
        if len(self.tokens) > rows:
            what = f"the tokenizer has {len(self.tokens)} tokens, and the model rows for {rows}"
            raise ModelError(what, str(directory), "take the added tokens out, or resize the embeddings and train them")
        for index in range(len(self.tokens), rows):
            self._append(f"[PAD{index}]", TokenType.UNUSED)
        if len(set(self.tokens)) != rows:
            twice = next(token for token in self.tokens if self.tokens.count(token) > 1)
            raise ModelError(f"the tokenizer has {twice!r} twice", str(directory), "give each token its own text")
        return self

    def add(self, added: Sequence[Mapping[str, Any]], directory: Path) -> None:
        """Added tokens: the special ones are never read from plain text, the others always. Raises ModelError."""
        for token in sorted(added, key=lambda token: int(token["id"])):
            index, text = int(token["id"]), str(token["content"])
            strips = [flag for flag in ("lstrip", "rstrip", "single_word") if token.get(flag)]
            if strips:
                what = f"the added token {text} is matched with {strips[0]}, which llama.cpp does not do"
                raise ModelError(what, str(directory), f"set {strips[0]} to false in tokenizer.json")
            while len(self.tokens) < index:
                self._append(f"[PAD{len(self.tokens)}]", TokenType.UNUSED)
            if len(self.tokens) == index:
                self._append(text, TokenType.NORMAL)
            elif self.tokens[index] != text:
                what = f"the added token {text} has the id {index} of the token {self.tokens[index]}"
                raise ModelError(what, str(directory), "give the tokenizer files that belong together")
            if self.types[index] is not TokenType.UNKNOWN:
                self.types[index] = TokenType.CONTROL if token.get("special") else TokenType.USER_DEFINED

    def _append(self, text: str, kind: TokenType) -> None:
        self.tokens.append(text)
        self.types.append(kind)
        if self.kind == "llama":
            self.scores.append(-1000.0)


def read_vocabulary(directory: Path) -> GGUFVocabulary:
    """The tokenizer beside the weights. Raises ModelError for one that llama.cpp would not run alike."""
    fast = read_json(directory / "tokenizer.json")
    bare = not fast and (directory / MODEL_FILE).is_file()
    if bare:
        fast = json.loads(fast_tokenizer(directory / MODEL_FILE).backend_tokenizer.to_str())
    if not fast:
        raise _unsupported(f"there is no tokenizer.json and no {MODEL_FILE}", directory)
    kind = fast["model"].get("type", "BPE")
    if kind != "BPE":
        raise _unsupported(f"its tokenizer.json holds a {kind} model, and llama.cpp reads BPE", directory)
    vocabulary = (_sentencepiece if fast["model"].get("byte_fallback") else _byte_level)(directory, fast)
    vocabulary.add(fast.get("added_tokens", ()), directory)
    if bare:
        _add_from_config(vocabulary, directory)
    else:
        vocabulary.bos, vocabulary.eos = _ends(fast.get("post_processor"), directory)
    return vocabulary


def _add_from_config(vocabulary: GGUFVocabulary, directory: Path) -> None:
    """What a bare tokenizer.model does not say, but the files beside it."""
    if (directory / "added_tokens.json").is_file():
        raise _unsupported("added_tokens.json does not say which of its tokens are special", directory)
    tokens = {**read_json(directory / "special_tokens_map.json"), **read_json(directory / "tokenizer_config.json")}
    added = tokens.get("added_tokens_decoder", {})
    vocabulary.add([{**token, "id": index} for index, token in added.items()], directory)
    if tokens.get("add_bos_token", True):
        vocabulary.bos = _token_id(vocabulary, tokens.get("bos_token", "<s>"))
    if tokens.get("add_eos_token"):
        vocabulary.eos = _token_id(vocabulary, tokens.get("eos_token", "</s>"))


def _unsupported(what: str, directory: Path) -> ModelError:
    fix = "run the model with transformers or vLLM instead, or give the tokenizer that it was trained with"
    return ModelError(f"its tokenizer cannot be written as GGUF: {what}", str(directory), fix)


def _sentencepiece(directory: Path, fast: Mapping[str, Any]) -> GGUFVocabulary:
    """SentencePiece's BPE with bytes for what it does not know: the rank of a piece's merges is its score."""
    model = fast["model"]
    steps = [*_steps(fast.get("normalizer"), "normalizers"), *_steps(fast.get("pre_tokenizer"), "pretokenizers")]
    prepends = {"type": "Prepend", "prepend": SPACE}
    replaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    metaspace = {"type": "Metaspace", "replacement": SPACE, "split": False}
    if steps == [replaces] or steps == [{**metaspace, "prepend_scheme": "never"}]:
        adds_space = False
    elif steps in (
        [prepends, replaces],
        *([{**metaspace, "prepend_scheme": scheme}] for scheme in ("first", "always")),
    ):
        adds_space = True
    else:
        raise _unsupported(f"it prepares the text by {_names(steps)}", directory)
    vocabulary = GGUFVocabulary("llama", "default", *_words(model["vocab"]), adds_space=adds_space)
    for index, token in enumerate(vocabulary.tokens):
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            vocabulary.types[index] = TokenType.BYTE
    if vocabulary.types.count(TokenType.BYTE) != 256:
        raise _unsupported("it has no byte tokens, so that unknown characters have no ids", directory)
    if model.get("unk_token") in model["vocab"]:
        vocabulary.types[model["vocab"][model["unk_token"]]] = TokenType.UNKNOWN
    added = {token["content"] for token in fast.get("added_tokens", ())}
    normal = {
        token
        for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True)
        if kind is TokenType.NORMAL and token not in added
    }
    scores = _scores(_pairs(model), normal, added, directory)
    vocabulary.scores = [scores.get(token, 0.0) for token in vocabulary.tokens]
    return vocabulary


def _scores(merges: Sequence[tuple[str, str]], normal: Set[str], added: Set[str], directory: Path) -> dict[str, float]:
    """The scores of tokens by which llama.cpp makes the same merges in the same order.

    llama.cpp joins any two neighbors that make a token, so the merges must name every such two; `added` tokens are
    cut out of the text before. Tokens whose merges lie between one another had one score in the tokenizer.model.
    """
    listed = set(merges)
    for whole in normal:
        for cut in range(1, len(whole)):
            left, right = whole[:cut], whole[cut:]
            parts_are_tokens = all(part in normal or (len(part) == 1 and part not in added) for part in (left, right))
            if parts_are_tokens and (left, right) not in listed:
                raise _unsupported(
                    f"it does not make {whole!r} of {left!r} and {right!r}, as llama.cpp would", directory
                )
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        first.setdefault(left + right, rank)
        last[left + right] = rank
    scores: dict[str, float] = {}
    score, end = 0.0, -1
    for whole, rank in first.items():
        if rank > end:
            score -= 1.0
        end = max(end, last[whole])
        scores[whole] = score
    return scores


def _byte_level(directory: Path, fast: Mapping[str, Any]) -> GGUFVocabulary:
    """A tokenizer.json of GPT-2's kind, recognized by its pre-tokenizer."""
    model = fast["model"]
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            raise _unsupported(f"it has a {key}", directory)
    if fast.get("normalizer"):
        raise _unsupported(f"it normalizes the text by {_names(_steps(fast['normalizer'], 'normalizers'))}", directory)
    if model.get("unk_token") and not set(pre_tokenizers.ByteLevel.alphabet()) <= set(model["vocab"]):
        raise _unsupported("it lacks some bytes and writes unknown tokens for them", directory)
    steps = _steps(fast.get("pre_tokenizer"), "pretokenizers")
    pre = next(
        (name for name, known in PRE_TOKENIZERS.items() if known == (steps, bool(model.get("ignore_merges")))), None
    )
    if pre is None:
        known = ", ".join(PRE_TOKENIZERS)
        raise _unsupported(f"its pre-tokenizer {_names(steps)} is none of those of {known}", directory)
    merges = [f"{left} {right}" for left, right in _pairs(model)]
    if any(merge.count(" ") != 1 for merge in merges):
        raise _unsupported("it has merges with a space", directory)
    return GGUFVocabulary("gpt2", pre, *_words(model["vocab"]), merges=merges)


def _words(ids: Mapping[str, int]) -> tuple[list[str], list[TokenType]]:
    """Tokens in the order of their ids, and their types; an id that no token has is unused."""
    by_id = {index: token for token, index in ids.items()}
    every = range(max(by_id) + 1)
    types = [TokenType.NORMAL if index in by_id else TokenType.UNUSED for index in every]
    return [by_id.get(index, f"[PAD{index}]") for index in every], types


def _pairs(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of a BPE model, which older files write as one text with a space."""
    parts = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in parts]


def _steps(part: Mapping[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, one after the other, without what does not change ids."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [step for one in part[inner] for step in _steps(one, inner)]
    return [{key: value for key, value in part.items() if key != "trim_offsets"}]


def _names(steps: Sequence[Mapping[str, Any]]) -> str:
    return " + ".join(str(step["type"]) for step in steps) or "nothing"


def _ends(post: Mapping[str, Any] | None, directory: Path) -> tuple[int | None, int | None]:
    """The ids that tokenizer.json's post-processor puts before and behind a text."""
    ends: dict[bool, int] = {}
    for step in [] if post is None else post.get("processors", [post]):
        if step["type"] == "ByteLevel":  # changes offsets only
            continue
        if step["type"] != "TemplateProcessing":
            raise _unsupported(f"it ends texts by {step['type']}", directory)
        single = step["single"]
        place = next(index for index, piece in enumerate(single) if "Sequence" in piece)
        for index, piece in enumerate(single):
            if index != place:
                ids = step["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
                if len(ids) != 1 or (index < place) in ends:
                    raise _unsupported("it puts several tokens before or behind a text", directory)
                ends[index < place] = int(ids[0])
    return ends.get(True), ends.get(False)


def _token_id(vocabulary: GGUFVocabulary, token: Any) -> int | None:
    """The id of a token as tokenizer_config.json writes it: a text, or an object with the text in it."""
    text = token.get("content") if isinstance(token, dict) else token
    return vocabulary.tokens.index(text) if text in vocabulary.tokens else None


def special_ids(directory: Path, config: Mapping[str, Any], vocabulary: GGUFVocabulary) -> dict[str, int]:
    """Which id is bos, eos, unk, pad, and which other ids end a text (eot, eom)."""
    tokens = {
        **read_json(directory / "special_tokens_map.json"),
        **read_json(directory / "tokenizer_config.json"),
    }
    named = {key: _token_id(vocabulary, tokens.get(f"{key}_token")) for key in ("bos", "eos", "unk", "pad")}
    stops = read_json(directory / "generation_config.json").get("eos_token_id", config.get("eos_token_id", 2))
    every = [vocabulary.eos, named["eos"], *(stops if isinstance(stops, list) else [stops])]
    ends = list(dict.fromkeys(index for index in every if index is not None))
    if not ends or len(ends) > 3:
        what = f"{len(ends)} tokens end a text, and llama.cpp wants one to three"
        raise ModelError(what, str(directory), "set eos_token_id in generation_config.json")
    ids = dict(zip(("eos", "eot", "eom"), ends, strict=False))
    for key, first in (("bos", vocabulary.bos), ("unk", None), ("pad", None)):
        found = next((i for i in (first, named[key], config.get(f"{key}_token_id")) if i is not None and i >= 0), None)
        if found is not None:
            ids[key] = found
    ids.setdefault("bos", ids["eos"])  # llama.cpp's own default would be any token; nothing is put before texts
    wrong = next((f"{key} {index}" for key, index in ids.items() if index >= len(vocabulary.tokens)), None)
    if wrong:
        raise ModelError(f"the id of {wrong} is none of the vocabulary's", str(directory), "correct config.json")
    return ids


def chat_template(directory: Path) -> str | list[dict[str, str]] | None:
    """The template of the checkpoint's chats; several are a list of names and templates."""
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template: str | list[dict[str, str]] | None = read_json(directory / "tokenizer_config.json").get("chat_template")
    return template


def write_vocabulary(
    writer: GGUFWriter, vocabulary: GGUFVocabulary, ids: Mapping[str, int], template: str | list[dict[str, str]] | None
) -> None:
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([int(kind) for kind in vocabulary.types])
    if vocabulary.kind == "llama":
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.adds_space)
    else:
        writer.add_token_merges(vocabulary.merges)
    for key, index in ids.items():
        getattr(writer, f"add_{key}_token_id")(index)
    writer.add_add_bos_token(vocabulary.bos is not None)
    writer.add_add_eos_token(vocabulary.eos is not None)
    if template:
        writer.add_chat_template(template)
