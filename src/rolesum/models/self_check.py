"""Checks that a model computes in rolesum what it computes by itself, for models of no listed family.

Listed families are covered by tests. Any other model is run once, when it is first loaded, the way rolesum will run it
and the way its own code does, and the logits are compared: in training here, in generation by
generation/decoding/decoder_check.py. The way found is kept in the cache directory.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.errors import ModelError
from rolesum.models.attention.masks import bundle_visibility, make_attention_mask, supports_custom_masks
from rolesum.models.lm_head import apply_lm_head, backbone
from rolesum.models.revisions import cache_dir

# Sliding windows are this small during a check, so that short prompts go beyond them.
NARROW_WINDOW = 8
# Prompts of a check have at most about so many tokens.
MAX_PROMPT_TOKENS = 512
# Words in the names of config fields that limit how far attention or another layer reaches.
REACH_FIELDS = ("window", "chunk", "topk", "block", "local")
# The largest error of the logits, as a share of their standard deviation: of any logit in float32, whose rounding is
# up to 4e-4 (Nemotron-H's scans), and of all, as the root of their mean square, in 16 bits.
MAX_ERROR, MAX_ERROR_16_BIT = 1e-3, 5e-2


@dataclass(frozen=True)
class CheckPrompts:
    """The token ids of two dialogues for a check: a prefix each, with branches of several lengths behind it."""

    prefixes: tuple[list[int], ...]
    branches: tuple[list[list[int]], ...]

    @property
    def rows(self) -> list[list[int]]:
        """Each branch with its prefix before it."""
        pairs = zip(self.prefixes, self.branches, strict=True)
        return [[*prefix, *branch] for prefix, branches in pairs for branch in branches]


class UncheckableError(Exception):
    """A model limits attention at a length that a check does not reach."""


def make_check_prompts(config: Any) -> CheckPrompts:
    """Prompts with rows that are longer than every window, chunk and block of the model, of random token ids."""
    reach = max((size for size in _reaches(config) if size <= MAX_PROMPT_TOKENS), default=0)
    longest = max(24, reach + NARROW_WINDOW)
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        # Neither the first ids, which often have a meaning for the model (padding), nor all of a large vocabulary.
        first, last = min(10, config.vocab_size // 2), min(config.vocab_size, 20_000)
        return list(map(int, torch.randint(first, last, (count,), generator=generator).tolist()))

    return CheckPrompts((ids(longest), ids(longest - 9)), ([ids(3), ids(6), ids(3)], [ids(4), ids(2)]))


def require_reach(config: Any) -> None:
    """Raise UncheckableError for a model whose attention is limited at a length that the prompts do not reach."""
    beyond = [size for size in _reaches(config) if size > MAX_PROMPT_TOKENS]
    if beyond:
        raise UncheckableError(f"something changes behind {beyond[0]} tokens")


def _reaches(config: Any) -> list[int]:
    """The numbers of a config that limit how far layers reach, without `sliding_window`: see narrow_windows."""

    def found(fields: Mapping[str, Any]) -> Iterator[int]:
        for name, value in fields.items():
            if isinstance(value, Mapping):
                yield from found(value)
            elif any(word in str(name) for word in REACH_FIELDS) and name not in (
                "sliding_window",
                "max_window_layers",
            ):
                values = value if isinstance(value, list | tuple) else [value]
                yield from (one for one in values if isinstance(one, int) and not isinstance(one, bool))

    return list(found(config.to_dict()))


@contextmanager
def narrow_windows(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model's sliding windows are NARROW_WINDOW tokens wide, in its configs and in its layers."""
    owners: dict[int, Any] = {id(one): one for one in [model.config, model.config.get_text_config(), *model.modules()]}
    owners |= {id(config): config for one in model.modules() if (config := getattr(one, "config", None)) is not None}
    wide = [
        (owner, value)
        for owner in owners.values()
        if isinstance(value := vars(owner).get("sliding_window"), int) and value > NARROW_WINDOW
    ]
    for owner, _ in wide:
        owner.sliding_window = NARROW_WINDOW
    try:
        yield
    finally:
        for owner, value in wide:
            owner.sliding_window = value


