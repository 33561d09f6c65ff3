"""A subclass of transformers' Trainer with batches by token budget and a summed loss over target tokens.

Schedules, logging integrations, DDP, FSDP and resume are the library's.

The loss of an optimizer step is the sum over its target tokens divided by their number, over all accumulated batches
and all processes; other objectives are divided by something else (see objective.py).
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import distributed
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, Trainer

from rolesum.os_errors import os_error
from rolesum.training.batching import SampleRef, Step, shard_batches
from rolesum.training.collate import CollateFn, Sample
from rolesum.training.distributed import DistributedContext
from rolesum.training.encode import EncodedBundle
from rolesum.training.objective import Count, count_targets
from rolesum.training.run_directory import UNFINISHED, finish_checkpoint


class BundleDataset(Dataset[Sample]):
    """Encoded bundles, looked up by SampleRef."""

    def __init__(self, bundles: Sequence[EncodedBundle]) -> None:
        self.bundles = bundles

    def __len__(self) -> int:
        return len(self.bundles)

    def __getitem__(self, sample: SampleRef) -> Sample:
        return sample, self.bundles[sample.index]


class RoleTrainer(Trainer):
    """Trains on the batches of `steps`, of which each process computes its share.

    The model's forward must return the summed loss of a batch (see loss.py).

    All epochs are one Trainer epoch, because the steps are one list; `epochs` puts the true epoch into the logs.
    The loss of a step is divided by the sum of `count_items` over its batches, such as the number of target tokens.
    `extra_metrics` computes further metrics of an evaluation; it is called in the main process only.
    """

    def __init__(
        self,
        *args: Any,
        steps: Sequence[Step],
        validation: Sequence[Step] = (),
        epochs: int,
        collate: CollateFn,
        context: DistributedContext,
        count_items: Count = count_targets,
        extra_metrics: Callable[[], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.steps = steps
        self.validation = validation
        self.epochs = epochs
        self.collate = collate
        self.context = context
        self.count_items = count_items
        self.extra_metrics = extra_metrics
        self.loss_is_scaled_for_ga = True
        if context.sharded:  # FSDP's own bfloat16 rounds the loss and the gradients' sums; ours is in _loss
            self.accelerator.state.fsdp_plugin.mixed_precision_policy = None

    def get_train_dataloader(self) -> DataLoader[Sample]:
        return self._loader(self.train_dataset, self.steps)

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, torch.Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
        """The batches of one optimizer step and the sum of what is counted in them, over all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        items = torch.tensor(sum(map(self.count_items, batches)), device=device)
        return batches, self.accelerator.gather(items).sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        if num_items_in_batch is None:
            raise ValueError("the number of target tokens of the step (or what else is counted) is needed")
        # DDP averages the gradients over the processes; times their number this is the sum.
        loss: torch.Tensor = self._loss(model, inputs) * self.accelerator.num_processes / num_items_in_batch
        return loss

    def _loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        with self.accelerator.autocast():  # accelerate puts this around any model but a sharded one
            loss: torch.Tensor = model(**inputs)
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The mean loss per target token, or what is counted, of the validation bundles, and the `extra_metrics`."""
        model = self._model()
        model.eval()
        sums = torch.zeros(2, dtype=torch.float64)  # loss, what is counted
        with torch.no_grad():
            for batch in self._loader(self.eval_dataset, self.validation):
                loss = self._loss(model, self._prepare_inputs(batch))
                sums += torch.tensor([float(loss), self.count_items(batch)], dtype=torch.float64)
        if self.context.world_size > 1:
            sums = sums.to(self.args.device)
            distributed.all_reduce(sums)
        metrics = {"loss": float(sums[0] / sums[1])}
        if self.extra_metrics:
            metrics |= self.context.run_on_main(self.extra_metrics)
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
        return str(self._checkpoints() / UNFINISHED)

    def _checkpoints(self) -> Path:
        return Path(str(self.args.output_dir))

    def _model(self) -> torch.nn.Module:
        if self.model is None:
            raise ValueError("RoleTrainer needs a model")
        return self.model

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint completely or not at all: under another name first, flushed to disk, then renamed."""
        unfinished = Path(self._get_output_dir(trial))
        if self.context.is_main:
            shutil.rmtree(unfinished, ignore_errors=True)
        self.context.barrier()
        with self._disk_errors(unfinished):
            super()._save_checkpoint(model, trial)
        self.context.barrier()
        if self.context.is_main:
            with self._disk_errors(unfinished):
                written = unfinished / f"checkpoint-{self.state.global_step}"
                finish_checkpoint(written, self._checkpoints())

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write a fully fine-tuned model's checkpoint under its own parameter names, by which it is loaded again.

        The library would write an original ChatGLM's names, and on resume silently find none of them.
        """
        if isinstance(self.model, PreTrainedModel) and self.args.should_save:
            folder = output_dir or str(self.args.output_dir)
            self.model.save_pretrained(folder, state_dict=state_dict, save_original_format=False)
        else:
            super()._save(output_dir, state_dict)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Raise where a checkpoint holds other tensors than the model: the library only logs that."""
        tied: Iterable[str] = getattr(self.model, "all_tied_weights_keys", ())
        unexpected = (set(load_result.missing_keys) | set(load_result.unexpected_keys)) - set(tied)
        if unexpected:
            raise ValueError(f"it holds other tensors than the model: {', '.join(sorted(unexpected)[:3])}")

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
        """Raises ResourceError for disk errors inside, and removes the unfinished checkpoint."""
        try:
            yield
        except (torch.OutOfMemoryError, distributed.DistError):
            raise
        except (OSError, RuntimeError, SafetensorError) as error:  # torch.save tells a full disk as a RuntimeError
            shutil.rmtree(unfinished, ignore_errors=True)
            then = "then continue with the same command and --resume"
            raise os_error(error, "could not write a checkpoint", str(self.args.output_dir), then=then) from None

    def _loader(self, dataset: Any, steps: Sequence[Step]) -> DataLoader[Sample]:
        batches = shard_batches(steps, self.context.world_size, self.context.rank)
        return DataLoader(dataset, batch_sampler=batches, collate_fn=self.collate)


@contextmanager
def _reading(checkpoint: str | None) -> Iterator[None]:
    """Raises ResourceError for a checkpoint that cannot be read inside."""
    try:
        yield
    except (torch.OutOfMemoryError, distributed.DistError):
        raise
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, SafetensorError, UnpicklingError) as error:
        fix = "remove it, and --resume continues from the one before"
        raise os_error(error, "the checkpoint cannot be read", checkpoint or "", fix) from None
