"""Encoded bundles to the tensors of one batch.

A row is one bundle: its prefix, then its branches, then padding. The loss needs only the positions that predict a
target token, so those are listed instead of a label for every position.
"""

from collections.abc import Sequence
from typing import TypedDict

import torch

from rolesum.training.batch import Draw
from rolesum.training.encode import EncodedBundle

PAD_BRANCH = -1


class Batch(TypedDict):
    """The tensors of one batch of `rows` bundles, `length` the longest."""

    input_ids: torch.Tensor  # (rows, length)
    position_ids: torch.Tensor  # (rows, length): a branch's go on from the prefix's end
    branches: torch.Tensor  # (rows, length): 0 prefix, 1… branch, -1 padding
    example_lengths: torch.Tensor  # (rows, length): true length L of the token's example, 0 on padding; for the noise
    noise_seeds: torch.Tensor  # (rows,)
    predicting: torch.Tensor  # (targets,): flat positions in (rows * length) whose output predicts a target token
    target_ids: torch.Tensor  # (targets,)


def collate(items: Sequence[tuple[Draw, EncodedBundle]], pad_id: int) -> Batch:
    """One batch from bundles and their draws."""
    rows, length = len(items), max(bundle.tokens for _, bundle in items)
    input_ids = torch.full((rows, length), pad_id)
    position_ids = torch.zeros(rows, length, dtype=torch.long)
    branches = torch.full((rows, length), PAD_BRANCH)
    example_lengths = torch.zeros(rows, length, dtype=torch.long)
    predicting: list[int] = []
    target_ids: list[int] = []
    for row, (draw, bundle) in enumerate(items):
        shared = len(bundle.prefix)
        input_ids[row, :shared] = torch.tensor(bundle.prefix)
        position_ids[row, :shared] = torch.arange(shared)
        branches[row, :shared] = 0
        example_lengths[row, :shared] = bundle.longest_example
        start = shared
        for number, branch in enumerate(bundle.branches, 1):
            end = start + len(branch.ids)
            input_ids[row, start:end] = torch.tensor(branch.ids)
            position_ids[row, start:end] = torch.arange(shared, shared + len(branch.ids))
            branches[row, start:end] = number
            example_lengths[row, start:end] = shared + len(branch.ids)
            start = end
            if draw.counts:
                first = row * length + end - branch.targets
                predicting += range(first - 1, first - 1 + branch.targets)
                target_ids += branch.ids[len(branch.ids) - branch.targets :]
    return Batch(
        input_ids=input_ids,
        position_ids=position_ids,
        branches=branches,
        example_lengths=example_lengths,
        noise_seeds=torch.tensor([draw.seed for draw, _ in items]),
        predicting=torch.tensor(predicting, dtype=torch.long),
        target_ids=torch.tensor(target_ids, dtype=torch.long),
    )
