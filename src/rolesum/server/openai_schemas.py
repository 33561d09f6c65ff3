"""The request bodies of OpenAI's API, as far as a summarizer can answer them: chats, completions and responses."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from rolesum.errors import UsageError
from rolesum.server.schemas import GenerationParameters

MAX_SEED = 2**31 - 1
LOGPROBS_KEY = "message.output_text.logprobs"  # in a response request's `include`

_NO_TOOLS = "these models write summaries and call no functions"
_NO_STATE = "nothing is stored: send the transcript in each request"
_NO_FORMAT = "the answer is plain text"
_PLAIN_TEXT = {"format": {"type": "text"}}

# Keys of OpenAI's API, and of servers like it, that would change the answer -> values that ask for nothing. So do null,
# false, and empty texts, lists and objects; such a key is passed over, whatever it is called.
UNSUPPORTED_KEYS: dict[str, tuple[Any, ...]] = {
    "tools": (),
    "tool_choice": ("none", "auto"),
    "functions": (),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "text": (_PLAIN_TEXT, {"verbosity": "medium"}, _PLAIN_TEXT | {"verbosity": "medium"}),
    "logit_bias": (),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning": ({"effort": "none"}, {"effort": None}, {"effort": None, "summary": None}),
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
    "background": (),
    "conversation": (),
    "previous_response_id": (),
}
# Why a key is refused, where that is not that a summary cannot be made with it.
_REASONS = {
    **dict.fromkeys(("tools", "tool_choice", "functions", "function_call", "web_search_options"), _NO_TOOLS),
    **dict.fromkeys(("background", "conversation", "previous_response_id"), _NO_STATE),
    **dict.fromkeys(("response_format", "text", "modalities", "audio"), _NO_FORMAT),
}

StopString = Annotated[str, StringConstraints(max_length=200)]
StopStrings = Annotated[list[StopString], Field(max_length=16, fail_fast=True)]
Zero = Annotated[float, Field(ge=0, le=0)]


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


class OpenAIRequest(BaseModel):
    """What the requests have in common. Keys that would change the answer but cannot are errors; others are ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str = Field(max_length=300)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stream: bool | None = False
    user: Any = None
    metadata: Any = None

    unsupported_keys: ClassVar[frozenset[str]] = frozenset(UNSUPPORTED_KEYS)

    @model_validator(mode="before")
    @classmethod
    def _without_neutral_keys(cls, given: Any) -> Any:
        """The request without the unknown keys whose values ask for nothing."""
        if not isinstance(given, dict):
            return given
        known = cls.model_fields
        return {key: value for key, value in given.items() if key in known or not _asks_for_nothing(key, value)}

    @staticmethod
    def reason(key: str) -> str:
        """Why a key of `unsupported_keys` is refused."""
        return _REASONS.get(key, "a summary cannot be made with it")

    def _parameters(self, max_tokens: int | None, limit: int, seed: int | None) -> GenerationParameters:
        """The generation parameters, with at most `limit` tokens, which is the server's limit.

        Without a temperature decoding is greedy, unlike OpenAI's default of 1; so it is with a top_p of 0.
        """
        temperature = 0.0 if self.top_p == 0 else self.temperature or 0.0
        values: dict[str, Any] = {
            "max_new_tokens": min(max_tokens, limit) if max_tokens else None,
            "temperature": temperature,
            "top_p": self.top_p or 1.0 if temperature else 1.0,
            "seed": 1 if seed is None else seed & MAX_SEED,
            "checks": False,
            "verify": "off",  # an answer of this API has no field for doubtful statements
        }
        return GenerationParameters(**values)


class _SamplingRequest(OpenAIRequest):
    """What chats and completions have in common."""

    max_tokens: int | None = Field(None, ge=1, description="An upper bound; the server's own limit applies too.")
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    n: int | None = Field(None, ge=1, le=128, description="Answers to each prompt; without a temperature all equal.")
    stop: str | StopStrings | None = Field(None, description="Texts before which an answer ends.")
    stream_options: StreamOptions | None = None
    frequency_penalty: Zero | None = None
    presence_penalty: Zero | None = None

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(one for one in given if one)

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(_SamplingRequest):
    """The body of a chat client."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "rolesum-en-zh:user",
                    "messages": [{"role": "user", "content": "Customer: where is it?\nAgent: on its way"}],
                }
            ]
        },
    )

    messages: list[ChatMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    max_completion_tokens: int | None = Field(None, ge=1, description="The newer name of max_tokens.")
    logprobs: bool | None = Field(None, description="Return the log-probability of each token.")
    top_logprobs: int | None = Field(None, ge=0, le=20, description="At most 1, without a temperature.")
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    parallel_tool_calls: Any = None

    def parameters(self, limit: int) -> GenerationParameters:
        """The generation parameters, with at most `limit` tokens, which is the server's limit."""
        return self._parameters(self.max_completion_tokens or self.max_tokens, limit, self.seed)


class CompletionRequest(_SamplingRequest):
    """The body of a client of the older API of completions. Each prompt is a transcript, or one message."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "rolesum-en-zh:user", "prompt": "Customer: where is it?\nAgent: on its way"}]
        },
    )

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=16, fail_fast=True)]
    logprobs: int | None = Field(None, ge=0, le=5, description="0, or 1 without a temperature.")

    def parameters(self, limit: int) -> GenerationParameters:
        """The generation parameters, with at most `limit` tokens, which is the server's limit."""
        return self._parameters(self.max_tokens, limit, self.seed)


class ResponseItem(BaseModel):
    """An item of a response request's input; only messages can be read."""

    model_config = ConfigDict(extra="ignore")

    type: str = Field("message", max_length=100)
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | ContentParts | None = None


class ResponseRequest(OpenAIRequest):
    """The body of a client of the API of responses. Nothing of it is stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "rolesum-en-zh:user", "input": "Customer: where is it?\nAgent: on its way"}]
        },
    )

    input: str | Annotated[list[ResponseItem], Field(min_length=1, max_length=1000, fail_fast=True)]
    instructions: str | None = Field(None, description="Read by a model's own name, before the input; else not.")
    max_output_tokens: int | None = Field(None, ge=1, description="An upper bound; the server's limit applies too.")
    top_logprobs: int | None = Field(None, ge=0, le=20, description="At most 1, without a temperature.")
    include: list[Annotated[str, StringConstraints(max_length=100)]] | None = Field(
        None, max_length=50, fail_fast=True, description=f"Of OpenAI's values, {LOGPROBS_KEY} adds something."
    )
    truncation: Literal["auto", "disabled"] | None = Field(None, description="Either way, nothing is cut off.")
    stream_options: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    parallel_tool_calls: Any = None
    max_tool_calls: Any = None

    def parameters(self, limit: int) -> GenerationParameters:
        """The generation parameters, with at most `limit` tokens, which is the server's limit."""
        return self._parameters(self.max_output_tokens, limit, None)

    @property
    def messages(self) -> list[ChatMessage]:
        """The instructions and the input as the messages of a chat. Items that are no messages have no text."""
        given = [ResponseItem(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        before = [ChatMessage(role="developer", content=self.instructions)] if self.instructions else []
        return before + [
            ChatMessage(role=one.role or "user", content=one.content)
            if one.type == "message"
            else ChatMessage(role="tool", content=None)
            for one in given
        ]
