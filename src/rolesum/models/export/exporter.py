"""Export a trained run or a base as a directory that other tools read, and check it by reading it again."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from rolesum.atomic_io import atomic_directory, check_directory
from rolesum.errors import ModelError, UsageError, did_you_mean
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.models.adapter_metadata import CONFIG_FILE, METADATA_FILE, PROBE_FILE
from rolesum.models.bundled_adapters import adapter_path
from rolesum.models.checkpoint import read_tensor
from rolesum.models.export import parity
from rolesum.models.export.merging import merge
from rolesum.models.export.stock_layout import (
    STOCK_TYPES,
    has_custom_class,
    stock_incompatibility,
    write_original_layout,
    write_stock_layout,
)
from rolesum.models.loading import DTYPES, load_model, load_prompt_model, load_weights
from rolesum.models.prompt_model import LoadedModel
from rolesum.models.transformers_logging import quiet_transformers
from rolesum.os_errors import os_error

EXPORT_FORMATS = ("adapter", "merged", "llama")
# The largest difference of logits that is rounding, as a share of the largest logit; more is an error.
LOGIT_TOLERANCE = {"float32": 3e-5, "float16": 0.01, "bfloat16": 0.1}
# What is compared: the logits of the last positions of prompts on bundled dialogues.
_PROMPTS, _POSITIONS = ("sample:en-test", "sample:zh-test"), 32


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written, and by how much its logits differ from those of the model that it was made from."""

    path: Path
    kind: str
    architecture: str
    dtype: str
    bytes: int
    largest_difference: float  # of the logits
    largest_logit: float


@dataclass(frozen=True, slots=True)
class ExportSource:
    """What is exported: a base, with an adapter or without, or a fully tuned model."""

    base: str | None
    adapter: Path | None
    metadata: Path | None


def find_source(given: str, model: str | None = None) -> ExportSource:
    """A run's directory, an adapter's, a checkpoint's, or a model's name. Raises UsageError."""
    path = adapter_path(given)
    for adapter in (path, path / "adapter"):
        if (adapter / CONFIG_FILE).is_file():
            return ExportSource(model, adapter, adapter / METADATA_FILE)
    if model is not None:
        raise UsageError("--model goes with an adapter, and there is none", given, "leave --model out")
    for whole in (path / "model", path):
        if (whole / "config.json").is_file():
            return ExportSource(str(whole), None, whole / METADATA_FILE)
    if path.is_dir():
        fix = "give runs/NAME, its adapter, or the directory of a model"
        raise UsageError("neither a finished run nor an adapter nor a model", given, fix)
    return ExportSource(given, None, None)


def export(
    given: str, to: str, out: Path, *, model: str | None = None, dtype: str | None = None, device: str = "cpu"
) -> ExportResult:
    """Write `given` (see find_source) as `to`, whole or not at all, and compare what is read again with the model.

    `dtype` is that of the weights, by default the base's own; an adapter's weights stay as they are unless it is given.
    Raises UsageError, ModelError or ResourceError; a ModelError too where the logits differ by more than rounding.
    """
    if to not in EXPORT_FORMATS:
        raise UsageError(f'cannot export to "{to}"', fix=did_you_mean(to, EXPORT_FORMATS))
    check_new_directory(out)
    source = find_source(given, model)
    if to == "adapter" and source.adapter is None:
        raise UsageError("this has no adapter to export", given, "use --to merged")
    rounds = to == "adapter" and dtype is not None
    loaded, dtype = load_source(source, to, dtype, device)
    probe = ParityProbe.from_model(loaded, dtype, native=to != "llama" and has_custom_class(loaded.language_model))
    with quiet_transformers(), _new_directory(out) as work:
        before = probe.logits(loaded.language_model)
        if to == "adapter":
            shutil.copytree(source.adapter or "", work, dirs_exist_ok=True)
            if rounds:
                _round_adapter(work, dtype)
            del loaded
            _empty_cache()
            again = load_model(source.base, adapter=work, dtype=dtype, device=device)
            saved = again.language_model
            after: dict[str, Any] = {"logits": probe.logits(saved), "class": type(saved).__name__}
        else:
            _check_files(write_model(loaded, to, work), work)
            if source.metadata and source.metadata.is_file():
                shutil.copyfile(source.metadata, work / METADATA_FILE)
                if (turn_probe := source.metadata.with_name(PROBE_FILE)).is_file():
                    shutil.copyfile(turn_probe, work / PROBE_FILE)
            del loaded
            _empty_cache()
            after = _read_again(work, probe)
        difference, largest = _compare(before, after["logits"], dtype, given)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return ExportResult(out, to, after["class"], dtype, size, difference, largest)


def _round_adapter(directory: Path, dtype: str) -> None:
    """Round the adapter's weights to a dtype, where they lie."""
    file = directory / SAFETENSORS_WEIGHTS_NAME
    if not file.is_file():
        fix = "export it without --dtype first, or save it again with PEFT"
        raise ModelError("an adapter of the old kind cannot be rounded", str(directory), fix)
    rounded = {name: one.to(getattr(torch, dtype)) for name, one in load_file(file).items()}
    save_file(rounded, file, metadata={"format": "pt"})


def check_new_directory(out: Path) -> None:
    """Raise UsageError where something lies in the directory already, ResourceError where it cannot be written."""
    check_directory(out)
    if out.is_symlink() or out.is_mount() or out.absolute() == Path.cwd():  # cannot be replaced by a rename
        raise UsageError("this directory cannot be created", str(out), "give the name of a new directory in it")
    if out.exists() and any(out.iterdir()):
        raise UsageError("this directory is not empty", str(out), "give another --out")


