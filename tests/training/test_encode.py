import pytest

from helpers.tiny import model_dir
from rolesum.dialogue import Dialogue, Turn, make_bundle
from rolesum.errors import DataError
from rolesum.formats import read_dialogues
from rolesum.models.loading import load_prompt_model
from rolesum.training.encode import encode_bundles


@pytest.fixture(scope="module")
def side():
    return load_prompt_model(model_dir("llama"))


def test_the_targets_are_the_summary_and_the_end_of_the_answer(side):
    dialogue = read_dialogues("sample:en-test")[0]
    encoded = encode_bundles(
        [make_bundle(dialogue, ("user", "agent"))], side.layout(), side.encoder, max_length=4096
    ).bundles[0]
    for branch in encoded.branches:
        target = branch.ids[len(branch.ids) - branch.targets :]
        assert side.tokenizer.decode(target) == f"{dialogue.summaries[branch.role][0]}<|im_end|>"
        asked = side.tokenizer.decode(branch.ids[: len(branch.ids) - branch.targets])
        assert asked.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_prefix_and_branch_joined_are_what_the_chat_template_gives(side):
    """Training and inference speak the family's chat form, to the token."""
    dialogue = read_dialogues("sample:en-test")[0]
    layout = side.layout()
    text = layout.instruction_set_for(dialogue).dialogue_text(dialogue) + "\n\n"
    instruction = layout.instruction_set_for(dialogue).instruction("user", dialogue)
    joined = side.encoder.encode([*layout.prefix(dialogue), *layout.branch(dialogue, "user")])
    message = [{"role": "user", "content": text + instruction}]
    expected = side.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    assert side.tokenizer.decode(joined) == expected


def test_a_target_that_does_not_fit_is_an_error_with_the_dialogues_id(side):
    dialogue = Dialogue("long-1", (Turn("A", "Hello."),), summaries={"overall": ("word " * 400,)}, source="f.jsonl:3")
    with pytest.raises(DataError, match=r"f\.jsonl:3, dialogue long-1.*\n.*target alone"):
        encode_bundles([make_bundle(dialogue, ("overall",))], side.layout(), side.encoder, max_length=200)


def test_drop_middle_counts_the_turns_and_keeps_the_first_and_the_last(side):
    turns = tuple(Turn("AB"[i % 2], f"utterance number {i} with some words") for i in range(60))
    bundle = make_bundle(Dialogue("d", turns, summaries={"overall": ("Short.",)}), ("overall",))
    data = encode_bundles([bundle], side.layout(), side.encoder, max_length=300, long_dialogues="drop-middle")
    text = side.tokenizer.decode(data.bundles[0].prefix)
    kept = [i for i in range(60) if f"number {i} " in text]
    assert data.dropped_turns == 60 - len(kept) > 0
    assert kept[0] == 0 and kept[-1] == 59
    assert data.bundles[0].longest_example <= 300
