"""One engine for many askers, each in a thread of its own: what is asked meanwhile joins what is being written."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rolesum.errors import DataError, Problem
from rolesum.generation.engine import Decoding, Engine, Generation, OnText
from rolesum.generation.engines.prompt_encoder import IncrementalDetokenizer
from rolesum.instructions import Prompt

if TYPE_CHECKING:
    from rolesum.generation.decoding.scheduler import GenerationRequest, Scheduler
    from rolesum.generation.decoding.search import Completion, Hypothesis, OnToken

# Prompts that an engine without live batches is given at once.
MAX_GROUP_PROMPTS = 32
# Tokens of a prompt that is read at once; a longer one is read in pieces, and lets the others go on.
CHUNKED_PREFILL_THRESHOLD = 2048


class RequestCanceled(Exception):
    """Nobody waits for the texts any more."""


@runtime_checkable
class ContinuousBatchingEngine(Engine, Protocol):
    """An engine whose batches take new prompts while others are being written."""

    def new_scheduler(
        self, on_token: "OnToken | None" = None, chunked_prefill_threshold: float = inf
    ) -> "Scheduler": ...

    def make_request(
        self, index: int, prompt: Prompt, decoding: Decoding, low_priority: bool = False
    ) -> "GenerationRequest": ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def to_generation(self, ended: "Completion") -> Generation: ...


@dataclass(eq=False)
class _Request:
    """One call of `generate`, and what has come of it."""

    prompts: Sequence[Prompt]
    decoding: Decoding
    on_done: Callable[[int], None] | None
    on_text: OnText | None
    wanted: "Sequence[GenerationRequest]" = ()
    texts: list[dict[int, Generation]] = field(default_factory=list)
    growing: dict[tuple[int, int], IncrementalDetokenizer] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    low_priority: bool = False
    failure: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        if not self.over.is_set():
            self.failure = error
            self.over.set()

    def tell(self, number: int, branch: int, whole: str) -> None:
        """Hand on what is new of a growing text."""
        if self.on_text and (added := self.growing.setdefault((number, branch), IncrementalDetokenizer()).new(whole)):
            self.on_text(number, branch, added)

    def keep(self, number: int, branch: int, made: Generation) -> None:
        """A text has ended; with the last of them the ask is over."""
        self.tell(number, branch, made.text)
        self.texts[number][branch] = made
        if len(self.texts[number]) < len(self.prompts[number].branches):
            return
        if self.on_done:
            self.on_done(1)
        if all(len(done) == len(one.branches) for done, one in zip(self.texts, self.prompts, strict=True)):
            self.over.set()


class EngineClient:
    """One asker's place at a shared engine: an Engine, and the way to leave it. The `patient` let others go first."""

    def __init__(self, shared: "AsyncEngine", low_priority: bool = False) -> None:
        self._patient = low_priority
        self._shared, self._asks, self._left = shared, list[_Request](), False
        self.name, self.layout = shared.engine.name, shared.engine.layout
        self._lock = threading.Lock()

    def generate(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[Generation]]:
        """As Engine.generate. Raises RequestCanceled once the client was canceled."""
        ask = _Request(prompts, decoding, on_done, on_text, texts=[{} for _ in prompts], low_priority=self._patient)
        with self._lock:
            if self._left:
                raise RequestCanceled
            self._asks.append(ask)
        try:
            if prompts:
                self._shared.submit(ask)
                ask.over.wait()
        finally:
            with self._lock:
                self._asks.remove(ask)
        if ask.failure:
            raise ask.failure
        return [[done[branch] for branch in sorted(done)] for done in ask.texts]

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        return self._shared.fits(prompt, max_new_tokens)

    def cancel(self) -> None:
        """From any thread: what is being written for this asker ends, and its rows are free for others."""
        with self._lock:
            self._left = True
            for ask in self._asks:
                ask.fail(RequestCanceled())
        self._shared.wake()

    @property
    def loaded(self) -> object:  # by which engines.side_of finds the model's text side
        return getattr(self._shared.engine, "loaded", None)

    @property
    def side(self) -> object:
        return getattr(self._shared.engine, "side", None)


