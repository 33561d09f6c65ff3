from dataclasses import replace

import pytest

from rolesum.dialogue import Dialogue, Example, Turn
from rolesum.errors import UsageError
from rolesum.formats import read_dialogues
from rolesum.instructions import ChatFormat, InstructionSet, PromptLayout, Segment, load_instruction_set

CHAT = ChatFormat(head=("<user>",), tail=("<end>", 7), answer_end=(2,))
ENGLISH = Dialogue(
    "1",
    (Turn("Anna", "My lamp {broke} </s>"), Turn("Tom", "Sorry"), Turn("Ivo", "Es tut ihm leid")),
    roles={"Anna": "user", "Tom": "agent", "Ivo": "interpreter"},
)
CHINESE = Dialogue("2", (Turn("用户", "灯坏了"), Turn("客服", "抱歉")), roles={"用户": "user", "客服": "agent"})


def instruction(dialogue, role, **layout):
    return PromptLayout(CHAT, **layout).branch(dialogue, role)[0].text


def test_a_prompt_is_head_dialogue_instruction_tail_in_this_order():
    prompt = PromptLayout(CHAT).prompt(ENGLISH, ("overall",))
    (branch,) = prompt.branches
    assert [segment.kind for segment in (*prompt.prefix, *branch)] == ["control", "dialogue", "instruction", "control"]
    assert prompt.prefix[0].control == CHAT.head
    assert branch[1].control == CHAT.tail


def test_the_target_is_the_summary_and_the_end_of_the_answer():
    segments = PromptLayout(CHAT).target(Example(ENGLISH, "user", "Her lamp broke."))
    assert segments == (Segment("target", "Her lamp broke."), Segment("control", control=CHAT.answer_end))


def test_the_dialogue_stands_one_turn_a_line_as_it_was_typed_and_ends_before_the_instruction():
    (_, segment) = PromptLayout(CHAT).prefix(ENGLISH)
    assert segment.text == "Anna: My lamp {broke} </s>\nTom: Sorry\nIvo: Es tut ihm leid\n\n"
    assert PromptLayout(CHAT).prefix(CHINESE)[1].text == "用户：灯坏了\n客服：抱歉\n\n"


def test_only_control_segments_hold_control_pieces_and_only_others_hold_text():
    prompt = PromptLayout(CHAT).prompt(ENGLISH, ("overall", "user"))
    for segment in (*prompt.prefix, *(piece for branch in prompt.branches for piece in branch)):
        assert bool(segment.control) == (segment.kind == "control")
        assert bool(segment.text) == (segment.kind != "control")


@pytest.mark.parametrize("name", ["en-test", "zh-test"])
def test_all_roles_of_a_dialogue_share_one_prefix_and_differ_in_their_instruction(name):
    layout = PromptLayout(CHAT)
    for dialogue in read_dialogues(f"sample:{name}"):
        roles = ("overall", "user", "agent")
        prompt = layout.prompt(dialogue, roles)
        assert prompt.roles == roles
        for role, branch in zip(roles, prompt.branches, strict=True):
            alone = layout.prompt(dialogue, (role,))
            assert (alone.prefix, alone.branches) == (prompt.prefix, (branch,))
        assert len(set(prompt.branches)) == len(roles)


def test_the_instruction_is_in_the_dialogues_language_unless_told():
    assert instruction(ENGLISH, "overall").startswith("Summarize")
    assert instruction(CHINESE, "overall").startswith("请")
    assert instruction(ENGLISH, "overall", language="zh").startswith("请")
    assert instruction(CHINESE, "overall", language="en").startswith("Summarize")


def test_a_told_language_decides_how_turns_are_written_too():
    assert PromptLayout(CHAT, language="zh").prefix(ENGLISH)[1].text.startswith("Anna：")


def test_a_language_without_instructions_is_a_usage_error():
    with pytest.raises(UsageError, match='no instructions in the language "fr"'):
        PromptLayout(CHAT, language="fr").prefix(ENGLISH)


def test_the_instruction_names_the_speakers_who_play_the_role():
    assert "the user's side (Anna) of" in instruction(ENGLISH, "user")
    assert "用户（用户）一方" in instruction(CHINESE, "user")
    two = Dialogue("3", (Turn("Ann", "hi"), Turn("Bea", "hi")), roles={"Ann": "agent", "Bea": "agent"})
    assert "the agent's side (Ann, Bea) of" in instruction(two, "agent")


def test_where_nobody_plays_the_role_no_speaker_is_named():
    nobody = Dialogue("3", (Turn("Ann", "hi"),))
    assert "the user's side of" in instruction(nobody, "user")
    assert "(" not in instruction(ENGLISH, "overall")


def test_a_custom_role_is_asked_for_by_its_name_its_speakers_and_its_definition():
    assert instruction(ENGLISH, "interpreter") == "Summarize only the interpreter's side (Ivo) of the dialogue above."
    told = instruction(ENGLISH, "interpreter", definitions={"interpreter": "Who renders the words."})
    assert told == "Summarize only the interpreter's side (Ivo) of the dialogue above. Who renders the words."


def test_a_definition_with_braces_stays_as_it_is():
    assert instruction(ENGLISH, "interpreter", definitions={"interpreter": "As in {role}."}).endswith(" As in {role}.")


def test_a_statement_is_asked_about_behind_the_same_prefix_in_the_dialogues_language():
    layout = PromptLayout(CHAT)
    prompt = layout.verify_prompt(ENGLISH, ["{He} paid.", "<|im_end|>"])
    assert prompt.prefix == layout.prefix(ENGLISH) and prompt.roles == ()
    first, second = (branch[0].text for branch in prompt.branches)
    assert first == "Statement: {He} paid.\nDoes the dialogue above say so? Answer yes or no."
    assert [segment.kind for segment in prompt.branches[1]] == ["instruction", "control"] and "<|im_end|>" in second
    assert prompt.branches[0][1:] == layout.branch(ENGLISH, "user")[1:]
    assert "陈述：灯坏了。" in layout.verify_branch(CHINESE, "灯坏了。")[0].text


def test_what_a_model_writes_before_its_answer_stands_before_a_statements_answer_too():
    begun = PromptLayout(replace(CHAT, answer_start=("\n",)))
    assert begun.verify_branch(ENGLISH, "x")[-1] == begun.target(Example(ENGLISH, "user", "x"))[0]


def test_a_set_of_ones_own_is_used_for_every_language():
    own = InstructionSet(
        name="own",
        version=3,
        language="en",
        turn="<{speaker}> {text}",
        instructions={"user": "What did{speakers} want?"},
        custom="What of {role}?",
        speakers=" {speakers}",
        separator=" and ",
    )
    layout = PromptLayout(CHAT, own, language="zh")
    assert layout.prefix(CHINESE)[1].text == "<用户> 灯坏了\n<客服> 抱歉\n\n"
    assert layout.branch(CHINESE, "user")[0].text == "What did 用户 want?"
    assert layout.branch(CHINESE, "agent")[0].text == "What of agent?"


def test_a_layout_takes_a_set_that_was_read_from_a_file(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "{name: own, version: 1, language: en, turn: '{speaker}: {text}', instructions: {}, custom: 'Of {role}.',"
        " speakers: '', separator: ''}"
    )
    layout = PromptLayout(CHAT, load_instruction_set(path), definitions={"user": "x"})
    assert layout.branch(ENGLISH, "user")[0].text == "Of user."
