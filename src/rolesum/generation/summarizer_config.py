"""The configuration of a Summarizer: its engine and all options that decide its summaries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

from rolesum.errors import UsageError
from rolesum.generation.arguments import SummaryArguments, check_arguments
from rolesum.generation.engine import DECODING_OPTIONS, DEFAULT_MAX_NEW_TOKENS, Decoding, check_constrained_decoding
from rolesum.generation.extraction import DEFAULT_MAX_FIELD_TOKENS, LONG_FIELD_STRATEGIES, check_field_strategy
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.strategies import check_samples, check_strategy
from rolesum.generation.rerank import get_reranker
from rolesum.generation.support import MARKED, QUOTED, can_verify, check_verify_options, choose_mode
from rolesum.instructions import FieldSchema, load_sections
from rolesum.instructions.asked import asked_instructions
from rolesum.roles import RoleAliases, role_names

# Arguments that are fields of the configuration under the same name, or of its Decoding.
_SAME_NAME = ("samples", "choose", "redact", "verify", "support_threshold")
_DECODING_FIELDS = tuple(one.name for one in DECODING_OPTIONS)


@dataclass(frozen=True)
class SummarizerConfig:
    """How dialogues are summarized: by which engine, for which roles, with which decoding and redaction.

    Without `roles`, each dialogue is summarized for its own roles among those that the adapter was trained for, or for
    the sections that are set. See `summarize` for `long_dialogues`; `choose` names the reranker that picks one of the
    `samples`. With `redact`, the model sees placeholders: `hidden_names` are masked beside the speakers' names,
    and with `redact_people` those of other people behind titles and words that introduce a name.
    `aliases` are the custom roles with their other names: roles may be asked for by them, and a speaker's label that is
    one of them is no name to be masked.

    `verify` says what becomes of the statements of a summary: "off" verifies none, "flag" gives each its support,
    "quote" quotes the dialogue in place of the sentences with one under the threshold, "drop" leaves those out,
    "rerank" takes the sample whose lowest support is highest. None is quote where the adapter was trained to verify
    statements and the engine is transformers, else off. Without a `support_threshold`, the adapter's holds.

    With `fields`, no summaries are written: the fields of that schema are filled in.
    """

    spec: EngineSpec = field(default_factory=EngineSpec)
    roles: Sequence[str] | None = None
    decoding: Decoding = field(default_factory=Decoding)
    long_dialogues: str = "refuse"
    samples: int = 1
    choose: str | None = None
    redact: bool = False
    hidden_names: tuple[str, ...] = ()
    redact_people: bool = False
    aliases: RoleAliases = field(default_factory=dict)
    verify: str | None = None
    support_threshold: float | None = None
    fields: FieldSchema | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for options that exclude each other, before anything is loaded."""
        check_strategy(self.long_dialogues)
        if self.samples < 1:
            raise UsageError(f"--samples {self.samples}", fix="at least 1")
        check_verify_options(self.verify, self.support_threshold, self.spec.engine)
        if self.choose is not None:
            get_reranker(self.choose)
        by_support = self.verify == "rerank"
        if by_support and self.choose:
            raise UsageError("--verify rerank and --choose both choose a sample", fix="leave one of them out")
        check_samples(self.samples, self.decoding, has_choice=by_support or self.choose is not None)
        if (by_support or self.choose) and self.samples == 1:
            raise UsageError("there is nothing to choose among", fix="add --samples 4 --temperature 0.7")
        if self.fields is not None:
            self._check_fields()

    def _check_fields(self) -> None:
        """Raise UsageError for options that fields cannot have."""
        check_constrained_decoding(self.decoding)
        check_field_strategy(self.long_dialogues)
        for option, is_given in (
            ("--roles", self.roles is not None),
            ("--samples", self.samples > 1),
            (f"--verify {self.verify}", self.verify in ("quote", "drop", "rerank")),
        ):
            if is_given:
                what = f"{option} is for summaries, and fields are filled in instead"
                raise UsageError(what, fix="leave it out, or leave the schema out")

    @property
    def speaker_labels(self) -> tuple[str, ...]:
        """The speaker labels that are no names: those of custom roles."""
        return tuple(name for role, others in self.aliases.items() for name in (role, *others))

    @property
    def layout_changes(self) -> dict[str, Any]:
        """The fields of a PromptLayout that the configuration sets."""
        set_here = {"language": self.spec.language, "sections": self.spec.sections, "asked": self.spec.asked}
        return {name: value for name, value in set_here.items() if value is not None}

    def with_arguments(self, **arguments: Unpack[SummaryArguments]) -> "SummarizerConfig":
        """The configuration with other values for some of its fields. Raises UsageError for what they cannot be."""
        check_arguments(arguments, SummaryArguments)
        given: dict[str, Any] = {**arguments}
        changes: dict[str, Any] = {name: given[name] for name in given if name in _SAME_NAME}
        spec, aliases = self.spec, self.aliases
        if given.get("sections") is not None:
            sections = load_sections(str(given["sections"]))
            spec, aliases = replace(spec, sections=sections), {**aliases, **sections.aliases}
        if given.get("ask"):
            asked = asked_instructions(given["ask"], aliases)
            aliases = {**aliases, **{name: () for name, one in asked.items() if one.is_section}}
            spec, given = replace(spec, asked=asked), {**given, "roles": given.get("roles") or tuple(asked)}
        if "language" in given:
            spec = replace(spec, language=given["language"])
        if "roles" in given:
            changes["roles"] = None if given["roles"] is None else role_names(given["roles"], aliases)
        if decoding := {name: given[name] for name in given if name in _DECODING_FIELDS}:
            changes["decoding"] = replace(self.decoding, **decoding)
        if given.get("long_dialogues"):
            changes["long_dialogues"] = given["long_dialogues"]
        if given.get("redact_names"):
            changes |= {"redact": True, "hidden_names": tuple(given["redact_names"])}
        if given.get("redact_people") is not None:
            changes |= {"redact_people": given["redact_people"]} | ({"redact": True} if given["redact_people"] else {})
        return replace(self, spec=spec, aliases=aliases, **changes)

    def with_fields(self, fields: FieldSchema, given: Mapping[str, Any]) -> "SummarizerConfig":
        """The configuration that fills in fields; `given` are the caller's other SummaryArguments.

        What the configuration says of roles and long dialogues is for summaries. An answer may have as many tokens as
        is given, or as the configuration says; DEFAULT_MAX_FIELD_TOKENS where that has the default for summaries.
        """
        for name in ("sections", "ask"):
            if given.get(name):
                raise UsageError(f"--{name} is for summaries, and fields are filled in instead", fix="leave it out")
        own_limit = self.decoding.max_new_tokens
        limit = DEFAULT_MAX_FIELD_TOKENS if own_limit == DEFAULT_MAX_NEW_TOKENS else own_limit
        spec = self.spec
        if spec.engine == "vllm":  # without its own tokenizer it holds no text to a schema
            spec = replace(spec, vllm_options={"skip_tokenizer_init": False, **(spec.vllm_options or {})})
        own = self.long_dialogues if self.long_dialogues in LONG_FIELD_STRATEGIES else "refuse"
        return replace(
            self,
            spec=spec,
            fields=fields,
            decoding=replace(self.decoding, max_new_tokens=given.get("max_new_tokens") or limit),
            long_dialogues=given.get("long_dialogues") or own,
            roles=given.get("roles"),
        )

    def resolved(self) -> "SummarizerConfig":
        """The configuration with `verify` chosen, as far as the files of the model decide it before it is loaded.

        Raises UsageError where statements are to be verified and cannot be.
        """
        able = can_verify(self.spec)
        if able is None:
            return self
        mode = choose_mode(self.verify, self.support_threshold, able)
        if self.fields is not None and mode == QUOTED:  # a value is no sentence that a quote could replace
            mode = MARKED
        return replace(self, verify=mode if able else None)  # "off" and None are one where nothing can be verified
