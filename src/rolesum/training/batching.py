"""Which bundles go into which batch: by token budget, sorted by length within shuffled windows, the same every time.

The batches of all epochs form one list, so that a run that stops in mid-epoch resumes by skipping what is done. The
recipe alone decides what an optimizer step holds; how many processes share it changes who computes what, not the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rolesum.errors import DataError, Problem
from rolesum.training.encode import EncodedBundle

# A window is this many batches' worth of tokens: sorting inside it leaves little padding, shuffling between windows
# and batches keeps the order random.
WINDOW_BATCHES = 16


@dataclass(frozen=True, slots=True)
class SampleRef:
    """One bundle's turn in one epoch; `seed` fixes its noise, whatever batch or process it falls to.

    Where there is nothing left for a process to do in a step, it computes a draw with `has_loss` False, without a loss,
    because the others wait for its gradients.
    """

    epoch: int
    index: int
    seed: int
    has_loss: bool = True


def split_to_budget(bundles: Sequence[EncodedBundle], budget: int) -> list[EncodedBundle]:
    """Split bundles that are longer than the budget by branches, with the prefix repeated.

    Raises DataError where a single example is longer than the budget.
    """
    fitting: list[EncodedBundle] = []
    problems: list[Problem] = []
    for bundle in bundles:
        if bundle.longest_example > budget:
            what = f"{bundle.longest_example} tokens are more than training.tokens_per_batch, {budget}"
            problems.append(Problem(what, f"dialogue {bundle.id}", "raise training.tokens_per_batch"))
            continue
        part: list = []
        room = budget - len(bundle.prefix)
        for branch in bundle.branches:
            if part and sum(len(one.ids) for one in part) + len(branch.ids) > room:
                fitting.append(replace(bundle, index=len(fitting), branches=tuple(part)))
                part = []
            part.append(branch)
        fitting.append(replace(bundle, index=len(fitting), branches=tuple(part)))
    if problems:
        raise DataError(problems)
    return fitting


def token_budget_batches(lengths: Sequence[int], budget: int, *, seed: int, epochs: int) -> list[list[SampleRef]]:
    """The batches of all epochs in order. A batch's rows times its longest row is at most `budget` tokens."""
    schedule: list[list[SampleRef]] = []
    for epoch in range(epochs):
        random = np.random.default_rng([seed, epoch])
        seeds = [
            int(np.random.SeedSequence([seed, epoch, index]).generate_state(1)[0]) for index in range(len(lengths))
        ]
        order = random.permutation(len(lengths))
        window = max(1, WINDOW_BATCHES * budget * len(lengths) // max(1, sum(lengths)))
        batches: list[list[int]] = []
        for start in range(0, len(order), window):
            batches += _pack(sorted(order[start : start + window].tolist(), key=lengths.__getitem__), lengths, budget)
        for position in random.permutation(len(batches)):
            schedule.append([SampleRef(epoch, index, seeds[index]) for index in batches[position]])
    return schedule


def optimizer_steps(schedule: Sequence[list[SampleRef]], accumulation: int) -> list[list[list[SampleRef]]]:
    """The batches of each optimizer step: `accumulation` of them, the last step what is left."""
    return [list(schedule[start : start + accumulation]) for start in range(0, len(schedule), accumulation)]


def batches_per_process(step: Sequence[list[SampleRef]], processes: int) -> int:
    """How many batches of a step each of the processes computes, one after the other."""
    return max(1, -(-len(step) // processes))


def shard_batches(steps: Sequence[list[list[SampleRef]]], processes: int, rank: int) -> list[list[SampleRef]]:
    """The batches that process `rank` computes, step by step. Every draw falls to one process and is computed once.

    A step of fewer batches than processes is cut by rows, so that each has some.
    """
    mine: list[list[SampleRef]] = []
    for step in steps:
        parts = _cut(step, processes)[rank::processes]
        idle = [replace(step[0][0], has_loss=False)]
        mine += [part or idle for part in parts]
        mine += [idle] * (batches_per_process(step, processes) - len(parts))
    return mine


def padding_share(schedule: Sequence[Sequence[SampleRef]], lengths: Sequence[int]) -> float:
    """The share of the computed positions that are padding."""
    computed = sum(len(batch) * max(lengths[draw.index] for draw in batch) for batch in schedule)
    return 1 - sum(lengths[draw.index] for batch in schedule for draw in batch) / computed


def _pack(ordered: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut indices sorted by length into batches."""
    batches: list[list[int]] = []
    for index in ordered:
        if batches and (len(batches[-1]) + 1) * lengths[index] <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _cut(step: Sequence[list[SampleRef]], processes: int) -> list[list[SampleRef]]:
    """The step's batches, cut by rows into as many parts as there are processes where they are fewer."""
    if len(step) >= processes:
        return list(step)
    parts: list[list[SampleRef]] = []
    for number, batch in enumerate(step):
        pieces = processes // len(step) + (number < processes % len(step))
        ends = [len(batch) * (piece + 1) // pieces for piece in range(pieces)]
        parts += [batch[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return parts
