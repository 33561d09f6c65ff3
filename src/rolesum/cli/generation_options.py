"""Option groups of the commands that write, evaluate or serve summaries, and the configuration that they result in."""

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from rolesum.cli.help import Panel
from rolesum.cli.option_values import ask_map, vllm_options
from rolesum.cli.options import (
    Adapter,
    ApiKeyEnv,
    Ask,
    Choose,
    Concurrency,
    Context,
    Device,
    Dtype,
    Gguf,
    Language,
    LongDialogues,
    Model,
    Quiet,
    RecipeRoles,
    Redact,
    RedactNames,
    RedactPeople,
    Roles,
    Samples,
    Schema,
    Sections,
    ServedModel,
    Skip,
    SupportThreshold,
    Threads,
    Url,
    Verify,
    VllmOptions,
)
from rolesum.cli.reading_options import ReadingOptions
from rolesum.generation.engine import DECODING_OPTIONS, Decoding, DecodingOption

if TYPE_CHECKING:
    from rolesum.formats import ReadOptions
    from rolesum.generation.factory import EngineSpec
    from rolesum.generation.role_config import RoleConfig
    from rolesum.generation.summarizer_config import SummarizerConfig


@dataclass(frozen=True)
class EngineOptions:
    """The engine and its model. Each field is a command-line option with its default."""

    model: Model = None
    adapter: Adapter = None
    sections: Sections = None
    recipe: RecipeRoles = None
    language: Language = None
    gguf: Gguf = None
    url: Url = None
    served_model: ServedModel = None
    api_key_env: ApiKeyEnv = None
    concurrency: Concurrency = None
    context: Context = None
    vllm_option: VllmOptions = None
    device: Device = "auto"
    dtype: Dtype = "auto"
    threads: Threads = None
    quiet: Quiet = False

    @cached_property
    def role_config(self) -> "RoleConfig":
        """Custom roles and sections of the adapter, the recipe and --sections."""
        from rolesum.generation.role_config import load_role_config

        return load_role_config(self.adapter, self.recipe, self.sections)

    def engine_spec(self, engine: str) -> "EngineSpec":
        from rolesum.generation.factory import EngineSpec

        return EngineSpec(
            engine,
            self.model,
            self.adapter,
            gguf=self.gguf,
            url=self.url,
            served_model=self.served_model,
            api_key_env=self.api_key_env,
            concurrency=self.concurrency,
            context=self.context,
            vllm_options=vllm_options(self.vllm_option),
            language=self.language,
            definitions=self.role_config.definitions,
            sections=self.role_config.sections,
            device=self.device,
            dtype=self.dtype,
        )


@dataclass(frozen=True)
class GenerationOptions(ReadingOptions, EngineOptions):
    """Engine options, how dialogues are read, how summaries are generated, and what becomes of doubtful statements."""

    roles: Roles = None
    skip: Skip = None
    long_dialogues: LongDialogues = None
    decoding: Decoding = field(default_factory=Decoding)
    samples: Samples = 1
    choose: Choose = None
    verify: Verify = None
    support_threshold: SupportThreshold = None

    @cached_property
    def role_names(self) -> tuple[str, ...] | None:
        from rolesum.roles import role_names

        return None if self.roles is None else role_names(self.roles, self.role_config.aliases)

    @cached_property
    def read_options(self) -> "ReadOptions":
        """How the dialogues are read."""
        return self.as_read_options(self.role_config.aliases, self.skip)

    def summarizer_config(self, engine: str, long_dialogues: str = "refuse", **more: Any) -> "SummarizerConfig":
        """The configuration of the Summarizer. `long_dialogues` applies if neither the options nor a recipe set it.

        `more` are further SummaryArguments.
        """
        from rolesum.generation.summarizer_config import SummarizerConfig

        config = SummarizerConfig(self.engine_spec(engine), aliases=self.role_config.aliases)
        return config.with_arguments(
            roles=self.roles,
            **asdict(self.decoding),
            long_dialogues=self.long_dialogues or self.role_config.long_dialogues or long_dialogues,
            samples=self.samples,
            choose=self.choose,
            verify=self.verify,
            support_threshold=self.support_threshold,
            **more,
        )


@dataclass(frozen=True)
class SummarizeOptions(GenerationOptions):
    """Generation options, custom instructions, fields to fill in, and what is masked before the model sees it."""

    ask: Ask = None
    schema: Schema = None
    redact: Redact = False
    redact_name: RedactNames = None
    redact_people: RedactPeople = False

    def summarizer_config(self, engine: str, long_dialogues: str = "refuse", **more: Any) -> "SummarizerConfig":
        masked = {"redact": self.redact, "redact_names": self.redact_name or (), "redact_people": self.redact_people}
        config = super().summarizer_config(engine, long_dialogues, ask=ask_map(self.ask), **masked, **more)
        if self.schema is None:
            return config
        from rolesum.instructions import load_fields

        summaries_only = {"roles": self.role_names, "sections": self.sections, "ask": self.ask}
        return config.with_fields(load_fields(self.schema), {**summaries_only, "long_dialogues": self.long_dialogues})


def with_options(kind: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a function with a parameter `options` into a command whose options are the fields of `kind`.

    The fields that a class adds come before those of the class that it extends. A field of type Decoding becomes one
    option for each of its own fields; see DECODING_OPTIONS.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(kind, include_extras=True)
        own: list[inspect.Parameter] = []
        own_first = [one for base in kind.__mro__ for one in fields(kind) if one.name in inspect.get_annotations(base)]
        for one in own_first:
            if hints[one.name] is Decoding:
                own += _DECODING_PARAMETERS
            else:
                own.append(_parameter(one.name, one.default, hints[one.name]))
        signature = inspect.signature(function)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += own if parameter.name == "options" else [parameter]

        @wraps(function)
        def command(**given: Any) -> None:
            values: dict[str, Any] = {
                one.name: _decoding(given) if hints[one.name] is Decoding else given.pop(one.name)
                for one in fields(kind)
            }
            function(options=kind(**values), **given)

        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _decoding_parameter(one: DecodingOption) -> inspect.Parameter:
    """The option of a field of Decoding. Its range is shown in the help and checked by Decoding itself."""
    text = one.help if one.bounds.le is None else f"{one.help} Range: {one.bounds}."
    metavar = "N" if one.type is int else "NUMBER"
    option = typer.Option(one.flag, metavar=metavar, rich_help_panel=Panel.DECODING, help=text)
    return _parameter(one.name, one.default, Annotated[one.type, option])


_DECODING_PARAMETERS = [_decoding_parameter(one) for one in DECODING_OPTIONS]


def _decoding(given: dict[str, Any]) -> Decoding:
    """Takes the decoding options out of a command's arguments. Raises UsageError as Decoding does."""
    return Decoding(**{one.name: given.pop(one.name) for one in DECODING_OPTIONS})
