"""One engine shared by many threads: what a thread asks for joins the batch that is being decoded."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rolesum.errors import DataError, LengthError, Problem, UsageError
from rolesum.generation.engine import Decoding, Engine, FollowUpEngine, Generation, MakeFollowUp, OnText
from rolesum.generation.engines.collector import ResultCollector
from rolesum.instructions import Prompt

if TYPE_CHECKING:
    import torch

    from rolesum.generation.decoding.decoder import EncodedPrompt
    from rolesum.generation.decoding.follow_up import FollowUp, Reading
    from rolesum.generation.decoding.kept_prefix import KeptPrefix
    from rolesum.generation.decoding.scheduler import GenerationRequest, Scheduler
    from rolesum.generation.decoding.search import Completion, Hypothesis, OnToken
    from rolesum.models.prompt_model import PromptModel

# Prompts that an engine without continuous batching is given in one call.
MAX_GROUP_PROMPTS = 32
# Longer prompts are prefilled in chunks, between which the other texts are decoded.
CHUNKED_PREFILL_THRESHOLD = 2048


class RequestCanceled(Exception):
    """The request was canceled, or the engine was closed."""


@runtime_checkable
class ContinuousBatchingEngine(Engine, Protocol):
    """An engine whose scheduler takes new prompts while others are decoded."""

    def new_scheduler(
        self, on_token: "OnToken | None" = None, chunked_prefill_threshold: float = inf
    ) -> "Scheduler": ...

    def make_request(
        self,
        index: int,
        prompt: Prompt,
        decoding: Decoding,
        low_priority: bool = False,
        follow_up: "FollowUp | None" = None,
        kept: "KeptPrefix | None" = None,
    ) -> "GenerationRequest": ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def to_generation(self, completion: "Completion") -> Generation: ...


class _Request:
    """One call of EngineClient.generate: its prompts, and what has been generated for them."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
        low_priority: bool = False,
        follow_up: MakeFollowUp | None = None,
        kept: "KeptPrefix | None" = None,
    ) -> None:
        self.kept = kept
        self.prompts, self.decoding, self.low_priority, self.follow_up = prompts, decoding, low_priority, follow_up
        self.collector = ResultCollector(prompts, on_done, on_text)
        self.scheduled: Sequence[GenerationRequest] = ()
        self.finished = threading.Event()
        self.failure: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        if not self.finished.is_set():
            self.failure = error
            self.finished.set()

    def add(self, prompt: int, branch: int, generation: Generation) -> None:
        """Keep a finished text; with the last one the request is finished."""
        self.collector.add(prompt, branch, generation)
        if self.collector.is_complete:
            self.finished.set()

    def results(self) -> list[list[Generation]]:
        """Wait for the end. Raises what the engine raised, or RequestCanceled."""
        self.finished.wait()
        if self.failure:
            raise self.failure
        return self.collector.results()


class _GuardedFollowUp:
    """A FollowUp of a request, in the engine's thread: an error in it ends its own request only."""

    def __init__(self, follow_up: "FollowUp", request: _Request, tokenizer_lock: threading.Lock) -> None:
        self.answer_ids = follow_up.answer_ids
        self._follow_up, self._request, self._tokenizer_lock = follow_up, request, tokenizer_lock

    def questions(self, prompt: "EncodedPrompt", texts: Sequence[Sequence[int]]) -> list[list[int]]:
        try:
            with self._tokenizer_lock:
                return self._follow_up.questions(prompt, texts)
        except Exception as error:
            self._request.fail(error)
            return []

    def add_answers(self, logits: Sequence[Sequence[float]]) -> None:
        if not self._request.finished.is_set():
            self._follow_up.add_answers(logits)

    def reading(self) -> "Reading | None":
        try:
            with self._tokenizer_lock:
                return None if self._request.finished.is_set() else self._follow_up.reading()
        except Exception as error:
            self._request.fail(error)
            return None

    def add_hidden_states(self, hidden: "torch.Tensor") -> None:
        try:
            if not self._request.finished.is_set():
                self._follow_up.add_hidden_states(hidden)
        except Exception as error:
            self._request.fail(error)


