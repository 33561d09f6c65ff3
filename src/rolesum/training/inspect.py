"""Shows one dialogue as the model sees it: segments, tokens, and which tokens carry loss."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from rolesum.counts import counted
from rolesum.dialogue import Dialogue, Example
from rolesum.instructions import PromptLayout, Segment
from rolesum.models.prompt_model import PromptModel


@dataclass(frozen=True, slots=True)
class InspectedSegment:
    """A segment's kind, its tokens as text, their ids, and whether they carry loss. `branch` is "" in the prefix."""

    branch: str
    kind: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    loss: bool


def inspect_dialogue(
    prompt_model: PromptModel, dialogue: Dialogue, roles: Sequence[str], layout: PromptLayout
) -> list[InspectedSegment]:
    """The shared prefix, then a branch per role, with its target where the dialogue has one."""
    shown = [_inspect(prompt_model, "", segment, False) for segment in layout.prefix(dialogue)]
    for role in roles:
        shown += [_inspect(prompt_model, role, segment, False) for segment in layout.branch(dialogue, role)]
        for target in dialogue.summaries.get(role, ())[:1]:
            example = Example(dialogue, role, target)
            shown += [_inspect(prompt_model, role, segment, True) for segment in layout.target(example)]
    return [one for one in shown if one.ids]


def _inspect(prompt_model: PromptModel, branch: str, segment: Segment, loss: bool) -> InspectedSegment:
    ids = prompt_model.encoder.encode_segment(segment)
    tokens = tuple(str(prompt_model.tokenizer.decode([index])) for index in ids)
    return InspectedSegment(branch, segment.kind, tokens, tuple(ids), loss)


def print_segments(dialogue_id: str, segments: Sequence[InspectedSegment]) -> None:
    """Print the segments of a dialogue on standard output; tokens that carry loss are green and separated by |."""
    console = Console()
    branch = None
    for segment in segments:
        if segment.branch != branch:
            branch = segment.branch
            title = f"branch: {branch}" if branch else "prefix, shared by all roles"
            console.rule(escape(title), align="left")
        separator, style, loss = ("|", "green", ", with loss") if segment.loss else ("·", "", "")
        console.print(f"[bold]{segment.kind}[/bold] [dim]{counted(len(segment.ids), 'token')}{loss}[/dim]")
        console.print(separator.join(segment.tokens), style=style, markup=False, highlight=False, soft_wrap=True)
    total = sum(len(segment.ids) for segment in segments)
    with_loss = sum(len(segment.ids) for segment in segments if segment.loss)
    console.print(f"\n{dialogue_id}: {counted(total, 'token')}, {with_loss:,} with loss", markup=False, highlight=False)
