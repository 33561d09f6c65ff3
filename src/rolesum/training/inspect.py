"""Shows one dialogue as the model sees it: segments, tokens, and which tokens carry loss."""

from collections.abc import Sequence
from dataclasses import dataclass

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
