"""The Engine protocol, which every way of generating texts implements, and the options that control decoding."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from rolesum.errors import UsageError
from rolesum.instructions import Prompt, PromptLayout

if TYPE_CHECKING:
    from rolesum.generation.decoding.follow_up import FollowUp
    from rolesum.models.prompt_model import PromptModel

DEFAULT_MAX_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The range of a number: at least `ge`, over `gt`, at most `le`; None where there is no such bound."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None

    def contains(self, value: float) -> bool:
        """Whether a value lies in the range. NaN never does, unless there is no bound at all."""
        lower = (self.ge is None or value >= self.ge) and (self.gt is None or value > self.gt)
        return lower and (self.le is None or value <= self.le)

    def __str__(self) -> str:
        if self.ge is not None:
            return f"{self.ge:g} to {self.le:g}" if self.le is not None else f"at least {self.ge:g}"
        lower = f"over {self.gt:g}" if self.gt is not None else ""
        upper = f"at most {self.le:g}" if self.le is not None else ""
        return ", ".join(part for part in (lower, upper) if part)


def _option(
    default: float, help: str, *, ge: float | None = None, gt: float | None = None, le: float | None = None
) -> Any:
    """Declares a field of Decoding with the help text and the range that the command line and the server show."""
    return field(default=default, metadata={"help": help, "bounds": Bounds(ge=ge, gt=gt, le=le)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How texts are decoded: greedily, unless `temperature` (sampling) or `beams` (beam search) say otherwise.

    This class is the one list of the decoding options: `DECODING_OPTIONS` is made from it, and the options of the
    command line and the fields of the server's requests are made from that. Nothing of a checkpoint's own
    generation_config is used. `top_k` 0 and `top_p` 1 keep all tokens. A beam's score is its log-probability divided
    by length ** `length_penalty`. A sampled text depends on `seed`, its dialogue's id and its branch only, never on
    the other texts of its batch.
    """

    max_new_tokens: int = _option(
        DEFAULT_MAX_NEW_TOKENS,
        "Maximum length of a summary in tokens; of the fields of a schema, by default 512 tokens.",
        ge=1,
    )
    min_new_tokens: int = _option(0, "Minimum length of a summary in tokens.", ge=0)
    temperature: float = _option(0.0, "Sampling temperature; 0 always takes the likeliest token.", ge=0, le=100)
    top_k: int = _option(0, "Sample among the K likeliest tokens; 0 among all.", ge=0)
    top_p: float = _option(1.0, "Sample among the likeliest tokens that together have this probability.", gt=0, le=1)
    beams: int = _option(1, "Number of beams of a beam search; 1 is no beam search.", ge=1, le=64)
    length_penalty: float = _option(1.0, "Length penalty of the beam search: over 1 favors long texts.", ge=-10, le=10)
    seed: int = _option(1, "Seed of sampled texts.")

    def __post_init__(self) -> None:
        """Raises UsageError for values outside their range, or that exclude each other."""
        for one in DECODING_OPTIONS:
            value = getattr(self, one.name)
            if not one.bounds.contains(value):
                raise UsageError(f"{one.name} {value} is out of its range", fix=f"{one.flag}: {one.bounds}")
        if self.min_new_tokens > self.max_new_tokens:
            what = f"min_new_tokens {self.min_new_tokens} is more than max_new_tokens {self.max_new_tokens}"
            raise UsageError(what, fix=f"--min-new-tokens: 0 to {self.max_new_tokens}")
        if self.beams > 1 and self.temperature:
            raise UsageError("beams are not sampled", fix="give --beams or --temperature")
        if not self.temperature and (self.top_k or self.top_p < 1):
            flag = "--top-k" if self.top_k else "--top-p"
            raise UsageError(f"{flag} is for sampling", fix="add --temperature 0.7, or leave it out")
        if self.beams == 1 and self.length_penalty != 1:
            raise UsageError("--length-penalty is for beams", fix="add --beams 4, or leave it out")

    @property
    def greedy(self) -> bool:
        return self.beams == 1 and not self.temperature

    def text_seed(self, dialogue_id: str, branch: int) -> bytes:
        """The seed of one sampled text, 32 bytes, from the run's seed, the dialogue and the number of the branch."""
        identity = f"{self.seed}\0{dialogue_id}\0{branch}"
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingOption:
    """One field of Decoding, as the command line and the server present it."""

    name: str
    type: type[Any]
    default: Any
    help: str
    bounds: Bounds

    @property
    def flag(self) -> str:
        """The option of the command line, such as --top-k."""
        return f"--{self.name.replace('_', '-')}"