def load_source(source: ExportSource, to: str, dtype: str | None, device: str) -> tuple[LoadedModel, str]:
    """The model that is exported, and the dtype of its weights. Raises ModelError where it cannot become `to`."""
    prompt_model = load_prompt_model(source.base, source.adapter)
    if to == "llama" and prompt_model.config.model_type not in STOCK_TYPES:
        what = f"{prompt_model.name} is neither a Llama nor a GLM by another name"
        raise ModelError(what, str(prompt_model.path), "use --to merged: stock transformers reads it")
    if to == "llama" and (why := stock_incompatibility(prompt_model.config)):
        raise ModelError(why, str(prompt_model.path), "use --to merged: the original's layout, which rolesum reads")
    if dtype is None:
        stored = str(getattr(prompt_model.config, "dtype", None)).removeprefix("torch.")
        dtype = stored if stored in DTYPES else "float32"
    return load_weights(prompt_model, dtype=dtype, device=device), dtype


def write_model(loaded: LoadedModel, to: str, work: Path) -> PreTrainedModel:
    """Write the model with its adapter merged, in the layout of its base or as a plain directory; give that model."""
    model = loaded.model
    merged = merge(model) if isinstance(model, PeftModel) else model
    if to == "merged" and has_custom_class(merged):
        write_original_layout(merged, loaded.path, work)
        return merged
    return write_stock_layout(loaded, merged, work)


def _check_files(model: PreTrainedModel, work: Path) -> None:
    """Raise ModelError where a tensor in the files is not the model's own, bit for bit."""
    skipped = set(model.all_tied_weights_keys)
    if getattr(model.config, "norm_head", False):
        skipped.add("lm_head.weight")  # normalized once more as it is written
    for name, parameter in model.named_parameters():
        if name not in skipped and not torch.equal(read_tensor(work, name, model.config), parameter.detach().cpu()):
            raise ModelError(f"{name} was not written as it is", fix="nothing was written; please report this")


@dataclass(frozen=True)
class ParityProbe:
    """Inputs on which a model and its export are compared: prompts (token ids) for the logits, texts for the tokenizer.

    `text_ids` are the ids of `texts` by the model's own tokenizer. A `native` export is read by rolesum only.
    """

    prompts: list[list[int]]
    texts: list[str]
    text_ids: list[list[int]]
    native: bool
    encoder_decoder: bool
    dtype: str
    device: str

    @classmethod
    def from_model(cls, loaded: LoadedModel, dtype: str, native: bool) -> "ParityProbe":
        dialogues = [one for name in _PROMPTS for one in read_dialogues(name, ReadOptions(limit=2))]
        layout, longest = loaded.layout(), loaded.max_length
        segments = [(*layout.prefix(one), *layout.branch(one, "overall")) for one in dialogues]
        texts = [segment.text for one in segments for segment in one if segment.kind == "dialogue"]
        texts += [" a text that begins  with a space", "</s><s>", ""]
        encode = loaded.tokenizer.encode
        return cls(
            prompts=[loaded.encoder.encode(one)[-longest:] for one in segments],
            texts=texts,
            text_ids=[encode(text, add_special_tokens=False, split_special_tokens=True) for text in texts],
            native=native,
            encoder_decoder=bool(loaded.config.is_encoder_decoder),
            dtype=dtype,
            device=str(loaded.device),
        )

    def logits(self, model: PreTrainedModel) -> list[torch.Tensor]:
        """The logits of each prompt's last positions, float32 (positions, vocabulary)."""
        return [parity.last_logits(model, ids, _POSITIONS) for ids in self.prompts]


def _read_again(directory: Path, probe: ParityProbe) -> dict[str, Any]:
    """The logits of an exported directory, computed in a fresh process with stock transformers. Raises ModelError."""
    with tempfile.TemporaryDirectory() as folder:
        request, result = Path(folder) / "request.pt", Path(folder) / "result.pt"
        torch.save({**asdict(probe), "positions": _POSITIONS}, request)
        # -P: the modules beside the program must not be taken for libraries
        command = [sys.executable, "-P", parity.__file__, str(directory), str(request), str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise ModelError(f"what was written cannot be read again: {last}", fix="please report this")
        answers: dict[str, Any] = torch.load(result, weights_only=True)
    if answers["text_ids"] and answers["text_ids"] != probe.text_ids:
        raise ModelError("the tokenizer that was written gives other ids", fix="please report this")
    return answers


def _compare(before: list[torch.Tensor], after: list[torch.Tensor], dtype: str, what: str) -> tuple[float, float]:
    """The largest difference and the largest logit. Raises ModelError where it is more than rounding."""
    largest = max(float(one.abs().max()) for one in before)
    difference = max(float((one - other).abs().max()) for one, other in zip(before, after, strict=True))
    if not difference <= LOGIT_TOLERANCE[dtype] * largest:
        what_differs = (
            f"the logits differ by up to {difference:.3g} (the largest is {largest:.3g}), more than {dtype} rounds"
        )
        raise ModelError(what_differs, what, "nothing was written; please report this")
    return difference, largest


def _empty_cache() -> None:
    """Give back the GPU memory of a model that is gone: another process needs it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _new_directory(out: Path) -> Iterator[Path]:
    try:
        with atomic_directory(out) as work:
            yield work
    except (OSError, SafetensorError) as error:
        raise os_error(error, "cannot write", out) from None
