"""Fine-tuning by a recipe: the run itself is in finetune.py, its steps in the other modules, its result is a Run."""

from rolesum.training.finetune import train
from rolesum.training.run_directory import Interrupted, Run

__all__ = ["Interrupted", "Run", "train"]
