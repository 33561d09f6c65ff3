import pytest
import yaml

from rolesum.dialogue import Dialogue, Turn
from rolesum.errors import UsageError
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.instructions import ChatFormat, InstructionSet, PromptLayout, SectionSet, instruction_set, load_sections
from rolesum.instructions.sections import preset_names
from rolesum.recipe import dump_recipe
from rolesum.recipe_loading import parse_recipe
from rolesum.roles import resolve_role

OWN = {
    "name": "own",
    "version": 1,
    "sections": {
        "risks": {"definition": "What may go wrong."},
        "next-steps": {
            "title": {"en": "next steps", "zh": "后续步骤"},
            "definition": {"en": "Who does what.", "zh": "谁做什么。"},
        },
    },
    "roles": {"chair": {"aliases": ["Chairwoman", "主持"], "definition": "Who leads the meeting."}},
    "examples": [
        {
            "language": "en",
            "turns": [{"Bo": "It may {rain}."}, {"Chairwoman": "Bring a tent."}],
            "summaries": {"risks": "Rain.", "next-steps": "Bring a tent."},
        }
    ],
}
ENGLISH = Dialogue("1", (Turn("Ann", "Hi"), Turn("Chairwoman", "Welcome")), roles={"Chairwoman": "chair"})
CHINESE = Dialogue("2", (Turn("甲", "开始吧"), Turn("乙", "好的")))


@pytest.fixture
def set_file(tmp_path):
    """Writes a set, with some keys changed, and gives its path."""

    def write(**changes):
        kept = {key: value for key, value in {**OWN, **changes}.items() if value is not None}
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(kept, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return path

    return write


def layout(sections=OWN, **others):
    return PromptLayout(
        ChatFormat(head=("<user>",), tail=("<end>",)), sections=SectionSet.model_validate(sections), **others
    )


def instruction(dialogue, name, **others):
    return layout(**others).branch(dialogue, name)[0].text


def refusal(path):
    with pytest.raises(UsageError) as caught:
        load_sections(path)
    return str(caught.value)


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("sample", ["en-test", "zh-test"])
def test_a_preset_asks_for_each_of_its_sections_in_the_dialogues_language_and_in_words_of_its_own(name, sample):
    sections = load_sections(name)
    dialogue = read_dialogues(f"sample:{sample}", ReadOptions(limit=1))[0]
    asked = [instruction(dialogue, section, sections=sections) for section in sections.names_for(dialogue)]
    assert sections.name == name and len(set(asked)) == len(asked) >= 2
    chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in text) for text in asked]
    assert set(chinese) == {sample == "zh-test"}


def test_a_set_of_ones_own_is_read_from_its_file_in_its_order(set_file):
    assert load_sections(set_file()) == SectionSet.model_validate(OWN)
    assert load_sections(str(set_file())).names == ("risks", "next-steps", "chair")


def test_a_section_is_asked_for_by_its_title_and_definition_and_a_role_by_its_speakers_too():
    assert instruction(ENGLISH, "next-steps").endswith("the dialogue above: the next steps. Who does what.")
    assert instruction(CHINESE, "next-steps") == "请写出以上对话摘要中的一部分：后续步骤。谁做什么。"
    chair = "Summarize only the chair's side (Chairwoman) of the dialogue above. Who leads the meeting."
    assert instruction(ENGLISH, "chair") == chair


def test_built_in_and_custom_roles_are_asked_for_as_without_a_set():
    plain = PromptLayout(ChatFormat(), definitions={"guest": "Who visits."})
    for role in ("overall", "user", "guest"):
        assert instruction(ENGLISH, role, definitions={"guest": "Who visits."}) == plain.branch(ENGLISH, role)[0].text


def test_nobody_need_play_a_section_and_somebody_must_play_a_role():
    needed = {name: layout().needs_speaker(name) for name in ("risks", "chair", "overall", "user")}
    assert needed == {"risks": False, "chair": True, "overall": False, "user": True}
    sections = SectionSet.model_validate(OWN)
    assert sections.names_for(ENGLISH) == ("risks", "next-steps", "chair")
    assert sections.names_for(CHINESE) == ("risks", "next-steps")


def test_an_example_stands_before_the_dialogue_in_the_prefix_and_only_in_its_language():
    prompt = layout().prompt(ENGLISH, ("risks", "chair"))
    kinds = [segment.kind for segment in prompt.prefix]
    assert kinds == ["control", "instruction", "dialogue"]
    shown = prompt.prefix[1].text
    assert "Bo: It may {rain}.\nChairwoman: Bring a tent.\n\n" in shown
    assert "risks: Rain.\nnext steps: Bring a tent.\n" in shown
    assert prompt.prefix[2].text == PromptLayout(ChatFormat()).prefix(ENGLISH)[1].text
    assert layout().prefix(CHINESE)[1:] == PromptLayout(ChatFormat()).prefix(CHINESE)[1:]


