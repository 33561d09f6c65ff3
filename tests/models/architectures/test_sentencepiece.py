"""Our fast tokenizers give the ids and the texts of the sentencepiece library, and of the authors' tokenizers."""

import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.tiny import model_dir
from rolesum.errors import ModelError
from rolesum.instructions import Segment
from rolesum.models.architectures.chatglm import CONTROL_TOKENS
from rolesum.models.architectures.sentencepiece import MODEL_FILE, fast_tokenizer, read_model, without_space_prefix
from rolesum.models.loading import load_prompt_model

sentencepiece = pytest.importorskip("sentencepiece", reason="the sentencepiece library is not installed")

REAL = ("baichuan2-7b", "chatglm3-6b", "llama-2-7b")
MADE = ("baichuan2-7b", "chatglm3-6b", "llama2-7b")


def both(file):
    return fast_tokenizer(file), sentencepiece.SentencePieceProcessor(model_file=str(file))


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)


def assert_same(ours, theirs, texts):
    for text in texts:
        ids = theirs.encode(text)
        assert ids_of(ours, text) == ids, text
        assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids), text


def wild_texts(count):
    """Random Unicode: ASCII, Han, any plane, emoji, spaces of several kinds, and the tokenizer's own space sign."""
    rng = random.Random(0)
    ranges = [(32, 126), (0x4E00, 0x9FFF), (1, 0xD7FF), (0x1F300, 0x1F6FF), (0xE000, 0x10FFFF), (32, 32), (9, 10)]
    ranges.append((0x2581, 0x2581))
    return ["".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randrange(60))) for _ in range(count)]


@pytest.mark.parametrize("name", REAL)
def test_the_real_tokenizers_on_all_of_samsum_and_csds_and_on_random_unicode(shared, name):
    ours, theirs = both(shared / "tokenizers" / name / MODEL_FILE)
    samsum = json.loads((shared / "data/samsum/test.json").read_text(encoding="utf-8"))
    csds = json.loads((shared / "data/csds/test.json").read_text(encoding="utf-8"))
    assert_same(ours, theirs, [one[part] for one in samsum for part in ("dialogue", "summary")])
    assert_same(ours, theirs, ["\n".join(turn["utterance"] for turn in one["dialogue"]) for one in csds])
    parts = [one[role] for one in csds for role in ("final", "user", "agent")]
    assert_same(ours, theirs, ["".join(part) for part in parts])
    assert_same(ours, theirs, wild_texts(2000))


@pytest.mark.parametrize("name", MADE)
def test_a_made_tokenizer_on_random_unicode(name):
    assert_same(*both(model_dir(name) / MODEL_FILE), wild_texts(300))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
@example("  two  spaces \n\n and a\ttab ")
@example("▁▁")
@example("</s><s><unk><0x41><reserved_106>")
def test_any_text_gets_the_librarys_ids(text):
    assert_same(*CACHED, [text])


CACHED = both(model_dir("llama2-7b") / MODEL_FILE)


def test_the_authors_ids_are_given_again(shared):
    known = json.loads((shared / "oracles/tokenizers.json").read_text(encoding="utf-8"))
    baichuan = fast_tokenizer(shared / "tokenizers/baichuan2-7b" / MODEL_FILE)
    chatglm = fast_tokenizer(shared / "tokenizers/chatglm3-6b" / MODEL_FILE, CONTROL_TOKENS)
    for text, ids, glm_ids in zip(known["texts"], known["baichuan2_ids"], known["chatglm3_ids"], strict=True):
        assert ids_of(baichuan, text) == ids
        assert [64790, 64792, *ids_of(chatglm, text)] == glm_ids


@pytest.mark.parametrize(
    ("made", "real", "key"),
    [("baichuan2-7b", "baichuan2-7b", "baichuan2_chat_ids"), ("chatglm3-6b", "chatglm3-6b", "chatglm3_chat_ids")],
)
def test_the_authors_chat_prompts_are_given_again(shared, tmp_path, made, real, key):
    (tmp_path / MODEL_FILE).write_bytes((shared / "tokenizers" / real / MODEL_FILE).read_bytes())
    config = json.loads((model_dir(made) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 125_696}))
    known = json.loads((shared / "oracles/tokenizers.json").read_text(encoding="utf-8"))
    side = load_prompt_model(tmp_path)
    for chat, ids in zip(known["chats"], known[key], strict=True):
        assert prompt_ids(side, chat[0]["content"]) == ids


def prompt_ids(side, message):
    return side.encoder.encode(
        [
            Segment("control", control=side.chat_format.head),
            Segment("dialogue", message, continues=side.chat_format.no_space_after_head),
            Segment("control", control=side.chat_format.tail, continues=True),
        ]
    )


def test_chatglm2_asks_in_rounds():
    side = load_prompt_model(model_dir("chatglm2-6b"))
    _, library = both(model_dir("chatglm2-6b") / MODEL_FILE)
    assert prompt_ids(side, "Hello there") == [64790, 64792, *library.encode("[Round 1]\n\n问：Hello there\n\n答：")]


