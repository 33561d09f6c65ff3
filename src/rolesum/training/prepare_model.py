"""Prepares what is trained of a model: LoRA adapters on a frozen base, or all weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from rolesum.errors import UsageError
from rolesum.models.adapter_metadata import adapter_directory
from rolesum.models.adapters import check_fingerprint, load_adapter_weights
from rolesum.models.base_adapter import BaseAdapter
from rolesum.models.families import ALL_LINEAR, Family
from rolesum.models.prompt_model import LoadedModel, PromptModel
from rolesum.models.transformers_logging import quiet_transformers
from rolesum.recipe import Recipe

# transformers' name for position embeddings that are computed, not learned.
SINUSOIDAL = "SinusoidalPositionalEmbedding"


def prepare_model(model: PreTrainedModel, family: Family, recipe: Recipe) -> PreTrainedModel | PeftModel:
    """The model as the recipe's method trains it: all unfrozen, or with LoRA layers over frozen weights.

    LoRA layers are fresh, seeded by the recipe, or those of its base adapter (see models/base_adapter.py, by which the
    recipe's LoRA settings are the adapter's). On the meta device the adapter's weights are not read.
    """
    _check_head(model, family, recipe)
    _check_tied(model, recipe)
    torch.manual_seed(recipe.training.seed)
    if recipe.training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]  # not annotated
    if recipe.method == "full":
        return _unfrozen(model)
    return _with_lora(model, family, recipe)


def with_prompts_of(adapter: BaseAdapter | None, prompt_model: PromptModel) -> PromptModel:
    """The base with the prompts that the adapter which a run goes on from was trained with.

    Raises ModelError where the base is of another size than the one that the adapter was trained on.
    """
    if adapter is None or not adapter.metadata:
        return prompt_model
    check_base_config(adapter, prompt_model)
    return replace(prompt_model, metadata=adapter.metadata)


def check_base_config(adapter: BaseAdapter, prompt_model: PromptModel) -> None:
    """Raise ModelError where the sizes in a base's config are not those that the adapter was trained on."""
    config = prompt_model.config.get_text_config()
    sizes = {"vocabulary": config.vocab_size, "hidden": config.hidden_size, "layers": config.num_hidden_layers}
    check_fingerprint(adapter.metadata, sizes, prompt_model.name, adapter.directory, _base_fix(adapter))


def check_base_weights(adapter: BaseAdapter, loaded: LoadedModel) -> None:
    """Raise ModelError where the base is another than the one that the adapter was trained on."""
    check_fingerprint(adapter.metadata, loaded.fingerprint, loaded.name, adapter.directory, _base_fix(adapter))


def _base_fix(adapter: BaseAdapter) -> str:
    return f"name the base that it was trained on: --set base={adapter.metadata.get('base')}"


def empty_model(prompt_model: PromptModel) -> PreTrainedModel:
    """The base as its config describes it, on the meta device: its layers without their weights."""
    with quiet_transformers(), torch.device("meta"):
        auto: Any = AutoModelForSeq2SeqLM if prompt_model.encoder_decoder_spec else AutoModelForCausalLM
        built: PreTrainedModel = auto.from_config(prompt_model.config)
    return built


def check_targets(prompt_model: PromptModel, recipe: Recipe) -> None:
    """Raise UsageError for lora.targets that cannot be trained, before data are read and weights are loaded."""
    if recipe.method == "lora" and recipe.lora.targets:
        with torch.device("meta"):
            prepare_model(empty_model(prompt_model), prompt_model.family, recipe)


def _check_head(model: PreTrainedModel, family: Family, recipe: Recipe) -> None:
    """Raise UsageError where a head would be trained whose rows must keep a norm of 1."""
    fixed = family.fixed_head and model.config.norm_head
    named = {target.rpartition(".")[2] for target in recipe.lora.targets or ()}
    if fixed and (recipe.method == "full" or "lm_head" in named):
        what = (
            f"{recipe.base} normalizes the rows of its lm_head (NormHead): trained like a plain one, it would get "
            "gradients along its rows, which the model cannot follow"
        )
        fix = "use method: lora" if recipe.method == "full" else "leave lm_head out of lora.targets"
        raise UsageError(what, fix=fix)


