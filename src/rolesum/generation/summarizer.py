"""The Summarizer: an engine and all options that decide its summaries; and summaries as text or JSON."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolesum import strict_json
from rolesum.console import DIALOGUES_BEFORE_ETA, log, progress_bar
from rolesum.counts import counted
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import UsageError
from rolesum.generation.dropping import drop_doubtful
from rolesum.generation.engine import Decoding, Engine, OnText
from rolesum.generation.factory import EngineSpec
from rolesum.generation.long_dialogues.strategies import check_samples, check_strategy, summarize
from rolesum.generation.statement_notes import marked_text, statement_notes, statement_records
from rolesum.generation.support import (
    SupportFinder,
    add_evidence,
    add_statements,
    can_verify,
    check_verify_options,
    choose_mode,
    open_verifier,
    support_reranker,
)
from rolesum.instructions import SectionSet, load_sections
from rolesum.models.adapter_metadata import verify_threshold
from rolesum.recipe_loading import load_recipe
from rolesum.redaction import Redacted, RestoringText, redact, restore_summaries
from rolesum.roles import OVERALL, WHOLE_DIALOGUE, default_roles

if TYPE_CHECKING:
    from rolesum.generation.rerank import Reranker

_WARNED: set[tuple[str, str]] = set()  # adapter and role: a service has a Summarizer for every request


@dataclass(frozen=True)
class SummarizerConfig:
    """How dialogues are summarized: by which engine, for which roles, with which decoding and redaction.

    Without `roles`, each dialogue is summarized for its own roles among those that the adapter was trained for, or for
    the sections that are set. See `summarize` for `long_dialogues`, `samples` and `reranker`. With `redact`, the model
    sees placeholders: `hidden_names` are masked beside the speakers' names, `kept_labels` are speaker labels that are
    not names.

    `verify` says what becomes of the statements of a summary: "off" verifies none, "flag" gives each its support,
    "rerank" takes the sample whose lowest support is highest, "drop" leaves those under the threshold out (of that
    sample, where there are several and no `reranker`). None is
    flag where the adapter was trained to verify statements and the engine is transformers, else off. Without a
    `support_threshold`, the adapter's holds.
    """

    spec: EngineSpec = field(default_factory=EngineSpec)
    roles: Sequence[str] | None = None
    decoding: Decoding = field(default_factory=Decoding)
    long_dialogues: str = "refuse"
    samples: int = 1
    reranker: "Reranker | None" = None
    redact: bool = False
    hidden_names: tuple[str, ...] = ()
    kept_labels: tuple[str, ...] = ()
    verify: str | None = None
    support_threshold: float | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for options that exclude each other, before anything is loaded."""
        check_strategy(self.long_dialogues)
        check_verify_options(self.verify, self.support_threshold, self.spec.engine)
        if self.verify == "rerank" and self.reranker:
            raise UsageError("--verify rerank and --choose both choose a sample", fix="leave one of them out")
        by_support = self.verify == "rerank" or self.chooses_by_support
        check_samples(self.samples, self.decoding, has_choice=by_support or self.reranker is not None)
        if (by_support or self.reranker) and self.samples == 1:
            raise UsageError("there is nothing to choose among", fix="add --samples 4 --temperature 0.7")

    @property
    def chooses_by_support(self) -> bool:
        """Whether the best-supported of several samples is taken."""
        return self.samples > 1 and self.reranker is None and self.verify in ("rerank", "drop")

    def resolved(self) -> "SummarizerConfig":
        """The configuration with `verify` chosen, as far as the files of the model decide it before it is loaded.

        Raises UsageError where statements are to be verified and cannot be.
        """
        able = can_verify(self.spec)
        if able is None:
            return self
        mode = choose_mode(self.verify, self.support_threshold, able)
        return replace(self, verify=mode if able else None)  # "off" and None are one where nothing can be verified


