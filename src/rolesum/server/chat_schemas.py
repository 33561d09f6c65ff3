"""The request body of OpenAI's chat API, as far as a summarizer can answer it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rolesum.server.schemas import GenerationParameters


class ContentPart(BaseModel):
    """A part of a message; only text is supported."""

    type: Literal["text"]
    text: str


ContentParts = Annotated[list[ContentPart], Field(fail_fast=True)]


class ChatMessage(BaseModel):
    """A message of a chat."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | ContentParts

    @property
    def text(self) -> str:
        """The text of all parts."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a chat client. Unsupported options that would change the answer are errors; others are ignored."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "model": "rolesum-smollm2-135m:user",
                    "messages": [{"role": "user", "content": "Customer: where is it?\nAgent: on its way"}],
                }
            ]
        },
    )

    model: str = Field(max_length=300)
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
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
    parallel_tool_calls: Any = None

    def parameters(self) -> GenerationParameters:
        """Return the generation parameters. Without a temperature decoding is greedy, unlike OpenAI's default of 1."""
        temperature = self.temperature or 0.0
        values: dict[str, Any] = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": temperature,
            "top_p": self.top_p or 1.0 if temperature else 1.0,
            "seed": 1 if self.seed is None else self.seed,
            "checks": False,
        }
        return GenerationParameters(**values)