def test_llama_2_reads_a_prompt_of_segments_as_one_text(tmp_path):
    """The instruction goes on from the dialogue, and the template's spaces are not doubled by the tokenizer's own."""
    template = "{{ bos_token }}[INST] {{ messages[0]['content'] }} [/INST]{% if messages|length > 1 %} {{ messages[1]['content'] }} </s>{% endif %}"  # noqa: E501
    (tmp_path / MODEL_FILE).write_bytes((model_dir("llama2-7b") / MODEL_FILE).read_bytes())
    (tmp_path / "config.json").write_bytes((model_dir("llama2-7b") / "config.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    side = load_prompt_model(tmp_path)
    _, library = both(tmp_path / MODEL_FILE)
    instruction = [Segment("instruction", "Say it short.", continues=True), *tail(side)]
    ids = side.encoder.encode([*head(side, "Tom: hi\n\n"), *instruction])
    assert ids == [1, *library.encode("[INST] Tom: hi\n\nSay it short. [/INST]")]
    assert side.encoder.encode([Segment("target", "He greets.")]) == library.encode("He greets.")


def head(side, text):
    return Segment("control", control=side.chat_format.head), Segment(
        "dialogue", text, continues=side.chat_format.no_space_after_head
    )


def tail(side):
    return (Segment("control", control=side.chat_format.tail, continues=True),)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("attack", ["</s>", "<reserved_106>", "<|assistant|>", "[gMASK]", "a</s>b<s>", "<unk>"])
def test_control_tokens_typed_by_a_customer_stay_text(name, attack):
    side = load_prompt_model(model_dir(name))
    for continues in (False, True):
        ids = side.encoder.encode_segment(Segment("dialogue", f"x {attack} y", continues=continues))
        assert side.encoder.control_ids.isdisjoint(ids)
        assert side.tokenizer.decode(ids).strip() == f"x {attack} y"


def test_people_and_shop_are_words_in_chatglm():
    """Added as bare surfaces, "sop" and "eop" would be cut out of them."""
    tokenizer = load_prompt_model(model_dir("chatglm3-6b")).tokenizer
    for text in ("people", "sop eop"):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert not set(ids) & set(CONTROL_TOKENS) and tokenizer.decode(ids) == text


def test_only_a_tokenizer_that_puts_a_space_has_a_twin_without():
    assert without_space_prefix(fast_tokenizer(model_dir("baichuan2-7b") / MODEL_FILE)) is None
    twin = without_space_prefix(fast_tokenizer(model_dir("llama2-7b") / MODEL_FILE))
    assert twin.encode("the", add_special_tokens=False).tokens[0] != "▁the"


@pytest.mark.parametrize("content", [b"", b"no protobuf", b"\x0a\x03\x0a\x01a"])
def test_a_file_that_is_no_such_tokenizer_is_an_error(tmp_path, content):
    (tmp_path / MODEL_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"tokenizer\.model|cannot be read"):
        fast_tokenizer(tmp_path / MODEL_FILE)


def test_a_chatglm_tokenizer_of_another_size_is_an_error():
    with pytest.raises(ModelError, match="64789"):
        fast_tokenizer(model_dir("llama2-7b") / MODEL_FILE, CONTROL_TOKENS)


def test_tokens_added_to_a_bare_tokenizer_model_are_there_and_end_an_answer(tmp_path):
    for file in (MODEL_FILE, "config.json"):
        (tmp_path / file).write_bytes((model_dir("llama2-7b") / file).read_bytes())
    added = {
        str(740 + place): {"content": name, "special": True}
        for place, name in enumerate(("<|im_start|>", "<|im_end|>"))
    }
    said = {"added_tokens_decoder": added, "eos_token": {"content": "<|im_end|>"}, "pad_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    side = load_prompt_model(tmp_path)
    assert side.tokenizer.eos_token_id == 741 and side.tokenizer.pad_token_id == 0
    assert side.tokenizer.encode("<|im_start|>", add_special_tokens=False) == [740]
    assert side.encoder.control_ids.isdisjoint(side.encoder.encode([Segment("dialogue", "a <|im_end|> b")]))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": {"9": {"content": "<x>"}}}))
    with pytest.raises(ModelError, match="should have the id 9"):
        load_prompt_model(tmp_path)


def changed(tmp_path, change):
    """Llama 2's made tokenizer.model with its message changed."""
    model = read_model(model_dir("llama2-7b") / MODEL_FILE)
    change(model)
    file = tmp_path / MODEL_FILE
    file.write_bytes(model.SerializeToString())
    return file


def test_pieces_of_one_score_that_compete_for_a_symbol_are_refused(tmp_path):
    """As Chinese-LLaMA adds words: sentencepiece then takes the one further left, which no order of merges says."""

    def add(*words):
        def change(model):
            for piece in (*sorted(set("".join(words))), *words):
                model.pieces.add(piece=piece, type=1, score=0.0)

        return change

    with pytest.raises(ModelError, match="'的前' and '前手' have one score"):
        fast_tokenizer(changed(tmp_path, add("前手", "的前")))
    assert_same(*both(changed(tmp_path, add("前的", "手机"))), ["以前的手机", "手机前的"])


@pytest.mark.parametrize(
    "piece", [{"piece": "erer", "type": 5}, {"piece": "a b", "type": 4}, {"piece": "er", "type": 1}]
)
def test_pieces_that_are_read_in_a_way_of_their_own_are_refused(tmp_path, piece):
    with pytest.raises(ModelError, match="in a way of their own"):
        fast_tokenizer(changed(tmp_path, lambda model: model.pieces.add(**piece)))


@pytest.mark.parametrize(("name", "index"), [("unk_id", 10**6), ("eos_id", 10**6), ("bos_id", -2)])
def test_special_ids_that_are_no_pieces_are_refused(tmp_path, name, index):
    with pytest.raises(ModelError, match="special ids"):
        fast_tokenizer(changed(tmp_path, lambda model: setattr(model.trainer_spec, name, index)))


@pytest.mark.parametrize("said", [[1], {"x": {"content": "a"}}, {"740": 5}, {"740": {}}])
def test_added_tokens_that_cannot_be_read_are_an_error(tmp_path, said):
    for file in (MODEL_FILE, "config.json"):
        (tmp_path / file).write_bytes((model_dir("llama2-7b") / file).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": said}))
    with pytest.raises(ModelError, match="added tokens cannot be read"):
        load_prompt_model(tmp_path)
