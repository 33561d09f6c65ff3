"""NEFTune noise as its authors defined it: alpha / sqrt(L d) by the example's own length, none on padding."""

import pytest
import torch
from test_bundles import prepared

from rolesum.training.batching import SampleRef
from rolesum.training.collate import collate
from rolesum.training.loss import summed_loss
from rolesum.training.neftune import neftune_noise

ALPHA, WIDTH = 5.0, 64


def test_the_variance_is_alpha_squared_over_three_l_d_for_each_example_of_a_padded_batch():
    lengths = torch.zeros(3, 400, dtype=torch.long)
    for row, length in enumerate((400, 150, 30)):
        lengths[row, :length] = length
    draws = torch.stack(
        [
            neftune_noise(lengths, torch.tensor([seed, seed + 1, seed + 2]), WIDTH, ALPHA, torch.float32)
            for seed in range(0, 90, 3)
        ]
    )
    for row, length in enumerate((400, 150, 30)):
        noise = draws[:, row, :length]
        assert noise.var().item() == pytest.approx(ALPHA**2 / (3 * length * WIDTH), rel=0.03)
        assert noise.mean().abs().item() < 0.02 * noise.std().item()
        assert noise.abs().max().item() <= ALPHA / (length * WIDTH) ** 0.5
        assert (draws[:, row, length:] == 0).all()


def test_in_a_bundle_the_prefix_goes_by_the_longest_example_and_each_branch_by_its_own():
    _, _, encoded = prepared("llama")
    bundle = encoded[0]
    batch = collate([(SampleRef(0, 0, 7), bundle)], pad_id=0)
    shared = len(bundle.prefix)
    assert set(batch["example_lengths"][0, :shared].tolist()) == {bundle.longest_example}
    start = shared
    for branch in bundle.branches:
        assert set(batch["example_lengths"][0, start : start + len(branch.ids)].tolist()) == {shared + len(branch.ids)}
        start += len(branch.ids)


def test_a_bundles_noise_does_not_depend_on_its_batch():
    _, _, encoded = prepared("llama")
    items = [(SampleRef(0, bundle.index, 100 + bundle.index), bundle) for bundle in encoded]

    def noise_of(some):
        batch = collate(some, pad_id=0)
        return neftune_noise(batch["example_lengths"], batch["noise_seeds"], WIDTH, ALPHA, torch.float32)

    together = noise_of(items)
    for row, item in enumerate(items):
        tokens = item[1].tokens
        assert torch.equal(noise_of([item])[0], together[row, :tokens])
        assert (together[row, tokens:] == 0).all()


def test_noise_is_added_in_training_only_and_is_what_alpha_says():
    loaded, model, encoded = prepared("llama")
    batch = collate([(SampleRef(0, bundle.index, 3), bundle) for bundle in encoded], pad_id=0)

    def loss_of(alpha, training):
        model.train(training)
        with summed_loss(loaded.language_model, alpha), torch.no_grad():
            return model(**batch).item()

    quiet = loss_of(0.0, training=True)
    assert loss_of(50.0, training=True) != pytest.approx(quiet, rel=1e-4)
    assert loss_of(50.0, training=False) == pytest.approx(quiet, rel=1e-6)


def test_the_librarys_own_neftune_is_not_used_beside_ours(tmp_path):
    from rolesum.recipe_loading import load_recipe
    from rolesum.training.distributed import DistributedContext
    from rolesum.training.run_directory import Run
    from rolesum.training.training_arguments import training_arguments

    recipe = load_recipe("sample", ["neftune.alpha=5"])
    arguments = training_arguments(
        Run(tmp_path), recipe, DistributedContext(), on_cpu=True, bf16=False, steps=10, micro_batches=1
    )
    assert arguments.neftune_noise_alpha is None
