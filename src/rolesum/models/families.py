"""Model families as rows of facts: chat format, what LoRA adapts, whether roles can share a dialogue's prefix.

The family is decided by the checkpoint's config.json, not by its name or size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rolesum.instructions import ChatFormat

# One user message with no chat tokens around it, for models that were never tuned to chat.
PLAIN = ChatFormat(tail=("\n",))

ALL_LINEAR = "all-linear"  # PEFT's name for every linear layer but the head


@dataclass(frozen=True, slots=True)
class Family:
    """One row.

    `chat` is a chat form, or "template" where the tokenizer's own chat template says it (plain, if it has none), or
    "frame" where there is no chat, but what the tokenizer itself puts around a source and a target.
    `stop_ids` end an answer beside the end of text. `shares_prefix` is False where positions come from the attention
    mask (BLOOM's ALiBi): two branches behind one prefix would then count each other's tokens, so that training falls
    back to one example a row. With a `fixed_head`, the rows of the head have the length 1 and are not trained.
    An `encoder_decoder` reads dialogue and instruction in both directions, so that nothing of a dialogue can be shared
    by its roles. Its decoder begins with the config's decoder_start_token_id, or, where it `wraps_target`, with the
    last token of the target (mBART's language).
    """

    name: str
    model_types: tuple[str, ...]
    chat: ChatFormat | Literal["template", "frame"] = "template"
    lora_targets: tuple[str, ...] | str = ALL_LINEAR
    stop_ids: tuple[int, ...] = ()
    shares_prefix: bool = True
    fixed_head: bool = False
    encoder_decoder: bool = False
    wraps_target: bool = False

    @property
    def unshared_reason(self) -> str:
        """Why a family cannot share prefixes, as the end of a sentence about its models."""
        if self.encoder_decoder:
            return "read the dialogue and the instruction together, in both directions"
        return "take positions from the attention mask"


def _encoder_decoder(name: str, types: tuple[str, ...], targets: tuple[str, ...] | str, wraps: bool = False) -> Family:
    return Family(
        name,
        types,
        chat="frame",
        lora_targets=targets,
        shares_prefix=False,
        encoder_decoder=True,
        wraps_target=wraps,
    )


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LLAMA_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
GLM_LINEAR = (*ATTENTION, "gate_up_proj", "down_proj")
BART_LINEAR = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
T5_LINEAR = ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")

# The authors' control tokens, by id: text never becomes one of them.
BAICHUAN_USER, BAICHUAN_ASSISTANT, BAICHUAN_EOS = 195, 196, 2
GMASK, SOP, GLM_EOS = 64790, 64792, 2
GLM_SYSTEM, GLM_USER, GLM_ASSISTANT, GLM_OBSERVATION = 64794, 64795, 64796, 64797

FAMILIES: tuple[Family, ...] = (
    Family("llama", ("llama",), lora_targets=LLAMA_LINEAR),  # Llama 2 and 3, SmolLM2
    Family("smollm3", ("smollm3",), lora_targets=LLAMA_LINEAR),
    Family("mistral", ("mistral",), lora_targets=LLAMA_LINEAR),
    Family("qwen", ("qwen2", "qwen3"), lora_targets=LLAMA_LINEAR),
    Family("gemma", ("gemma", "gemma2", "gemma3_text"), lora_targets=LLAMA_LINEAR),
    Family("glm4", ("glm", "glm4"), lora_targets=GLM_LINEAR),
    Family(
        "baichuan2",  # and the first Baichuan, whose head is plain
        ("baichuan",),
        chat=ChatFormat((BAICHUAN_USER,), (BAICHUAN_ASSISTANT,), (BAICHUAN_EOS,)),
        lora_targets=LLAMA_LINEAR,
        fixed_head=True,
    ),
    Family(
        "chatglm2",
        ("chatglm",),  # which one: see family_of
        chat=ChatFormat((GMASK, SOP, "[Round 1]\n\n问："), ("\n\n答：",), (GLM_EOS,), no_space_after_head=True),
        lora_targets=GLM_LINEAR,
    ),
    Family(
        "chatglm3",
        ("chatglm",),
        chat=ChatFormat((GMASK, SOP, GLM_USER, "\n"), (GLM_ASSISTANT,), (GLM_EOS,), answer_start=("\n",)),
        lora_targets=GLM_LINEAR,
        stop_ids=(GLM_USER, GLM_OBSERVATION),
    ),
    Family(
        "bloom",
        ("bloom",),
        chat=PLAIN,
        lora_targets=("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        shares_prefix=False,
    ),
    _encoder_decoder("bart", ("bart", "pegasus"), BART_LINEAR),
    _encoder_decoder("mbart", ("mbart",), BART_LINEAR, wraps=True),
    _encoder_decoder("t5", ("t5", "mt5", "umt5"), T5_LINEAR),
)

# Any other causal model with attention over explicit position ids.
OTHER = Family("other", ())
# Any other encoder-decoder whose decoder gives the hidden states that its head takes.
OTHER_ENCODER_DECODER = _encoder_decoder("other encoder-decoder", (), ALL_LINEAR)

_BY_NAME = {family.name: family for family in FAMILIES}


def family_of(config: Mapping[str, Any], tokenizer_config: Mapping[str, Any] | None = None) -> Family:
    """The family of a checkpoint by its config.json.

    ChatGLM2 and 3 differ in the chat form only; which one it is stands in `_name_or_path`, or else in the
    tokenizer_config.json. Raises ValueError where neither says so.
    """
    model_type = config.get("model_type", "")
    if model_type == "chatglm":
        return _BY_NAME[_chatglm_generation(config, tokenizer_config or {})]
    two_sided = bool(config.get("is_encoder_decoder"))  # BART's decoder alone is saved as a bart too
    other = OTHER_ENCODER_DECODER if two_sided else OTHER
    rows = (family for family in FAMILIES if family.encoder_decoder == two_sided)
    return next((family for family in rows if model_type in family.model_types), other)


def _chatglm_generation(config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> str:
    for name in (config.get("_name_or_path"), tokenizer_config.get("name_or_path")):
        for generation in ("chatglm2", "chatglm3"):
            if generation in str(name).lower():
                return generation
    raise ValueError("neither config.json nor tokenizer_config.json says whether this is ChatGLM2 or ChatGLM3")
