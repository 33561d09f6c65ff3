"""A tokenizer.model of SentencePiece BPE as an exact fast tokenizer.

transformers' own conversions rank the merges by id or guess the prefix, and give other ids than the library that the
model was trained with. Here merges stand in the order in which SentencePiece makes them: by the score of what comes
out. The ids and the texts are those of the sentencepiece library (tests/models/architectures/test_sentencepiece.py).
"""

import copy
import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from rolesum.errors import ModelError
from rolesum.models import protocols
from rolesum.os_errors import os_error

MODEL_FILE = "tokenizer.model"
SPACE = "▁"

# Types of pieces and of models, as sentencepiece_model.proto numbers them.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_BPE = 2


def fast_tokenizer(
    file: Path, more: Mapping[int, str] | None = None, names: Mapping[str, str] | None = None
) -> PreTrainedTokenizerFast:
    """The tokenizer of a tokenizer.model.

    `more` are control tokens by id that the model's authors add in code, `names` the special tokens' roles (bos_token,
    eos_token …). Raises ModelError for a file that is no SentencePiece BPE with plain normalization.
    """
    model = read_model(file)
    pieces = list(model.pieces)
    backend = Tokenizer(
        BPE(
            vocab={piece.piece: index for index, piece in enumerate(pieces)},
            merges=_merges(pieces, file),
            unk_token=pieces[model.trainer_spec.unk_id].piece,
            byte_fallback=model.trainer_spec.byte_fallback,
            fuse_unk=True,
        )
    )
    prefixed = model.normalizer_spec.add_dummy_prefix
    spaces = normalizers.Replace(" ", SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if prefixed else spaces
    parts = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)] if prefixed else parts)
    for piece in pieces:
        if piece.type in (UNKNOWN, CONTROL):
            backend.add_special_tokens([AddedToken(piece.piece, special=True, normalized=False)])
    backend.add_tokens([AddedToken(one.piece, normalized=False) for one in pieces if one.type == USER_DEFINED])
    for index, surface in sorted((more or {}).items()):
        if index != backend.get_vocab_size():
            what = f"this {file.name} has {len(pieces)} pieces, and the authors' {surface} is the token {index}"
            raise ModelError(what, str(file), "fetch the model again")
        backend.add_special_tokens([AddedToken(surface, special=True, normalized=False)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # not annotated
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **(names or _names(model))
    )


def without_space_prefix(tokenizer: protocols.Tokenizer) -> Tokenizer | None:
    """A tokenizer's twin that puts no space before a text; None for one that puts none itself.

    None too for one that drops spaces and marks every word (T5's): without the mark all words would run on.
    """
    backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    normalizer, splitter = _told(backend.normalizer), _told(backend.pre_tokenizer)
    words = [one.get("type") for one in splitter.get("pretokenizers", [splitter])]
    if "WhitespaceSplit" in words or not _drop_prefix(normalizer, splitter):
        return None
    # The two parts are made by way of a tokenizer of no words; the vocabulary stays where it is.
    parts = {"normalizer": normalizer or None, "pre_tokenizer": splitter or None}
    empty = Tokenizer.from_str(json.dumps({**json.loads(Tokenizer(BPE()).to_str()), **parts}))
    twin = copy.deepcopy(backend)
    twin.normalizer, twin.pre_tokenizer = empty.normalizer, empty.pre_tokenizer
    return twin


def _told(part: Any) -> dict[str, Any]:
    """A normalizer's or a pre-tokenizer's own JSON; empty for none."""
    return dict(json.loads(part.__getstate__())) if part is not None else {}


def _drop_prefix(normalizer: dict[str, Any], splitter: dict[str, Any]) -> bool:
    """Take the leading space out of both; whether there was one."""
    steps = normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer]
    kept = [step for step in steps if step.get("type") != "Prepend"]
    found = len(kept) < len(steps)
    if found:
        normalizer.clear()
        normalizer.update({"type": "Sequence", "normalizers": kept})
    for one in splitter.get("pretokenizers", [splitter]):
        if one.get("type") == "Metaspace" and one.get("prepend_scheme", "always") != "never":
            one["prepend_scheme"], found = "never", True
    return found