class EngineClient(FollowUpEngine):
    """The Engine that one thread uses to share an AsyncEngine; its requests can be canceled from another thread.

    With `kept`, the prefix of a prompt that is generated alone goes on from the one before it: see KeptPrefix.
    """

    def __init__(self, shared: "AsyncEngine", low_priority: bool = False) -> None:
        """Requests of `low_priority` let the others go first; see GenerationRequest."""
        engine = shared.engine
        self.name, self.layout, self.features = engine.name, engine.layout, engine.features
        self.shared, self._low_priority = shared, low_priority
        self.kept: KeptPrefix | None = None
        self._requests, self._canceled = list[_Request](), False
        self._lock = threading.Lock()

    @property
    def text_model(self) -> "PromptModel | None":
        return self.shared.engine.text_model

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
        follow_up: MakeFollowUp | None = None,
    ) -> list[list[Generation]]:
        """As FollowUpEngine.generate. Raises RequestCanceled once the client was canceled.

        A follow-up works in the engine's thread, where it must not use this client.
        """
        if follow_up and not self.features.follow_ups:
            what = f"the engine {self.name} takes no questions about the texts that it has generated"
            raise UsageError(what, fix="use --engine transformers")
        kept = self.kept if len(prompts) == 1 else None
        request = _Request(prompts, decoding, on_done, on_text, self._low_priority, follow_up, kept)
        with self._lock:
            if self._canceled:
                raise RequestCanceled
            self._requests.append(request)
        try:
            if not prompts:
                return []
            self.shared.submit(request)
            return request.results()
        finally:
            with self._lock:
                self._requests.remove(request)

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        return self.shared.fits(prompt, max_new_tokens)

    def cancel(self) -> None:
        """Cancel all requests of this client, from any thread, and free their rows; it takes no others."""
        with self._lock:
            self._canceled = True
            for request in self._requests:
                request.fail(RequestCanceled())
        self.shared.wake()

    def close(self) -> None:
        self.cancel()


