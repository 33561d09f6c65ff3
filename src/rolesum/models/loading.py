"""Load a model by catalog alias, hub id, GGUF file or directory: all of it, or what builds its prompts."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig

from rolesum.errors import ModelError, ResourceError, UsageError, did_you_mean, error_summary
from rolesum.models.adapter_metadata import (
    ADAPTER_FOLDER,
    CONFIG_FILE,
    MODEL_FOLDER,
    AdapterMetadata,
    adapter_directory,
    read_adapter_metadata,
    read_metadata,
)
from rolesum.models.adapters import attach_adapter, compute_fingerprint
from rolesum.models.catalog import CATALOG, DEFAULT_MODEL, CatalogEntry
from rolesum.models.chat_template import chat_format
from rolesum.models.checkpoint import load_config, load_pretrained, load_tokenizer, read_config, read_json
from rolesum.models.converted import read_converted
from rolesum.models.download import is_gguf, pull
from rolesum.models.dtype_choice import DtypeChoice, choose_dtype, model_shape
from rolesum.models.encoder_decoder import check_encoder_decoder, encoder_decoder_spec
from rolesum.models.families import Family, family_of
from rolesum.models.languages import catalog_entry
from rolesum.models.prompt_model import LoadedModel, PromptModel
from rolesum.models.revisions import split_revision
from rolesum.models.segment_encoder import SegmentEncoder
from rolesum.models.self_check import training_shares_prefix
from rolesum.models.transformers_logging import quiet_transformers

_HUB_ID = re.compile(r"^[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?$")
# Rotary embeddings whose factors change once the longest position of a batch passes the original length.
LENGTH_DEPENDENT_ROPE = {"longrope", "dynamic"}
# For checkpoints whose config states no length (BLOOM's: trained at 2,048, ALiBi has no limit of its own).
UNSTATED_LENGTH = 2048

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_prompt_model(path_or_alias: str | Path | None = None, adapter: str | Path | None = None) -> PromptModel:
    """What builds the prompts of a base, by name, or of the base that an adapter was trained on; no weights.

    Raises as load_model does.
    """
    metadata: AdapterMetadata = read_adapter_metadata(adapter) if adapter is not None else {}
    name = str(path_or_alias or metadata.get("base") or DEFAULT_MODEL)
    path = find_model(name)
    raw = read_config(path)
    family = _family(path, raw)
    with quiet_transformers():
        tokenizer = load_tokenizer(path, raw)
        config = load_config(path)
    chat = chat_format(tokenizer, family, str(path))
    spec = encoder_decoder_spec(path, config, tokenizer, family)
    return PromptModel(
        name=name,
        path=path,
        catalog_entry=_entry(name, path),
        family=family,
        tokenizer=tokenizer,
        chat_format=chat,
        encoder=SegmentEncoder(tokenizer, config.get_text_config().vocab_size),
        config=config,
        max_length=spec.source_length if spec else _max_length(config.get_text_config()),
        encoder_decoder_spec=spec,
        metadata=metadata or read_metadata(path),
        adapter=adapter_directory(adapter) if adapter is not None else None,
        shares_prefix=family.shares_prefix,
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
    stated = min(stated, int(getattr(config, "max_target_positions", 0) or stated))  # of Whisper's decoder
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
    attach: bool = True,
) -> LoadedModel:
    """Load a base by catalog alias, hub id, GGUF file or local directory, with an adapter on it if one is given.

    Without a name, the base that the adapter was trained on, or the default model. `dtype` is float32, bfloat16 or
    auto (the one in which the device computes this model faster: see dtype_choice.py). Raises ModelError, or
    ResourceError where a download fails.

    Without `attach`, `model` is the base alone: see generation/decoding/linear.py, which adds the adapter to it.
    """
    return load_weights(load_prompt_model(path_or_alias, adapter), dtype=dtype, device=device, attach=attach)


def load_weights(
    prompt_model: PromptModel,
    *,
    dtype: str = "auto",
    device: str = "auto",
    quantize: str | None = None,
    attach: bool = True,
) -> LoadedModel:
    """Load the weights of a PromptModel. `quantize` is "4bit" for NF4 by bitsandbytes; `attach` as in load_model.

    Raises as load_model does.
    """
    chosen_device = pick_device(device)
    chosen_dtype = pick_dtype(dtype, chosen_device, prompt_model.config).dtype
    with quiet_transformers():
        model = load_pretrained(prompt_model.path, chosen_dtype, chosen_device, quantize)
    if prompt_model.encoder_decoder_spec:
        check_encoder_decoder(model, prompt_model.family, prompt_model.encoder_decoder_spec, str(prompt_model.path))
    elif not prompt_model.is_listed and not training_shares_prefix(model, str(prompt_model.path)):
        prompt_model = replace(prompt_model, shares_prefix=False)
    loaded = LoadedModel(
        **{field.name: getattr(prompt_model, field.name) for field in fields(PromptModel)},
        model=model,
        stop_ids=collect_stop_ids(prompt_model, model.generation_config, model.config),
        fingerprint=compute_fingerprint(model, prompt_model.path),
    )
    if prompt_model.adapter is not None and attach:
        loaded.model = attach_adapter(model, prompt_model.adapter, loaded.fingerprint, prompt_model.name)
    loaded.model.eval()
    return loaded


def pick_dtype(name: str, device: torch.device, config: PretrainedConfig) -> DtypeChoice:
    """A dtype by its name; for auto, the one in which the device computes a model of this config faster."""
    return choose_dtype(device, model_shape(config)) if name == "auto" else dtype_by_name(name)


def dtype_by_name(name: str) -> DtypeChoice:
    """The dtype of a name that is not auto. Raises UsageError where there is none."""
    if name not in DTYPES:
        raise UsageError(f'unknown dtype "{name}"', fix=did_you_mean(name, [*DTYPES, "auto"]))
    return DtypeChoice(DTYPES[name], "it was asked for")


def pick_device(name: str) -> torch.device:
    """A device by its name, or the best that is there for auto. Raises ResourceError where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError) as error:
        raise ResourceError(f'no device "{name}": {error_summary(error)}', fix="use --device cpu") from None
    return device