def sentencepiece_proto() -> Any:
    """The module of SentencePiece's messages that transformers uses too: a second one would clash with it."""
    from transformers.convert_slow_tokenizer import import_protobuf

    return import_protobuf()  # type: ignore[no-untyped-call]  # not annotated


def read_model(file: Path) -> Any:
    """The message in a tokenizer.model. Raises ModelError for one that is no plain SentencePiece BPE."""
    from google.protobuf.message import DecodeError

    model = sentencepiece_proto().ModelProto()
    try:
        model.ParseFromString(file.read_bytes())
    except (OSError, DecodeError) as error:
        fix = "fetch the model again"
        raise os_error(error, "the tokenizer cannot be read", file, fix, kind=ModelError) from None
    normal = model.normalizer_spec
    plain = not normal.precompiled_charsmap and not normal.remove_extra_whitespaces and normal.escape_whitespaces
    plain = plain and not model.trainer_spec.treat_whitespace_as_suffix
    if model.trainer_spec.model_type != _BPE or not plain or not model.pieces:
        what = "this tokenizer.model is not SentencePiece BPE without normalization"
        raise ModelError(what, str(file), "give the checkpoint its tokenizer.json")
    spec, count = model.trainer_spec, len(model.pieces)
    if not 0 <= spec.unk_id < count or not all(-1 <= one < count for one in (spec.bos_id, spec.eos_id, spec.pad_id)):
        raise ModelError("its special ids are none of its pieces", str(file), "fetch the model again")
    return model


def _merges(pieces: list[Any], file: Path) -> list[tuple[str, str]]:
    """Every split of every normal piece into two, in the order in which SentencePiece would merge them."""
    ids = {piece.piece: index for index, piece in enumerate(pieces) if piece.type == NORMAL}
    odd = [
        piece.piece
        for piece in pieces
        if piece.type == UNUSED and any(a in ids and b in ids for a, b in _splits(piece.piece))
    ]
    odd += [piece.piece for piece in pieces if piece.type == USER_DEFINED and {" ", SPACE} & set(piece.piece)]
    if odd or len({piece.piece for piece in pieces}) < len(pieces):
        what = (
            f"it has pieces that are read in a way of their own: {', '.join(map(repr, odd[:3])) or 'one stands twice'}"
        )
        raise ModelError(what, str(file), "give the checkpoint its tokenizer.json")
    ranked = sorted(
        (-pieces[index].score, ids[left], ids[right], left, right)
        for whole, index in ids.items()
        for left, right in _splits(whole)
        if left in ids and right in ids
    )
    for tied in (list(group) for _, group in groupby(ranked, key=lambda one: one[0])):
        _check_ties([(left, right) for *_, left, right in tied], file)
    return [(left, right) for *_, left, right in ranked]


def _check_ties(merges: list[tuple[str, str]], file: Path) -> None:
    """Raise ModelError where two pieces of one score can compete for a symbol.

    SentencePiece then takes the one further left, and an order of merges cannot say so. Runs of one letter are let
    through: whichever is made first, the run is cut the same.
    """
    first: dict[str, set[str]] = {}  # a merge's left symbol -> the pieces that begin with it
    for left, right in merges:
        whole = left + right
        for other in first.get(right, set()) - {whole}:
            if len(set(whole + other)) > 1:
                what = f"its pieces {whole!r} and {other!r} have one score, and only their place in a text decides"
                raise ModelError(what, str(file), "give the checkpoint its tokenizer.json")
        first.setdefault(left, set()).add(whole)


def _splits(whole: str) -> Iterator[tuple[str, str]]:
    return ((whole[:cut], whole[cut:]) for cut in range(1, len(whole)))


def _names(model: Any) -> dict[str, str]:
    """The special tokens that the file itself names."""
    spec = model.trainer_spec
    ids = {"unk_token": spec.unk_id, "bos_token": spec.bos_id, "eos_token": spec.eos_id, "pad_token": spec.pad_id}
    return {name: model.pieces[index].piece for name, index in ids.items() if index >= 0}