class AsyncEngine:
    """An engine and the thread that runs it. Each client gets the texts that it would get alone."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._arrived: deque[_Request] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self.tokenizer_lock = threading.Lock()  # tokenizers are not thread-safe
        self._numbers = itertools.count()
        self._running: dict[int, tuple[_Request, int]] = {}  # a prompt's number -> its request, its place there
        self.num_rows = 0  # rows that are being decoded
        self._thread = threading.Thread(target=self._run, name="rolesum-engine", daemon=True)
        self._thread.start()

    def client(self, low_priority: bool = False) -> EngineClient:
        return EngineClient(self, low_priority)

    def new_kept_prefix(self) -> "KeptPrefix | None":
        """What keeps the keys of a dialogue that grows, for EngineClient.kept; None if the engine keeps none."""
        if not isinstance(self.engine, ContinuousBatchingEngine):
            return None
        from rolesum.generation.decoding.kept_prefix import KeptPrefix  # here: it imports torch

        return KeptPrefix()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread once no request waits or runs, and close the engine."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self.engine.close()

    def submit(self, request: _Request) -> None:
        """Queue a request. Raises LengthError for prompts that do not fit, RequestCanceled after `close`."""
        if isinstance(self.engine, ContinuousBatchingEngine):
            problems, scheduled = list[Problem](), []
            for place, prompt in enumerate(request.prompts):
                try:
                    with self.tokenizer_lock:
                        scheduled.append(self._make_request(self.engine, request, place, prompt))
                except LengthError as error:
                    problems += error.problems
            if problems:
                raise LengthError(problems)
            request.scheduled = scheduled
        with self._wake:
            if self._closing or not self.alive:
                raise RequestCanceled
            self._arrived.append(request)
            self._wake.notify()

    def _make_request(
        self, engine: ContinuousBatchingEngine, request: _Request, place: int, prompt: Prompt
    ) -> "GenerationRequest":
        further = None
        if request.follow_up:
            further = _GuardedFollowUp(request.follow_up(place, prompt), request, self.tokenizer_lock)
        return engine.make_request(
            next(self._numbers), prompt, request.decoding, request.low_priority, further, request.kept
        )

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        with self.tokenizer_lock:
            return self.engine.fits(prompt, max_new_tokens)

    def wake(self) -> None:
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        try:
            if isinstance(self.engine, ContinuousBatchingEngine):
                self._run_scheduler(self.engine)
            else:
                self._run_groups()
        finally:
            with self._wake:
                self._closing = True
                left = [*self._arrived, *(request for request, _ in self._running.values())]
            for request in left:
                request.fail(RequestCanceled())

    def _arrivals(self, wait: bool) -> list[_Request] | None:
        """The requests that have arrived; with `wait`, at least one, or None when the engine is closed."""
        with self._wake:
            while wait and not self._arrived:
                if self._closing:
                    return None
                self._wake.wait()
            found = list(self._arrived)
            self._arrived.clear()
            return found

    # Engines with continuous batching

    def _run_scheduler(self, engine: ContinuousBatchingEngine) -> None:
        running = self._running

        def on_token(hypothesis: "Hypothesis") -> None:
            request, number = running[hypothesis.key[0]]
            if request.collector.on_text and not request.finished.is_set():
                request.collector.update(number, hypothesis.key[1], engine.decode(hypothesis.ids))

        scheduler = engine.new_scheduler(on_token, CHUNKED_PREFILL_THRESHOLD)
        while (arrived := self._arrivals(wait=not scheduler.busy)) is not None:
            for request in arrived:
                running.update({one.prompt.index: (request, number) for number, one in enumerate(request.scheduled)})
            canceled = [index for index, (request, _) in running.items() if request.finished.is_set()]
            try:
                for request in arrived:
                    scheduler.add(request.scheduled)
                scheduler.cancel(canceled)
                for index in canceled:
                    del running[index]
                for completion in scheduler.step():
                    self._complete(engine, completion)
            except Exception as error:
                for request, _ in running.values():
                    request.fail(error)
                running.clear()
                scheduler = engine.new_scheduler(on_token, CHUNKED_PREFILL_THRESHOLD)
            self.num_rows = scheduler.num_rows

    def _complete(self, engine: ContinuousBatchingEngine, completion: "Completion") -> None:
        index, branch = completion.hypothesis.key
        request, number = self._running[index]
        generation = engine.to_generation(completion)
        request.collector.update(number, branch, generation.text)
        request.add(number, branch, generation)
        if request.collector.has_all_of(number):
            del self._running[index]

    # Engines without continuous batching

    def _run_groups(self) -> None:
        waiting: deque[_Request] = deque()
        while (arrived := self._arrivals(wait=not waiting)) is not None:
            waiting.extend(arrived)
            group, prompts = list[_Request](), 0
            for request in list(waiting):
                fits = prompts + len(request.prompts) <= MAX_GROUP_PROMPTS
                if request.finished.is_set():
                    waiting.remove(request)
                elif not group or (request.decoding == group[0].decoding and fits):
                    waiting.remove(request)
                    group.append(request)
                    prompts += len(request.prompts)
            if group:
                self._generate_group(group)

    def _generate_group(self, group: Sequence[_Request]) -> None:
        """Generate the texts of several requests; one by one where the engine refuses a prompt of one of them."""
        places = [(request, number) for request in group for number in range(len(request.prompts))]

        def on_text(index: int, branch: int, added: str) -> None:
            request, number = places[index]
            if request.collector.on_text and not request.finished.is_set():
                request.collector.on_text(number, branch, added)

        streams = any(request.collector.on_text for request in group)
        self.num_rows = sum(len(request.prompts[number].branches) for request, number in places)
        try:
            prompts = [request.prompts[number] for request, number in places]
            made = self.engine.generate(prompts, group[0].decoding, on_text=on_text if streams else None)
        except Exception as error:
            if isinstance(error, DataError) and len(group) > 1:
                for request in group:
                    self._generate_group([request])
                return
            for request in group:
                request.fail(error)
            return
        finally:
            self.num_rows = 0
        for (request, number), texts in zip(places, made, strict=True):
            for branch, text in enumerate(texts):
                request.add(number, branch, text)
