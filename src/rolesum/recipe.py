"""The recipe: the schema of the YAML file that describes a whole run, with the default and the meaning of every key."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from rolesum.counts import counted
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError
from rolesum.formats import ReadOptions, Source, open_source, read_dialogues
from rolesum.formats.encodings import encoding_name
from rolesum.formats.options import REFUSE
from rolesum.instructions import SectionSet, load_sections
from rolesum.roles import DEFAULT_ROLES
from rolesum.schema_keys import nested_schema

_DESCRIBES = ("name", "note")  # keys that change nothing in a run
_DIRECTORY = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]{1,100}")


class _RecipeModel(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomRole(_RecipeModel):
    """A role that is not user, agent or overall."""

    aliases: tuple[str, ...] = Field((), description="Speaker labels that stand for this role.")
    definition: str = Field("", description="A sentence that is added to the instruction.")


class DataFile(_RecipeModel):
    """One data file, and which of its dialogues are used."""

    path: str = Field(description="A file, or sample:NAME for a bundled one. Relative to where rolesum is run.")
    format: str | None = Field(None, description="The file's format; sniffed if not given.")
    encoding: str | None = Field(None, description="The text's encoding, such as gb18030; detected if unset.")
    columns: dict[str, str] | None = Field(
        None, description="Field -> its column in a table, as {id: call_id, summary.user: customer_summary}."
    )
    json_path: dict[str, str] | None = Field(None, description="Field -> its path in JSON of no known format.")
    speakers: dict[str, str] | None = Field(
        None, description="Speaker's label -> role, for labels that name no role: {Anna: user}."
    )
    unknown_speaker: str | None = Field(
        None, description="Turns without a speaker are refused, or: name=LABEL, alternate=A,B, continue."
    )
    offset: StrictInt = Field(0, ge=0, description="Leave out the first N dialogues.")
    limit: StrictInt | None = Field(None, ge=1, description="Take the next N dialogues only.")
    skip: tuple[str, ...] = Field((), description="Ids of dialogues to leave out, such as known broken records.")
    references: Literal["all", "first"] = Field(
        "all", description="With several annotators: an example for each summary (all), or only for the first (first)."
    )

    def read_options(self, custom_roles: Mapping[str, Collection[str]] | None = None) -> ReadOptions:
        """How the file is read. Raises UsageError for an unknown encoding."""
        return ReadOptions(
            format=self.format,
            encoding=encoding_name(self.encoding) if self.encoding else None,
            custom_roles=custom_roles or {},
            speakers=self.speakers or {},
            columns=self.columns or {},
            json_path=self.json_path or {},
            unknown_speaker=self.unknown_speaker or REFUSE,
            skip=self.skip,
            limit=self.offset + self.limit if self.limit else None,
        )

    def open(self) -> Source:
        """What the file holds. Raises DataError."""
        return open_source(self.path, self.read_options().encoding)

    def read(self, custom_roles: Mapping[str, Collection[str]] | None = None) -> list[Dialogue]:
        """Read the dialogues that are used. Raises DataError."""
        read = read_dialogues(self.path, self.read_options(custom_roles))
        if len(read) <= self.offset:
            what = f"it has {counted(len(read), 'dialogue')}, and offset leaves out the first {self.offset}"
            raise DataError(what, self.path, "lower offset")
        return read[self.offset :]


class TrainFile(DataFile):
    """A data file that is trained on."""

    repeat: StrictInt = Field(1, ge=1, description="Use it N times in an epoch, each time with other noise.")
    apart_from: tuple[str, ...] = Field(
        (), description="Files, such as the test set: a dialogue whose turns recur in one of them is left out."
    )

    @property
    def apart_files(self) -> tuple[DataFile, ...]:
        """The files of apart_from; those whose name ends as `path` does are read with its columns or paths."""
        like = self.model_dump(include={"encoding", "columns", "json_path", "unknown_speaker"})
        return tuple(
            DataFile(path=path, **(like if Path(path).suffix == Path(self.path).suffix else {}))
            for path in self.apart_from
        )


class ValidationFile(DataFile):
    """A data file for the loss during training, or the share of data.train that is held out for it."""

    path: str = Field("", description="A file, or sample:NAME for a bundled one; left out with share.")
    share: float | None = Field(
        None, gt=0, lt=1, description="Hold out about this share of data.train, chosen by a hash of each dialogue."
    )

    @model_validator(mode="after")
    def _check_source(self) -> "ValidationFile":
        if self.share is None and not self.path:
            raise ValueError("give path, or share to hold out a part of data.train")
        others = [
            name for name in DataFile.model_fields if getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.share is not None and others:
            what = f"share takes dialogues from data.train, so that {', '.join(others)} cannot stand beside it"
            raise ValueError(f'{what}: write --set data.validation="{{share: {self.share:g}}}"')
        return self


class Data(_RecipeModel):
    """Where the dialogues come from."""

    train: TrainFile = Field(description="What the model is trained on.")
    mix: tuple[TrainFile, ...] = Field((), description="More files to train on, shuffled with the first.")
    validation: ValidationFile | None = Field(None, description="For the loss during training.")
    test: DataFile | None = Field(None, description="For rolesum evaluate; never seen in training.")

    @property
    def train_files(self) -> tuple[TrainFile, ...]:
        """All files that are trained on."""
        return (self.train, *self.mix)

    @property
    def files(self) -> dict[str, DataFile]:
        """All files, by their keys in `data`: train, mix.0, validation, test."""
        named = {"train": self.train, **{f"mix.{number}": file for number, file in enumerate(self.mix)}}
        others = {"validation": self.validation, "test": self.test}
        return named | {key: file for key, file in others.items() if file is not None}


class Lora(_RecipeModel):
    """LoRA (arXiv 2106.09685), as PEFT implements it."""

    rank: StrictInt = Field(16, ge=1, description="The rank r of the adapters.")
    alpha: float = Field(32, gt=0, le=1e6, description="The scale: an adapter adds alpha / r * B A.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on an adapter's input.")
    targets: tuple[str, ...] | None = Field(
        None, min_length=1, description="Module names; by default all linear layers of the body."
    )
    rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (rsLoRA, arXiv 2312.03732).")
    dora: bool = Field(False, description="Learn each weight's magnitude apart from its direction (DoRA, 2402.09353).")


class Neftune(_RecipeModel):
    """Noise on the token embeddings in training (NEFTune, arXiv 2310.05914)."""

    alpha: float = Field(5.0, ge=0, le=1e6, description="Uniform noise in [-1, 1] times alpha / sqrt(L d); 0 is off.")


class Preference(_RecipeModel):
    """Preference tuning on the pairs of the data, in place of their summaries (DPO, arXiv 2305.18290)."""

    beta: float = Field(0.1, gt=0, le=1e6, description="How closely the model is held to the one that it starts from.")
    sft: float = Field(
        1.0, ge=0, le=1e6, description="Adds this many times the chosen summary's mean loss per token; 0 is off."
    )
    length_normalized: bool = Field(False, description="Divide a summary's log-probabilities by its tokens.")


class Verify(_RecipeModel):
    """Training on the statements of the data beside its summaries: whether the dialogue says each, in one token."""

    weight: float = Field(
        1.0, gt=0, le=1e6, description="How much a statement's answer counts in the loss; a summary's token counts 1."
    )


class Validation(_RecipeModel):
    """Evaluations during training; needs data.validation."""

    per_epoch: StrictInt = Field(2, ge=1, description="Evaluations in an epoch.")
    summaries: StrictInt = Field(
        0, ge=0, description="Also summarize the first N validation dialogues each time, and log their ROUGE."
    )
    max_new_tokens: StrictInt = Field(128, ge=1, description="The maximum length of these summaries in tokens.")
    best_by: Literal["loss", "rouge"] = Field(
        "loss", description="What decides the best: loss, or rouge, the mean ROUGE-L."
    )
    keep: Literal["last", "best"] = Field("last", description="Which adapter the run ends with: last or best.")
    patience: StrictInt = Field(0, ge=0, description="Stop after N evaluations in a row without a new best; 0 is off.")


class Training(_RecipeModel):
    """How the adapter is trained."""

    epochs: StrictInt = Field(1, ge=1, description="Passes over the training data.")
    learning_rate: float = Field(5e-4, gt=0, allow_inf_nan=False, description="The peak of the schedule.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="How the rate falls after warm-up: cosine, linear or constant."
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="The share of the steps in which the rate rises to its peak.")
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False, description="AdamW's decay.")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients are clipped to this norm; 0 is off.")
    tokens_per_batch: StrictInt = Field(2048, ge=64, description="The maximum tokens of one batch, padding included.")
    gradient_accumulation: StrictInt = Field(
        1, ge=1, description="Batches per optimizer step, of all processes together."
    )
    gradient_checkpointing: bool = Field(False, description="Compute activations again in the backward: less memory.")
    share_prefix: bool = Field(True, description="Compute a dialogue once for all its roles, where the family can.")
    max_length: StrictInt | None = Field(
        None, ge=32, description="Longest example (encoder-decoder: source) in tokens; by default the model's limit."
    )
    long_dialogues: Literal["refuse", "drop-middle"] = Field(
        "refuse",
        description="A dialogue that does not fit: an error, or drop-middle leaves out whole turns (counted).",
    )
    save_minutes: float = Field(5.0, gt=0, description="Minutes between checkpoints.")
    log_steps: StrictInt = Field(5, ge=1, description="Optimizer steps between two lines of metrics.jsonl.")
    report_to: tuple[str, ...] = Field((), description="transformers' logging integrations, such as tensorboard.")
    seed: StrictInt = Field(1, ge=0, lt=2**32, description="Decides order, noise and the adapter's initial weights.")


class Recipe(_RecipeModel):
    """A whole run: base model, data, roles, and how to train."""

    name: str = Field(description="Names the run's directory: runs/NAME.")
    note: str = Field("", description="What the run is for, and where its settings come from.")
    base: str = Field(
        "qwen2.5-coder-1.5b", min_length=1, description="A catalog alias, a hub id, a GGUF file, or a local directory."
    )
    base_adapter: str | None = Field(
        None, min_length=1, description="Start from this LoRA adapter: its directory, or the name of a bundled one."
    )
    data: Data
    roles: tuple[str, ...] = Field(
        DEFAULT_ROLES, description="The roles to train; a dialogue gives an example for each that it has."
    )
    custom_roles: dict[str, CustomRole] = Field({}, description="Roles other than user, agent, overall and brief.")
    sections: str | None = Field(
        None, description="A preset or a YAML file of sections and roles; all are trained where roles is left out."
    )
    language: Literal["en", "zh"] | None = Field(
        None, description="The instructions' language, en or zh; the dialogue's if unset."
    )
    instructions: str | None = Field(None, description="A YAML file with an instruction set; built in if unset.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="The base's: float32, bfloat16, or the faster on this device. An adapter is float32."
    )
    method: Literal["lora", "full"] = Field(
        "lora", description="Train LoRA adapters (lora), or all weights of the base (full)."
    )
    quantize: Literal["4bit"] | None = Field(
        None, description="4bit holds the base in 4 bits (QLoRA; needs rolesum[qlora])."
    )
    long_dialogues: Literal["refuse", "drop-middle", "map-reduce", "refine"] = Field(
        "refuse", description="For a dialogue that does not fit when it is summarized: see docs/long-dialogues.md."
    )
    lora: Lora = Lora()
    neftune: Neftune = Neftune()
    preference: Preference | None = Field(None, description="Train on pairs of summaries: see docs/training.md.")
    verify: Verify | None = Field(None, description="Train on statements too: see docs/training.md.")
    training: Training = Training()
    validation: Validation = Validation()

    @model_validator(mode="before")
    @classmethod
    def _leave_noise_out(cls, raw: Any) -> Any:
        """Preference tuning compares log-probabilities: without a neftune section, it has no noise."""
        if isinstance(raw, dict) and raw.get("preference") is not None and raw.get("neftune") is None:
            return {**raw, "neftune": {"alpha": 0}}
        return raw

    @model_validator(mode="after")
    def _check_combinations(self) -> "Recipe":
        if not names_directory(self.name):
            raise ValueError(f"name: {self.name!r} cannot name a directory")
        validation = self.validation
        if not self.roles and not self.verify:
            raise ValueError("roles: name one at least; none are needed beside verify only")
        if not self.roles and validation.summaries:
            raise ValueError("validation.summaries needs roles")
        if self.verify and self.preference:
            raise ValueError("preference tuning trains on pairs alone: leave verify out, or train twice")
        if self.data.validation is None and (validation.summaries or validation.keep == "best" or validation.patience):
            raise ValueError("validation.summaries, keep: best and patience need data.validation")
        if validation.best_by == "rouge" and not validation.summaries:
            raise ValueError("validation.best_by: rouge needs validation.summaries")
        if self.preference and self.neftune.alpha:
            raise ValueError("preference tuning has no noise, as its reference has none: leave neftune out")
        if self.preference and not self.training.share_prefix:
            raise ValueError(
                "preference tuning computes both summaries of a pair on one prefix: leave share_prefix out"
            )
        if self.method == "full" and self.quantize:
            raise ValueError("method: full cannot train the 4-bit weights of quantize")
        if self.method == "full" and self.base_adapter:
            what = "method: full trains the base, and base_adapter is LoRA beside it: merge them first"
            raise ValueError(f"{what} (rolesum export --to merged), and name the result as base")
        return self

    @property
    def purpose(self) -> str:
        """What the recipe is for: the first sentence of its note."""
        return re.split(r"(?<=\.) ", self.note.strip(), maxsplit=1)[0]

    @property
    def branches_together(self) -> int:
        """How many branches of a bundle must stand in one row: the two of a pair, else each may stand alone."""
        return 2 if self.preference else 1

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Custom role or section -> its aliases, for the readers."""
        custom = {role: custom.aliases for role, custom in self.custom_roles.items()}
        return custom | (self.section_set.aliases if self.section_set else {})

    @property
    def definitions(self) -> dict[str, str]:
        """Custom role -> its definition, for the instructions."""
        return {role: custom.definition for role, custom in self.custom_roles.items()}

    @property
    def section_set(self) -> SectionSet | None:
        """The section set that `sections` names, read from its file. Raises UsageError where it cannot be read."""
        return load_sections(self.sections) if self.sections else None


