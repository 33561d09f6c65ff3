"""transformers' Trainer with our batches and our loss; its schedules, logging integrations, DDP and resume stay.

The loss of an optimizer step is the sum over its target tokens divided by their number, over all accumulated batches
and all processes.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer

from rolesum.errors import ResourceError
from rolesum.training.batch import Draw
from rolesum.training.collate import collate
from rolesum.training.encode import EncodedBundle

Item = tuple[Draw, EncodedBundle]


class BundleDataset(Dataset[Item]):
    """Encoded bundles, looked up by a draw."""

    def __init__(self, bundles: Sequence[EncodedBundle]) -> None:
        self.bundles = bundles

    def __len__(self) -> int:
        return len(self.bundles)

    def __getitem__(self, draw: Draw) -> Item:
        return draw, self.bundles[draw.index]


class RoleTrainer(Trainer):
    """Trains on a schedule of batches. The model's forward must give the summed loss (see loss.py).

    All epochs are one Trainer epoch, because the schedule is one list; `epochs` puts the true epoch into the logs.
    """

    def __init__(
        self,
        *args: Any,
        schedule: Sequence[Sequence[Draw]],
        validation: Sequence[Sequence[Draw]] = (),
        epochs: int,
        pad_id: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.schedule = schedule
        self.validation = validation
        self.epochs = epochs
        self.pad_id = pad_id
        self.loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> DataLoader[Item]:
        return self._loader(self.train_dataset, self.schedule)

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, torch.Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
        """The batches of one optimizer step and the number of their target tokens over all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        targets = torch.tensor(sum(batch["target_ids"].numel() for batch in batches), device=device)
        return batches, self.accelerator.gather(targets).sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        if num_items_in_batch is None:
            raise ValueError("the number of target tokens of the step is needed")
        # DDP averages the gradients over the processes; times their number this is the sum.
        return model(**inputs) * self.accelerator.num_processes / num_items_in_batch

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The mean loss per target token of the validation bundles."""
        self.model.eval()
        total, targets = 0.0, 0
        with torch.no_grad():
            for batch in self._loader(self.eval_dataset, self.validation):
                total += float(self.model(**self._prepare_inputs(batch)))
                targets += batch["target_ids"].numel()
        metrics = {f"{metric_key_prefix}_loss": total / targets}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The library's log, with the true epoch in place of its share of the one Trainer epoch."""
        epoch = self.state.epoch
        self.state.epoch = None if epoch is None else epoch * self.epochs
        try:
            super().log(logs, start_time)
        finally:
            self.state.epoch = epoch

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except torch.OutOfMemoryError:
            raise
        except (OSError, RuntimeError, SafetensorError) as error:  # torch.save tells a full disk as a RuntimeError
            what = f"could not write a checkpoint: {error}"
            fix = "free some disk space, then go on with the same command and --resume"
            raise ResourceError(what, str(self.args.output_dir), fix) from None

    def _loader(self, dataset: Any, schedule: Sequence[Sequence[Draw]]) -> DataLoader[Item]:
        return DataLoader(dataset, batch_sampler=list(schedule), collate_fn=partial(collate, pad_id=self.pad_id))