class Summarizer:
    """Summarizes dialogues with one engine and one configuration.

    Attributes:
        config: The configuration.
        engine: The engine.
        verify: What becomes of the statements: off, flag, rerank or drop.
    """

    def __init__(self, config: SummarizerConfig, engine: Engine | None = None) -> None:
        """Loads the engine of the configuration, unless one is given.

        Raises as EngineSpec.open does, and UsageError where statements are to be verified and cannot be.
        """
        self.config = config = config if engine else config.resolved()
        self.engine = engine or config.spec.open()
        self._verifier = None if config.verify == "off" else open_verifier(self.engine)
        self.verify = choose_mode(config.verify, config.support_threshold, self._verifier is not None)

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
        """The support under which a statement is doubtful, where statements are verified.

        Raises ModelError where the adapter's is no number.
        """
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
    ) -> list[list[RoleSummary]]:
        """The summaries of each dialogue, one for each of its `roles`, by default those of `roles_for`.

        Raises as the function `summarize`, and ModelError.
        """
        if model := self.engine.text_model:
            model.check_languages(list(dialogues))
        config = self.config
        masked = [self._redacted(one) for one in dialogues] if config.redact else []
        chosen = [self.roles_for(one) for one in dialogues] if roles is None else roles
        self._warn_untrained(role for own in chosen for role in own)
        if self.verify == "drop":
            on_text = None  # it would show statements that are then left out
        shown = [one.dialogue for one in masked] or dialogues
        finder = SupportFinder(self._verifier) if self._verifier else None
        found = summarize(
            shown,
            self.engine,
            chosen,
            config.decoding,
            long_dialogues=config.long_dialogues,
            samples=config.samples,
            reranker=support_reranker(finder) if finder and config.chooses_by_support else config.reranker,
            follow_up=finder.follow_up if finder else None,
            on_done=on_done,
            on_text=_restoring(on_text, masked) if on_text and masked else on_text,
        )
        if finder:
            found = self._with_statements(finder, found, shown, dialogues, masked)
        if not masked:
            return found
        restored, left = restore_summaries(found, masked)
        if left:
            log(f"the model made up {counted(left, 'placeholder')} in the summaries: there is no value to put there")
        return restored

    def _with_statements(
        self,
        finder: SupportFinder,
        summaries: Sequence[Sequence[RoleSummary]],
        shown: Sequence[Dialogue],
        dialogues: Sequence[Dialogue],
        masked: Sequence[Redacted],
    ) -> list[list[RoleSummary]]:
        """The summaries, still redacted if the dialogues that the model was `shown` are, with what supports them."""
        verified = add_statements(summaries, shown, finder, self.support_threshold)
        found = [
            add_evidence(of_dialogue, dialogue, masked[number].put_back if masked else str)
            for number, (of_dialogue, dialogue) in enumerate(zip(verified, dialogues, strict=True))
        ]
        if self.verify != "drop":
            return found
        return [
            [drop_doubtful(one, dialogue.language) for one in of] for of, dialogue in zip(found, shown, strict=True)
        ]

    def _warn_untrained(self, roles: Iterable[str]) -> None:
        """Log the roles that the adapter was not trained for, each once in a process: their summaries are guesses."""
        model = self.engine.text_model
        trained = model.metadata.get("roles") if model else None
        if model is None or trained is None:
            return
        name = model.metadata.get("recipe") or model.name
        untrained = [role for role in dict.fromkeys(roles) if role not in trained]
        if new := [role for role in untrained if (name, role) not in _WARNED]:
            _WARNED.update((name, role) for role in new)
            task = f"trained for {', '.join(trained)}" if trained else "not trained to summarize"
            log(f"{name} was {task}: what it writes for {', '.join(new)} is a guess")

    def _redacted(self, dialogue: Dialogue) -> Redacted:
        return redact(dialogue, names=self.config.hidden_names, keep=self.config.kept_labels)


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
        return summarizer.summarize(dialogues, on_done=bar.advance)


