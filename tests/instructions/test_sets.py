import pytest
import yaml

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.instructions import instruction_set, load_instruction_set
from rolesum.roles import BUILT_IN

OWN = {
    "name": "own",
    "version": 2,
    "language": "en",
    "turn": "{speaker}> {text}",
    "instructions": {"overall": "All of it.", "user": "The user{speakers}."},
    "custom": "The {role}{speakers}.{definition}",
    "speakers": " [{speakers}]",
    "separator": "; ",
}


@pytest.fixture
def set_file(tmp_path):
    """Writes a set, with some keys changed, and gives its path."""

    def write(**changes):
        kept = {key: value for key, value in {**OWN, **changes}.items() if value is not None}
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(kept, allow_unicode=True), encoding="utf-8")
        return path

    return write


def refusal(path):
    with pytest.raises(UsageError) as caught:
        load_instruction_set(path)
    assert caught.value.problems[0].where == str(path)
    return str(caught.value)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_built_in_set_asks_for_each_built_in_role_in_words_of_its_own(language):
    built_in = instruction_set(language)
    assert built_in.language == language
    assert set(built_in.instructions) == set(BUILT_IN)
    assert len(set(built_in.instructions.values())) == len(BUILT_IN)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_built_in_set_written_out_loads_as_a_set_of_ones_own(language, tmp_path):
    path = tmp_path / "copy.yaml"
    path.write_text(yaml.safe_dump(instruction_set(language).model_dump(), allow_unicode=True), encoding="utf-8")
    assert load_instruction_set(path) == instruction_set(language)


def test_a_language_without_a_built_in_set_is_a_usage_error():
    with pytest.raises(UsageError, match='"fr"'):
        instruction_set("fr")


def test_a_set_of_ones_own_is_read_as_it_stands(set_file):
    assert load_instruction_set(set_file()).model_dump(exclude_unset=True) == OWN


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_set_without_brief_asks_for_it_in_the_built_in_words(set_file, language):
    dialogue = Dialogue("1", (Turn("Anna", "hello"),))
    own = load_instruction_set(set_file(language=language))
    assert own.instruction("brief", dialogue) == instruction_set(language).instructions["brief"]
    assert load_instruction_set(set_file(language="fr")).instruction("brief", dialogue) == "The brief."


def test_an_unknown_and_a_missing_key_are_refused_by_name(set_file):
    assert "seperator" in refusal(set_file(seperator=", "))
    assert "custom" in refusal(set_file(custom=None))


def test_a_value_of_the_wrong_type_is_refused(set_file):
    assert "version" in refusal(set_file(version="two"))
    assert "instructions" in refusal(set_file(instructions=["All of it."]))


@pytest.mark.parametrize(
    "changes",
    [
        {"turn": "{name}: {text}"},
        {"turn": "{speaker: {text}"},
        {"instructions": {"user": "The {person}."}},
        {"custom": "The {}."},
        {"custom": "The {role.name}."},
        {"speakers": " [{labels}]"},
    ],
)
def test_an_unknown_placeholder_in_any_template_is_refused_before_anything_is_written_with_it(set_file, changes):
    assert "placeholder" in refusal(set_file(**changes))


def test_a_file_that_is_absent_or_no_yaml_or_no_mapping_is_refused(tmp_path):
    assert "cannot read the instruction set: No such file" in refusal(tmp_path / "none.yaml")
    path = tmp_path / "broken.yaml"
    for text in ("name: [", "- a\n- b\n", ""):
        path.write_text(text)
        assert "not an instruction set" in refusal(path)


def test_a_file_that_is_not_utf8_is_told_as_such(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes("name: 自己的".encode("gb18030"))
    assert "placeholder" not in refusal(path)


def test_a_question_about_statements_without_the_statement_is_refused(set_file):
    assert "verify needs {statement}" in refusal(set_file(verify="Is it so?"))
    assert "{statement}" in refusal(set_file(verify="Is {statement} so? {role}"))
    assert load_instruction_set(set_file(verify="{statement}?", answers=[["y", "n"]])).answer_pairs == (("y", "n"),)
