"""The request body of OpenAI's chat API, as far as a summarizer can answer it."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rolesum.errors import UsageError
from rolesum.server.schemas import GenerationParameters

MAX_SEED = 2**31 - 1

# Keys of OpenAI's API, and of servers like it, that would change the answer -> values that ask for nothing. So do null,
# false, and empty texts, lists and objects; such a key is passed over, whatever it is called.
UNSUPPORTED_KEYS: dict[str, tuple[Any, ...]] = {
    "stop": (),
    "tools": (),
    "tool_choice": ("none", "auto"),
    "functions": (),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (0,),
    "top_logprobs": (0,),
    "logit_bias": (),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
    "best_of": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "typical_p": (1,),
    "repetition_penalty": (1,),
    "echo": (),
    "suffix": (),
}


def _asks_for_nothing(key: str, value: Any) -> bool:
    if value is None or value is False or (isinstance(value, (str, list, dict)) and not value):
        return True
    return not isinstance(value, bool) and value in UNSUPPORTED_KEYS.get(key, ())


class ContentPart(BaseModel):
    """A part of a message; only text can be read."""

    model_config = ConfigDict(extra="ignore")

    type: str = Field(max_length=100)
    text: str = ""


ContentParts = Annotated[list[ContentPart], Field(fail_fast=True)]


class ChatMessage(BaseModel):
    """A message of a chat. Its content is null where an earlier answer called a tool."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | ContentParts | None = None

    @property
    def text(self) -> str:
        """The text of all parts. Raises UsageError for a part that is no text."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        for part in self.content:
            if part.type not in ("text", "input_text", "output_text"):
                what = f"a part of a message is of the type {part.type}, and only text can be read"
                raise UsageError(what, "messages", "send the transcript as text")
        return "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a chat client. Keys that would change the answer but cannot are errors; others are ignored."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "model": "rolesum-en-zh:user",
                    "messages": [{"role": "user", "content": "Customer: where is it?\nAgent: on its way"}],
                }
            ]
        },
    )

    model: str = Field(max_length=300)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    max_tokens: int | None = Field(None, ge=1, description="An upper bound; the server's own limit applies too.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The newer name of max_tokens.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    parallel_tool_calls: Any = None

    unsupported_keys: ClassVar[frozenset[str]] = frozenset(UNSUPPORTED_KEYS)

    @model_validator(mode="before")
    @classmethod
    def _without_neutral_keys(cls, given: Any) -> Any:
        """The request without the unknown keys whose values ask for nothing."""
        if not isinstance(given, dict):
            return given
        known = cls.model_fields
        return {key: value for key, value in given.items() if key in known or not _asks_for_nothing(key, value)}

    def parameters(self, max_new_tokens: int) -> GenerationParameters:
        """The generation parameters, with at most `max_new_tokens`, which is the server's limit.

        Without a temperature decoding is greedy, unlike OpenAI's default of 1; so it is with a top_p of 0.
        """
        asked = self.max_completion_tokens or self.max_tokens
        temperature = 0.0 if self.top_p == 0 else self.temperature or 0.0
        values: dict[str, Any] = {
            "max_new_tokens": min(asked, max_new_tokens) if asked else None,
            "temperature": temperature,
            "top_p": self.top_p or 1.0 if temperature else 1.0,
            "seed": 1 if self.seed is None else self.seed & MAX_SEED,
            "checks": False,
            "verify": "off",  # an answer of this API has no field for doubtful statements
        }
        return GenerationParameters(**values)
