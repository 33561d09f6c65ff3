"""Compares tokenizers on a data set: characters per token, lengths of dialogues, and memory of the KV cache."""

import argparse
import codecs
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from transformers.convert_slow_tokenizer import bytes_to_unicode

from rolesum import strict_json
from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import RolesumError, UsageError
from rolesum.formats import read_dialogues
from rolesum.instructions.sets import instruction_set
from rolesum.models.checkpoint import load_config, load_tokenizer, read_config
from rolesum.models.config_sizes import kv_cache_numbers_per_token
from rolesum.models.loading import find_model
from rolesum.models.protocols import Tokenizer
from rolesum.models.transformers_logging import quiet_transformers

_CACHE_BYTES = 2  # of an element in bfloat16
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="dialogues in any format, or sample:NAME")
    parser.add_argument(
        "--models", nargs="+", required=True, help="aliases, hub ids, directories of checkpoints or tokenizers"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    try:
        rows = tokenizer_stats(read_dialogues(options.file), options.models)
    except RolesumError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(strict_json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))
    else:
        print_token_table(rows)
    return 0


@dataclass(frozen=True, slots=True)
class TokenizerStats:
    """One tokenizer on all dialogues. Lengths are tokens of a dialogue's text, as a prompt holds it."""

    model: str
    vocabulary: int
    dialogues: int
    characters: int
    tokens: int
    characters_per_token: float
    mean: float
    p95: int
    longest: int
    partial_share: float  # of the tokens that are less than a character: bytes
    cache_bytes_per_token: int | None  # keys and values in bfloat16; None for a tokenizer without a model's config
    longest_cache_bytes: int | None


def tokenizer_stats(dialogues: Sequence[Dialogue], models: Sequence[str]) -> list[TokenizerStats]:
    """A row per model: catalog aliases, hub ids, directories of checkpoints or of tokenizers alone."""
    if not dialogues or not models:
        raise UsageError("nothing to compare", fix="give a file with dialogues, and --models A B")
    texts = [instruction_set(one.language).dialogue_text(one) for one in dialogues]
    return [_row(name, texts) for name in models]


def _row(name: str, texts: Sequence[str]) -> TokenizerStats:
    path = find_model(name)
    with quiet_transformers():
        alone = not (path / "config.json").is_file()
        raw = {} if alone else read_config(path)
        tokenizer = load_tokenizer(path, raw)
        per_token = None if alone else kv_cache_bytes_per_token(load_config(path).get_text_config())
    encoded = [tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) for text in texts]
    lengths = sorted(map(len, encoded))
    tokens, characters = sum(lengths), sum(map(len, texts))
    partial = _partial_ids(tokenizer, {index for ids in encoded for index in ids})
    return TokenizerStats(
        model=name,
        vocabulary=len(tokenizer),
        dialogues=len(texts),
        characters=characters,
        tokens=tokens,
        characters_per_token=characters / tokens,
        mean=tokens / len(texts),
        p95=lengths[math.ceil(0.95 * len(lengths)) - 1],
        longest=lengths[-1],
        partial_share=sum(index in partial for ids in encoded for index in ids) / tokens,
        cache_bytes_per_token=per_token,
        longest_cache_bytes=per_token * lengths[-1] if per_token else None,
    )


def kv_cache_bytes_per_token(config: Any) -> int:
    """Keys and values of one token in all layers, in bfloat16; sliding windows not taken off."""
    return kv_cache_numbers_per_token(config) * _CACHE_BYTES


def _partial_ids(tokenizer: Tokenizer, ids: set[int]) -> set[int]:
    """The ids whose token is less than a character: the bytes of one, whether by fallback or by byte-level BPE."""
    in_bytes = _bytes_of(tokenizer)
    return {index for index in ids if not _is_text(in_bytes(str(tokenizer.convert_ids_to_tokens(index))))}


def _bytes_of(tokenizer: Tokenizer) -> Callable[[str], bytes]:
    """A token's bytes, from its name in the vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and "ByteLevel" in str(backend.decoder):
        letters = {letter: byte for byte, letter in bytes_to_unicode().items()}
        return lambda token: bytes(letters.get(letter, 0) for letter in token)

    def of_piece(token: str) -> bytes:
        found = _BYTE_PIECE.fullmatch(token)
        return bytes([int(found[1], 16)]) if found else token.encode()

    return of_piece


def _is_text(raw: bytes) -> bool:
    try:
        codecs.decode(raw, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def print_token_table(rows: Sequence[TokenizerStats]) -> None:
    """The rows as a table."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model")
    for name in (
        "vocabulary",
        "characters / token",
        "mean",
        "p95",
        "longest",
        "bytes",
        "cache / token",
        "of the longest",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        per_token, longest = row.cache_bytes_per_token, row.longest_cache_bytes
        table.add_row(
            row.model,
            f"{row.vocabulary:,}",
            f"{row.characters_per_token:.2f}",
            f"{row.mean:.0f}",
            f"{row.p95}",
            f"{row.longest}",
            f"{row.partial_share:.2%}",
            f"{per_token / 1024:.0f} KiB" if per_token else "–",
            f"{longest / 2**20:.0f} MiB" if longest else "–",
        )
    console = Console()
    console.print(table)
    first = rows[0]
    console.print(
        f"{counted(first.dialogues, 'dialogue')}, {counted(first.characters, 'character')}. "
        "Lengths in tokens of a dialogue; bytes: tokens that are less than a character; "
        "cache: keys and values in bfloat16.",
        highlight=False,
    )


if __name__ == "__main__":
    raise SystemExit(main())
