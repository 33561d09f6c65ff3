"""Summarizing as a user asks for it: load the model, check the dialogues, write, and lay the texts out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rolesum.console import DIALOGUES_BEFORE_ETA, log, progress_bar
from rolesum.dialogue import Dialogue, RoleSummary
from rolesum.errors import UsageError
from rolesum.generation.engine import Decoding, Engine, OnText
from rolesum.generation.factory import EngineSpec, side_of
from rolesum.generation.long_dialogues.strategies import check_strategy, summarize_any_length
from rolesum.generation.summarize import Reranker, check_samples
from rolesum.instructions import SectionSet, load_sections
from rolesum.recipe import load_recipe
from rolesum.redaction import Redacted, RestoringText, redact, restore_summaries
from rolesum.roles import OVERALL, default_roles


@dataclass(frozen=True)
class SummarizerConfig:
    """How dialogues become summaries: by which engine, for which roles, decoded and chosen how.

    Without `roles`, each dialogue has its own, of those that the adapter was trained for; or what `sections` ask for.
    With `redact`, the model sees placeholders; `hidden_names` are masked beside the speakers' names, and `kept_labels`
    name nobody.
    """

    spec: EngineSpec = field(default_factory=EngineSpec)
    roles: Sequence[str] | None = None
    decoding: Decoding = field(default_factory=Decoding)
    long_dialogues: str = "refuse"
    samples: int = 1
    reranker: Reranker | None = None
    redact: bool = False
    hidden_names: tuple[str, ...] = ()
    kept_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises UsageError for what does not go together, before anything is loaded."""
        check_strategy(self.long_dialogues)
        check_samples(self.samples, self.reranker, self.decoding)
        if self.reranker and self.samples == 1:
            raise UsageError("there is nothing to choose among", fix="add --samples 4 --temperature 0.7")


class Summarizer:
    """An engine that is ready, with all that decides its summaries."""

    def __init__(self, config: SummarizerConfig, engine: Engine | None = None) -> None:
        """Raises as EngineSpec.open does."""
        self.config = config
        self.engine = engine or config.spec.open()

    def roles_for(self, dialogue: Dialogue) -> tuple[str, ...]:
        """The roles that a dialogue is summarized for."""
        if self.config.roles:
            return tuple(self.config.roles)
        if sections := self.engine.layout.sections:
            return sections.names_for(dialogue)
        side = side_of(self.engine)
        trained = side.metadata.get("roles") if side else None
        own = default_roles(dialogue)
        return (tuple(role for role in own if role in trained) or (OVERALL,)) if trained else own

    def summarize(
        self,
        dialogues: Sequence[Dialogue],
        on_done: Callable[[int], None] | None = None,
        on_text: OnText | None = None,
    ) -> list[list[RoleSummary]]:
        """The summaries; see summarize_any_length, which tells what is raised."""
        if side := side_of(self.engine):
            side.check_languages(list(dialogues))
        how = self.config
        masked = [self._redacted(one) for one in dialogues] if how.redact else []
        found = summarize_any_length(
            [one.dialogue for one in masked] or dialogues,
            self.engine,
            [self.roles_for(one) for one in dialogues],
            how.decoding,
            long_dialogues=how.long_dialogues,
            samples=how.samples,
            reranker=how.reranker,
            on_done=on_done,
            on_text=_restoring(on_text, masked) if on_text and masked else on_text,
        )
        if not masked:
            return found
        restored, left = restore_summaries(found, masked)
        if left:
            log(f"{left} placeholders in the summaries stand for nothing: the model made them up")
        return restored

    def _redacted(self, dialogue: Dialogue) -> Redacted:
        return redact(dialogue, names=self.config.hidden_names, keep=self.config.kept_labels)


def _restoring(on_text: OnText, masked: Sequence[Redacted]) -> OnText:
    """Tells texts with the values put back; what may be half a placeholder waits for its end."""
    texts: dict[tuple[int, int], RestoringText] = {}

    def told(dialogue: int, role: int, added: str) -> None:
        restoring = texts.setdefault((dialogue, role), RestoringText(masked[dialogue]))
        if ready := restoring.add(added):
            on_text(dialogue, role, ready)

    return told


def summarize_dialogues(dialogues: Sequence[Dialogue], config: SummarizerConfig) -> list[list[RoleSummary]]:
    """Load the model and summarize, with a progress bar."""
    writer = Summarizer(config)
    with progress_bar("summarize", len(dialogues), steps_before_eta=DIALOGUES_BEFORE_ETA) as bar:
        return writer.summarize(dialogues, on_done=bar.advance)


@dataclass(frozen=True, slots=True)
class RoleConfig:
    """What an adapter, a recipe or a set of sections says: custom roles, what they are, what to do with long ones."""

    aliases: Mapping[str, Sequence[str]]
    definitions: Mapping[str, str]
    sections: SectionSet | None = None
    long_dialogues: str | None = None


def load_role_config(adapter: Path | None, recipe: str | None, sections: str | None = None) -> RoleConfig:
    """The custom roles that an adapter was trained for, and those that a recipe or a set of sections declares."""
    aliases: dict[str, Sequence[str]] = {}
    definitions: dict[str, str] = {}
    chosen: SectionSet | None = None
    long_dialogues = None
    if adapter is not None:
        from rolesum.models.adapters import custom_sections, read_adapter_metadata

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


def format_blocks(summaries: Sequence[Sequence[RoleSummary]]) -> str:
    """One block per role, each headed by its role; several dialogues are headed by their ids."""
    blocks = []
    for of_dialogue in summaries:
        if len(summaries) > 1:
            blocks.append(f"# {of_dialogue[0].dialogue_id}")
        blocks += [f"{block_heading(one.role)}{one.text}{block_notes(one)}" for one in of_dialogue]
    return "\n\n".join(blocks) + "\n"


def block_heading(role: str) -> str:
    return f"[{role}]\n"


def block_notes(summary: RoleSummary) -> str:
    """What a reader must know beside a text: that it was cut, or what it rests on."""
    said = " […cut by --max-new-tokens]" if summary.finish_reason == "length" else ""
    if (seen := summary.coverage) is not None:
        chunks = f", {seen.chunks} chunks" if seen.chunks > 1 else ""
        said += f"\n({seen.strategy}: {seen.read} of {seen.turns} turns read{chunks})"
    return said


def format_json_lines(summaries: Sequence[Sequence[RoleSummary]]) -> str:
    """One line per dialogue, in input order; see summary_record."""
    return "".join(json.dumps(summary_record(one), ensure_ascii=False) + "\n" for one in summaries)


def summary_record(summaries: Sequence[RoleSummary]) -> dict[str, Any]:
    """What is written of a dialogue: id, summaries by role, the roles that the limit cut, and each role's stats."""
    value: dict[str, Any] = {"id": summaries[0].dialogue_id, "summaries": {one.role: one.text for one in summaries}}
    if cut := [one.role for one in summaries if one.finish_reason == "length"]:
        value["truncated"] = cut
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
