"""From a name to a model that is ready: find it, load it, and know how it wants to be spoken to."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from rolesum.dialogue import Dialogue
from rolesum.errors import ModelError, Problem, ResourceError, UsageError, did_you_mean, first_line
from rolesum.instructions import ChatFormat, InstructionSet, PromptLayout, SectionSet
from rolesum.models.adapters import (
    attach_adapter,
    compute_fingerprint,
    custom_instructions,
    custom_sections,
    instruction_sets,
    read_adapter_metadata,
    read_training_metadata,
)
from rolesum.models.attention.probe import check_mask_support
from rolesum.models.catalog import CATALOG, DEFAULT_MODEL, CatalogEntry, models_for_language
from rolesum.models.chat_template import chat_format, chat_token_ids
from rolesum.models.checkpoint import load_config, load_pretrained, load_tokenizer, read_config, read_json
from rolesum.models.download import MARKER_FILE, pull
from rolesum.models.encoder_decoder import EncoderDecoderSpec, check_encoder_decoder, encoder_decoder_spec
from rolesum.models.families import Family, family_of
from rolesum.models.lm_head import check_head
from rolesum.models.segment_encoder import SegmentEncoder
from rolesum.models.transformers_logging import quiet_transformers

if TYPE_CHECKING:
    from peft import PeftModel

_HUB_ID = re.compile(r"^[\w-][\w.-]*/[\w.-]+$")
# Rotary embeddings whose factors change once the longest position of a batch passes the original length.
LENGTH_DEPENDENT_ROPE = {"longrope", "dynamic"}
# For checkpoints whose config states no length (BLOOM's: trained at 2,048, ALiBi has no limit of its own).
UNSTATED_LENGTH = 2048

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class PromptModel:
    """What is needed to build a base's prompts: tokenizer, chat form and family, without the weights."""

    name: str
    path: Path
    catalog_entry: CatalogEntry | None
    family: Family
    tokenizer: PreTrainedTokenizerBase
    chat_format: ChatFormat
    encoder: SegmentEncoder
    config: PretrainedConfig
    max_length: int  # tokens, prompt and answer together; of an encoder-decoder, the prompt alone
    encoder_decoder_spec: EncoderDecoderSpec | None  # of an encoder-decoder
    metadata: dict[str, Any]  # how its adapter, or the whole model, was trained; empty for a base as it comes
    adapter: Path | None

    def layout(
        self,
        language: str | None = None,
        instructions: InstructionSet | None = None,
        definitions: Mapping[str, str] | None = None,
        sections: SectionSet | None = None,
    ) -> PromptLayout:
        """How prompts are laid out for this base; what it was trained with holds unless told otherwise."""
        note = self.metadata
        own = instructions or custom_instructions(note)
        defined = {**note.get("definitions", {}), **(definitions or {})}
        forms = self.encoder_decoder_spec.chat_formats if self.encoder_decoder_spec else None
        chosen = sections or custom_sections(note)
        return PromptLayout(
            self.chat_format, own, language or note.get("language"), defined, forms, instruction_sets(note), chosen
        )

    def check_languages(self, dialogues: list[Dialogue]) -> None:
        """Raise ModelError for dialogues in a language that the catalog says the base cannot read."""
        if self.catalog_entry is None:
            return
        unread = [dialogue for dialogue in dialogues if dialogue.language not in self.catalog_entry.languages]
        if unread:
            language = unread[0].language
            name = {"zh": "Chinese", "en": "English"}.get(language, language)
            what = f"{self.name} does not read {name}, and {len(unread)} of the dialogues are in it"
            readers = " or ".join(models_for_language(language))
            fix = f"leave them out with --skip, or use a base that reads it, without this adapter: --model {readers}"
            raise ModelError([Problem(what, unread[0].location, fix)])


@dataclass
class LoadedModel(PromptModel):
    """A model on its device with all that is needed to build its prompts and read its texts."""

    model: "PreTrainedModel | PeftModel"
    stop_ids: tuple[int, ...]
    fingerprint: dict[str, Any]

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def language_model(self) -> PreTrainedModel:
        """The model itself (causal, or an encoder-decoder), without PEFT's wrapping; LoRA layers stay inside."""
        unwrap = getattr(self.model, "get_base_model", None)  # of a PeftModel
        return unwrap() if unwrap else self.model

    def check_finite(self, scores: torch.Tensor) -> None:
        """Raise ModelError where logits are no numbers: an argmax would choose tokens all the same."""
        if not bool(torch.isfinite(scores).all()):
            raise ModelError(f"{self.name} gives logits that are no numbers", str(self.path), "fetch the model again")

    @property
    def shares_prefix(self) -> bool:
        return self.family.shares_prefix


def load_prompt_model(path_or_alias: str | Path | None = None, adapter: str | Path | None = None) -> PromptModel:
    """The prompt side of a base, by name, or of the base that an adapter was trained on. Raises as load_model does."""
    note = read_adapter_metadata(adapter) if adapter is not None else {}
    name = str(path_or_alias or note.get("base") or DEFAULT_MODEL)
    path = find_model(name)
    raw = read_config(path)
    family = _family(path, raw)
    with quiet_transformers():
        tokenizer = load_tokenizer(path, raw)
        config = load_config(path)
    chat = chat_format(tokenizer, family, str(path))
    sides = encoder_decoder_spec(path, config, tokenizer, family)
    return PromptModel(
        name=name,
        path=path,
        catalog_entry=_entry(name, path),
        family=family,
        tokenizer=tokenizer,
        chat_format=chat,
        encoder=SegmentEncoder(tokenizer, chat_token_ids(tokenizer, chat), config.get_text_config().vocab_size),
        config=config,
        max_length=sides.source_length if sides else _max_length(config.get_text_config()),
        encoder_decoder_spec=sides,
        metadata=note or read_training_metadata(path),
        adapter=Path(adapter) if adapter is not None else None,
    )


