"""The endpoint engine: texts by any OpenAI-compatible server, several at a time.

With the tokenizer of the model that is served, prompts are sent as token ids, the same as the transformers engine's
(vLLM's and llama.cpp's servers take them). Without it, each is one user message, and the server puts its own chat form
around it.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rolesum.errors import DataError, ModelError, Problem, ResourceError, UsageError, did_you_mean
from rolesum.generation.engine import Decoding, Generation, OnText
from rolesum.generation.engines.openai_client import OpenAIClient, RequestFailed, RequestRejected, Route
from rolesum.generation.engines.prompt_encoder import (
    TOO_LONG_FIX,
    IncrementalDetokenizer,
    PromptEncoder,
    TokenRequest,
    generation,
    sampling_seed,
)
from rolesum.generation.engines.thread_pool import run_concurrently
from rolesum.instructions import Prompt, PromptLayout

CONCURRENCY = 8
# A message's tokens where nobody knows its tokenizer: one for so many bytes of UTF-8, and the chat form's.
BYTES_PER_TOKEN, CHAT_FORM_TOKENS = 3, 64

# Servers that take more than the standard parameters, as /models tells them.
_GENEROUS = ("vllm", "llamacpp")
_TOO_LONG = re.compile(r"context[ _](length|size|window)|maximum (context|model) length|too many tokens|too long", re.I)

_NO_TOKEN = re.compile(r"invalid token|out of vocabulary", re.I)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is read of an answer, or of the pieces of one."""

    text: str
    ids: tuple[int, ...]  # empty where the server does not tell them
    tokens: int
    finish_reason: str
    logprobs: tuple[float, ...]


