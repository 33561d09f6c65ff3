"""NEFTune noise as its authors defined it, per example (arXiv 2310.05914).

Uniform in [-1, 1] times alpha / sqrt(L d), with d the width of the embedding and L the example's own true length, and
none on padding. transformers scales by the padded length of the batch and noises the padding too
(transformers#34659). In a bundle the prefix is scaled by the longest of its examples, each branch by its own.
"""

import torch


def neftune_noise(
    example_lengths: torch.Tensor, seeds: torch.Tensor, width: int, alpha: float, dtype: torch.dtype
) -> torch.Tensor:
    """Noise of shape (rows, length, width) for `example_lengths` (rows, length), which is 0 on padding.

    A row's noise depends on its seed and its own tokens only: not on the batch, the padding or the device.
    """
    rows, length = example_lengths.shape
    noise = torch.zeros(rows, length, width, dtype=torch.float32)
    true_lengths = example_lengths.cpu()
    for row, seed in enumerate(seeds.tolist()):
        used = int((true_lengths[row] > 0).sum())
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(used, width, generator=generator) * 2 - 1
        noise[row, :used] = uniform * alpha / torch.sqrt(true_lengths[row, :used, None].float() * width)
    return noise.to(example_lengths.device, dtype)