class AsyncEngine:
    """An engine and the thread that runs it. Texts are those that the engine writes for each asker alone."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._arrived: deque[_Request] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self.tokenizer_lock = threading.Lock()  # a tokenizer is not made for several threads
        self._numbers = itertools.count()
        self._running: dict[
            int, tuple[_Request, int]
        ] = {}  # number of a prompt -> who asked for it, and its place there
        self.num_rows = 0  # texts that grow now
        self._thread = threading.Thread(target=self._run, name="rolesum-engine", daemon=True)
        self._thread.start()

    def client(self, low_priority: bool = False) -> EngineClient:
        return EngineClient(self, low_priority)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread once nothing waits and nothing runs."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def submit(self, ask: _Request) -> None:
        """Let an ask wait for the engine. Raises DataError for prompts that do not fit."""
        if isinstance(self.engine, ContinuousBatchingEngine):
            problems, wanted = list[Problem](), []
            for prompt in ask.prompts:
                try:
                    with self.tokenizer_lock:
                        wanted.append(
                            self.engine.make_request(next(self._numbers), prompt, ask.decoding, ask.low_priority)
                        )
                except DataError as error:
                    problems += error.problems
            if problems:
                raise DataError(problems)
            ask.wanted = wanted
        with self._wake:
            if self._closing or not self.alive:
                raise RequestCanceled
            self._arrived.append(ask)
            self._wake.notify()

    def fits(self, prompt: Prompt, max_new_tokens: int) -> bool:
        with self.tokenizer_lock:
            return self.engine.fits(prompt, max_new_tokens)

    def wake(self) -> None:
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        try:
            if isinstance(self.engine, ContinuousBatchingEngine):
                self._live(self.engine)
            else:
                self._by_groups()
        finally:
            with self._wake:
                self._closing = True
                left = [*self._arrived, *(ask for ask, _ in self._running.values())]
            for ask in left:
                ask.fail(RequestCanceled())

    def _arrivals(self, wait: bool) -> list[_Request] | None:
        """What has come since; with `wait`, at least something, or None at the end."""
        with self._wake:
            while wait and not self._arrived:
                if self._closing:
                    return None
                self._wake.wait()
            found = list(self._arrived)
            self._arrived.clear()
            return found

    # An engine with live batches

    def _live(self, engine: ContinuousBatchingEngine) -> None:
        running = self._running

        def told(text: "Hypothesis") -> None:
            ask, number = running[text.key[0]]
            if ask.on_text and not ask.over.is_set():
                ask.tell(number, text.key[1], engine.decode(text.ids))

        batch = engine.new_scheduler(told, CHUNKED_PREFILL_THRESHOLD)
        while (arrived := self._arrivals(wait=not batch.busy)) is not None:
            for ask in arrived:
                running.update({one.prompt.index: (ask, number) for number, one in enumerate(ask.wanted)})
            gone = [index for index, (ask, _) in running.items() if ask.over.is_set()]
            try:
                for ask in arrived:
                    batch.add(ask.wanted)
                batch.cancel(gone)
                for index in gone:
                    del running[index]
                self._keep(engine, batch.step(), running)
            except Exception as error:
                for ask, _ in running.values():
                    ask.fail(error)
                running.clear()
                batch = engine.new_scheduler(told, CHUNKED_PREFILL_THRESHOLD)
            self.num_rows = batch.num_rows

    def _keep(
        self, engine: ContinuousBatchingEngine, ended: "Sequence[Completion]", running: dict[int, tuple[_Request, int]]
    ) -> None:
        for one in ended:
            index, branch = one.hypothesis.key
            ask, number = running[index]
            ask.keep(number, branch, engine.to_generation(one))
            if len(ask.texts[number]) == len(ask.prompts[number].branches):
                del running[index]

    # An engine that takes prompts by groups

    def _by_groups(self) -> None:
        waiting: deque[_Request] = deque()
        while (arrived := self._arrivals(wait=not waiting)) is not None:
            waiting.extend(arrived)
            group, prompts = list[_Request](), 0
            for ask in list(waiting):
                if ask.over.is_set():
                    waiting.remove(ask)
                elif not group or (
                    ask.decoding == group[0].decoding and prompts + len(ask.prompts) <= MAX_GROUP_PROMPTS
                ):
                    waiting.remove(ask)
                    group.append(ask)
                    prompts += len(ask.prompts)
            if group:
                self._written(group)

    def _written(self, group: Sequence[_Request]) -> None:
        """Write for several askers; where one's prompts are refused, for each alone."""
        places = [(ask, number) for ask in group for number in range(len(ask.prompts))]

        def told(index: int, branch: int, added: str) -> None:
            ask, number = places[index]
            if ask.on_text and not ask.over.is_set():
                ask.on_text(number, branch, added)

        streams = any(ask.on_text for ask in group)
        self.num_rows = sum(len(ask.prompts[number].branches) for ask, number in places)
        try:
            prompts = [ask.prompts[number] for ask, number in places]
            made = self.engine.generate(prompts, group[0].decoding, on_text=told if streams else None)
        except Exception as error:
            if isinstance(error, DataError) and len(group) > 1:
                for ask in group:
                    self._written([ask])
                return
            for ask in group:
                ask.fail(error)
            return
        finally:
            self.num_rows = 0
        for (ask, number), texts in zip(places, made, strict=True):
            ask.on_text, on_text = None, ask.on_text  # it was told all by the engine
            for branch, text in enumerate(texts):
                ask.keep(number, branch, text)
            ask.on_text = on_text
