import numpy as np
import pytest

from rolesum.errors import DataError
from rolesum.training.batching import padding_share, split_to_budget, token_budget_batches
from rolesum.training.encode import EncodedBranch, EncodedBundle

LENGTHS = np.random.default_rng(0).integers(40, 600, 500).tolist()


def bundle(prefix, *branches):
    return EncodedBundle("d", 0, tuple(range(prefix)), tuple(EncodedBranch("user", (1,) * n, 2) for n in branches))


def test_every_bundle_comes_once_an_epoch():
    schedule = token_budget_batches(LENGTHS, 2048, seed=1, epochs=3)
    for epoch in range(3):
        drawn = [draw.index for batch in schedule for draw in batch if draw.epoch == epoch]
        assert sorted(drawn) == list(range(len(LENGTHS)))


def test_no_batch_is_over_the_budget_and_little_is_padding():
    schedule = token_budget_batches(LENGTHS, 2048, seed=1, epochs=1)
    assert all(len(batch) * max(LENGTHS[draw.index] for draw in batch) <= 2048 for batch in schedule)
    assert padding_share(schedule, LENGTHS) < 0.06


def test_the_order_is_fixed_by_the_seed_and_differs_by_epoch():
    first, again, other = (token_budget_batches(LENGTHS, 2048, seed=seed, epochs=2) for seed in (1, 1, 2))
    assert first == again != other
    epochs = [[draw.index for batch in first for draw in batch if draw.epoch == epoch] for epoch in range(2)]
    assert epochs[0] != epochs[1]


def test_long_and_short_batches_are_mixed_over_the_epoch():
    schedule = token_budget_batches(LENGTHS, 2048, seed=1, epochs=1)
    longest = [max(LENGTHS[draw.index] for draw in batch) for batch in schedule]
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.5


def test_each_draw_has_noise_of_its_own():
    seeds = [draw.seed for batch in token_budget_batches(LENGTHS, 2048, seed=1, epochs=2) for draw in batch]
    assert len(set(seeds)) == len(seeds)


def test_a_bundle_over_the_budget_is_split_by_branches_and_keeps_every_branch():
    parts = split_to_budget([bundle(50, 30, 20, 40), bundle(10, 5)], 101)
    assert [[len(branch.ids) for branch in part.branches] for part in parts] == [[30, 20], [40], [5]]
    assert [part.index for part in parts] == [0, 1, 2]
    assert all(part.tokens <= 101 for part in parts)


def test_a_single_example_over_the_budget_is_an_error_with_its_id():
    with pytest.raises(DataError, match="dialogue d: 90 tokens"):
        split_to_budget([bundle(50, 40)], 80)
