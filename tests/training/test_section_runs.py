"""A run on sections: what it trains, and that its adapter asks in the same words."""

import json

import pytest

from helpers.small_runs import recipe, trained
from helpers.tiny import model_dir
from rolesum.dialogue import Dialogue, Turn
from rolesum.generation import Decoding, summarize
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.instructions import ChatFormat, PromptLayout, load_sections
from rolesum.models import load_model

SECTIONS = """
name: own
version: 1
sections:
  issue: {definition: What went wrong.}
  outcome: {title: way out, definition: How it ended.}
examples:
  - language: en
    turns: [{A: It is torn.}, {B: Here is another.}]
    summaries: {issue: A tear., outcome: It was replaced.}
"""
CHAT = Dialogue("new", (Turn("Ann", "My lamp broke."), Turn("Tom", "We will send one.")))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections")
    (folder / "own.yaml").write_text(SECTIONS, encoding="utf-8")
    rows = [
        {
            "id": number,
            "turns": [{"speaker": "Ann", "text": f"Number {number} broke."}, {"speaker": "Tom", "text": "Sorry."}],
            "summaries": {"issue": f"{number} broke.", "outcome": "None."},
        }
        for number in range(4)
    ]
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = {"train": {"path": str(data)}, "validation": {"path": str(data)}}
    chosen = recipe(data=files, sections=str(folder / "own.yaml"), validation={"summaries": 2, "max_new_tokens": 4})
    done = trained(folder / "run", chosen)
    (folder / "own.yaml").unlink()  # the adapter must do without
    return done


def test_a_run_trains_the_sections_and_its_adapter_asks_for_them_in_the_same_words(run):
    loaded = load_model(model_dir("llama"), adapter=run.adapter, device="cpu")
    kept = loaded.layout()
    assert loaded.metadata["roles"] == ["issue", "outcome"]
    asked = [branch[0].text for branch in kept.prompt(CHAT, ("issue", "outcome")).branches]
    assert "the way out. How it ended." in asked[1] and "the issue. What went wrong." in asked[0]
    assert "A: It is torn." in kept.prefix(CHAT)[1].text


def test_a_runs_sections_are_summarized_though_nobody_plays_them_and_a_given_set_comes_before_them(run):
    loaded = load_model(model_dir("llama"), adapter=run.adapter, device="cpu")
    written = summarize(
        [CHAT], TransformersEngine(loaded, loaded.layout()), ("issue", "outcome"), Decoding(max_new_tokens=4)
    )
    assert [one.role for one in written[0]] == ["issue", "outcome"]
    given = load_sections("meeting-recap")
    wanted = PromptLayout(ChatFormat(), sections=given).branch(CHAT, "decisions")[0]
    assert loaded.layout(sections=given).branch(CHAT, "decisions")[0] == wanted
