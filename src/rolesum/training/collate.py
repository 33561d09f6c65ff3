"""Collates encoded bundles to the tensors of one batch.

A row is one bundle: its prefix, then its branches, then padding. The loss needs only the positions that predict a
target token, so those are listed in place of a label for every position. For an encoder-decoder a row is one example,
with source and target in tensors of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypedDict, cast

import torch

from rolesum.models.prompt_model import LoadedModel
from rolesum.training.batching import SampleRef
from rolesum.training.encode import EncodedBundle

PAD_BRANCH = -1

Sample = tuple[SampleRef, EncodedBundle]


class BundleBatch(TypedDict):
    """The tensors of one batch of `rows` bundles, `length` the longest."""

    input_ids: torch.Tensor  # (rows, length)
    position_ids: torch.Tensor  # (rows, length): a branch's continue from the prefix's end
    branches: torch.Tensor  # (rows, length): 0 prefix, 1… branch, PAD_BRANCH padding
    example_lengths: torch.Tensor  # (rows, length): true length L of the token's example, 0 on padding; for the noise
    noise_seeds: torch.Tensor  # (rows,)
    predicting: torch.Tensor  # (targets,): flat positions in (rows * length) whose output predicts a target token
    target_ids: torch.Tensor  # (targets,)
    target_counts: torch.Tensor  # (examples,): how many of the targets are of each example
    references: torch.Tensor  # (examples,): see EncodedBranch.reference
    weights: torch.Tensor  # (examples,): see EncodedBranch.weight


class Seq2SeqBatch(TypedDict):
    """The tensors of one batch of `rows` encoder-decoder examples; `source` and `target` are the longest of each."""

    input_ids: torch.Tensor  # (rows, source)
    attention_mask: torch.Tensor  # (rows, source): 0 on padding
    decoder_input_ids: torch.Tensor  # (rows, target): the decoder's start token, then the target without its last
    noise_seeds: torch.Tensor  # (rows,)
    predicting: torch.Tensor  # (targets,): flat positions in (rows * target) whose output predicts a target token
    target_ids: torch.Tensor  # (targets,)


CollateFn = Callable[[Sequence[Sample]], BundleBatch | Seq2SeqBatch]


def make_collate_fn(loaded: LoadedModel) -> CollateFn:
    """The function that collates batches for a model: `collate` or, for an encoder-decoder, `collate_seq2seq`."""
    pad = loaded.tokenizer.pad_token_id
    pad = int(pad if pad is not None else loaded.stop_ids[0])
    if loaded.encoder_decoder_spec is None:
        return partial(collate, pad_id=pad)
    return partial(collate_seq2seq, pad_id=pad, decoder_start=loaded.encoder_decoder_spec.decoder_start)


def to_device(batch: BundleBatch | Seq2SeqBatch, device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in cast(Mapping[str, torch.Tensor], batch).items()}


def collate(samples: Sequence[Sample], pad_id: int) -> BundleBatch:
    """One batch of bundles."""
    rows, length = len(samples), max(bundle.tokens for _, bundle in samples)
    input_ids = torch.full((rows, length), pad_id)
    position_ids = torch.zeros(rows, length, dtype=torch.long)
    branches = torch.full((rows, length), PAD_BRANCH)
    example_lengths = torch.zeros(rows, length, dtype=torch.long)
    predicting: list[int] = []
    target_ids: list[int] = []
    with_loss = [branch for sample, bundle in samples if sample.has_loss for branch in bundle.branches]
    for row, (sample, bundle) in enumerate(samples):
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
            if sample.has_loss:
                first = row * length + end - branch.targets
                predicting += range(first - 1, first - 1 + branch.targets)
                target_ids += branch.ids[len(branch.ids) - branch.targets :]
    return BundleBatch(
        input_ids=input_ids,
        position_ids=position_ids,
        branches=branches,
        example_lengths=example_lengths,
        noise_seeds=torch.tensor([sample.seed for sample, _ in samples]),
        predicting=torch.tensor(predicting, dtype=torch.long),
        target_ids=torch.tensor(target_ids, dtype=torch.long),
        target_counts=torch.tensor([branch.targets for branch in with_loss], dtype=torch.long),
        references=torch.tensor([branch.reference for branch in with_loss], dtype=torch.float32),
        weights=torch.tensor([branch.weight for branch in with_loss], dtype=torch.float32),
    )


def collate_seq2seq(samples: Sequence[Sample], pad_id: int, decoder_start: int | None) -> Seq2SeqBatch:
    """One batch of single examples. Without a `decoder_start`, a target's last token takes its place (mBART)."""
    sources, targets = zip(*(_pair(bundle) for _, bundle in samples), strict=True)
    rows, source, target = len(samples), max(map(len, sources)), max(map(len, targets))
    input_ids = torch.full((rows, source), pad_id)
    attention_mask = torch.zeros(rows, source, dtype=torch.long)
    decoder_input_ids = torch.full((rows, target), pad_id)
    predicting: list[int] = []
    target_ids: list[int] = []
    for row, (sample, _) in enumerate(samples):
        source_ids, labels = sources[row], targets[row]
        input_ids[row, : len(source_ids)] = torch.tensor(source_ids)
        attention_mask[row, : len(source_ids)] = 1
        start = labels[-1] if decoder_start is None else decoder_start
        decoder_input_ids[row, : len(labels)] = torch.tensor([start, *labels[:-1]])
        if sample.has_loss:
            predicting += range(row * target, row * target + len(labels))
            target_ids += labels
    return Seq2SeqBatch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        decoder_input_ids=decoder_input_ids,
        noise_seeds=torch.tensor([sample.seed for sample, _ in samples]),
        predicting=torch.tensor(predicting, dtype=torch.long),
        target_ids=torch.tensor(target_ids, dtype=torch.long),
    )


def _pair(bundle: EncodedBundle) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The source and the target of a bundle of one example."""
    (branch,) = bundle.branches
    split = len(branch.ids) - branch.targets
    return (*bundle.prefix, *branch.ids[:split]), branch.ids[split:]