def _check_tied(model: PreTrainedModel, recipe: Recipe) -> None:
    """Raise UsageError for LoRA targets whose matrix the base uses in two places, such as embeddings and head.

    An adapter adds to one of the places only, and no single matrix could hold the result.
    """
    targets = recipe.lora.targets if recipe.method == "lora" else None
    modules = {name.rpartition(".")[0] for pair in model.all_tied_weights_keys.items() for name in pair}
    tied = [one for one in targets or () if any(f".{module}".endswith(f".{one}") for module in modules)]
    if tied:
        what = (
            f"lora.targets: {recipe.base} has one matrix for embeddings and head (tie_word_embeddings), and an adapter "
            f"on {' or '.join(tied)} would change one of them: it could not be merged or exported"
        )
        others = [one for one in targets or () if one not in tied]
        fix = f"--set lora.targets=[{','.join(others)}]" if others else "leave lora.targets out"
        raise UsageError(what, fix=f"{fix}; or use a base with an untied head, or method: full")


def count_parameters(model: torch.nn.Module) -> tuple[int, int]:
    """The number of trained parameters, and of all."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def _unfrozen(model: PreTrainedModel) -> PreTrainedModel:
    """The model with all weights trained except sinusoidal position tables (Pegasus), which are constants."""
    model.requires_grad_(True)
    for module in model.modules():
        if type(module).__name__.endswith(SINUSOIDAL):
            module.requires_grad_(False)
    return model


def _layers_without_lora(model: PreTrainedModel) -> list[str] | None:
    """The linear layers that LoRA on all of them leaves out, since PEFT would take them for plain ones.

    PhiMoE's router is a subclass of Linear that returns more than a product; a Mamba mixer's kernels read the weight of
    its `out_proj` without calling it.
    """
    found = list[str]()
    for name, module in model.named_modules():
        parent = model.get_submodule(name.rpartition(".")[0])
        of_mamba = name.endswith(".out_proj") and hasattr(parent, "conv1d") and hasattr(parent, "D")
        if isinstance(module, torch.nn.Linear) and (of_mamba or not _is_product(module)):
            found.append(name)
    return found or None


def _is_product(layer: torch.nn.Linear) -> bool:
    """Whether a subclass of Linear computes a product of its own shape; quantized layers of bitsandbytes do."""
    if not type(layer).__module__.startswith("transformers.models."):
        return True
    given = torch.zeros(1, 1, layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device)
    try:
        with torch.no_grad():
            out = layer(given)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return False
    return isinstance(out, torch.Tensor) and out.shape == (1, 1, layer.out_features)


def _with_lora(model: PreTrainedModel, family: Family, recipe: Recipe) -> PeftModel:
    """Float32 adapters over a frozen base: fresh ones, or those of the recipe's base adapter with its weights."""
    directory = adapter_directory(recipe.base_adapter) if recipe.base_adapter else None
    config = _lora_config(model, family, recipe) if directory is None else _config_of(directory, recipe)
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"lora.targets do not fit {recipe.base}: {error}", fix="leave lora.targets out") from None
    if recipe.lora.targets:  # PEFT accepts a list of which one matches
        names: list[str] = adapted.base_model.targeted_module_names  # type: ignore[assignment]  # set by its injection
        lost = [name for name in recipe.lora.targets if not any(f".{one}".endswith(f".{name}") for one in names)]
        if lost:
            what = f"lora.targets: {recipe.base} has no module {', '.join(lost)}"
            raise UsageError(what, fix="leave lora.targets out for all linear layers")
    if directory is not None and next(model.parameters()).device.type != "meta":
        load_adapter_weights(adapted, directory)
    return adapted


def _config_of(directory: Path, recipe: Recipe) -> LoraConfig:
    """The config of a trained adapter, for training it further with the recipe's dropout."""
    config: LoraConfig = LoraConfig.from_pretrained(str(directory))
    config.inference_mode = False
    config.lora_dropout = recipe.lora.dropout
    return config


def _lora_config(model: PreTrainedModel, family: Family, recipe: Recipe) -> LoraConfig:
    targets = recipe.lora.targets or family.lora_targets
    return LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,  # type: ignore[arg-type]  # PEFT only divides it by the rank, so a float is fine
        lora_dropout=recipe.lora.dropout,
        use_rslora=recipe.lora.rslora,
        use_dora=recipe.lora.dora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=_layers_without_lora(model) if targets == ALL_LINEAR else None,
        task_type="SEQ_2_SEQ_LM" if family.encoder_decoder else "CAUSAL_LM",
    )
