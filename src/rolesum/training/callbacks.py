"""Callbacks of the trainer: progress, metrics.jsonl, and when to evaluate, save and stop."""

import math
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rolesum import strict_json
from rolesum.atomic_io import atomic_write_text
from rolesum.console import ProgressBar, log
from rolesum.counts import counted
from rolesum.errors import RolesumError
from rolesum.interrupts import ENDING, TWICE_SECONDS, Terminated
from rolesum.training.metrics_file import read_metrics
from rolesum.training.run_directory import Run


class ProgressLine(TrainerCallback):
    """Advances the progress bar by optimizer step, shows loss and tokens per second there, and times the steps.

    `tokens` holds the tokens of each step, of all processes together.
    """

    def __init__(self, progress_bar: ProgressBar, tokens: Sequence[int]) -> None:
        self.progress_bar, self.tokens = progress_bar, tokens
        self.loss = ""
        self.first = self.last = 0
        self.step_started = 0.0
        self.seconds = 0.0

    @property
    def rate(self) -> float:
        """Tokens per second of the steps, without evaluations and checkpoints."""
        return sum(self.tokens[self.first : self.last]) / self.seconds if self.seconds else 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.first = self.last = state.global_step
        self.progress_bar.start_at(state.global_step)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.step_started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if args.device.type == "cuda":
            torch.cuda.synchronize()  # else the clock stops while the step still runs
        self.seconds += time.monotonic() - self.step_started
        self.last = state.global_step
        self.progress_bar.advance(1, f"{self.rate:.0f} tokens/s{self.loss}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self.loss = f", loss {logs['loss']:.3f}"


class MetricsFile(TrainerCallback):
    """Appends every logged line to metrics.jsonl. On resume, lines after the checkpoint's step are removed."""

    KEPT = ("loss", "grad_norm", "learning_rate", "epoch")

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        kept = [row for row in read_metrics(self.path) if row["step"] <= state.global_step]
        atomic_write_text(self.path, "".join(strict_json.dumps(row) + "\n" for row in kept))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        kept = {key: value for key, value in (logs or {}).items() if key in self.KEPT or key.startswith("eval_")}
        row = {key: float(f"{float(value):.6g}") for key, value in kept.items()}
        if "loss" in row or "eval_loss" in row:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(strict_json.dumps({"step": state.global_step, **row}) + "\n")


class StopOnNaN(TrainerCallback):
    """Ends the run, in every process, when a logged loss is NaN or infinite."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        for key, name in (("loss", "loss"), ("eval_loss", "validation loss")):
            if not math.isfinite((logs or {}).get(key, 0.0)):
                raise nan_error(f"the {name} is no longer a number at step {state.global_step}")


def nan_error(what: str) -> RolesumError:
    """The error for a loss or weights that are NaN or infinite."""
    fix = "lower training.learning_rate and train from the start: a resumed run would end the same way"
    return RolesumError(what, fix=fix)


class EvaluateEvenly(TrainerCallback):
    """Requests `count` evaluations, spread evenly over the steps; the last is after the last step."""

    def __init__(self, steps: int, count: int) -> None:
        self.steps = {round(steps * (number + 1) / count) for number in range(count)}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step in self.steps:
            control.should_evaluate = True


class SaveByClock(TrainerCallback):
    """Requests a checkpoint every few minutes, and after the last step: saving the adapter may still fail."""

    def __init__(self, minutes: float) -> None:
        self.seconds = minutes * 60
        self.last = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if time.monotonic() - self.last >= self.seconds or state.global_step == state.max_steps:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Restart the clock, also for a checkpoint that another process requested: else each would save soon after."""
        self.last = time.monotonic()


class StopAfter(TrainerCallback):
    """Writes a checkpoint and stops when the time is up; `deadline` is of time.monotonic()."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if time.monotonic() >= self.deadline:
            control.should_save = control.should_training_stop = True


class KeepBest(TrainerCallback):
    """Tracks the best evaluation so far, saves its weights if asked, and stops early after `patience` evaluations.

    The best is kept in the trainer's state, so that a resumed run knows it. `save` writes the present weights into a
    directory; it is called in every process. A metric other than eval_loss is better when it is higher.
    """

    def __init__(self, metric: str, patience: int, save: Callable[[Path], None] | None, run: Run) -> None:
        self.metric, self.patience = metric, patience
        self.save, self.run = save, run
        self.stopped = False

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        value: float = metrics[self.metric]
        best = state.best_metric
        if best is None or (value < best if self.metric == "eval_loss" else value > best):
            state.best_metric, state.best_global_step = value, state.global_step
            if self.save:
                self.save(self.run.best / str(state.global_step))
        best_step = state.best_global_step or 0
        since = {row["step"] for row in state.log_history if self.metric in row and row["step"] > best_step}
        if self.patience and len(since) >= self.patience:
            tries = counted(len(since), "evaluation")
            log(f"no better {self.metric} in {tries}: stopping, the best was {state.best_metric:.4g}")
            self.stopped = control.should_training_stop = True
            control.should_save = False  # resumed from a checkpoint of this moment, the run would not stop here

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Remove older bests, now that a checkpoint knows the new one; a run may resume from an earlier checkpoint."""
        if state.is_world_process_zero:
            self.run.remove_bests(but=state.best_global_step)


class SyncControlFlags(TrainerCallback):
    """Makes all processes save, evaluate and stop together when one of them wants to.

    Must come after the callbacks that set these flags.
    """

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        wanted = [control.should_save, control.should_evaluate, control.should_training_stop]
        flags = torch.tensor(wanted, dtype=torch.int32, device=args.device)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        control.should_save, control.should_evaluate, control.should_training_stop = (bool(flag) for flag in flags)


class LogBeforeSaving(TrainerCallback):
    """Logs the loss before a checkpoint is written. Must come after the callbacks that request one.

    So weights that are NaN are not kept, and the losses since the last line, which a checkpoint does not hold, are not
    missing from the first line after a resume.
    """

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_log |= control.should_save


class StopOnInterrupt(TrainerCallback):
    """The first Ctrl-C (or SIGTERM, SIGHUP) ends the step, writes a checkpoint and stops; the second ends at once."""

    def __init__(self) -> None:
        self.signal: int | None = None  # the number of the one that came
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup ignores SIGHUP
                self._before[number] = signal.signal(number, self._note)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.signal is not None:
            control.should_save = control.should_training_stop = True

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if time.monotonic() - self._at > TWICE_SECONDS:
                raise Terminated(number)
            return
        self.signal, self._at = number, time.monotonic()
        log("stopping after this step and writing a checkpoint (again: stop at once, without one) …")
