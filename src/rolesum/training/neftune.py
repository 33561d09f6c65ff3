"""NEFTune noise as its authors defined it, per example (arXiv 2310.05914).

Uniform in [-1, 1] times alpha / sqrt(L d), with d the embedding's width and L the example's own length without padding;
padding gets none. transformers scales by the padded length of the batch and adds noise to the padding too
(transformers#34659). In a bundle the prefix is scaled by the length of its longest example, each branch by its own.
"""

import torch


def neftune_noise(
    example_lengths: torch.Tensor, seeds: torch.Tensor, hidden: int, alpha: float, dtype: torch.dtype
) -> torch.Tensor:
    """Noise of shape (rows, length, hidden), of `dtype`, on the device of `example_lengths`.

    `example_lengths` (rows, length) holds the length L of each token's example, 0 on padding; `seeds` (rows,) a seed
    for each row. A row's noise depends on its seed and its own tokens only: not on the batch, padding or device.
    """
    rows, length = example_lengths.shape
    noise = torch.zeros(rows, length, hidden, dtype=torch.float32)
    true_lengths = example_lengths.cpu()
    for row, seed in enumerate(seeds.tolist()):
        used = int((true_lengths[row] > 0).sum())
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(used, hidden, generator=generator) * 2 - 1  # (used, hidden)
        noise[row, :used] = uniform * alpha / torch.sqrt(true_lengths[row, :used, None].float() * hidden)
    return noise.to(example_lengths.device, dtype)