DECODING_OPTIONS: tuple[DecodingOption, ...] = tuple(
    DecodingOption(name=one.name, type=type(one.default), default=one.default, **one.metadata)
    for one in fields(Decoding)
)


@dataclass(frozen=True, slots=True)
class Generation:
    """One generated text with its statistics.

    `finish_reason` is "stop" where the model ended the text and "length" where the limit did. Log-probabilities are
    natural logarithms under the model's own distribution, over the text's tokens and the one that ended it; None where
    an engine gives none. `seconds` run from when the engine started on the prompt to the end of the text.
    `token_logprobs` are the text's tokens, each with its log-probability, from engines with that feature.
    """

    text: str
    tokens: int
    finish_reason: str
    mean_logprob: float | None = None
    lowest_logprob: float | None = None
    seconds: float = 0.0
    token_logprobs: tuple[tuple[int, float], ...] = ()


# Called while texts are generated: number of the prompt, number of the branch, what was added to the branch's text.
OnText = Callable[[int, int, str], None]

# Makes the follow-up of a prompt, the questions about its finished texts, given the prompt's number.
MakeFollowUp = Callable[[int, Prompt], "FollowUp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFeatures:
    """What an engine can do beyond greedy decoding and sampling. With `follow_ups` it is a FollowUpEngine.

    With `json_schema` it holds the texts of a prompt to the prompt's JSON schema.
    """

    beams: bool = False
    min_new_tokens: bool = False
    follow_ups: bool = False
    json_schema: bool = False
    token_logprobs: bool = False


class Engine(Protocol):
    """Generates texts for prompts: transformers, vLLM, llama.cpp, an OpenAI-compatible endpoint, or a baseline.

    `layout` says how the engine's model wants its prompts written. `text_model` is the tokenizer, chat template and
    training note of the model; None for an engine that is sent plain messages, and for one without a model.
    """

    name: str
    layout: PromptLayout
    features: EngineFeatures = EngineFeatures()

    @property
    def text_model(self) -> "PromptModel | None":
        return None

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        """Generate, for each prompt in order, one text per branch.

        `on_done` is called with the number of prompts that were finished since its last call, `on_text` with what is
        added to each text. Two branches of one prompt may be equal: each is sampled on its own. Raises DataError with
        all the prompts that do not fit the model, before any work, and UsageError for a `decoding` that the engine
        does not support.
        """
        ...

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Whether the model takes a prompt and so many new tokens for each of its branches."""
        ...

    def describe(self) -> dict[str, str]:
        """What an evaluation records about the engine beside its name: dtype, device, versions."""
        return {}

    def connect(self) -> None:
        """Check that the engine can be used now. Raises ResourceError or ModelError where it cannot be reached."""
        return

    def close(self) -> None:
        """Free what the engine holds: its process, connections or memory. It is not used afterwards."""
        return


class FollowUpEngine(Engine, Protocol):
    """An engine that asks further questions about finished texts, on the prefixes that it has computed for them."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
        follow_up: MakeFollowUp | None = None,
    ) -> list[list[Generation]]:
        """As Engine.generate; a prompt is finished when the questions of its follow-up are answered."""
        ...


def takes_follow_ups(engine: Engine) -> TypeGuard[FollowUpEngine]:
    """Whether `engine.generate` takes a `follow_up`."""
    return engine.features.follow_ups


def check_decoding(engine: Engine, decoding: Decoding) -> None:
    """Raise UsageError for decoding options that an engine does not have."""
    for name, is_asked, is_there in (
        ("--beams", decoding.beams > 1, engine.features.beams),
        ("--min-new-tokens", decoding.min_new_tokens > 0, engine.features.min_new_tokens),
    ):
        if is_asked and not is_there:
            what = f"the engine {engine.name} does not support {name}"
            raise UsageError(what, fix="leave the option out, or use --engine transformers")


def check_constrained_decoding(decoding: Decoding) -> None:
    """Raise UsageError for decoding options that texts which are held to a JSON schema cannot have."""
    for flag, is_asked in (("--beams", decoding.beams > 1), ("--min-new-tokens", decoding.min_new_tokens > 0)):
        if is_asked:
            raise UsageError(f"{flag} does not go together with a JSON schema", fix="leave it out")