def reference_logits(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    """The logits (length, vocabulary), float32, of one row by the model's own forward, alone and without a cache."""
    out = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
    logits: torch.Tensor = out.logits[0].float()
    return logits


def assert_close(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    """Raise AssertionError where logits (rows, vocabulary) differ by more than the rounding of `dtype`."""
    error = (found.float() - expected).abs() / expected.std()
    largest = float(error.max()) if dtype == torch.float32 else float(error.square().mean().sqrt())
    limit = MAX_ERROR if dtype == torch.float32 else MAX_ERROR_16_BIT
    if not largest <= limit:  # also where it is NaN
        raise AssertionError(f"logits differ by {largest:.1e} of their spread")


def passes(check: Callable[[], None]) -> bool:
    """Whether a check ends without an error: a path that raises is as useless as one that is wrong."""
    with suppress(Exception), torch.no_grad():
        check()
        return True
    return False


def training_shares_prefix(model: PreTrainedModel, place: str) -> bool:
    """Whether a training row can hold a prefix once with all its branches, for a model of no listed family.

    Otherwise each example has a row of its own. Raises ModelError, which names `place`, where that differs from the
    model's own logits too.
    """

    def check() -> str | None:
        config = model.config.get_text_config()
        with narrow_windows(model), torch.no_grad():
            try:
                prompts = make_check_prompts(config)
                expected = [reference_logits(model, row) for row in prompts.rows]
            except Exception:
                return None
            if passes(lambda: _check_bundles(model, prompts, expected)):
                return "shared"
            return "separate" if passes(lambda: _check_rows(model, prompts, expected)) else None

    found = remembered("training", model, check)
    if found is None:
        what = f"{type(model).__name__} does not compute in rolesum what it computes by itself"
        raise ModelError(what, place, "use a model of a family that rolesum models lists")
    return found == "shared"


def _check_bundles(model: PreTrainedModel, prompts: CheckPrompts, expected: Sequence[torch.Tensor]) -> None:
    """Raise where a bundle in a row, padded on its right, gives other logits than its examples alone."""
    config = model.config.get_text_config()
    if not supports_custom_masks(config):
        raise AssertionError("layers of other kinds")
    require_reach(config)
    rows, branches, positions = list[list[int]](), list[list[int]](), list[list[int]]()
    for prefix, each in zip(prompts.prefixes, prompts.branches, strict=True):
        rows.append([*prefix, *(index for branch in each for index in branch)])
        branches.append([0] * len(prefix) + [number for number, one in enumerate(each, 1) for _ in one])
        behind = [len(prefix) + place for one in each for place in range(len(one))]
        positions.append([*range(len(prefix)), *behind])
    ids, of, at = (_padded(each, fill, model.device) for each, fill in ((rows, 0), (branches, -1), (positions, 0)))
    mask = make_attention_mask(config, bundle_visibility(of), at, at, model.dtype)
    hidden = backbone(model)(input_ids=ids, attention_mask=mask, position_ids=at, use_cache=False)[0]
    alone = iter(expected)
    for row, (prefix, each) in enumerate(zip(prompts.prefixes, prompts.branches, strict=True)):
        start = len(prefix)
        for branch in each:
            logits = apply_lm_head(model, hidden[row, start : start + len(branch)])
            assert_close(logits, next(alone)[len(prefix) :], model.dtype)
            start += len(branch)


def _check_rows(model: PreTrainedModel, prompts: CheckPrompts, expected: Sequence[torch.Tensor]) -> None:
    """Raise where examples in rows of their own, padded on the right, give other logits than alone."""
    hidden = backbone(model)(input_ids=_padded(prompts.rows, 0, model.device), use_cache=False)[0]
    for row, logits in enumerate(expected):
        assert_close(apply_lm_head(model, hidden[row, : len(logits)]), logits, model.dtype)


def _padded(rows: Sequence[Sequence[int]], fill: int, device: torch.device) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], device=device)


def remembered(what: str, model: PreTrainedModel, check: Callable[[], str | None]) -> str | None:
    """The result of a check, from the cache directory where this architecture was checked before.

    It holds for a class and config of a model, a dtype, a device, and the versions of what computes it.
    """
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "rolesum")}
    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type
    key = {
        "what": what,
        "class": type(model).__name__,
        "config": config,
        "attention": model.config.get_text_config()._attn_implementation,
        "dtype": str(model.dtype),
        "device": device,
        "versions": versions,
    }
    name = hashlib.sha256(strict_json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    file = cache_dir() / "self-checks" / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_text(encoding="utf-8"))["result"]
        if kept is None or isinstance(kept, str):
            return kept
    result = check()
    with suppress(OSError):  # a cache that cannot be written costs the next start a check
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(file, strict_json.dumps({"result": result, **key}, default=str, indent=1) + "\n")
    return result
