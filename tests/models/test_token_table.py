import json

import pytest
from typer.testing import CliRunner

from helpers.tiny import model_dir
from rolesum.cli.main import app
from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.formats import read_dialogues
from rolesum.models.loading import load_prompt_model
from rolesum.models.token_table import tokenizer_stats


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


def test_the_verb_prints_json_and_a_table():
    models = f"{model_dir('llama')},{model_dir('baichuan2-7b')}"
    said = CliRunner().invoke(app, ["models", "tokens", "sample:en-test", "--models", models, "--json"])
    assert [row["vocabulary"] for row in json.loads(said.stdout)] == [600, 934]
    assert (
        "characters / token"
        in CliRunner()
        .invoke(app, ["models", "tokens", "sample:en-test", "--models", models], env={"COLUMNS": "200"})
        .stdout
    )
