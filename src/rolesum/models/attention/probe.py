"""Probe whether a model honors ready masks and position ids, for models of families that the tests do not cover."""

import torch
from transformers import PreTrainedModel

from rolesum.errors import ModelError
from rolesum.models.attention.masks import bundle_visibility, make_attention_mask, supports_custom_masks
from rolesum.models.families import OTHER, Family
from rolesum.models.lm_head import apply_lm_head, backbone

_PREFIX, _BRANCH = 4, 3


def check_mask_support(model: PreTrainedModel, family: Family, place: str) -> None:
    """Raise ModelError for a model in which a branch packed behind a shared prefix differs from the branch alone.

    Families of the table are covered by tests. Another model is run on two packed branches, and must give for the
    second what its own forward gives without the first: models whose positions come from elsewhere (ALiBi, recurrence)
    do not. `place` is named in errors.
    """
    config = model.config.get_text_config()
    fix = "use a model of a family that rolesum models lists"
    if family.shares_prefix and not supports_custom_masks(config):
        kinds = ", ".join(sorted(set(config.layer_types)))
        raise ModelError(f"{type(model).__name__} has layers whose masks rolesum cannot make ({kinds})", place, fix)
    if family is OTHER and not _second_branch_is_independent(model):
        raise ModelError(f"{type(model).__name__} does not take ready masks and positions", place, fix)


def _second_branch_is_independent(model: PreTrainedModel) -> bool:
    device, length = model.device, _PREFIX + 2 * _BRANCH
    ids = torch.arange(10, 10 + length, device=device)[None] % model.config.get_text_config().vocab_size
    branches = torch.tensor([[0] * _PREFIX + [1] * _BRANCH + [2] * _BRANCH], device=device)
    behind = torch.arange(_PREFIX, _PREFIX + _BRANCH, device=device)
    positions = torch.cat([torch.arange(_PREFIX, device=device), behind, behind])[None]
    mask = make_attention_mask(
        model.config.get_text_config(), bundle_visibility(branches), positions, positions, model.dtype
    )
    try:
        packed = backbone(model)(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)[0]
        found = apply_lm_head(model, packed[0, -_BRANCH:])
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        return False
    alone = torch.cat([ids[:, :_PREFIX], ids[:, -_BRANCH:]], dim=1)
    expected = model(input_ids=alone, use_cache=False).logits[0, -_BRANCH:].float()
    tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
