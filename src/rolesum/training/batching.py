"""Batches by token budget, sorted by length within shuffled windows, in the same order every time.

The batches of all epochs form one list, so that a run that stops in mid-epoch resumes by skipping those that are done.
The recipe alone decides what an optimizer step holds; the number of processes changes who computes what, not the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rolesum.errors import DataError, Problem
from rolesum.training.encode import EncodedBranch, EncodedBundle

# A window is this many batches' worth of tokens: sorting inside it leaves little padding, shuffling between windows
# and batches keeps the order random.
WINDOW_BATCHES = 16


@dataclass(frozen=True, slots=True)
class SampleRef:
    """The bundle at `index` in one epoch; `seed` decides its NEFTune noise, whatever batch or process it is in.

    A process for which a step has no batch computes one sample with `has_loss` False, because the others wait for its
    gradients.
    """

    epoch: int
    index: int
    seed: int
    has_loss: bool = True


SampleBatch = list[SampleRef]
Step = list[SampleBatch]  # of one optimizer step


def split_to_budget(bundles: Sequence[EncodedBundle], budget: int, together: int = 1) -> list[EncodedBundle]:
    """Split bundles that are longer than `budget` tokens by branches, with the prefix repeated.

    Each `together` branches stay in one bundle: the two of a pair. Raises DataError where they alone are longer than
    the budget.
    """
    fitting: list[EncodedBundle] = []
    problems: list[Problem] = []
    for bundle in bundles:
        groups = [bundle.branches[first : first + together] for first in range(0, len(bundle.branches), together)]
        if (longest := bundle.longest_row(together)) > budget:
            what = f"{longest} tokens are more than training.tokens_per_batch, {budget}"
            problems.append(Problem(what, f"dialogue {bundle.id}", "raise training.tokens_per_batch"))
            continue
        part: list[EncodedBranch] = []
        room = budget - len(bundle.prefix)
        for group in groups:
            if part and _tokens(part) + _tokens(group) > room:
                fitting.append(replace(bundle, index=len(fitting), branches=tuple(part)))
                part = []
            part += group
        fitting.append(replace(bundle, index=len(fitting), branches=tuple(part)))
    if problems:
        raise DataError(problems)
    return fitting


def token_budget_batches(lengths: Sequence[int], budget: int, *, seed: int, epochs: int) -> list[SampleBatch]:
    """The batches of all epochs in order. A batch's rows times its longest row is at most `budget` tokens."""
    schedule: list[SampleBatch] = []
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


def optimizer_steps(schedule: Sequence[SampleBatch], accumulation: int) -> list[Step]:
    """The batches of each optimizer step: `accumulation` of them, in the last step the rest."""
    return [list(schedule[start : start + accumulation]) for start in range(0, len(schedule), accumulation)]


def batches_per_process(step: Sequence[SampleBatch], processes: int) -> int:
    """How many batches of a step each of the processes computes, one after the other."""
    return max(1, -(-len(step) // processes))


def shard_batches(steps: Sequence[Step], processes: int, rank: int) -> list[SampleBatch]:
    """The batches that process `rank` computes, step by step. Every sample is computed by one process, once.

    A step of fewer batches than processes is split by rows, so that each process has some.
    """
    mine: list[SampleBatch] = []
    for step in steps:
        parts = _split_rows(step, processes)[rank::processes]
        idle = [replace(step[0][0], has_loss=False)]
        mine += [part or idle for part in parts]
        mine += [idle] * (batches_per_process(step, processes) - len(parts))
    return mine


def padding_share(schedule: Sequence[SampleBatch], lengths: Sequence[int]) -> float:
    """The share of the computed positions that are padding."""
    computed = sum(len(batch) * max(lengths[sample.index] for sample in batch) for batch in schedule)
    return 1 - sum(lengths[sample.index] for batch in schedule for sample in batch) / computed


def _tokens(branches: Sequence[EncodedBranch]) -> int:
    return sum(len(branch.ids) for branch in branches)


def _pack(ordered: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Batches of indices that are sorted by length."""
    batches: list[list[int]] = []
    for index in ordered:
        if batches and (len(batches[-1]) + 1) * lengths[index] <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _split_rows(step: Step, processes: int) -> list[SampleBatch]:
    """The step's batches; where they are fewer than the processes, split by rows into as many parts."""
    if len(step) >= processes:
        return list(step)
    parts: list[SampleBatch] = []
    for number, batch in enumerate(step):
        pieces = processes // len(step) + (number < processes % len(step))
        ends = [len(batch) * (piece + 1) // pieces for piece in range(pieces)]
        parts += [batch[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return parts
