"""Training: encode bundles, batch them by token budget, noise, loss on targets only, and the Run that comes of it."""

from rolesum.training.run import Interrupted, Run, train

__all__ = ["Interrupted", "Run", "train"]
