"""A language model as judge: each summary rated 1 to 5 on five criteria, by any OpenAI-compatible endpoint."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from rolesum import strict_json
from rolesum.console import progress_bar
from rolesum.dialogue import Dialogue
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.llm_judge.cache import JudgeCache, cache_key
from rolesum.evaluation.llm_judge.endpoint import JudgeAnswer, JudgeEndpoint, RequestFailed, unreachable
from rolesum.evaluation.llm_judge.prompt import CRITERIA, LANGUAGES, JudgePrompt, Messages, judge_prompt, read_answer
from rolesum.evaluation.model_metrics.model_score import ModelScore
from rolesum.evaluation.predictions import Prediction

MAX_ATTEMPTS = 3  # questions asked until an answer can be used
MAX_CONSECUTIVE_FAILURES = 10  # questions in a row without any answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge said of one summary: all criteria, or none and the `failure`. Never a score made up for it."""

    id: str
    role: str
    scores: Mapping[str, int]
    reasons: Mapping[str, str]
    failure: str = ""
    cached: bool = False


@dataclass
class JudgeUsage:
    """Tokens as the endpoint counts them; `uncounted` answers came without a count."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    def add(self, answer: JudgeAnswer) -> None:
        self.requests += 1
        self.retries += answer.retries
        self.prompt_tokens += answer.prompt_tokens or 0
        self.completion_tokens += answer.completion_tokens or 0
        self.uncounted += answer.prompt_tokens is None

    def cost(self, prices: tuple[float, float] | None) -> float | None:
        """In the currency of `prices`, which are for a million prompt and completion tokens."""
        if prices is None:
            return None
        return round((self.prompt_tokens * prices[0] + self.completion_tokens * prices[1]) / 1e6, 6)


@dataclass(frozen=True)
class JudgeResult:
    """A verdict for each prediction, in the predictions' order."""

    metadata: Mapping[str, Any]
    verdicts: Sequence[Verdict] = field(repr=False)

    def score(self, places: Sequence[int] | None = None) -> ModelScore:
        """The ratings, 1 to 5, of all predictions or of those in `places`; failures are undefined (NaN)."""
        chosen = self.verdicts if places is None else [self.verdicts[place] for place in places]
        values = {name: [float(one.scores.get(name, math.nan)) for one in chosen] for name in CRITERIA}
        return ModelScore("judge", {**self.metadata, "failures": sum(bool(one.failure) for one in chosen)}, values)

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self.verdicts]


def judge_summaries(
    dialogues: Sequence[Dialogue],
    predictions: Sequence[Prediction],
    endpoint: JudgeEndpoint,
    *,
    language: str | None = None,
    cache: Path | None = None,
    concurrency: int = 4,
    prices: tuple[float, float] | None = None,
) -> JudgeResult:
    """Rate each prediction. The prompt is in the dialogue's language unless `language` (en or zh) is given.

    `cache` keeps every usable answer as it comes, by model, prompt, question and parameters. `prices` are for a million
    prompt and completion tokens. An answer that cannot be used is asked for again, then recorded as a failure. Raises
    ModelError where the endpoint refuses key or model, ResourceError where it stops answering.
    """
    if concurrency < 1:
        raise UsageError(f"concurrency {concurrency}", fix="at least 1")
    by_id = {one.id: one for one in dialogues}
    if missing := dict.fromkeys(one.id for one in predictions if one.id not in by_id):
        what = f"no dialogue for {len(missing)} of the predictions' ids, first: {next(iter(missing))}"
        raise DataError(what, fix="give the data that was summarized")
    questions: dict[str, tuple[JudgePrompt, Messages]] = {}  # by key: the same question is asked once
    keys = []
    for one in predictions:
        dialogue = by_id[one.id]
        prompt = judge_prompt(language or (dialogue.language if dialogue.language in LANGUAGES else "en"))
        messages = prompt.messages(dialogue, one)
        key = cache_key(endpoint.url, endpoint.model, prompt.metadata, messages, endpoint.parameters)
        questions[key] = prompt, messages
        keys.append(key)
    store, new_usage, cached_usage = JudgeCache(cache), JudgeUsage(), JudgeUsage()
    try:
        answers = _known(questions, store, cached_usage)
        known = set(answers)
        with progress_bar("judge", len(questions), unit="summaries") as bar:
            bar.start_at(len(known))
            for key, found, used in _asked(questions, known, endpoint, concurrency):
                for each in used:
                    new_usage.add(each)
                if isinstance(found, JudgeAnswer):
                    store.put(key, found)
                answers[key] = found
                bar.advance(1)
    finally:
        store.close()
    verdicts = [_verdict(one, answers[key], key in known) for one, key in zip(predictions, keys, strict=True)]
    prompts_by_language = {prompt.language: prompt.metadata for prompt, _ in questions.values()}
    return JudgeResult(_facts(endpoint, prompts_by_language, new_usage, cached_usage, prices), verdicts)


