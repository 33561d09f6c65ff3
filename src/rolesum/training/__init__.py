"""Training: encode bundles, batch them by token budget, noise, loss on targets only, and the Run that comes of it."""

from rolesum.training.finetune import train
from rolesum.training.run_directory import Interrupted, Run

__all__ = ["Interrupted", "Run", "train"]
