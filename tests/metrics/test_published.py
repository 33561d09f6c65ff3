import json
from functools import cache

import pytest

from rolesum.formats import read_dialogues
from rolesum.metrics.published import published_rows, references_hash
from rolesum.metrics.scorers import SCORERS


@cache
def first_references(path, role):
    return [one.summaries[role][0] for one in read_dialogues(str(path)) if role in one.summaries]


def test_the_hash_is_of_the_texts_and_not_of_their_order_or_the_blanks_around_them():
    assert references_hash(["b", "a"]) == references_hash([" a\n", "b"])
    assert references_hash(["a", "b"]) != references_hash(["a", "b", "b"])
    assert references_hash(["a", "b"]) != references_hash(["a", "c"])


@pytest.mark.parametrize(("role", "figures"), [("overall", 55.58), ("user", 53.55), ("agent", 50.20)])
def test_csds_test_has_its_published_rows_role_by_role(shared, role, figures):
    rows = published_rows("csds", first_references(shared / "data/csds/test.json", role))
    assert {row.system: row.means["rouge1"] for row in rows}["PGN"] == figures
    assert len(rows) == 9
    assert all(row.source and row.means.keys() == {"rouge1", "rouge2", "rougeLsum", "bleu"} for row in rows)


def test_samsum_has_other_rows_for_each_scorer(shared):
    references = first_references(shared / "data/samsum/test.json", "overall")
    systems = {scorer: [row.system for row in published_rows(scorer, references)] for scorer in SCORERS}
    assert len(systems["samsum"]) == 6
    assert systems["hf"] == ["Mistral-7B, LoRA"]
    assert not any(systems[scorer] for scorer in SCORERS if scorer not in ("samsum", "hf"))


def test_a_part_of_the_data_and_other_data_have_none(shared):
    references = first_references(shared / "data/csds/test.json", "overall")
    assert published_rows("csds", references[:-1]) == []
    assert published_rows("csds", first_references(shared / "data/csds/val_reconstructed.json", "overall")) == []
    assert published_rows("csds-glc", references) == []


def test_the_references_in_the_published_outputs_are_known_as_the_same_data(shared):
    lines = (shared / "data/csds-system-outputs/user/references.txt").read_text(encoding="utf-8")
    assert published_rows("csds", lines.removesuffix("\n").split("\n"))


def test_the_samples_have_none():
    for name in ("sample:zh-test", "sample:en-test"):
        dialogues = read_dialogues(name)
        for role in dialogues[0].summaries:
            references = [one.summaries[role][0] for one in dialogues if role in one.summaries]
            assert [row for scorer in SCORERS for row in published_rows(scorer, references)] == []


def test_the_file_holds_hashes_and_no_text_of_any_data(shared):
    from importlib.resources import files

    text = files("rolesum.metrics").joinpath("published.yaml").read_text(encoding="utf-8")
    assert not any("一" <= character <= "鿿" for character in text)
    summaries = [one["summary"] for one in json.loads((shared / "data/samsum/test.json").read_text(encoding="utf-8"))]
    assert not any(one in text for one in summaries if len(one) > 10)