def find_model(name: str) -> Path:
    """The directory of a model by its alias, hub id, GGUF file or directory, fetched or converted if need be.

    Raises ModelError, or ResourceError where a download fails.
    """
    path = Path(name)
    if path.is_dir():
        if (path / "config.json").is_file():
            return path
        if (path / MODEL_FOLDER / "config.json").is_file():  # the directory of a run
            return path / MODEL_FOLDER
        if any((folder / CONFIG_FILE).is_file() for folder in (path, path / ADAPTER_FOLDER)):
            raise ModelError("an adapter, not a model", name, f"name it with --adapter {name}")
        return path
    if is_gguf(name) or split_revision(name)[0] in CATALOG or _HUB_ID.match(name):
        return pull(name)
    fix = f"{did_you_mean(name, CATALOG)}; or give a hub id (owner/name), a GGUF file or the directory of a checkpoint"
    raise ModelError(f'no model "{name}"', fix=fix)


def _entry(name: str, path: Path) -> CatalogEntry | None:
    """The catalog's entry, also where a converted directory is given by its path."""
    if (named := catalog_entry(name)) is not None:
        return named
    converted = read_converted(path)
    return CATALOG.get(converted.alias or "") if converted else None


def collect_stop_ids(prompt_model: PromptModel, *configs: Any) -> tuple[int, ...]:
    """All ids that end an answer: by the tokenizer, the checkpoint's configs, the family's row and the chat form."""
    stops = {prompt_model.tokenizer.eos_token_id, *prompt_model.family.stop_ids}
    for config in configs:
        named = getattr(config, "eos_token_id", None)
        for one in named if isinstance(named, list | tuple) else [named]:
            if one is not None and (not isinstance(one, int) or isinstance(one, bool) or one < 0):
                fix = "mend eos_token_id in generation_config.json or config.json"
                raise ModelError(f"eos_token_id: {one!r} is no token", str(prompt_model.path), fix)
            stops.add(one)
    if not prompt_model.encoder_decoder_spec:  # behind mBART's end of text its language may stand
        last = prompt_model.chat_format.answer_end[-1]
        stops.add(last if isinstance(last, int) else prompt_model.tokenizer.encode(last, add_special_tokens=False)[-1])
    return tuple(sorted(index for index in stops if index is not None))
