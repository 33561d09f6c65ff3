"""transformers' Trainer with our batches and our loss; its schedules, logging integrations, DDP, FSDP and resume stay.

The loss of an optimizer step is the sum over its target tokens divided by their number, over all accumulated batches
and all processes.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import distributed
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, Trainer

from rolesum.errors import ResourceError, first_line
from rolesum.training.batching import SampleRef, shard_batches
from rolesum.training.checkpoints import UNFINISHED, finish_checkpoint
from rolesum.training.collate import Item
from rolesum.training.distributed import DistributedContext
from rolesum.training.encode import EncodedBundle

Steps = Sequence[list[list[SampleRef]]]


class BundleDataset(Dataset[Item]):
    """Encoded bundles, looked up by a draw."""

    def __init__(self, bundles: Sequence[EncodedBundle]) -> None:
        self.bundles = bundles

    def __len__(self) -> int:
        return len(self.bundles)

    def __getitem__(self, draw: SampleRef) -> Item:
        return draw, self.bundles[draw.index]


class RoleTrainer(Trainer):
    """Trains on the batches of `steps`, of which each process computes its share. The model's forward must give the
    summed loss (see loss.py).

    All epochs are one Trainer epoch, because the steps are one list; `epochs` puts the true epoch into the logs.
    `extra_metrics` is asked for the rest of an evaluation, in the first process.
    """

    def __init__(
        self,
        *args: Any,
        steps: Steps,
        validation: Steps = (),
        epochs: int,
        collate: Callable[[Sequence[Item]], Mapping[str, torch.Tensor]],
        processes: DistributedContext,
        extra_metrics: Callable[[], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.steps = steps
        self.validation = validation
        self.epochs = epochs
        self.collate = collate
        self.processes = processes
        self.extra_metrics = extra_metrics
        self.loss_is_scaled_for_ga = True
        if processes.sharded:  # FSDP's own bfloat16 rounds the loss and the gradients' sums; ours is in _loss
            self.accelerator.state.fsdp_plugin.mixed_precision_policy = None

    def get_train_dataloader(self) -> DataLoader[Item]:
        return self._loader(self.train_dataset, self.steps)

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
        return self._loss(model, inputs) * self.accelerator.num_processes / num_items_in_batch

    def _loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        with self.accelerator.autocast():  # accelerate puts this around any model but a sharded one
            return model(**inputs)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The mean loss per target token of the validation bundles, and what `extra_metrics` gives."""
        self.model.eval()
        sums = torch.zeros(2, dtype=torch.float64)  # loss, target tokens
        with torch.no_grad():
            for batch in self._loader(self.eval_dataset, self.validation):
                loss = self._loss(self.model, self._prepare_inputs(batch))
                sums += torch.tensor([float(loss), batch["target_ids"].numel()], dtype=torch.float64)
        if self.processes.world_size > 1:
            sums = sums.to(self.args.device)
            distributed.all_reduce(sums)
        metrics = {"loss": float(sums[0] / sums[1])}
        if self.extra_metrics:
            metrics |= self.processes.run_on_main(self.extra_metrics)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The library's log, with the true epoch in place of its share of the one Trainer epoch."""
        epoch = self.state.epoch
        self.state.epoch = self.epochs * self.state.global_step / self.state.max_steps
        try:
            super().log(logs, start_time)
        finally:
            self.state.epoch = epoch

    def _get_output_dir(self, trial: Any) -> str:
        """Where the library writes a checkpoint: beside the finished ones."""
        return str(Path(self.args.output_dir) / UNFINISHED)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint whole or not at all: under another name first, on the disk, then renamed."""
        unfinished = Path(self._get_output_dir(trial))
        if self.processes.is_main:
            shutil.rmtree(unfinished, ignore_errors=True)
        self.processes.barrier()
        with self._disk_errors(unfinished):
            super()._save_checkpoint(model, trial)
        self.processes.barrier()
        if self.processes.is_main:
            with self._disk_errors(unfinished):
                written = unfinished / f"checkpoint-{self.state.global_step}"
                finish_checkpoint(written, Path(self.args.output_dir))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """A whole model's checkpoint under the model's own names, by which it is read again.

        The library would write an original ChatGLM's, and on resume find none of them without a word.
        """
        if isinstance(self.model, PreTrainedModel) and self.args.should_save:
            self.model.save_pretrained(output_dir, state_dict=state_dict, save_original_format=False)
        else:
            super()._save(output_dir, state_dict)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Raise where a checkpoint holds other tensors than the model: the library only logs that."""
        odd = (set(load_result.missing_keys) | set(load_result.unexpected_keys)) - set(self.model.all_tied_weights_keys)
        if odd:
            raise ValueError(f"it holds other tensors than the model: {', '.join(sorted(odd)[:3])}")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with _reading(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _reading(checkpoint):
            super()._load_rng_state(checkpoint)

    @contextmanager
    def _disk_errors(self, unfinished: Path) -> Iterator[None]:
        """What goes wrong inside with the disk is a ResourceError, and the unfinished checkpoint goes."""
        try:
            yield
        except (torch.OutOfMemoryError, distributed.DistError):
            raise
        except (OSError, RuntimeError, SafetensorError) as error:  # torch.save tells a full disk as a RuntimeError
            shutil.rmtree(unfinished, ignore_errors=True)
            what = f"could not write a checkpoint: {error}"
            fix = "free some disk space, then go on with the same command and --resume"
            raise ResourceError(what, str(self.args.output_dir), fix) from None

    def _loader(self, dataset: Any, steps: Steps) -> DataLoader[Item]:
        mine = shard_batches(steps, self.processes.world_size, self.processes.rank)
        return DataLoader(dataset, batch_sampler=mine, collate_fn=self.collate)


@contextmanager
def _reading(checkpoint: str | None) -> Iterator[None]:
    """A checkpoint that cannot be read is a ResourceError that says what to do."""
    try:
        yield
    except (torch.OutOfMemoryError, distributed.DistError):
        raise
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, SafetensorError, UnpicklingError) as error:
        what = f"the checkpoint cannot be read: {first_line(error)}"
        fix = "remove it, and --resume goes on from the one before"
        raise ResourceError(what, checkpoint or "", fix) from None
