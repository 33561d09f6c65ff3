"""The Summarizer: an engine and all options that decide its summaries."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from rolesum.console import DIALOGUES_BEFORE_ETA, log, progress_bar
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, ExtractedFields, RoleSummary
from rolesum.errors import UsageError
from rolesum.formats.python_values import DialogueValue, is_dialogue
from rolesum.generation.arguments import SUMMARY_ARGUMENTS, ModelArguments, SummaryArguments, check_arguments
from rolesum.generation.async_engine import AsyncEngine
from rolesum.generation.engine import Engine, OnText
from rolesum.generation.extraction import extract_fields, with_evidence
from rolesum.generation.factory import EngineSpec
from rolesum.generation.guess_notes import note_other_languages, note_untrained_roles
from rolesum.generation.live import LiveDialogue
from rolesum.generation.long_dialogues.runner import OnPart
from rolesum.generation.long_dialogues.strategies import part_note, summarize
from rolesum.generation.quoting import REWRITES, Rewrite
from rolesum.generation.rerank import Reranker, get_reranker
from rolesum.generation.role_config import load_role_config
from rolesum.generation.summarizer_call import SummarizerCall
from rolesum.generation.summarizer_config import SummarizerConfig
from rolesum.generation.summary_stream import SummaryStream
from rolesum.generation.support import (
    MARKED,
    QUOTED,
    SupportFinder,
    add_evidence,
    add_statements,
    choose_mode,
    open_verifier,
    support_reranker,
)
from rolesum.instructions import FieldSchema, load_fields
from rolesum.models.adapter_metadata import adapter_directory, verify_threshold
from rolesum.redaction import Redacted, RestoringText, redact, restore_summaries
from rolesum.roles import OVERALL, WHOLE_DIALOGUE, default_roles

if TYPE_CHECKING:
    from rolesum.generation.decoding.kept_prefix import KeptPrefix

DIALOGUES_AT_ONCE = 64  # that a call reads of an iterator before it summarizes them together
CONCURRENT_CALLS = 64  # of `acall`: their summaries are generated in one batch


class Summarizer:
    """Summarizes dialogues for each of their roles, with one engine and one configuration.

    The command line, the HTTP service and batch runs are built on this class: they give it a SummarizerConfig and call
    `summarize`. Python users make one with `from_pretrained` and call it:

        summarizer = Summarizer.from_pretrained()
        for summary in summarizer("Customer: My parcel is late.\\nAgent: I will check."):
            print(summary.role, summary.text)

    It may be called from several threads and coroutines at once: their summaries are generated in one batch. `close`,
    or the end of a `with` block, frees the model.

    Attributes:
        config: The configuration.
        engine: The engine.
        verify: What becomes of the statements: off, flag, quote, drop or rerank.
    """

    def __init__(self, config: SummarizerConfig | None = None, engine: Engine | None = None) -> None:
        """Loads the engine of the configuration, unless one is given.

        Raises as EngineSpec.open does, and UsageError where statements are to be verified and cannot be.
        """
        config = config or SummarizerConfig()
        self._verify_asked = config.verify
        self.config = config = config if engine else config.resolved()
        self.engine = engine or config.spec.open()
        self._verifier = None if config.verify == "off" else open_verifier(self.engine)
        self.verify = choose_mode(config.verify, config.support_threshold, self._verifier is not None)
        self._lock = threading.Lock()
        self._shared: AsyncEngine | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    @classmethod
    def from_pretrained(cls, adapter: str | Path | None = None, **arguments: Unpack[ModelArguments]) -> Self:
        """Load an adapter on its base, as the command `rolesum summarize` does.

        Args:
            adapter: The directory of a run or of an adapter, or the name of a bundled adapter. Without it and without a
                `model`, the bundled adapter rolesum-en-zh.
            arguments: The model and the engine, see ModelArguments, and what the calls do unless they say otherwise,
                see SummaryArguments.

        Raises UsageError for wrong or contradicting arguments, before anything is loaded; ModelError for a model or an
        adapter that is missing or broken; ResourceError for one that cannot be fetched, and for a missing device.
        """
        if adapter is not None and not isinstance(adapter, str | Path):
            raise UsageError(f"adapter is {adapter!r:.60}, not str | Path | None", fix="see docs/python.md")
        check_arguments(arguments, ModelArguments)
        given: dict[str, Any] = {name: value for name, value in arguments.items() if value is not None}
        calls: Any = {name: given.pop(name) for name in SUMMARY_ARGUMENTS if name in given}
        recipe = given.pop("recipe", None)
        engine = given.pop("engine", "openai" if "url" in given else "llamacpp" if "gguf" in given else "transformers")
        for name, kind in (("model", str), ("gguf", Path)):
            if name in given:
                given[name] = kind(given[name])
        folder = adapter_directory(adapter) if adapter is not None else None
        spec = EngineSpec(engine, adapter=folder, language=calls.get("language"), **given)
        roles = load_role_config(spec.adapter, str(recipe) if recipe else None)
        spec = replace(spec, definitions=roles.definitions, sections=roles.sections)
        config = SummarizerConfig(spec, long_dialogues=roles.long_dialogues or "refuse", aliases=roles.aliases)
        return cls(config.with_arguments(**calls))

    @overload
    def __call__(
        self,
        dialogues: DialogueValue,
        *,
        speakers: Mapping[str, str] | None = None,
        **arguments: Unpack[SummaryArguments],
    ) -> list[RoleSummary]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a list is an Iterable too, and the first that fits counts
        self,
        dialogues: list[Any] | tuple[Any, ...],
        *,
        speakers: Mapping[str, str] | None = None,
        **arguments: Unpack[SummaryArguments],
    ) -> list[list[RoleSummary]]: ...

    @overload
    def __call__(
        self,
        dialogues: Iterable[Any],
        *,
        speakers: Mapping[str, str] | None = None,
        **arguments: Unpack[SummaryArguments],
    ) -> Iterator[list[RoleSummary]]: ...

    def __call__(
        self, dialogues: Any, *, speakers: Mapping[str, str] | None = None, **arguments: Unpack[SummaryArguments]
    ) -> list[RoleSummary] | list[list[RoleSummary]] | Iterator[list[RoleSummary]]:
        """Summarize one dialogue, or many.

        Args:
            dialogues: A dialogue: a text of "Speaker: text" lines or any other text that rolesum reads, a Dialogue, a
                dict of {id, turns} (docs/formats.md), or a list of (speaker, text). Or many of them.
            speakers: Speaker's label -> role, for labels that name no role: {"Anna": "user", "Tom": "agent"}.
            arguments: See SummaryArguments; the others are those of `from_pretrained`.

        Returns:
            For one dialogue a list of RoleSummary, one for each role. For a list or a tuple of dialogues a list of such
            lists. For any other iterable an iterator of such lists, which reads DIALOGUES_AT_ONCE dialogues at a time.

        Raises UsageError for a wrong argument or value, DataError for a dialogue that is broken, that lacks the speaker
        of a role or does not fit the model, ModelError for one in a language that the model does not support.
        """
        task = self._task(speakers, arguments)
        if is_dialogue(dialogues):
            return task.one(dialogues)
        if isinstance(dialogues, list | tuple):
            return [found for part in task.parts(dialogues, len(dialogues)) for found in part]
        if not isinstance(dialogues, Iterable) or isinstance(dialogues, bytes):
            return task.one(dialogues)  # it is none, and the error says so
        return (found for part in task.parts(dialogues, DIALOGUES_AT_ONCE) for found in part)

    async def acall(
        self, dialogues: Any, *, speakers: Mapping[str, str] | None = None, **arguments: Unpack[SummaryArguments]
    ) -> Any:
        """Summarize one dialogue, or a list of them, without blocking the event loop: `await summarizer.acall(chat)`.

        As calling the summarizer; coroutines that wait at the same time share a batch. A coroutine that is canceled
        frees its place in the batch.
        """
        task = self._task(speakers, arguments)
        with self._lock:
            self._threads = self._threads or ThreadPoolExecutor(CONCURRENT_CALLS, "rolesum-call")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, task.any, dialogues)
        except asyncio.CancelledError:
            task.client.cancel()
            raise

    def stream(
        self, dialogue: Any, *, speakers: Mapping[str, str] | None = None, **arguments: Unpack[SummaryArguments]
    ) -> SummaryStream:
        """Summarize one dialogue and give the text as it is generated: `for role, text in summarizer.stream(chat)`.

        Args:
            dialogue: One dialogue, in any form that a call takes.
            speakers: As of a call.
            arguments: As of a call.

        Returns:
            A SummaryStream: an iterator, for `for` and `async for`, of the role and what is added to its text. The
            roles are generated side by side. Its `summaries` are complete at the end. Unless `verify` says otherwise,
            doubtful statements are marked: quotes in their place are known only at the end.

        Raises as a call does: for the dialogue and the arguments at once, for what the engine finds while it iterates.
        """
        task = self._task(speakers, self._marking_by_default(arguments))
        found = task.read(dialogue)
        roles = task.summarizer.roles_for(found)
        return SummaryStream(
            roles, lambda on_text: task.summarizer.summarize([found], on_text=on_text)[0], task.client.cancel
        )

    @overload
    def extract(
        self,
        dialogues: DialogueValue,
        schema: str | Path | Mapping[str, Any],
        *,
        speakers: Mapping[str, str] | None = None,
        **arguments: Unpack[SummaryArguments],
    ) -> ExtractedFields: ...

    @overload
    def extract(
        self,
        dialogues: list[Any] | tuple[Any, ...],
        schema: str | Path | Mapping[str, Any],
        *,
        speakers: Mapping[str, str] | None = None,
        **arguments: Unpack[SummaryArguments],
    ) -> list[ExtractedFields]: ...

    def extract(
        self,
        dialogues: Any,
        schema: str | Path | Mapping[str, Any],
        *,
        speakers: Mapping[str, str] | None = None,
        **arguments: Unpack[SummaryArguments],
    ) -> ExtractedFields | list[ExtractedFields]:
        """Fill in the fields of a JSON schema from one dialogue, or from each of a list.

        Args:
            dialogues: As of a call.
            schema: A preset ("call-outcome"), a JSON or YAML file with a JSON schema, or the schema itself.
            speakers: As of a call.
            arguments: As of a call; `max_new_tokens` is 512 unless it is given here or to `from_pretrained`.

        Returns:
            For one dialogue ExtractedFields, for a list or a tuple a list of them. Where the answer was cut off by
            the limit of tokens, its `fields` are None, and its `problem` says so.

        Raises as a call does, and UsageError for a schema to which an answer cannot be held, with the place in it, and
        for arguments that fields cannot have: roles, sections, samples, beams.
        """
        task = self._task(speakers, self._marking_by_default(arguments), fields=load_fields(schema))
        if is_dialogue(dialogues) or not isinstance(dialogues, list | tuple):
            return task.fields([task.read(dialogues)])[0]
        return task.fields([task.read(value, number) for number, value in enumerate(dialogues, 1)])

    def live(self, *, speakers: Mapping[str, str] | None = None, identity: str = "dialogue") -> LiveDialogue:
        """A dialogue that grows and is summarized at any moment; each summary computes only the tokens that are new.

        Args:
            speakers: As of a call.
            identity: The dialogue's id, on which sampled texts depend.

        With an engine other than transformers, each summary computes the whole dialogue.
        """

        def run(dialogue: Dialogue, arguments: SummaryArguments, kept: "KeptPrefix | None") -> list[RoleSummary]:
            return self._task(speakers, arguments, kept=kept).one(dialogue)

        kept = self._task(speakers, {}).client.shared.new_kept_prefix()
        return LiveDialogue(run, kept, identity, speakers or {}, self.config.aliases)

    def close(self) -> None:
        """Free the model, once what is running has ended. The summarizer cannot be called afterwards."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        (self._shared or self.engine).close()
        if self._threads:
            self._threads.shutdown(wait=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def quotes_by_default(self) -> bool:
        """Whether doubtful statements are quoted because nothing was asked for."""
        return self._verify_asked is None and self.verify == QUOTED

    def _marking_by_default(self, arguments: SummaryArguments) -> SummaryArguments:
        """The arguments of a call whose doubtful statements are marked, not quoted, unless quotes were asked for."""
        if self.quotes_by_default and arguments.get("verify") is None:
            return {**arguments, "verify": MARKED}
        return arguments

    def _task(
        self,
        speakers: Mapping[str, str] | None,
        arguments: SummaryArguments,
        *,
        fields: FieldSchema | None = None,
        kept: "KeptPrefix | None" = None,
    ) -> SummarizerCall:
        """What a call does, with the keys that are `kept` of its dialogue. Raises UsageError for its arguments."""
        if speakers is not None and not isinstance(speakers, Mapping):
            fix = 'map labels to roles: {"Anna": "user"}'
            raise UsageError(f"speakers is {speakers!r:.60}, not Mapping[str, str]", fix=fix)
        config = self.config.with_arguments(**arguments)
        if fields is not None:
            config = config.with_fields(fields, arguments)
        with self._lock:
            if self._closed:
                raise UsageError("the summarizer is closed", fix="make another one with Summarizer.from_pretrained")
            if self._shared is None:
                self._shared = AsyncEngine(self.engine)
            client = self._shared.client()
        client.layout, client.kept = replace(client.layout, **config.layout_changes), kept
        return SummarizerCall(Summarizer(config, client), client, speakers or {})

    def keeping_prefix(self) -> "Summarizer":
        """A Summarizer of this configuration for the moments of one dialogue: each computes what is new since the last.

        It shares the engine of this one, which must not be called by itself meanwhile but by `__call__` and `stream`.
        """
        task = self._task(None, {})
        task.client.kept = task.client.shared.new_kept_prefix()
        return task.summarizer

    def roles_for(self, dialogue: Dialogue) -> tuple[str, ...]:
        """The roles that a dialogue is summarized for."""
        if self.config.roles:
            return tuple(self.config.roles)
        if sections := self.engine.layout.sections:
            return sections.names_for(dialogue)
        model = self.engine.text_model
        trained = model.metadata.get("roles") if model else None
        own = default_roles(dialogue)
        if not trained:
            return own
        whole = next((role for role in WHOLE_DIALOGUE if role in trained), OVERALL)
        return tuple(role for role in own if role in trained) or (whole,)

    @property
    def support_threshold(self) -> float:
        """The support under which a statement of a summary is doubtful, where statements are verified.

        Raises ModelError where the adapter's is no number.
        """
        if self.config.support_threshold is None and self._verifier:
            return self._verifier.summary_threshold
        return self._answer_threshold

    @property
    def _answer_threshold(self) -> float:
        """The support by the model's answer alone, under which the value of a field is doubtful."""
        if self.config.support_threshold is not None:
            return self.config.support_threshold
        model = self.engine.text_model
        return verify_threshold(model.metadata if model else {})

    def describe_verification(self) -> dict[str, Any]:
        """What becomes of the statements, the threshold and the model that verifies them; empty where none is."""
        if self._verifier is None:
            return {}
        return {"mode": self.verify, "threshold": self.support_threshold, **self._verifier.describe()}

    def summarize(
        self,
        dialogues: Sequence[Dialogue],
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
        roles: Sequence[Sequence[str]] | None = None,
        on_part: OnPart | None = None,
    ) -> list[list[RoleSummary]]:
        """The summaries of each dialogue, one for each of its `roles`, by default those of `roles_for`.

        `on_done`, `on_text` and `on_part` are called as by the function `summarize`. Raises as it does, and ModelError.
        """
        if model := self.engine.text_model:
            model.check_languages(list(dialogues))
        config = self.config
        masked = [self._redacted(one) for one in dialogues] if config.redact else []
        chosen = [self.roles_for(one) for one in dialogues] if roles is None else roles
        note_untrained_roles(self.engine, (role for own in chosen for role in own))
        note_other_languages(self.engine, dialogues)
        verify = MARKED if on_text and config.verify is None and self.verify == QUOTED else self.verify
        if verify in REWRITES:
            on_text = None  # it would show statements that are then left out
        shown = [one.dialogue for one in masked] or dialogues
        finder = SupportFinder(self._verifier, reads_turns=verify == QUOTED) if self._verifier else None
        found = summarize(
            shown,
            self.engine,
            chosen,
            config.decoding,
            long_dialogues=config.long_dialogues,
            samples=config.samples,
            reranker=self._reranker(finder),
            follow_up=finder.follow_up if finder else None,
            on_done=on_done,
            on_part=on_part,
            on_text=_restoring(on_text, masked) if on_text and masked else on_text,
        )
        if finder:
            found = self._with_statements(finder, found, shown, dialogues, masked, REWRITES.get(verify))
        if not masked:
            return found
        restored, left = restore_summaries(found, masked)
        if left:
            log(f"the model made up {counted(left, 'placeholder')} in the summaries: there is no value to put there")
        return restored

    def extract_fields(
        self, dialogues: Sequence[Dialogue], on_done: Callable[[int], None] | None = None
    ) -> list[ExtractedFields]:
        """The fields of each dialogue, by the schema of the configuration, with what supports their values.

        Raises as the function `extract_fields`, and ModelError.
        """
        config, schema = self.config, self.config.fields
        assert schema is not None
        if model := self.engine.text_model:
            model.check_languages(list(dialogues))
        note_other_languages(self.engine, dialogues)
        masked = [self._redacted(one) for one in dialogues] if config.redact else []
        shown = [one.dialogue for one in masked] or dialogues
        long = config.long_dialogues
        found = extract_fields(shown, self.engine, schema, config.decoding, long_dialogues=long, on_done=on_done)
        finder = SupportFinder(self._verifier) if self._verifier else None
        threshold = self._answer_threshold if finder else 0.0
        return with_evidence(found, schema, self.engine, shown, dialogues, masked, finder, threshold)

    def _reranker(self, finder: SupportFinder | None) -> Reranker | None:
        if finder and self.verify == "rerank":
            return support_reranker(finder)
        return get_reranker(self.config.choose) if self.config.choose else None

    def _with_statements(
        self,
        finder: SupportFinder,
        summaries: Sequence[Sequence[RoleSummary]],
        shown: Sequence[Dialogue],
        dialogues: Sequence[Dialogue],
        masked: Sequence[Redacted],
        rewritten: Rewrite | None,
    ) -> list[list[RoleSummary]]:
        """The summaries, still redacted if the dialogues that the model was `shown` are, with what supports them.

        `rewritten` changes their texts by that.
        """
        verified = add_statements(summaries, shown, finder, self.support_threshold)
        found = [
            add_evidence(of_dialogue, dialogue, masked[number].put_back if masked else str)
            for number, (of_dialogue, dialogue) in enumerate(zip(verified, dialogues, strict=True))
        ]
        if rewritten is None:
            return found
        return [
            [rewritten(one, dialogue, finder.turn_readings.get(id(dialogue))) for one in of]
            for of, dialogue in zip(found, shown, strict=True)
        ]

    def _redacted(self, dialogue: Dialogue) -> Redacted:
        config = self.config
        return redact(dialogue, names=config.hidden_names, keep=config.speaker_labels, people=config.redact_people)


def _restoring(on_text: OnText, masked: Sequence[Redacted]) -> OnText:
    """Passes on texts with the redacted values restored; a placeholder is held back until it is complete."""
    texts: dict[tuple[int, int], RestoringText] = {}

    def pass_on(dialogue: int, role: int, added: str) -> None:
        restoring = texts.setdefault((dialogue, role), RestoringText(masked[dialogue]))
        if ready := restoring.add(added):
            on_text(dialogue, role, ready)

    return pass_on


def summarize_dialogues(dialogues: Sequence[Dialogue], config: SummarizerConfig) -> list[list[RoleSummary]]:
    """Load the model and summarize, with a progress bar."""
    summarizer = Summarizer(config)
    with progress_bar("summarize", len(dialogues), steps_before_eta=DIALOGUES_BEFORE_ETA) as bar:
        return summarizer.summarize(dialogues, on_done=bar.advance, on_part=lambda *parts: bar.show(part_note(*parts)))


def extract_from_dialogues(dialogues: Sequence[Dialogue], config: SummarizerConfig) -> list[ExtractedFields]:
    """Load the model and fill in the fields of the configuration, with a progress bar."""
    summarizer = Summarizer(config)
    with progress_bar("fields", len(dialogues), steps_before_eta=DIALOGUES_BEFORE_ETA) as bar:
        return summarizer.extract_fields(dialogues, on_done=bar.advance)
