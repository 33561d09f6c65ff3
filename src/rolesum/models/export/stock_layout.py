"""Write a model as a directory that stock transformers reads, without code of rolesum or of the model's authors.

Baichuan2-7B becomes a Llama, ChatGLM a GLM: the same tensors under these classes' names, a config.json, a
tokenizer.json that gives the same ids, the chat form as a template, and the stop ids in generation_config.json.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    GlmConfig,
    GlmForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)

from rolesum import strict_json
from rolesum.models.architectures.baichuan import BaichuanForCausalLM
from rolesum.models.architectures.chatglm import ChatGLMForCausalLM
from rolesum.models.architectures.sentencepiece import MODEL_FILE
from rolesum.models.checkpoint import read_config, read_json
from rolesum.models.prompt_model import LoadedModel

# Our class -> the stock classes that compute the same.
STOCK_CLASSES: dict[type[PreTrainedModel], tuple[type[PreTrainedModel], type[PretrainedConfig]]] = {
    BaichuanForCausalLM: (LlamaForCausalLM, LlamaConfig),
    ChatGLMForCausalLM: (GlmForCausalLM, GlmConfig),
}
# Model type -> that of its plain directory; others have none but their own layout.
STOCK_TYPES = {"llama": "llama", "baichuan": "llama", "chatglm": "glm", "glm": "glm", "glm4": "glm4"}
# Settings of ours and of the authors that mean nothing to a stock class.
_OWN_SETTINGS = (
    *("model_type", "architectures", "alibi", "norm_head", "auto_map", "tokenizer_class", "transformers_version"),
    *("_name_or_path", "model_max_length"),
)
_WEIGHTS = (".safetensors", ".bin", ".index.json", ".pt", ".pth", ".gguf")

# Family -> its chat form as a template, for tools that know templates only. The texts are the authors'.
_TEMPLATES = {
    "baichuan2": (
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}"
        "{% elif message['role'] == 'user' %}{{ '<reserved_106>' + message['content'] }}"
        "{% else %}{{ '<reserved_107>' + message['content'] + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<reserved_107>' }}{% endif %}"
    ),
    "chatglm2": (
        "{{ '[gMASK]<sop>' }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '[Round ' ~ (loop.index0 // 2 + 1) ~ ']\n\n问：' + message['content'] + '\n\n答：' }}"
        "{% else %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}"
    ),
    "chatglm3": (
        "{{ '[gMASK]<sop>' }}{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\n ' + message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
}


def has_custom_class(model: PreTrainedModel) -> bool:
    """Whether the model is of a class of rolesum (Baichuan, ChatGLM), which no stock tool reads."""
    return type(model) in STOCK_CLASSES


def stock_incompatibility(config: PretrainedConfig) -> str | None:
    """Why no stock class computes what a model of this config does; None where one does."""
    if getattr(config, "alibi", False):
        return "Baichuan2-13B has ALiBi on Llama's layers, and no class of transformers has that"
    return None


def to_stock_model(model: PreTrainedModel) -> PreTrainedModel:
    """The same tensors under the stock class that computes the same; a stock model as it is."""
    if not has_custom_class(model):
        return model
    stock, config_class = STOCK_CLASSES[type(model)]
    settings = {key: value for key, value in model.config.to_dict().items() if key not in _OWN_SETTINGS}
    with torch.device("meta"):
        plain = stock(config_class(**settings))
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.model.rotary_emb = model.model.rotary_emb  # its buffers are in no state_dict
    plain.config.dtype = model.dtype
    plain.eval()  # type: ignore[no-untyped-call]  # not annotated
    return plain


def write_stock_layout(loaded: LoadedModel, model: PreTrainedModel, work: Path) -> PreTrainedModel:
    """Write `model`, whose prompts are those of `loaded`, as a plain directory; give the stock model it is now."""
    plain = to_stock_model(model)
    plain.generation_config = _generation_config(plain, loaded.stop_ids)
    plain.save_pretrained(work, save_original_format=False)
    template = _TEMPLATES.get(loaded.family.name) if has_custom_class(model) else None
    if template:
        loaded.tokenizer.chat_template = template
    loaded.tokenizer.save_pretrained(work)
    _name_class(work / "tokenizer_config.json")
    if (loaded.path / MODEL_FILE).is_file():  # scores, which a GGUF file needs
        shutil.copyfile(loaded.path / MODEL_FILE, work / MODEL_FILE)
    return plain


def _generation_config(model: PreTrainedModel, stop_ids: Sequence[int]) -> GenerationConfig:
    """Begin, padding and end tokens, without the checkpoint's sampling, penalties and lengths."""
    kept = ("bos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
    settings = {}
    for name in kept:
        values = (getattr(one, name, None) for one in (model.generation_config, model.config))
        settings[name] = next((value for value in values if value is not None), None)
    if not model.config.is_encoder_decoder:
        settings = {name: settings[name] for name in kept[:2]}
    return GenerationConfig(eos_token_id=list(stop_ids), **settings)  # type: ignore[no-untyped-call]  # not annotated


def _name_class(file: Path) -> None:
    """The tokenizer's class by the name that transformers 4 knows too."""
    config = read_json(file)
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        file.write_text(strict_json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_original_layout(
    model: PreTrainedModel, source: Path, work: Path, state: dict[str, torch.Tensor] | None = None
) -> None:
    """Write a native model in the layout of `source`, the original that it came from, with all its small files."""
    model.save_pretrained(work, state_dict=state)
    for file in source.iterdir():
        if file.is_file() and not file.name.endswith(_WEIGHTS):
            shutil.copyfile(file, work / file.name)
    raw: dict[str, Any] = read_config(source)
    raw["torch_dtype"] = str(model.dtype).removeprefix("torch.")
    (work / "config.json").write_text(strict_json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
