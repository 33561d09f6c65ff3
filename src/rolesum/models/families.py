"""Model families as rows of facts: how a chat is written, what LoRA adapts, whether a prefix can be shared.

The family is decided by the model_type of the checkpoint's config.json, not by its name or size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rolesum.instructions import ChatForm

# One user message with no chat tokens around it, for models that were never tuned to chat.
PLAIN = ChatForm(tail=("\n",))

ALL_LINEAR = "all-linear"  # PEFT's name for every linear layer but the head


@dataclass(frozen=True, slots=True)
class Family:
    """One row.

    `chat` is a chat form, or "template" where the tokenizer's own chat template says it (plain, if it has none).
    `shares_prefix` is False where positions come from the attention mask (ALiBi): two branches behind one prefix
    would then count each other's tokens, so that training falls back to one example a row.
    """

    name: str
    model_types: tuple[str, ...]
    chat: ChatForm | Literal["template"] = "template"
    lora_targets: tuple[str, ...] | str = ALL_LINEAR
    shares_prefix: bool = True


LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

FAMILIES: tuple[Family, ...] = (
    Family("llama", ("llama",), lora_targets=LLAMA_LINEAR),
    Family("mistral", ("mistral",), lora_targets=LLAMA_LINEAR),
    Family("qwen", ("qwen2", "qwen3"), lora_targets=LLAMA_LINEAR),
    Family("gemma", ("gemma", "gemma2", "gemma3_text"), lora_targets=LLAMA_LINEAR),
    Family(
        "bloom",
        ("bloom",),
        chat=PLAIN,
        lora_targets=("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        shares_prefix=False,
    ),
)

# Any other causal model with attention over explicit position ids.
OTHER = Family("other", ())

# Checkpoints whose authors' code transformers 5 cannot run, and which rolesum does not read natively yet.
NOT_READ = {"baichuan": "Baichuan", "chatglm": "ChatGLM"}


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a checkpoint by its config.json."""
    model_type = config.get("model_type", "")
    return next((family for family in FAMILIES if model_type in family.model_types), OTHER)
