import re
from collections import Counter

import pytest

import rolesum
from rolesum.formats import read_dialogues
from rolesum.formats.check import check_file

FILES = {"en-train": 96, "en-test": 24, "zh-train": 32, "zh-test": 8}
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@pytest.fixture(scope="module")
def samples():
    return {name: read_dialogues(f"sample:{name}") for name in FILES}


def every(samples):
    return [dialogue for dialogues in samples.values() for dialogue in dialogues]


@pytest.mark.parametrize("name", FILES)
def test_a_bundled_file_has_no_problem_and_is_in_its_one_language(name):
    found = check_file(f"sample:{name}")
    assert (found.format, found.problems) == ("rolesum", [])
    assert found.languages == {name[:2]: FILES[name]}


def test_there_are_120_english_and_40_chinese_dialogues(samples):
    assert Counter(dialogue.language for dialogue in every(samples)) == {"en": 120, "zh": 40}


def test_ids_are_unique_over_all_files(samples):
    counts = Counter(dialogue.id for dialogue in every(samples))
    assert [identity for identity, count in counts.items() if count > 1] == []


def test_each_dialogue_has_6_to_20_turns(samples):
    assert [dialogue.id for dialogue in every(samples) if not 6 <= len(dialogue.turns) <= 20] == []


def test_each_dialogue_has_one_summary_for_each_of_the_three_roles_and_someone_plays_them(samples):
    for dialogue in every(samples):
        assert {role: len(texts) for role, texts in dialogue.summaries.items()} == {"overall": 1, "user": 1, "agent": 1}
        assert dialogue.speakers("user"), dialogue.id
        assert dialogue.speakers("agent"), dialogue.id


def test_a_summary_states_no_number_that_its_dialogue_does_not(samples):
    invented = []
    for dialogue in every(samples):
        said = set(NUMBER.findall(" ".join(f"{turn.speaker} {turn.text}" for turn in dialogue.turns)))
        for role, texts in dialogue.summaries.items():
            invented += [(dialogue.id, role, number) for number in NUMBER.findall(texts[0]) if number not in said]
    assert invented == []


def test_summaries_state_numbers_at_all(samples):
    texts = [text for dialogue in every(samples) for several in dialogue.summaries.values() for text in several]
    assert sum(bool(NUMBER.search(text)) for text in texts) > 100


@pytest.mark.parametrize("language", ["en", "zh"])
def test_not_every_dialogue_ends_well(samples, language):
    outcomes = Counter(one.meta["outcome"] for one in every(samples) if one.language == language)
    assert set(outcomes) == {"resolved", "partly", "refused", "unresolved"}
    assert max(outcomes.values()) <= 0.6 * outcomes.total()


def test_no_dialogue_stands_twice_and_so_none_of_the_test_stands_in_the_training(samples):
    counts = Counter(tuple(turn.text for turn in dialogue.turns) for dialogue in every(samples))
    assert max(counts.values()) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_training_and_test_share_no_sentence_worth_the_name(samples, language):
    def long_turns(name):
        return {turn.text for one in samples[f"{language}-{name}"] for turn in one.turns if len(turn.text) > 20}

    def summaries(name):
        return {text for one in samples[f"{language}-{name}"] for texts in one.summaries.values() for text in texts}

    assert long_turns("train") & long_turns("test") == set()
    assert summaries("train") & summaries("test") == set()


def test_the_package_loads_a_sample_by_its_name():
    loaded = rolesum.load_dialogues("sample:en-test")
    assert loaded == read_dialogues("sample:en-test") and isinstance(loaded[0], rolesum.Dialogue)
