"""Data that changes while a run reads it: no run is begun, as its record would be of other data than it trains on."""

import pytest

from helpers.small_runs import TRAIN, recipe
from rolesum.errors import DataError
from rolesum.training import finetune, train


def test_training_data_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "train.jsonl"
    path.write_bytes(TRAIN.read_bytes())
    read = finetune.read_training_data

    def growing(*arguments):
        done = read(*arguments)
        with path.open("a", encoding="utf-8") as file:
            file.write(path.read_text(encoding="utf-8").splitlines()[0].replace('"id": "', '"id": "more-') + "\n")
        return done

    monkeypatch.setattr(finetune, "read_training_data", growing)
    chosen = recipe(data={"train": {"path": str(path)}})
    with pytest.raises(DataError, match=r"train\.jsonl: it changed while it was read\n  → wait until nothing writes"):
        train(chosen, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
