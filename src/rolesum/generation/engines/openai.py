"""The openai engine: texts from any OpenAI-compatible endpoint, several at a time.

With the tokenizer of the model that is served, prompts are sent as the token ids that the transformers engine would
use (vLLM's and llama.cpp's servers take them). Without it, each prompt is one user message, around which the server
puts its own chat template.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rolesum.console import log
from rolesum.counts import counted
from rolesum.errors import DataError, LengthError, ModelError, Problem, ResourceError, UsageError, did_you_mean
from rolesum.generation.engine import Decoding, Engine, EngineFeatures, Generation, OnText, check_decoding
from rolesum.generation.engines.collector import ResultCollector
from rolesum.generation.engines.endpoint_context import ContextWindow, find_context, least_tokens
from rolesum.generation.engines.openai_client import OpenAIClient, RequestFailed, RequestRejected, Route
from rolesum.generation.engines.prompt_encoder import (
    TOO_LONG_FIX,
    PromptEncoder,
    TokenRequest,
    make_generation,
    sampling_seed,
)
from rolesum.generation.engines.thread_pool import OnUpdate, run_concurrently
from rolesum.instructions import Prompt, PromptLayout

if TYPE_CHECKING:
    from rolesum.models.prompt_model import PromptModel

CONCURRENCY = 8
# Estimate of a message's tokens without the tokenizer: bytes of UTF-8 per token, and the chat template's own.
BYTES_PER_TOKEN, CHAT_TEMPLATE_TOKENS = 3, 64
# A prompt of fewer tokens fits every server.
SMALLEST_CONTEXT = 2048
_CUT_FIX = (
    "give the endpoint a longer context (for Ollama OLLAMA_CONTEXT_LENGTH or num_ctx), or say with --context how much "
    "it reads and how with --long-dialogues"
)

# The owners that /models names for servers which take more than OpenAI's own parameters.
_EXTENDED_SERVERS = ("vllm", "llamacpp")
_TOO_LONG = re.compile(r"context[ _](length|size|window)|maximum (context|model) length|too many tokens|too long", re.I)

_NO_TOKEN = re.compile(r"invalid token|out of vocabulary", re.I)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is used of a completion, whether it came as one object or as a stream."""

    text: str
    ids: tuple[int, ...]  # empty where the server does not return them
    tokens: int
    finish_reason: str
    logprobs: tuple[float, ...]
    prompt_tokens: int  # 0 where the server does not report them
    cached_tokens: int  # most servers count these among the prompt's, some do not


