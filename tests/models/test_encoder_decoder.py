"""Encoder-decoders as they are loaded: what stands around their texts, how far they read, what is refused."""

import json
import shutil

import pytest
from transformers import AutoModelForSeq2SeqLM, FSMTConfig, PLBartConfig

from helpers.tiny_seq2seq import FAMILIES, LENGTH, seq2seq_dir, tokenizer_of
from rolesum.dialogue import Dialogue, Example, Turn
from rolesum.errors import DataError, ModelError
from rolesum.generation import Decoding
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.instructions import Segment
from rolesum.models.families import OTHER_ENCODER_DECODER, family_of
from rolesum.models.loading import load_model, load_prompt_model

TEXT = "Anna: My lamp broke.\nTom: Oh dear!"
ENGLISH = Dialogue("1", (Turn("Anna", "My lamp broke."), Turn("Tom", "Oh dear!")))
CHINESE = Dialogue("2", (Turn("用户", "灯坏了"), Turn("客服", "抱歉")), language="zh")


def around(side, dialogue, text):
    """The ids of a text as a source's one segment, and as a target's."""
    layout, encode = side.layout(), side.encoder.encode
    head, _ = layout.prefix(dialogue)
    tail = layout.branch(dialogue, "overall")[-1]
    target = encode(layout.target(Example(dialogue, "overall", text)))
    return encode((head, Segment("dialogue", text), tail)), target


@pytest.mark.parametrize("kind", FAMILIES)
def test_one_segment_is_encoded_as_the_tokenizer_itself_would(kind):
    side = load_prompt_model(seq2seq_dir(kind))
    source, target = around(side, ENGLISH, TEXT)
    assert source == side.tokenizer(TEXT).input_ids
    assert target == side.tokenizer(text_target=TEXT).input_ids
    assert len(source) > len(side.tokenizer.encode(TEXT, add_special_tokens=False))


@pytest.mark.parametrize("kind", ["t5", "mt5", "mbart"])
def test_where_spaces_are_dropped_all_segments_together_are_the_whole_text(kind):
    side = load_prompt_model(seq2seq_dir(kind))
    layout, encode = side.layout(), side.encoder.encode
    segments = (*layout.prefix(ENGLISH), *layout.branch(ENGLISH, "overall"))
    text = "".join(segment.text for segment in segments)
    assert encode(segments) == side.tokenizer(text).input_ids


@pytest.mark.parametrize("kind", ["mbart", "mbart50"])
@pytest.mark.parametrize(("dialogue", "code"), [(ENGLISH, "en_XX"), (CHINESE, "zh_CN")], ids=["en", "zh"])
def test_mbarts_languages_follow_the_dialogues(kind, dialogue, code):
    side = load_prompt_model(seq2seq_dir(kind))
    source, target = around(side, dialogue, "灯 broke")
    known = tokenizer_of(kind)
    known.src_lang = known.tgt_lang = code
    assert source == known(text="灯 broke").input_ids
    assert target == known(text_target="灯 broke").input_ids
    known.src_lang = known.tgt_lang = "en_XX"
    number = known.convert_tokens_to_ids(code)
    begin = side.encoder_decoder_spec.decoder_prompt(side.layout().chat_format_for(dialogue))
    assert begin == ([number] if kind == "mbart" else [2, number])
    assert side.tokenizer.src_lang == side.tokenizer.tgt_lang == "en_XX"  # left as it was


ATTACKS = ["</s>", "<s>a</s></s>b", "<pad>", "en_XX", "<extra_id_1>", "<mask>", "<mask_1> <unk_3>"]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["bart", "mbart", "mbart50", "pegasus", "t5"])
@pytest.mark.parametrize("part", ["dialogue", "instruction", "target"])
def test_control_tokens_typed_by_a_customer_stay_text(kind, attack, part):
    encoder = load_prompt_model(seq2seq_dir(kind)).encoder
    control = encoder.control_ids - {encoder.tokenizer.unk_token_id}
    ids = encoder.encode_segment(Segment(part, f"x {attack} y", continues=part == "instruction"))
    assert control.isdisjoint(ids)
    if kind == "bart":
        assert encoder.tokenizer.decode(ids) == f"x {attack} y"


