"""What happens beside the training steps: progress, metrics.jsonl, checkpoints by the clock, a clean stop on Ctrl-C."""

import json
import math
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rolesum.errors import RolesumError
from rolesum.files import write_whole
from rolesum.metrics import read_metrics
from rolesum.progress import Meter, say


class ProgressLine(TrainerCallback):
    """Moves a meter by optimizer step, and notes loss and tokens per second. `tokens` holds each step's."""

    def __init__(self, meter: Meter, tokens: Sequence[int]) -> None:
        self.meter, self.tokens = meter, tokens
        self.loss = ""
        self.begin = 0.0
        self.first = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.begin, self.first = time.monotonic(), state.global_step
        self.meter.start_at(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        done = sum(self.tokens[self.first : state.global_step])
        rate = done / (time.monotonic() - self.begin)
        self.meter.advance(1, f"{rate:.0f} tokens/s{self.loss}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self.loss = f", loss {logs['loss']:.3f}"


class MetricsFile(TrainerCallback):
    """Appends every logged line to metrics.jsonl. On resume, lines after the checkpoint's step are taken back."""

    KEPT = ("loss", "eval_loss", "grad_norm", "learning_rate", "epoch")

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        kept = [row for row in read_metrics(self.path) if row["step"] <= state.global_step]
        write_whole(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        row = {key: float(f"{float(logs[key]):.6g}") for key in self.KEPT if logs and key in logs}
        if not math.isfinite(row.get("loss", 0.0)):
            fix = "lower training.learning_rate; --resume would go on from the last checkpoint with the same settings"
            raise RolesumError(f"the loss is no longer a number at step {state.global_step}", str(self.path), fix)
        if "loss" in row or "eval_loss" in row:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **row}) + "\n")


class SaveByClock(TrainerCallback):
    """Asks for a checkpoint every few minutes, and at the end: saving the adapter may still fail."""

    def __init__(self, minutes: float) -> None:
        self.seconds = minutes * 60
        self.last = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if time.monotonic() - self.last >= self.seconds or state.global_step == state.max_steps:
            control.should_save = True
            self.last = time.monotonic()


class StopOnInterrupt(TrainerCallback):
    """The first Ctrl-C (or SIGTERM) ends the step, writes a checkpoint and stops; the second ends at once."""

    def __init__(self) -> None:
        self.interrupted = False
        self._before: dict[int, Any] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.interrupted:
            control.should_save = control.should_training_stop = True

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        say("stopping after this step and writing a checkpoint (again: stop at once, without one) …")