def _known(
    questions: Mapping[str, tuple[JudgePrompt, Messages]], store: JudgeCache, cached_usage: JudgeUsage
) -> dict[str, JudgeAnswer | str]:
    """The answers that the cache holds."""
    found: dict[str, JudgeAnswer | str] = {}
    for key in questions:
        if answer := store.get(key):
            found[key] = answer
            cached_usage.add(answer)
    return found


def _asked(
    questions: Mapping[str, tuple[JudgePrompt, Messages]], known: set[str], endpoint: JudgeEndpoint, concurrency: int
) -> Iterator[tuple[str, JudgeAnswer | str, list[JudgeAnswer]]]:
    """Key, usable answer or failure, and all answers paid for, as they come. Raises where nothing more is to be had.

    A question is sent when an earlier one was answered, so that nothing is asked of an endpoint that refused the key.
    """
    unsent = [(key, question) for key, question in questions.items() if key not in known]
    enough = min(MAX_CONSECUTIVE_FAILURES, len(unsent))
    unsent.reverse()
    sent: dict[Future[tuple[JudgeAnswer | str, list[JudgeAnswer]]], str] = {}
    silent = 0
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="judge")
    try:
        while unsent or sent:
            while unsent and len(sent) < concurrency:
                key, question = unsent.pop()
                sent[pool.submit(_ask, endpoint, *question)] = key
            for done in wait(sent, return_when=FIRST_COMPLETED).done:
                found, used = done.result()
                yield sent.pop(done), found, used
                silent = 0 if used else silent + 1
                if silent == enough:
                    raise unreachable(endpoint, silent, str(found))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _ask(
    endpoint: JudgeEndpoint, prompt: JudgePrompt, messages: Messages
) -> tuple[JudgeAnswer | str, list[JudgeAnswer]]:
    """The first usable answer, or why there is none; and all answers that came."""
    used: list[JudgeAnswer] = []
    conversation, problem = messages, ""
    for _ in range(MAX_ATTEMPTS):
        try:
            answer = endpoint.ask(conversation)
        except RequestFailed as error:
            return f"no answer: {error}", used
        used.append(answer)
        try:
            read_answer(answer.text)
            return answer, used
        except ValueError as error:
            problem = f"{error} (cut at {endpoint.max_tokens} tokens)" if answer.truncated else str(error)
            conversation = [*messages, *prompt.retry_messages(answer.text, str(error))]
    return f"{MAX_ATTEMPTS} answers could not be used; the last: {problem}", used


def _verdict(prediction: Prediction, found: JudgeAnswer | str, cached: bool) -> Verdict:
    if isinstance(found, str):
        return Verdict(prediction.id, prediction.role, {}, {}, found)
    ratings = read_answer(found.text)
    return Verdict(prediction.id, prediction.role, ratings.scores, ratings.reasons, cached=cached)


def _facts(
    endpoint: JudgeEndpoint,
    prompts_by_language: Mapping[str, Any],
    new_usage: JudgeUsage,
    cached_usage: JudgeUsage,
    prices: tuple[float, float] | None,
) -> dict[str, Any]:
    return {
        "model": endpoint.model,
        "url": endpoint.url,
        "unit": "rating 1 to 5",
        "prompts": [prompts_by_language[language] for language in sorted(prompts_by_language)],
        **endpoint.parameters,
        "response_format": "json_object" if endpoint.json_object else "none: taken out of the text",
        "usage": asdict(new_usage),
        "usage_cached": asdict(cached_usage),
        "prices_per_million": list(prices) if prices else None,
        "cost": new_usage.cost(prices),
        "cost_with_cached": JudgeUsage.cost(_sum(new_usage, cached_usage), prices),
        "libraries": {"openai": metadata.version("openai")},
    }


def _sum(a: JudgeUsage, b: JudgeUsage) -> JudgeUsage:
    return JudgeUsage(**{name: value + asdict(b)[name] for name, value in asdict(a).items()})


def verdict_lines(result: JudgeResult) -> str:
    """The verdicts as JSON lines."""
    return "".join(strict_json.dumps(one, ensure_ascii=False) + "\n" for one in result.as_json())
