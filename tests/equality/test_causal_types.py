"""Every causal model type of the installed transformers is exact in training and generation, or refused.

`make test` tries the types of IN_SUITE; `make test-families` all of them, in several variants, against the table of
docs/model-types.md.
"""

import functools
import re
from importlib import metadata
from pathlib import Path

import pytest

from helpers.causal_types import TYPES, NotBuilt, examine, tiny_config, variants, write_checkpoint
from rolesum.errors import ModelError, UsageError

TABLE = Path(__file__).parents[2] / "docs/model-types.md"
# Listed families have tests of their own; these stand for what other types do differently.
IN_SUITE = (
    "cohere2",
    "deepseek_v3",
    "diffllama",
    "falcon",
    "gemma3n_text",
    "gemma4_text",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_oss",
    "granite",
    "jetmoe",
    "lfm2",
    "mpt",
    "nemotron",
    "opt",
    "phimoe",
    "qwen3_next",
    "bert",
)


def pytest_generate_tests(metafunc):
    """All types in all variants where tests marked `families` are asked for; else those of IN_SUITE."""
    if "variant" in metafunc.fixturenames:
        every = metafunc.config.option.markexpr == "families"
        cases = [(name, one) for name in TYPES for one in variants(name)] if every else [(one, "") for one in IN_SUITE]
        marks = [pytest.mark.families] if every else []
        metafunc.parametrize(("name", "variant"), [pytest.param(*case, marks=marks) for case in cases])


@functools.cache
def documented():
    """The outcome of every type by the table: training, decoder; "refused"; or "not tried"."""
    found = {}
    for outcome, _, names in re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", TABLE.read_text("utf-8"), re.M):
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", names), outcome.strip())
    return found


def outcome_of(name, variant, path):
    try:
        write_checkpoint(tiny_config(name, **variants(name)[variant]), path)
    except NotBuilt:
        return "not tried"
    try:
        found = examine(path)
    except (ModelError, UsageError):
        return "refused"
    return f"{found.training}, {found.decoder}"


def test_a_causal_type_is_exact_as_the_table_says_or_refused(name, variant, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "cache"))
    expected = documented().get(f"{name} ({variant})" if variant else name, documented().get(name))
    assert outcome_of(name, variant, tmp_path / "model") == expected


def test_the_table_holds_every_causal_type_of_its_transformers():
    version = re.search(r"transformers (\d+\.\d+\.\d+)", TABLE.read_text("utf-8"))[1]
    if version != metadata.version("transformers"):
        pytest.skip(f"the table is of transformers {version}")
    assert {name.partition(" (")[0] for name in documented()} == set(TYPES)