class OpenAIEngine:
    """Texts by the model `served` at an endpoint; by the only one there, if it is not named."""

    name = "openai"

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
        """With a `prompt_encoder`, prompts are token ids; else messages, whose length is guessed against `context`."""
        if concurrency < 1:
            raise UsageError(f"concurrency {concurrency}", fix="at least 1")
        self.client, self.layout, self.prompt_encoder = client, layout, prompt_encoder
        self.side = prompt_encoder.model if prompt_encoder else None
        self.concurrency, self.context = concurrency, context
        self._named, self._served, self._generous = served_model, "", prompt_encoder is not None
        self._greeted = False
        self._logprobs = True  # until the server refuses to tell them
        self._limit_name = "max_tokens"

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        if decoding.beams > 1:
            raise UsageError("an endpoint has no beams", fix="leave --beams out, or use --engine transformers")
        asked = self._asked(prompts, decoding)
        if asked and not self._greeted:
            self.connect()
            self._check_tokens(asked[0])
            self._greeted = True
        jobs = [partial(self._text, one, decoding, on_text is not None) for one in asked]
        found: list[dict[int, Generation]] = [{} for _ in prompts]
        for one, made in run_concurrently(jobs, self.concurrency, on_text):
            found[one.index][one.branch] = made
            if on_done and len(found[one.index]) == len(one.prompt.branches):
                on_done(1)
        return [[texts[branch] for branch in sorted(texts)] for texts in found]

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        """Exact with the tokenizer; guessed from bytes with a `context`; else True: the server will say."""
        if self.prompt_encoder:
            return self.prompt_encoder.fits(prompt, max_new_tokens)
        return self.context is None or self._guess(prompt) + max_new_tokens <= self.context

    def _guess(self, prompt: Prompt) -> int:
        longest = max(len(chat_message(prompt, branch).encode()) for branch in range(len(prompt.branches)))
        return -(-longest // BYTES_PER_TOKEN) + CHAT_FORM_TOKENS

    def _asked(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[TokenRequest]:
        """The texts that are wanted; all branches of a prompt next to each other, for the server's prefix cache."""
        if self.prompt_encoder:
            return self.prompt_encoder.requests(prompts, decoding)
        problems = [
            Problem(
                f"about {self._guess(prompt)} tokens, for a context of {self.context}",
                prompt.dialogue.location,
                TOO_LONG_FIX,
            )
            for prompt in prompts
            if not self.fits(prompt, decoding.max_new_tokens)
        ]
        if problems:
            raise DataError(problems)
        return [
            TokenRequest(index, branch, prompt, (), sampling_seed(decoding, prompt, branch))
            for index, prompt in enumerate(prompts)
            for branch in range(len(prompt.branches))
        ]

    def connect(self) -> None:
        """Learn what is served, before any dialogue leaves. Raises as OpenAIClient.served does, and ModelError."""
        told = self.client.list_models()
        self._served = self._choose([str(one["id"]) for one in told])
        self._generous = self._generous or any(one.get("owned_by") in _GENEROUS for one in told)

    def _check_tokens(self, first: TokenRequest) -> None:
        """Where prompts are token ids: whether they say the same there. Raises ModelError."""
        if self.prompt_encoder:
            shown = list(first.ids)
            theirs = self.client.detokenize(shown, self._served)
            ours = self.prompt_encoder.model.tokenizer.decode(shown)
            if theirs is not None and "".join(theirs.split()) != "".join(ours.split()):
                raise self._other_tokens(self.prompt_encoder)

    def _other_tokens(self, ours: PromptEncoder) -> ModelError:
        what = f"{self._served} there reads other tokens than {ours.model.name} here"
        return ModelError(what, self.client.url, "give --model the model that is served, or leave it out")

    def _choose(self, names: Sequence[str]) -> str:
        if self._named:
            if names and self._named not in names and self._generous:
                fix = did_you_mean(self._named, names)
                raise ModelError(f'no model "{self._named}" is served', self.client.url, fix)
            return self._named  # hosts do not list all that they answer to
        if len(names) == 1:
            return names[0]
        fix = f"add --served-model NAME; there are: {', '.join(names[:8])}" if names else "add --served-model NAME"
        raise UsageError("the endpoint's model is not named", self.client.url, fix)

    def _text(
        self, one: TokenRequest, decoding: Decoding, growing: bool, tell: OnText
    ) -> tuple[TokenRequest, Generation]:
        started = time.monotonic()
        try:
            answer = self._answer(one, decoding, tell if growing else None)
        except RequestRejected as error:
            if _TOO_LONG.search(str(error)):
                raise DataError(f"the endpoint says: {error}", one.prompt.dialogue.location, TOO_LONG_FIX) from None
            if self.prompt_encoder and _NO_TOKEN.search(str(error)):
                raise self._other_tokens(self.prompt_encoder) from None
            raise UsageError(f"the endpoint refuses: {error}", self.client.url, "leave that option out") from None
        except RequestFailed as error:
            fix = "run again when the server is well, or with a lower --concurrency"
            raise ResourceError(f"no answer to {one.prompt.dialogue.location}: {error}", self.client.url, fix) from None
        return one, self._generation(one, answer, decoding, time.monotonic() - started)

    def _answer(self, one: TokenRequest, decoding: Decoding, tell: OnText | None) -> _Answer:
        """The answer to one request, sent again without what this server does not support. Raises RequestFailed."""
        body = self._body(one, decoding)
        way: Route = "completions" if self.prompt_encoder else "chat/completions"
        try:
            if tell is None:
                return parse_completion([self.client.complete(way, self._served, body)[0]], lambda _: None)
            growing = IncrementalDetokenizer()

            def told(whole: str) -> None:
                if added := growing.new(whole):
                    tell(one.index, one.branch, added)

            body["stream_options"] = {"include_usage": True}
            return parse_completion(self.client.stream(way, self._served, body), told)
        except RequestRejected as error:
            if "logprobs" in str(error) and "logprobs" in body:
                self._logprobs = False
            elif "max_completion_tokens" in str(error) and self._limit_name in body and not self._generous:
                self._limit_name = "max_completion_tokens"
            else:
                raise
            return self._answer(one, decoding, tell)

    def _body(self, one: TokenRequest, decoding: Decoding) -> dict[str, Any]:
        """The question. A server of one's own is told all that might stand in its own settings otherwise."""
        body: dict[str, Any] = {self._limit_name: decoding.max_new_tokens, "temperature": decoding.temperature}
        if self.prompt_encoder:
            # vLLM's names: its server tells ids and ends where we say. llama.cpp's passes over them.
            body |= {"prompt": list(one.ids), "stop_token_ids": list(self.prompt_encoder.stop_ids)}
            body["return_token_ids"] = True
        else:
            body["messages"] = [{"role": "user", "content": chat_message(one.prompt, one.branch)}]
        if self._logprobs:
            body["logprobs"] = 1 if self.prompt_encoder else True
        if decoding.temperature:
            body |= {"seed": one.seed, "top_p": decoding.top_p}
        if decoding.top_k or self._generous:
            body["top_k"] = decoding.top_k
        if decoding.min_new_tokens:
            body["min_tokens"] = decoding.min_new_tokens
        if self._generous:
            body |= {"min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
            body |= {"presence_penalty": 0.0, "frequency_penalty": 0.0}
        return body

    def _generation(self, one: TokenRequest, answer: _Answer, decoding: Decoding, seconds: float) -> Generation:
        if answer.finish_reason not in ("stop", "length"):
            what = f'the endpoint ended the text with "{answer.finish_reason}"'
            raise DataError(what, one.prompt.dialogue.location, "leave the dialogue out, or use another model")
        if answer.tokens < decoding.min_new_tokens:
            raise UsageError("the endpoint passes over min_tokens", self.client.url, "leave --min-new-tokens out")
        stopped, text = answer.finish_reason == "stop", answer.text.strip()
        if self.prompt_encoder and answer.ids:
            text = self.prompt_encoder.decode(answer.ids, stopped and answer.ids[-1] in self.prompt_encoder.stop_ids)
        untold = answer.tokens - len(answer.logprobs)  # hosts leave out the end, llama.cpp parts of characters
        whole = untold == 0 or (untold == 1 and stopped and not self._generous)
        return generation(text, answer.tokens, stopped, answer.logprobs if whole else None, seconds)


def chat_message(prompt: Prompt, branch: int) -> str:
    """The whole question as one text, without control tokens."""
    segments = (*prompt.prefix, *prompt.branches[branch])
    return "".join(segment.text for segment in segments if segment.kind != "control")


def parse_completion(pieces: Any, on_text: Callable[[str], None]) -> _Answer:
    """An answer out of one piece, or of those of a stream. Raises RequestFailed for what is none."""
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
    return _Answer(text, tuple(ids), int(tokens), reason, tuple(logprobs))


def _text_in(choice: Mapping[str, Any]) -> str:
    said = choice.get("message") or choice.get("delta") or {}
    text = choice.get("text", said.get("content"))
    if text is not None and not isinstance(text, str):
        raise TypeError("no text")
    return text or ""


def _logprobs_in(told: Mapping[str, Any]) -> list[float]:
    """The chosen tokens' log-probabilities, in the form of vLLM's completions or of chats (and llama.cpp's)."""
    if "token_logprobs" in told:
        return [float(one) for one in told["token_logprobs"] if one is not None]
    return [float(one["logprob"]) for one in told.get("content") or []]