def _family(path: Path, raw: Mapping[str, Any]) -> Family:
    try:
        return family_of(raw, read_json(path / "tokenizer_config.json"))
    except ValueError as error:
        fix = 'set "_name_or_path" in config.json to zai-org/chatglm2-6b or zai-org/chatglm3-6b'
        raise ModelError(str(error), str(path), fix) from None


def _max_length(config: Any) -> int:
    """The tokens that a model's positions reach.

    Where rotary factors change with the longest row of a batch, up to where they change: behind it, an example's loss
    and summary would depend on its neighbors.
    """
    stated = int(getattr(config, "max_position_embeddings", 0) or UNSTATED_LENGTH)
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    each = [rope] if "rope_type" in rope else [one for one in rope.values() if isinstance(one, Mapping)]
    changing = [
        one.get("original_max_position_embeddings") for one in each if one.get("rope_type") in LENGTH_DEPENDENT_ROPE
    ]
    return min([stated, *(int(length) for length in changing if length)])


def load_model(
    path_or_alias: str | Path | None = None,
    *,
    adapter: str | Path | None = None,
    dtype: str = "auto",
    device: str = "auto",
) -> LoadedModel:
    """Load a base by catalog alias, hub id or local directory, with an adapter on it if one is given.

    Without a name, the base that the adapter was trained on, or the default model. `dtype` is float32, bfloat16 or
    auto (bfloat16 where the device computes it fast). Raises ModelError, or ResourceError where a download fails.
    """
    return load_weights(load_prompt_model(path_or_alias, adapter), dtype=dtype, device=device)


def load_weights(
    prompt_model: PromptModel, *, dtype: str = "auto", device: str = "auto", quantize: str | None = None
) -> LoadedModel:
    """The model to a prompt side. `quantize` is "4bit" for NF4 by bitsandbytes. Raises as load_model does."""
    chosen_device = pick_device(device)
    chosen_dtype = pick_dtype(dtype, chosen_device)
    with quiet_transformers():
        model = load_pretrained(prompt_model.path, chosen_dtype, chosen_device, quantize)
    if prompt_model.encoder_decoder_spec:
        check_encoder_decoder(model, prompt_model.family, prompt_model.encoder_decoder_spec, str(prompt_model.path))
    else:
        check_head(model, str(prompt_model.path))
        check_mask_support(model, prompt_model.family, str(prompt_model.path))
    loaded = LoadedModel(
        **{field.name: getattr(prompt_model, field.name) for field in fields(PromptModel)},
        model=model,
        stop_ids=collect_stop_ids(prompt_model, model.generation_config, model.config),
        fingerprint=compute_fingerprint(model, prompt_model.path),
    )
    if prompt_model.adapter is not None:
        loaded.model = attach_adapter(model, prompt_model.adapter, loaded.fingerprint, prompt_model.name)
    loaded.model.eval()
    return loaded


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, else float32.

    A processor without AVX512-BF16, AMX or Arm's BF16 emulates it: several times slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        fast = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """A dtype by its name, or the fast one for auto."""
    if name == "auto":
        return fast_dtype(device)
    if name not in DTYPES:
        raise UsageError(f'unknown dtype "{name}"', fix=did_you_mean(name, [*DTYPES, "auto"]))
    return DTYPES[name]


def pick_device(name: str) -> torch.device:
    """A device by its name, or the best that is there for auto. Raises ResourceError where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError) as error:
        raise ResourceError(f'no device "{name}": {first_line(error)}', fix="use --device cpu") from None
    return device


def find_model(name: str) -> Path:
    """The directory of a model by its alias, hub id or directory; fetched where it is not there. Raises ModelError."""
    path = Path(name)
    if path.is_dir():
        return path
    if name in CATALOG or _HUB_ID.match(name):
        return pull(name)
    fix = f"{did_you_mean(name, CATALOG)}; or give a hub id (owner/name) or the directory of a checkpoint"
    raise ModelError(f'no model "{name}"', fix=fix)


def _entry(name: str, path: Path) -> CatalogEntry | None:
    """The catalog's entry, also where a converted directory is given by its path."""
    named = next((entry for entry in CATALOG.values() if name in (entry.alias, entry.hub_id)), None)
    if named is not None:
        return named
    mark = path / MARKER_FILE
    try:
        return CATALOG.get(json.loads(mark.read_text(encoding="utf-8")).get("alias")) if mark.is_file() else None
    except ValueError:
        return None


def collect_stop_ids(side: PromptModel, *configs: Any) -> tuple[int, ...]:
    """All ids that end an answer: by the tokenizer, the checkpoint's configs, the family's row and the chat form."""
    stops = {side.tokenizer.eos_token_id, *side.family.stop_ids}
    for config in configs:
        named = getattr(config, "eos_token_id", None)
        for one in named if isinstance(named, list | tuple) else [named]:
            if one is not None and (not isinstance(one, int) or isinstance(one, bool) or one < 0):
                fix = "mend eos_token_id in generation_config.json or config.json"
                raise ModelError(f"eos_token_id: {one!r} is no token", str(side.path), fix)
            stops.add(one)
    if not side.encoder_decoder_spec:  # behind mBART's end of text its language may stand
        last = side.chat_format.answer_end[-1]
        stops.add(last if isinstance(last, int) else side.tokenizer.encode(last, add_special_tokens=False)[-1])
    return tuple(sorted(index for index in stops if index is not None))
