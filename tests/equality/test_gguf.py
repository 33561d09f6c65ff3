"""An exported GGUF file runs in llama.cpp as its checkpoint does in transformers: same ids, same greedy texts."""

import json
import shutil

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from helpers.tiny import GROUPED, IDS, SPECIAL, model_dir, tokenizer
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.models.architectures.sentencepiece import fast_tokenizer
from rolesum.models.export.gguf_writer import write_gguf
from rolesum.models.export.llamacpp import LlamaCpp

pytest.importorskip("xllamacpp", reason="llama.cpp is absent: pip install xllamacpp")

TRICKY = [
    *(" ", "  a  b", "\n\n x\t\ty ", "a" + " " * 40 + "b", "a\r\nb\r\n\r\n", "x\u3000y", "1234567 12", "<0x41>"),
    *(
        "‘café’ ñ 😀👩\u200d👧 ½ ² ١٢٣ x²",
        "don't I'LL we'Ve",
        "한국어 हिन्दी ไทย",
        "</s><s><unk> <|im_end|>",
        "<reserved_106>people",
    ),
]
NEW_TOKENS = 24


def rope(kind, **more):
    return {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **more}


LLAMA3 = rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
CONFIGS = {
    "grouped": {},
    "tied": {"tie_word_embeddings": True},
    "one key head": {"num_key_value_heads": 1},
    "wide heads": {"head_dim": 24},
    "linear rope": {"rope_parameters": rope("linear")},
    "llama3 rope": {"rope_parameters": LLAMA3},
}


@pytest.fixture(params=CONFIGS)
def checkpoint(request, tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(**{**GROUPED, "intermediate_size": 64, **CONFIGS[request.param]}, **IDS, initializer_range=0.2)
    AutoModelForCausalLM.from_config(config).to(torch.float32).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    return tmp_path


def prompts():
    texts = [
        "\n".join(turn.text for turn in one.turns) for one in read_dialogues("sample:en-test", ReadOptions(limit=3))
    ]
    return [tokenizer().encode(text)[:200] for text in texts]


def test_greedy_texts_and_logits_of_a_float32_file_are_those_of_transformers(checkpoint):
    write_gguf(checkpoint, checkpoint / "model.gguf", "f32")
    llama = LlamaCpp(checkpoint / "model.gguf")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    stops = [tokenizer().convert_tokens_to_ids(name) for name in SPECIAL if name != "<|im_start|>"]
    for ids in prompts():
        new, likely = llama.greedy(ids, NEW_TOKENS)
        with torch.inference_mode():
            asked = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": stops, "pad_token_id": 0}
            wanted = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **asked)[0, len(ids) :]
            logits = model(torch.tensor([ids + new])).logits[0].log_softmax(-1)
        assert [index for index in new if index not in stops] == [i for i in wanted.tolist() if i not in stops]
        assert likely
        assert furthest(likely, logits[len(ids) - 1 :]) < 1e-3


def furthest(likely, logits):
    """The largest difference of a log-probability of llama.cpp's from transformers' logits, (new, vocabulary)."""
    return max(abs(one["logprob"] - logits[at, one["id"]].item()) for at in likely for one in likely[at])


@pytest.mark.parametrize(("precision", "near"), [("f16", 0.05), ("bf16", 0.5), ("q8_0", 1.0)])
def test_rounded_files_run_and_stay_near(tmp_path, precision, near):
    source = model_dir("wide-llama")
    write_gguf(source, tmp_path / "model.gguf", precision)
    ids = prompts()[0]
    new, likely = LlamaCpp(tmp_path / "model.gguf").greedy(ids, NEW_TOKENS)
    with torch.inference_mode():
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        logits = model(torch.tensor([ids + new])).logits[0, len(ids) - 1 :].log_softmax(-1)
    assert furthest(likely, logits) < near


def real_texts(shared):
    """200 English and 200 Chinese dialogues, and what tokenizers stumble over."""
    english = json.loads((shared / "data" / "samsum" / "test.json").read_text())[:200]
    chinese = json.loads((shared / "data" / "csds" / "test.json").read_text())[:200]
    lines = ["\n".join(f"{one['speaker']}: {one['utterance']}" for one in dialogue["dialogue"]) for dialogue in chinese]
    return [one["dialogue"] for one in english] + lines + TRICKY


def exported(tmp_path, rows):
    """llama.cpp with the tokenizer in a directory and the smallest of models."""
    config = LlamaConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=rows
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    write_gguf(tmp_path, tmp_path / "model.gguf", "q8_0")
    return LlamaCpp(tmp_path / "model.gguf")


@pytest.mark.parametrize("name", ["baichuan2-7b", "llama-2-7b"])
def test_llama_cpp_reads_texts_as_the_sentencepiece_model_does(tmp_path, shared, name):
    for file in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(shared / "tokenizers" / name / file, tmp_path)
    own = fast_tokenizer(tmp_path / "tokenizer.model")
    begin = [1] if name == "llama-2-7b" else []
    llama = exported(tmp_path, len(own) + 8)
    for text in real_texts(shared):
        # A typed </s> stays text; <reserved_106> is a plain token of Baichuan2's, in either library.
        wanted = own.encode(text, add_special_tokens=False, split_special_tokens=True)
        if name == "baichuan2-7b" and "<reserved" in text:
            wanted = own.encode(text, add_special_tokens=False)
        assert llama.tokenize(text, add_special=True) == begin + wanted


def test_the_published_tokenizer_json_of_llama_2_gives_the_same_ids_without_its_tokenizer_model(tmp_path, shared):
    shutil.copy(shared / "tokenizers" / "llama-2-7b" / "tokenizer.json", tmp_path)
    own = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    llama = exported(tmp_path, 32000)
    for text in real_texts(shared):
        if "</s>" not in text:
            assert llama.tokenize(text, add_special=True) == own.encode(text).ids


LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": [
        pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}


@pytest.mark.parametrize("kind", PRE_TOKENIZERS)
def test_llama_cpp_reads_texts_as_the_byte_level_tokenizer_does(tmp_path, shared, kind):
    texts = real_texts(shared)
    bpe = Tokenizer(models.BPE(ignore_merges=kind == "llama-bpe"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(PRE_TOKENIZERS[kind])
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=2000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    bpe.add_tokens(["<plain>"])
    bpe.post_processor = processors.TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    own = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|im_start|>", eos_token="<|im_end|>")
    own.save_pretrained(tmp_path)
    llama = exported(tmp_path, 2001)
    for text in [*texts, "a <plain>b"]:
        if "<|im_end|>" not in text:
            assert llama.tokenize(text, add_special=True) == own.encode(text)
    assert llama.tokenize("<|im_end|>") == own.encode("<|im_end|>", add_special_tokens=False, split_special_tokens=True)
