"""A model as the rest of rolesum uses it: what builds its prompts (PromptModel), and with weights (LoadedModel)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import PretrainedConfig, PreTrainedModel

from rolesum.dialogue import Dialogue
from rolesum.errors import ModelError
from rolesum.instructions import ChatFormat, InstructionSet, PromptLayout, SectionSet
from rolesum.models.adapter_metadata import AdapterMetadata, custom_instructions, custom_sections, instruction_sets
from rolesum.models.attention.masks import supports_custom_masks
from rolesum.models.catalog import CatalogEntry
from rolesum.models.encoder_decoder import EncoderDecoderSpec
from rolesum.models.families import OTHER, OTHER_ENCODER_DECODER, Family
from rolesum.models.languages import check_dialogue_languages
from rolesum.models.protocols import Tokenizer
from rolesum.models.segment_encoder import SegmentEncoder

if TYPE_CHECKING:  # the import of PEFT takes a second or more, and a base without an adapter does not need it
    from peft import PeftModel


@dataclass
class PromptModel:
    """A base without its weights: tokenizer, chat format, family and lengths, enough to build its prompts.

    `max_length` is in tokens: prompt and answer together, or the prompt alone for an encoder-decoder. `metadata` says
    how the adapter, or the whole model, was trained; it is empty for a base that rolesum did not train.
    """

    name: str
    path: Path
    catalog_entry: CatalogEntry | None
    family: Family
    tokenizer: Tokenizer
    chat_format: ChatFormat
    encoder: SegmentEncoder
    config: PretrainedConfig
    max_length: int
    encoder_decoder_spec: EncoderDecoderSpec | None  # None for a causal model
    metadata: AdapterMetadata
    adapter: Path | None
    shares_prefix: bool  # whether the roles of a dialogue can share its prefix in training

    @property
    def unshared_reason(self) -> str:
        """Why roles cannot share a prefix, as a clause."""
        if not self.family.shares_prefix:
            return f"{self.family.name} models {self.family.unshared_reason}"
        return f"models like {self.name} do not take a mask for several roles behind one dialogue exactly"

    @property
    def is_listed(self) -> bool:
        """Whether tests cover the model's family and all kinds of its layers; else it is checked when it is loaded."""
        listed = self.family not in (OTHER, OTHER_ENCODER_DECODER)
        return listed and supports_custom_masks(self.config.get_text_config())

    def layout(
        self,
        language: str | None = None,
        instructions: InstructionSet | None = None,
        definitions: Mapping[str, str] | None = None,
        sections: SectionSet | None = None,
    ) -> PromptLayout:
        """The prompt layout for this base. Arguments override what the adapter was trained with."""
        trained = self.metadata
        spec = self.encoder_decoder_spec
        return PromptLayout(
            self.chat_format,
            instructions or custom_instructions(trained),
            language or trained.get("language"),
            {**trained.get("definitions", {}), **(definitions or {})},
            spec.chat_formats if spec else None,
            instruction_sets(trained),
            sections or custom_sections(trained),
        )

    def check_languages(self, dialogues: list[Dialogue]) -> None:
        """Raise ModelError for dialogues in a language that the catalog says the base cannot read."""
        check_dialogue_languages(self.name, self.catalog_entry, dialogues)


@dataclass
class LoadedModel(PromptModel):
    """A PromptModel with its weights on a device. `stop_ids` are all token ids that end an answer."""

    model: "PreTrainedModel | PeftModel"
    stop_ids: tuple[int, ...]
    fingerprint: dict[str, Any]

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def language_model(self) -> PreTrainedModel:
        """The model itself, causal or encoder-decoder, without PEFT's wrapper; LoRA layers stay inside it."""
        if isinstance(self.model, PreTrainedModel):
            return self.model
        return cast(PreTrainedModel, self.model.get_base_model())

    def check_finite(self, scores: torch.Tensor) -> None:
        """Raise ModelError for logits that are NaN or infinite: argmax would choose tokens all the same."""
        if not bool(torch.isfinite(scores).all()):
            raise ModelError(f"{self.name} gives logits that are no numbers", str(self.path), "fetch the model again")
