"""benchmarks/token_table.py: the figures of tokenizers on a data set."""

import json
import sys
from pathlib import Path

import pytest

from helpers.children import run_script
from helpers.tiny import model_dir
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.formats import read_dialogues
from rolesum.models.loading import load_prompt_model

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from token_table import print_token_table, tokenizer_stats  # noqa: E402


def test_a_row_counts_what_the_tokenizer_gives():
    dialogues = read_dialogues("sample:en-test")
    row = tokenizer_stats(dialogues, [str(model_dir("llama"))])[0]
    tokenizer = load_prompt_model(model_dir("llama")).tokenizer
    texts = ["\n".join(f"{turn.speaker}: {turn.text}" for turn in one.turns) for one in dialogues]
    lengths = [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    assert (row.tokens, row.longest, row.characters) == (sum(lengths), max(lengths), sum(map(len, texts)))
    assert len(lengths) == 24 and row.p95 == sorted(lengths)[22]
    # 3 layers, 2 key heads of width 8, keys and values, 2 bytes
    assert row.cache_bytes_per_token == 3 * 2 * 8 * 2 * 2
    assert row.longest_cache_bytes == row.longest * 192


@pytest.mark.parametrize("model", ["baichuan2-7b", "llama"])
def test_bytes_of_a_character_are_told_by_fallback_and_by_byte_level(model):
    """A character that neither tokenizer knows is four bytes; ASCII is whole."""
    rows = [
        tokenizer_stats([Dialogue("x", (Turn("A", text),))], [str(model_dir(model))])[0]
        for text in ("plain words", "plain words𓀀")
    ]
    assert rows[0].partial_share == 0
    assert rows[1].partial_share * rows[1].tokens == pytest.approx(4)


def test_the_table_needs_dialogues_and_models():
    with pytest.raises(UsageError, match="nothing to compare"):
        tokenizer_stats([], [str(model_dir("llama"))])


def test_the_script_prints_json_and_a_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    models = [str(model_dir("llama")), str(model_dir("baichuan2-7b"))]
    done = run_script(BENCHMARKS / "token_table.py", "sample:en-test", "--models", *models, "--json")
    assert done.returncode == 0, done.stderr
    assert [row["vocabulary"] for row in json.loads(done.stdout)] == [600, 934]
    print_token_table(tokenizer_stats(read_dialogues("sample:en-test"), models))
    assert "characters / token" in capsys.readouterr().out
