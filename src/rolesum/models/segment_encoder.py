"""Encode prompt segments to token ids so that text from a dialogue never becomes a control token.

Control segments are made by rolesum: they hold control tokens by surface text or by id. All other segments are text:
`<|im_end|>`, `</s>` or `<tool_call>` typed by a customer is encoded as the characters that it is.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from rolesum.errors import ModelError
from rolesum.instructions import Segment
from rolesum.models.architectures.sentencepiece import without_space_prefix
from rolesum.models.protocols import Tokenizer


class _Piece(NamedTuple):
    """A part of a text that is tokenized by itself, so that none of its tokens is a control token."""

    text: str
    continues: bool
    ids: list[int]


class SegmentEncoder:
    """Encodes segments with one tokenizer.

    `control_ids` are the ids that text must never produce: all added tokens, marked special or not, but those that
    are one character (Baichuan2's digits) or whitespace. `rows` is the size of the embedding, if known; an id beyond it
    is a ModelError.
    """

    def __init__(self, tokenizer: Tokenizer, rows: int | None = None) -> None:
        self.tokenizer = tokenizer
        self._rows = rows
        self._continuing = without_space_prefix(tokenizer)
        added = {
            index
            for index, token in tokenizer.added_tokens_decoder.items()
            if token.special or not (len(token.content) == 1 or token.content.isspace())
        }
        unknown = {tokenizer.unk_token_id}  # what a character that no token has becomes
        self.control_ids = frozenset((added | set(tokenizer.all_special_ids)) - unknown)
        surfaces = sorted((tokenizer.convert_ids_to_tokens(i) for i in self.control_ids), key=len, reverse=True)
        self._surface = (
            re.compile("|".join(re.escape(surface) for surface in surfaces if surface)) if surfaces else None
        )

    def encode(self, segments: Iterable[Segment]) -> list[int]:
        """The ids of the segments, each tokenized by itself."""
        ids = [index for segment in segments for index in self.encode_segment(segment)]
        if self._rows is not None and ids and max(ids) >= self._rows:
            what = f"the tokenizer gives the token {max(ids)}, and the model has {self._rows} rows"
            raise ModelError(what, fix="give the tokenizer that belongs to the model")
        return ids

    def encode_segment(self, segment: Segment) -> list[int]:
        """The ids of one segment."""
        if segment.kind != "control":
            return self._encode_text(segment.text, segment.continues)
        ids: list[int] = []
        for piece in segment.control:
            ids += [piece] if isinstance(piece, int) else self._ids(piece, segment.continues, split=False)
        return ids

    def token_starts(self, segment: Segment) -> list[int]:
        """For each token of a text segment, as `encode_segment` gives them, the character at which it begins.

        Several tokens begin at one character where it takes several to encode it. Raises ModelError for a tokenizer
        that does not tell.
        """
        starts, before = list[int](), 0
        for piece in self._pieces(segment.text, segment.continues):
            backend = self._continuing if piece.continues else None
            backend = backend or getattr(self.tokenizer, "backend_tokenizer", None)
            if backend is None:
                what = "the tokenizer does not tell at which character of a text a token begins"
                raise ModelError(what, fix="save the model with a fast tokenizer (tokenizer.json)")
            backend.encode_special_tokens = True
            offsets = backend.encode(piece.text, add_special_tokens=False).offsets
            starts += [before + start for start, _ in offsets]
            before += len(piece.text)
        return starts

    def answer_ids(self, pairs: Sequence[tuple[str, str]]) -> tuple[int, int]:
        """The ids of the first pair of answers of which each is one token, and another than its partner.

        Each is encoded as the beginning of an answer; where that gives two tokens, as with a tokenizer that puts a
        space of its own before a Chinese character, then as text that goes on. Raises ModelError where no pair is left.
        """
        for first, second in pairs:
            for continues in (False, True):
                ids = [self._encode_text(answer, continues) for answer in (first, second)]
                one = [of[0] for of in ids if len(of) == 1 and of[0] != self.tokenizer.unk_token_id]
                if len(set(one)) == 2:
                    return one[0], one[1]
        tried = " or ".join(f"{first} / {second}" for first, second in pairs)
        what = f"a statement cannot be verified: {tried} are not one token each in this model's tokenizer"
        fix = "give an instruction set with other answers (key answers: docs/formats.md), or use another base"
        raise ModelError(what, fix=fix)

    def _encode_text(self, text: str, continues: bool) -> list[int]:
        return [index for piece in self._pieces(text, continues) for index in piece.ids]

    def _pieces(self, text: str, continues: bool) -> Iterator[_Piece]:
        """Encode text as text. If the tokenizer still finds a control token, split its surface and encode again.

        Where a tokenizer finds one that does not stand in the text as it is (a normalizer makes `＜` of `<`), the text
        is split in halves.
        """
        ids = self._ids(text, continues, split=True)
        if self.control_ids.isdisjoint(ids) or self._surface is None:
            yield _Piece(text, continues, ids)
            return
        cuts = [0, *(found.start() + 1 for found in self._surface.finditer(text)), len(text)]
        for start, end in pairwise(cuts):
            if start < end:
                yield from self._halves(text[start:end], continues or start > 0)

    def _halves(self, text: str, continues: bool) -> Iterator[_Piece]:
        ids = self._ids(text, continues, split=True)
        if len(text) < 2 or self.control_ids.isdisjoint(ids):
            yield _Piece(text, continues, ids)
            return
        half = len(text) // 2
        yield from self._halves(text[:half], continues)
        yield from self._halves(text[half:], True)

    def _ids(self, text: str, continues: bool, split: bool) -> list[int]:
        """The ids of a text; with `split`, control tokens in it are read as text."""
        if continues and self._continuing is not None:
            self._continuing.encode_special_tokens = split
            return list(self._continuing.encode(text, add_special_tokens=False).ids)
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=split)