@dataclass(frozen=True, slots=True)
class RoleConfig:
    """What an adapter, a recipe or a set of sections declares: custom roles, sections, a long-dialogue strategy."""

    aliases: Mapping[str, Sequence[str]]
    definitions: Mapping[str, str]
    sections: SectionSet | None = None
    long_dialogues: str | None = None


def load_role_config(adapter: Path | None, recipe: str | None, sections: str | None = None) -> RoleConfig:
    """The custom roles that an adapter was trained for, with those that a recipe or a set of sections declares."""
    aliases: dict[str, Sequence[str]] = {}
    definitions: dict[str, str] = {}
    chosen: SectionSet | None = None
    long_dialogues = None
    if adapter is not None:
        from rolesum.models.adapter_metadata import custom_sections, read_adapter_metadata

        note = read_adapter_metadata(adapter)
        aliases |= note.get("aliases", {})
        definitions |= note.get("definitions", {})
        chosen = custom_sections(note)
    if recipe is not None:
        loaded = load_recipe(recipe)
        aliases |= loaded.aliases
        definitions |= loaded.definitions
        chosen, long_dialogues = loaded.section_set or chosen, loaded.long_dialogues
    if sections is not None:
        chosen = load_sections(sections)
        aliases |= chosen.aliases
    return RoleConfig(aliases, definitions, chosen, long_dialogues)


def format_blocks(summaries: Sequence[Sequence[RoleSummary]], *, styled: bool = False) -> str:
    """One block per role, each headed by its role; several dialogues are headed by their ids.

    Doubtful statements are marked, and dim where the text is `styled` for a terminal.
    """
    blocks = []
    for of_dialogue in summaries:
        if len(summaries) > 1:
            blocks.append(f"# {of_dialogue[0].dialogue_id}")
        blocks += [
            f"{block_heading(one.role)}{marked_text(one, styled=styled)}{block_notes(one)}" for one in of_dialogue
        ]
    return "\n\n".join(blocks) + "\n"


def block_heading(role: str) -> str:
    return f"[{role}]\n"


def block_notes(summary: RoleSummary, *, quoted: bool = False) -> str:
    """The notes after a text: that the limit cut it off, how much was read, what the dialogue may not say.

    `quoted` is for a text that was shown without marks: its doubtful statements are named.
    """
    notes = " […cut by --max-new-tokens]" if summary.finish_reason == "length" else ""
    if (seen := summary.coverage) is not None:
        chunks = f", {seen.chunks} chunks" if seen.chunks > 1 else ""
        notes += f"\n({seen.strategy}: {seen.read} of {seen.turns} turns read{chunks})"
    return notes + "".join(f"\n{note}" for note in statement_notes(summary, quoted=quoted))


def format_json_lines(summaries: Sequence[Sequence[RoleSummary]]) -> str:
    """One line per dialogue, in input order; see summary_record."""
    return "".join(strict_json.dumps(summary_record(one), ensure_ascii=False) + "\n" for one in summaries)


def summary_record(summaries: Sequence[RoleSummary]) -> dict[str, Any]:
    """The JSON record of a dialogue: id, summaries by role, roles that the limit cut off, statements, statistics."""
    value: dict[str, Any] = {"id": summaries[0].dialogue_id, "summaries": {one.role: one.text for one in summaries}}
    if truncated := [one.role for one in summaries if one.finish_reason == "length"]:
        value["truncated"] = truncated
    value |= statement_records(summaries)
    value["stats"] = {one.role: _stats(one) for one in summaries}
    return value


def _stats(one: RoleSummary) -> dict[str, Any]:
    stats: dict[str, Any] = {"tokens": one.tokens, "finish_reason": one.finish_reason}
    if one.mean_logprob is not None:
        stats["mean_logprob"] = round(one.mean_logprob, 6)
    if one.lowest_logprob is not None:
        stats["lowest_logprob"] = round(one.lowest_logprob, 6)
    stats["seconds"] = round(one.seconds, 3)
    if one.coverage is not None:
        stats["coverage"] = asdict(one.coverage)
    return stats