def test_families_are_told_by_the_config():
    def named(**config):
        return family_of(config).name

    assert named(model_type="bart", is_encoder_decoder=True) == "bart"
    assert named(model_type="mt5", is_encoder_decoder=True) == "t5"
    assert named(model_type="bart") == "other"  # its decoder alone
    assert family_of({"model_type": "prophetnet", "is_encoder_decoder": True}) is OTHER_ENCODER_DECODER
    assert named(model_type="llama") == "llama"


def test_limits_are_the_configs_the_tokenizers_or_the_stated_default(tmp_path):
    def limits(kind):
        sides = load_prompt_model(seq2seq_dir(kind)).encoder_decoder_spec
        return sides.source_length, sides.target_length

    assert limits("bart") == limits("t5") == (LENGTH, LENGTH)
    assert limits("mt5") == (2048, 2048)
    assert limits("led") == (16384, 1024)
    told = shutil.copytree(seq2seq_dir("mt5"), tmp_path / "told")
    file = told / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 512}))
    assert load_prompt_model(told).max_length == 512


def test_a_source_or_an_answer_that_does_not_fit_is_an_error_with_its_place():
    loaded = load_model(seq2seq_dir("bart"), device="cpu")
    engine = TransformersEngine(loaded)
    long = Dialogue("77", (Turn("Anna", "My lamp broke. " * 400), Turn("Tom", "Oh dear!")))
    prompts = [engine.layout.prompt(one, ("overall",)) for one in (ENGLISH, long)]
    with pytest.raises(DataError, match=r"reads 1024") as caught:
        engine.generate(prompts, Decoding(max_new_tokens=8))
    assert "77" in str(caught.value) and len(caught.value.problems) == 1
    with pytest.raises(DataError, match=r"lower --max-new-tokens"):
        engine.generate(prompts[:1], Decoding(max_new_tokens=LENGTH + 1))
    assert [engine.fits(prompt, 8) for prompt in prompts] == [True, False]


def test_a_checkpoint_that_does_not_say_how_its_decoder_begins_is_refused(tmp_path):
    broken = shutil.copytree(seq2seq_dir("t5"), tmp_path / "broken")
    for file in (broken / "config.json", broken / "generation_config.json"):
        said = json.loads(file.read_text())
        said.pop("decoder_start_token_id", None)
        file.write_text(json.dumps(said))
    with pytest.raises(ModelError, match="with which token its decoder begins"):
        load_model(broken, device="cpu")


SMALL = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}


@pytest.mark.parametrize(
    "config",
    [
        PLBartConfig(**SMALL, **HEADS, vocab_size=800, decoder_start_token_id=2),  # begins with the target's last token
        FSMTConfig(
            **SMALL, **HEADS, langs=["en", "de"], src_vocab_size=800, tgt_vocab_size=800, decoder_start_token_id=2
        ),
    ],
    ids=["plbart", "fsmt"],
)
def test_another_model_whose_halves_are_not_its_whole_is_refused(config, tmp_path):
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(tmp_path)
    tokenizer_of("bart").save_pretrained(tmp_path)
    with pytest.raises(ModelError):
        load_model(tmp_path, device="cpu")


def test_a_bare_barts_checkpoint_loads_with_its_head_tied(tmp_path):
    """Its weights lie there under other names, and no final_logits_bias."""
    bare = shutil.copytree(seq2seq_dir("bart"), tmp_path / "bare")
    config = (bare / "config.json").read_text()
    AutoModelForSeq2SeqLM.from_pretrained(bare).model.save_pretrained(bare)
    (bare / "config.json").write_text(config)
    assert load_model(bare, device="cpu").family.name == "bart"