def test_names_and_aliases_resolve_and_come_before_the_built_in_ones():
    aliases = load_sections("meeting-recap").aliases
    assert resolve_role("Decisions", aliases) == "decisions"
    assert resolve_role("待办", aliases) == "action-items"
    doctor = SectionSet.model_validate({**OWN, "roles": {"clinician": {"aliases": ["doctor"]}}})
    assert resolve_role("doctor", doctor.aliases) == "clinician"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sections": None, "roles": None, "examples": None}, "no section and no role"),
        ({"sections": {"agent": {}}, "examples": None}, '"agent" already means agent'),
        ({"sections": {"summary": {}}, "examples": None}, '"summary" already means overall'),
        ({"roles": {"lead": {"aliases": ["Risks"]}}}, '"Risks" already means risks'),
        ({"roles": {"lead": {"aliases": ["user"]}}}, '"user" already means user'),
        ({"roles": {"a,b": {}}}, '"a,b" cannot be a name'),
        ({"roles": {"lead": {"title": {"en": "lead"}}}}, "title of lead needs a text for each of en, zh"),
        ({"roles": {"lead": {"defintion": "x"}}}, 'unknown key "roles.lead.defintion"'),
        ({"version": "one"}, "version"),
        (
            {"roles": None, "examples": [{"language": "en", "turns": [{"A": "b"}], "summaries": {"chair": "c"}}]},
            '"chair"',
        ),
        ({"examples": [{"language": "en", "turns": [{"A": "b", "C": "d"}], "summaries": {"risks": "c"}}]}, "a turn"),
        ({"examples": [{"language": "fr", "turns": [{"A": "b"}], "summaries": {"risks": "c"}}]}, "language"),
    ],
)
def test_what_does_not_hold_together_is_refused_with_the_file_and_the_reason(set_file, changes, told):
    path = set_file(**changes)
    assert told in refusal(path) and str(path) in refusal(path)


def test_a_file_that_is_absent_or_no_yaml_is_refused_and_a_preset_is_suggested(tmp_path):
    assert 'did you mean "meeting-recap"' in refusal("meeting-recaps")
    path = tmp_path / "own.yaml"
    for text in ("name: [", "- a\n", "", "sections: {a: {definition: see: b}}"):
        path.write_text(text)
        assert str(path) in refusal(path)


def test_an_instruction_set_without_the_newer_keys_takes_the_built_in_wording_and_whole_keeps_it():
    old = InstructionSet(
        name="old",
        version=1,
        language="en",
        turn="{speaker}: {text}",
        instructions={},
        custom="",
        speakers="",
        separator="",
    )
    assert layout(instructions=old).branch(ENGLISH, "risks") == layout().branch(ENGLISH, "risks")
    assert old.with_defaults().section == instruction_set("en").section
    assert layout(instructions=old).verify_branch(ENGLISH, "x") == layout().verify_branch(ENGLISH, "x")
    assert old.answer_pairs == instruction_set("en").answers
    other = old.model_copy(update={"language": "fr"})
    with pytest.raises(UsageError, match='"old" does not say how to write a section'):
        layout(instructions=other).branch(ENGLISH, "risks")
    with pytest.raises(UsageError, match='"old" does not say how to ask about a statement'):
        layout(instructions=other).verify_branch(ENGLISH, "x")
    with pytest.raises(UsageError, match='"old" does not say how a question about a statement is answered'):
        _ = other.answer_pairs


def raw(**keys):
    return {"name": "x", "data": {"train": {"path": "sample:en-train"}}, **keys}


def test_a_recipe_with_sections_trains_them_all_unless_its_roles_say_which():
    recipe = parse_recipe(raw(sections="meeting-recap"), "test")
    assert recipe.roles == ("recap", "decisions", "action-items")
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe)), "test") == recipe
    assert parse_recipe(raw(sections="meeting-recap", roles=["overall", "决定"]), "test").roles == (
        "overall",
        "decisions",
    )


def test_a_recipe_refuses_sections_that_are_not_there_or_that_its_custom_roles_name_too(set_file):
    with pytest.raises(UsageError, match="no sections at none"):
        parse_recipe(raw(sections="none"), "test")
    with pytest.raises(UsageError, match="redefines chair"):
        parse_recipe(raw(sections=str(set_file()), custom_roles={"chair": {}}), "test")


def test_a_data_files_summaries_are_read_under_the_names_of_sections(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"id": 1, "turns": [{"speaker": "A", "text": "b"}], "summaries": {"决定": "c"}}\n', encoding="utf-8"
    )
    recipe = parse_recipe(raw(sections="meeting-recap"), "test")
    assert read_dialogues(path, ReadOptions(custom_roles=recipe.aliases))[0].summaries == {"decisions": ("c",)}