class OpenAIEngine(Engine):
    """Generates with `served_model` at an endpoint, or with the only model there if none is named."""

    name = "openai"
    features = EngineFeatures(min_new_tokens=True, json_schema=True)

    def __init__(
        self,
        client: OpenAIClient,
        layout: PromptLayout,
        *,
        served_model: str | None = None,
        prompt_encoder: PromptEncoder | None = None,
        concurrency: int = CONCURRENCY,
        context: int | None = None,
    ) -> None:
        """With a `prompt_encoder`, prompts are token ids; else messages, whose length is estimated.

        Without a `context`, the one that the server reports holds, if it does.
        """
        if concurrency < 1:
            raise UsageError(f"concurrency {concurrency}", fix="at least 1")
        self.client, self.layout, self.prompt_encoder = client, layout, prompt_encoder
        self.concurrency, self.context = concurrency, context
        self._reported_context: int | None = None
        self._named, self._served = served_model, ""
        self._lock, self._is_connected = threading.Lock(), False
        self._extended = prompt_encoder is not None  # the server takes vLLM's and llama.cpp's parameters
        self._checked = False
        self._logprobs = True  # until the server refuses them
        self._limit_name = "max_tokens"
        self._says_what_is_unknown = True

    @property
    def text_model(self) -> "PromptModel | None":
        return self.prompt_encoder.model if self.prompt_encoder else None

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        check_decoding(self, decoding)
        requests = self._requests(prompts, decoding)
        if requests and not self._checked:
            self._check_tokens(requests[0])
            self._checked = True
        collector = ResultCollector(prompts, on_done, on_text)
        jobs = [partial(self._generate, one, decoding, on_text is not None) for one in requests]
        for one, generation in run_concurrently(jobs, self.concurrency, collector.update):
            collector.add(one.index, one.branch, generation)
        return collector.results()

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Exact with the tokenizer; estimated from bytes where the context is known; else True: the server decides."""
        self._connect_once()
        if self.prompt_encoder:
            return self.prompt_encoder.fits(prompt, max_new_tokens)
        return self.context is None or self._estimate(prompt) + max_new_tokens <= self.context

    def _estimate(self, prompt: Prompt) -> int:
        longest = max(len(chat_message(prompt, branch).encode()) for branch in range(len(prompt.branches)))
        return -(-longest // BYTES_PER_TOKEN) + CHAT_TEMPLATE_TOKENS

    def _requests(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[TokenRequest]:
        """One request per text; all branches of a prompt are adjacent, for the server's prefix cache."""
        if prompts:
            self._connect_once()
        if self.prompt_encoder:
            return self.prompt_encoder.requests(prompts, decoding)
        problems = [
            Problem(
                f"about {self._estimate(prompt)} tokens, for a context of {self.context}",
                prompt.dialogue.location,
                TOO_LONG_FIX,
            )
            for prompt in prompts
            if not self.fits(prompt, decoding.max_new_tokens)
        ]
        if problems:
            raise LengthError(problems)
        return [
            TokenRequest(index, branch, prompt, (), sampling_seed(decoding, prompt, branch))
            for index, prompt in enumerate(prompts)
            for branch in range(len(prompt.branches))
        ]

    def connect(self) -> None:
        """Ask what is served and how much it reads, before any dialogue is sent.

        Raises as OpenAIClient.list_models does; ModelError; UsageError for a --context that the server does not have.
        """
        models = self.client.list_models()
        self._served = self._choose_model([str(one["id"]) for one in models])
        self._extended = self._extended or any(one.get("owned_by") in _EXTENDED_SERVERS for one in models)
        self._set_context(find_context(self.client, self._served, models))
        self._is_connected = True

    def _connect_once(self) -> None:
        with self._lock:
            if not self._is_connected:
                self.connect()

    def _set_context(self, window: ContextWindow | None) -> None:
        if window is None:
            return
        if window.is_reported and (self.context or 0) > window.tokens:
            what = f"--context {self.context} is more than the {window.tokens} tokens that {self._served} reads there"
            raise UsageError(what, self.client.url, "lower it, leave it out, or give the endpoint a longer context")
        if window.is_reported:
            self._reported_context = window.tokens
        self.context = self.context or window.tokens
        if self.prompt_encoder:
            self.prompt_encoder.max_length = min(self.prompt_encoder.max_length, self.context)

    def close(self) -> None:
        self.client.close()

    def _check_tokens(self, first: TokenRequest) -> None:
        """Raise ModelError where prompts are token ids that the server decodes to other texts."""
        if self.prompt_encoder:
            shown = list(first.ids)
            theirs = self.client.detokenize(shown, self._served)
            ours = str(self.prompt_encoder.model.tokenizer.decode(shown))
            if theirs is not None and "".join(theirs.split()) != "".join(ours.split()):
                raise self._other_tokens(self.prompt_encoder)

    def _other_tokens(self, ours: PromptEncoder) -> ModelError:
        what = f"{self._served} there reads other tokens than {ours.model.name} here"
        return ModelError(what, self.client.url, "give --model the model that is served, or leave it out")

    def _choose_model(self, names: Sequence[str]) -> str:
        if self._named:
            if names and self._named not in names and self._extended:
                fix = did_you_mean(self._named, names)
                raise ModelError(f'no model "{self._named}" is served', self.client.url, fix)
            return self._named  # hosts do not list all the models that they serve
        if len(names) == 1:
            return names[0]
        fix = f"add --served-model NAME; there are: {', '.join(names[:8])}" if names else "add --served-model NAME"
        raise UsageError("the endpoint's model is not named", self.client.url, fix)

    def _generate(
        self, one: TokenRequest, decoding: Decoding, streams: bool, update: OnUpdate
    ) -> tuple[TokenRequest, Generation]:
        started = time.monotonic()
        try:
            answer = self._complete(one, decoding, update if streams else None)
        except RequestRejected as error:
            if _TOO_LONG.search(str(error)):
                raise LengthError(f"the endpoint says: {error}", one.prompt.dialogue.location, TOO_LONG_FIX) from None
            if self.prompt_encoder and _NO_TOKEN.search(str(error)):
                raise self._other_tokens(self.prompt_encoder) from None
            raise UsageError(f"the endpoint refuses: {error}", self.client.url, "leave that option out") from None
        except RequestFailed as error:
            fix = "run again when the server is well, or with a lower --concurrency"
            raise ResourceError(f"no answer to {one.prompt.dialogue.location}: {error}", self.client.url, fix) from None
        return one, self._generation(one, answer, decoding, time.monotonic() - started)

    def _complete(self, one: TokenRequest, decoding: Decoding, update: OnUpdate | None) -> _Answer:
        """The answer to one request, sent again without what this server does not support. Raises RequestFailed."""
        body = self._body(one, decoding)
        route: Route = "completions" if self.prompt_encoder else "chat/completions"
        try:
            if update is None:
                return parse_completion([self.client.complete(route, self._served, body)[0]], lambda _: None)
            body["stream_options"] = {"include_usage": True}
            pieces = self.client.stream(route, self._served, body)
            return parse_completion(pieces, partial(update, one.index, one.branch))
        except RequestRejected as error:
            if "logprobs" in str(error) and "logprobs" in body:
                self._logprobs = False
            elif "max_completion_tokens" in str(error) and self._limit_name in body and not self._extended:
                self._limit_name = "max_completion_tokens"
            else:
                raise
            return self._complete(one, decoding, update)

    def _body(self, one: TokenRequest, decoding: Decoding) -> dict[str, Any]:
        """The request's body. To an extended server it sets everything that the server's own defaults might change."""
        body: dict[str, Any] = {self._limit_name: decoding.max_new_tokens, "temperature": decoding.temperature}
        if self.prompt_encoder:
            # vLLM's parameters: its server returns ids and stops at these. llama.cpp's ignores them.
            body |= {"prompt": list(one.ids), "stop_token_ids": list(self.prompt_encoder.stop_ids)}
            body["return_token_ids"] = True
        else:
            body["messages"] = [{"role": "user", "content": chat_message(one.prompt, one.branch)}]
        if self._logprobs:
            body["logprobs"] = 1 if self.prompt_encoder else True
        if decoding.temperature:
            body |= {"seed": one.seed, "top_p": decoding.top_p}
        if decoding.top_k or self._extended:
            body["top_k"] = decoding.top_k
        if decoding.min_new_tokens:
            body["min_tokens"] = decoding.min_new_tokens
        if one.prompt.json_schema:
            body |= self._schema_fields(json.loads(one.prompt.json_schema))
        if self._extended:
            body |= {"min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
            body |= {"presence_penalty": 0.0, "frequency_penalty": 0.0}
        return body

    def _schema_fields(self, schema: dict[str, Any]) -> dict[str, Any]:
        """What holds an answer to a JSON schema: OpenAI's field, and for prompts of token ids llama.cpp's too."""
        named = {"name": "fields", "schema": schema, "strict": names_all_properties(schema)}
        asked: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": named}}
        return asked | ({"json_schema": schema} if self.prompt_encoder else {})

    def _generation(self, one: TokenRequest, answer: _Answer, decoding: Decoding, seconds: float) -> Generation:
        if answer.finish_reason not in ("stop", "length"):
            what = f'the endpoint ended the text with "{answer.finish_reason}"'
            raise DataError(what, one.prompt.dialogue.location, "leave the dialogue out, or use another model")
        self._check_whole_was_read(one, answer)
        if answer.tokens < decoding.min_new_tokens:
            raise UsageError("the endpoint passes over min_tokens", self.client.url, "leave --min-new-tokens out")
        stopped, text = answer.finish_reason == "stop", answer.text.strip()
        if self.prompt_encoder and answer.ids:
            text = self.prompt_encoder.decode(answer.ids, stopped and answer.ids[-1] in self.prompt_encoder.stop_ids)
        # Hosts leave out the logprob of the stop token, llama.cpp those of parts of characters.
        missing = answer.tokens - len(answer.logprobs)
        has_all = missing == 0 or (missing == 1 and stopped and not self._extended)
        return make_generation(text, answer.tokens, stopped, answer.logprobs if has_all else None, seconds)

    def _check_whole_was_read(self, one: TokenRequest, answer: _Answer) -> None:
        """Raise LengthError where the server dropped a part of the prompt, as far as its own figures show that."""
        where, read, limit = one.prompt.dialogue.location, answer.prompt_tokens, self._reported_context
        least = len(one.ids) if self.prompt_encoder else least_tokens(chat_message(one.prompt, one.branch))
        if read and read + answer.cached_tokens < least:
            length = counted(least, "token") if self.prompt_encoder else f"at least {counted(least, 'token')}"
            what = f"the endpoint has dropped a part of the dialogue: it read {read} of {length}"
            raise LengthError(what, where, _CUT_FIX)
        if read and limit and read + answer.tokens > limit:
            what = f"the endpoint has dropped a part of the dialogue: it does not fit a context of {limit} tokens"
            raise LengthError(what, where, _CUT_FIX)
        if not read and self.context is None and least >= SMALLEST_CONTEXT and self._says_what_is_unknown:
            self._says_what_is_unknown = False
            log(
                f"{self.client.url} does not say how much it reads, and may have dropped a part of {where}: "
                "give its context, --context N, so that no dialogue is longer"
            )


def chat_message(prompt: Prompt, branch: int) -> str:
    """A branch of a prompt as one text, without control tokens."""
    segments = (*prompt.prefix, *prompt.branches[branch])
    return "".join(segment.text for segment in segments if segment.kind != "control")


def names_all_properties(schema: Any) -> bool:
    """Whether every object of a schema requires all its properties: OpenAI's strict mode takes no other."""
    if isinstance(schema, list):
        return all(map(names_all_properties, schema))
    if not isinstance(schema, dict):
        return True
    names = schema.get("properties")
    if isinstance(names, dict) and set(names) != set(schema.get("required", ())):
        return False
    return all(map(names_all_properties, schema.values()))


def parse_completion(pieces: Iterable[Mapping[str, Any]], on_text: Callable[[str], None]) -> _Answer:
    """A completion from one response, or from the pieces of a stream. Raises RequestFailed for a malformed one."""
    text, reason, usage = "", "", None
    ids, logprobs = list[int](), list[float]()
    try:
        for piece in pieces:
            usage = piece.get("usage") or usage
            if not piece["choices"]:
                continue
            choice = piece["choices"][0]
            text += _text_in(choice)
            ids += choice.get("token_ids") or []
            logprobs += _logprobs_in(choice.get("logprobs") or {})
            reason = choice.get("finish_reason") or reason
            on_text(text)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise RequestFailed("the endpoint's answer is no completion") from None
    if not reason:
        raise RequestFailed("the answer broke off")
    tokens = (usage or {}).get("completion_tokens") or len(ids) or len(logprobs)
    prompt_tokens = (usage or {}).get("prompt_tokens") or 0
    details = (usage or {}).get("prompt_tokens_details")
    cached = (details.get("cached_tokens") if isinstance(details, dict) else 0) or 0
    return _Answer(text, tuple(ids), int(tokens), reason, tuple(logprobs), int(prompt_tokens), int(cached))


def _text_in(choice: Mapping[str, Any]) -> str:
    """The text of a choice of either API, whole or as a piece of a stream. Raises TypeError for another type."""
    message = choice.get("message") or choice.get("delta") or {}
    text = choice.get("text", message.get("content"))
    if text is not None and not isinstance(text, str):
        raise TypeError("the text is not a string")
    return text or ""


def _logprobs_in(logprobs: Mapping[str, Any]) -> list[float]:
    """The chosen tokens' log-probabilities, in the form of vLLM's completions or of chats (and llama.cpp's)."""
    if "token_logprobs" in logprobs:
        return [float(one) for one in logprobs["token_logprobs"] if one is not None]
    return [float(one["logprob"]) for one in logprobs.get("content") or []]