def names_directory(name: str) -> bool:
    """Whether the name can be that of a recipe, and so of its run's directory."""
    return _DIRECTORY.fullmatch(name) is not None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with all defaults, as YAML."""
    return str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120))


def changed_keys(before: str, recipe: Recipe) -> list[str]:
    """The dotted keys, sorted, in which the recipe differs from `before`, what dump_recipe gave for another.

    Name and note are left out: they only describe a run. Where `before` is no recipe, all keys are given.
    """
    try:
        loaded = yaml.safe_load(before)
    except yaml.YAMLError:
        loaded = None
    old = dict(_dotted(loaded)) if isinstance(loaded, dict) else {}
    new = dict(_dotted(recipe.model_dump(mode="json")))
    differ = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return sorted(differ.difference(_DESCRIBES))


def _dotted(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, each with its keys joined by dots."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _dotted(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def explain_keys(
    section: type[BaseModel] = Recipe, prefix: str = "", optional: bool = False
) -> list[tuple[str, str, str]]:
    """Every key of a recipe as (dotted key, default, description), in the schema's order."""
    rows = []
    for name, field in section.model_fields.items():
        inner = nested_schema(field.annotation)
        if inner is not None and get_origin(field.annotation) is not dict:
            several = get_origin(field.annotation) is tuple
            left_out = optional or several or field.default is None
            rows += explain_keys(inner, f"{prefix}{name}{'[]' if several else ''}.", left_out)
        else:
            needed = "needed, if the section is there" if optional else "needed"
            default = needed if field.is_required() else _format_default(field.default)
            rows.append((f"{prefix}{name}", default, field.description or ""))
    return rows


def _format_default(default: Any) -> str:
    if isinstance(default, tuple | dict):
        return ", ".join(map(str, default)) or "none"
    return "unset" if default is None else str(default)
