"""The validator of the set rolesum-dialogues: the set has no problem, and each rule finds what breaks it."""

import json
import sys
from pathlib import Path

import pytest

from rolesum.formats import Source, parse_dialogues, read_dialogues

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import dialogue_overlap  # noqa: E402
import dialogue_rules  # noqa: E402
import dialogue_set  # noqa: E402

SAMPLES = ROOT / "src" / "rolesum" / "samples"
NAMES = [f"dialogues-{language}-{split}" for language in ("en", "zh") for split in dialogue_rules.SPLITS]


def record(identity):
    """A dialogue of the set as JSON, read anew."""
    for path in SAMPLES.glob("dialogues-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if (value := json.loads(line))["id"] == identity:
                return value
    raise KeyError(identity)


def dialogues_of(*values):
    lines = "\n".join(json.dumps(value, ensure_ascii=False) for value in values)
    return list(parse_dialogues(Source("batch.jsonl", lines)))


def problems_of(*values):
    return [str(problem) for problem in dialogue_set.find_problems(dialogue_overlap.Comparison(dialogues_of(*values)))]


def turned(value, number, text):
    value["turns"][number - 1]["text"] = text


def stated(value, number, **fields):
    value["statements"][number - 1].update(fields)


def rewritten(value, role, text):
    value["summaries"][role] = text


def timed(value, number, time):
    value["turns"][number - 1]["time"] = time


def marked(value, *marks, outcome=None):
    value["meta"]["marks"] = list(marks)
    value["meta"]["outcome"] = outcome or value["meta"]["outcome"]


# of en-0001 (live chat, 13 turns with times, unresolved): what is changed, and what the validator says then
BREAKS = [
    (lambda one: one.update(id="en-1"), "the id 'en-1' is not"),
    (lambda one: one.update(id="zh-0001"), "the id 'zh-0001' is not"),
    (lambda one: one.update(turns=one["turns"][:5], statements=[]), "5 turns"),
    (lambda one: one.update(turns=one["turns"] * 4), "52 turns"),
    (lambda one: one["turns"].append({"speaker": "Rosa", "text": "Hello?", "time": "09:30"}), "no role for Rosa"),
    (lambda one: one.update(roles=dict.fromkeys(one["roles"], "user")), "no speaker plays the agent"),
    (lambda one: timed(one, 3, "9:04"), "turn 3 has the time '9:04'"),
    (lambda one: one["turns"][4].pop("time"), "turn 5 has the time ''"),
    (lambda one: timed(one, 3, "08:59"), "the times of the turns go back"),
    (lambda one: one["meta"].update(domain="parcels"), "meta.domain is 'parcels'"),
    (lambda one: one["meta"].update(channel="fax"), "meta.channel is 'fax'"),
    (lambda one: one["meta"].update(outcome="solved"), "meta.outcome is 'solved'"),
    (lambda one: one["meta"].update(writer="b"), "unknown meta field 'writer'"),
    (lambda one: one["meta"].pop("marks"), "meta.marks must be a list"),
    (lambda one: marked(one, "unresolved", "angry"), "unknown mark 'angry'"),
    (lambda one: marked(one, "confusable"), "the outcome is unresolved without the mark unresolved"),
    (lambda one: marked(one, outcome="refused"), "the outcome is refused without the mark refused"),
    (lambda one: marked(one, "unresolved", outcome="resolved"), "a matter is marked unresolved"),
    (lambda one: marked(one, "unresolved", "handover"), "the mark handover, but one agent speaks"),
    (lambda one: marked(one, "unresolved", "agent-wrong"), "the mark agent-wrong without the mark corrected"),
    (lambda one: one["meta"].update(channel="meeting"), "a meeting of 2"),
    (lambda one: one["summaries"].pop("agent"), "0 summaries for agent"),
    (lambda one: rewritten(one, "user", ["The customer called.", "The customer wrote."]), "2 summaries for user"),
    (lambda one: one["summaries"].pop("brief"), "0 summaries for brief"),
    (
        lambda one: rewritten(one, "brief", "A parcel had not arrived. The depot was asked."),
        "one sentence of at most 20",
    ),
    (lambda one: rewritten(one, "brief", "A parcel was late" + " and late" * 9 + "."), "brief has 22 words"),
    (lambda one: rewritten(one, "overall", "A customer missed a parcel."), "summary overall has 5 words"),
    (lambda one: one["summaries"].update(wish="A parcel."), "a summary for 'wish'"),
    (lambda one: rewritten(one, "brief", "Jana promised a refund of $139 by Friday noon."), None),
    (lambda one: rewritten(one, "brief", "Jana promised a refund of $120."), "the dialogue does not say $120"),
    (lambda one: rewritten(one, "brief", "Jana promised an answer by Thursday."), "the dialogue does not say Thursday"),
    (
        lambda one: rewritten(one, "brief", "Then Walter asked the depot about the parcel."),
        "the dialogue does not know Walter",
    ),
    (lambda one: rewritten(one, "user", "The agent asked the depot about the parcel."), "led by the agent"),
    (lambda one: one["statements"].pop(), "2 true and 3 false statements"),
    (lambda one: stated(one, 1, text=one["statements"][3]["text"]), "two statements are equal"),
    (lambda one: [said.update(role="overall") for said in one["statements"]], "no statement for the user"),
    (lambda one: [stated(one, at, kind="outcome") for at in (2, 3, 5)], "all false statements are of the kind"),
    (lambda one: stated(one, 1, role="customer"), "statement 1: the role is 'customer'"),
    (lambda one: stated(one, 1, text="The house was empty"), "statement 1: not one whole sentence"),
    (lambda one: stated(one, 2, kind="actor"), "statement 2: a false statement of the kind 'actor'"),
    (lambda one: one["statements"][1].pop("kind"), "statement 2: a false statement of the kind ''"),
    (lambda one: stated(one, 2, turns=[8]), "statement 2: a false statement names turns"),
    (lambda one: stated(one, 1, kind="entity"), "statement 1: a true statement of the kind"),
    (lambda one: one["statements"][0].pop("turns"), "statement 1: a true statement names no turns"),
    (lambda one: stated(one, 1, text="The house at number 33 was empty."), "the dialogue does not say 33"),
    (lambda one: stated(one, 6, turns=[10]), "statement 6: the dialogue does not say 50 in its turns"),
]


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_a_sample_in_one_language_and_split(name):
    dialogues = read_dialogues(f"sample:{name}")
    _, language, split = name.split("-")
    assert {(one.language, dialogue_rules.split_of(one.id)) for one in dialogues} == {(language, split)}


def test_the_set_has_no_problem(capsys):
    assert dialogue_set.main([]) == 0, capsys.readouterr().err


def test_of_25_numbers_in_a_row_20_are_train_2_validation_and_3_test():
    splits = [dialogue_rules.split_of(f"en-{number:04}") for number in range(76, 101)]
    assert [splits.count(split) for split in dialogue_rules.SPLITS] == [20, 2, 3]


@pytest.mark.parametrize("change, expected", BREAKS, ids=[str(expected) for _, expected in BREAKS])
def test_a_dialogue_that_breaks_a_rule_is_told_with_its_line_and_id(change, expected):
    value = record("en-0001")
    change(value)
    found = problems_of(value)
    if expected is None:
        assert found == []
    else:
        assert any(expected in problem for problem in found), found
        assert all(problem.startswith("batch.jsonl:1, id ") for problem in found)


def test_a_chinese_summary_with_a_person_nobody_names_is_told():
    value = record("zh-0001")
    value["summaries"]["brief"] = "快递没收到，周师傅安排次日上午派送上门。"
    assert any("the dialogue does not know 周师傅" in problem for problem in problems_of(value))


def test_the_language_is_that_of_the_turns():
    value = {**record("zh-0001"), "id": "en-0001", "language": "en"}
    assert any("the turns are not in the language en" in problem for problem in problems_of(value))


def test_test_dialogues_have_two_different_references():
    value = record("en-0005")
    value["summaries"]["brief"] = value["summaries"]["brief"][:1] * 2
    value["summaries"]["user"] = value["summaries"]["user"][0]
    found = problems_of(value)
    assert any("two equal summaries for brief" in problem for problem in found)
    assert any("1 summary for user" in problem for problem in found)


def test_an_id_that_stands_twice_and_a_copied_dialogue_are_told():
    copied = problems_of(record("en-0001"), record("en-0001"))
    assert any("the id stands twice" in problem for problem in copied)
    assert any("1.00 of the 5-grams are those of en-0001" in problem for problem in copied)


def test_a_story_told_again_in_other_words_in_another_split_is_told():
    value, other = record("en-0001"), record("en-0006")
    other.update(
        id="en-0030", meta=value["meta"], summaries={**other["summaries"], "overall": value["summaries"]["overall"]}
    )
    turned(
        other, 1, "My package 8805 should have been left at 31 on the 16:20 run with 8850, and I see no trace of it."
    )
    found = problems_of(value, other)
    assert any("shared with another split: en-0030" in problem for problem in found), found
    assert not any("5-grams" in problem for problem in found)


def test_similarity_of_5_grams_is_jaccards():
    first, second = dialogues_of(
        {"id": "1", "turns": [{"speaker": "A", "text": "one two three four five six"}]},
        {"id": "2", "turns": [{"speaker": "A", "text": "One two three four five, eight nine"}]},
    )
    assert dialogue_overlap.jaccard_pairs([first, second]) == {(0, 1): pytest.approx(1 / 4)}


def test_a_set_of_many_dialogues_is_held_to_the_shares_of_marks(monkeypatch):
    monkeypatch.setattr(dialogue_set, "SHARES_FROM", 1)
    found = problems_of(record("en-0001"))
    assert any(
        "0 of 1 dialogues have the mark refused" in problem and "25% are meant to" in problem for problem in found
    )
    assert not any("the mark unresolved" in problem for problem in found)


def test_a_batch_is_put_into_the_files_of_its_splits_only_if_it_has_no_problem(tmp_path, capsys):
    batch = tmp_path / "batch.jsonl"
    good, bad = record("en-0001"), record("en-0005")
    bad["summaries"].pop("brief")
    batch.write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n", encoding="utf-8")
    held = tmp_path / "samples"
    assert dialogue_set.main(["--add", "--samples", str(held), str(batch)]) == 1
    assert "batch.jsonl:2" in capsys.readouterr().err and not held.exists()
    batch.write_text(json.dumps(record("en-0005")) + "\n" + json.dumps(good) + "\n", encoding="utf-8")
    assert dialogue_set.main(["--add", "--samples", str(held), str(batch)]) == 0
    assert sorted(path.name for path in held.iterdir()) == ["dialogues-en-test.jsonl", "dialogues-en-train.jsonl"]
    assert dialogue_set.main(["--samples", str(held)]) == 0


def test_a_dialogue_in_the_file_of_another_split_is_told(tmp_path, capsys):
    (tmp_path / "dialogues-en-test.jsonl").write_text(json.dumps(record("en-0001")), encoding="utf-8")
    assert dialogue_set.main(["--samples", str(tmp_path)]) == 1
    assert "in the test file" in capsys.readouterr().err


def test_the_guide_lists_what_the_validator_knows():
    guide = (SAMPLES / "GUIDE.md").read_text(encoding="utf-8")
    rules = dialogue_rules
    words = set(guide.replace("`", " ").replace(",", " ").replace(".", " ").replace(":", " ").split())
    assert {*rules.DOMAINS, *rules.CHANNELS, *rules.OUTCOMES, *rules.KINDS} <= words
    for mark, share in rules.MARK_SHARES.items():
        assert any(
            line.startswith(f"| `{mark}` |") and line.endswith(f"| {share:.0%} |".replace("%", " %"))
            for line in guide.splitlines()
        ), mark
    least = rules.MIN_TURNS
    for (most, en), zh in zip(rules.LENGTHS["en"].items(), rules.LENGTHS["zh"].values(), strict=True):
        bands = " | ".join(f"{one[at]}–{one[at + 1]}" for one in (en, zh) for at in (0, 2))
        assert f"| {least}–{most} | {bands} |" in guide
        least = most + 1
