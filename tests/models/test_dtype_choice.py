"""The dtype that auto stands for: by rates that are made up, and by this processor's own."""

import json
import time

import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, Qwen3MoeConfig

from rolesum.models import dtype_choice
from rolesum.models.dtype_choice import choose_dtype, faster_dtype, measure_rates, model_shape

CPU = torch.device("cpu")
SHAPE = (48, 96)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache directory of its own, on a processor that computes bfloat16."""
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path))
    able = {"avx512_bf16": True, "cpu_name": "made up"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    return tmp_path / dtype_choice.RATES_FILE


@pytest.fixture
def measured(monkeypatch):
    """The shapes that are measured, in their order; bfloat16 is three times as fast."""
    shapes = []
    rates = {"bfloat16": 3e11, "float32": 1e11}
    monkeypatch.setattr(dtype_choice, "measure_rates", lambda shape: shapes.append(shape) or rates)
    return shapes


@pytest.mark.parametrize(
    ("bfloat16", "float32", "expected"),
    [
        (400e9, 100e9, torch.bfloat16),
        (110e9, 210e9, torch.float32),
        (100e9, 101e9, torch.bfloat16),  # as fast, in half the memory
        (100e9, 106e9, torch.float32),
    ],
)
def test_the_faster_dtype_is_chosen(bfloat16, float32, expected):
    assert faster_dtype({"bfloat16": bfloat16, "float32": float32}).dtype is expected


def test_the_reason_has_the_measured_ratio():
    choice = faster_dtype({"bfloat16": 110e9, "float32": 220e9})
    assert (choice.name, choice.reason) == ("float32", "matrix products take 0.50 times as long as in bfloat16 here")
    assert faster_dtype({"bfloat16": 4e11, "float32": 1e11}).reason.startswith("matrix products take 0.25 times")


def test_rates_are_measured_once_for_a_shape(cache, measured):
    for shape in (SHAPE, SHAPE, (8, 32), SHAPE):
        assert choose_dtype(CPU, shape).dtype is torch.bfloat16
    assert measured == [SHAPE, (8, 32)]
    assert len(json.loads(cache.read_text())) == 2


def test_rates_of_another_processor_or_number_of_threads_are_not_used(cache, measured, monkeypatch):
    choose_dtype(CPU, SHAPE)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "cpu_name": "made up"})
    choose_dtype(CPU, SHAPE)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    choose_dtype(CPU, SHAPE)
    assert len(measured) == 3


@pytest.mark.parametrize("kept", ["{", "[]", '{"made up": 3}', "\x00"])
def test_a_damaged_file_of_rates_is_measured_anew(cache, measured, kept):
    cache.write_text(kept)
    assert choose_dtype(CPU, SHAPE).dtype is torch.bfloat16
    choose_dtype(CPU, SHAPE)
    assert measured == [SHAPE]


def test_damaged_rates_are_measured_anew(cache, measured):
    choose_dtype(CPU, SHAPE)
    (key,) = json.loads(cache.read_text())
    for rates in ({"bfloat16": 0.0, "float32": 1.0}, {"bfloat16": 1.0}, {"bfloat16": "fast", "float32": 1.0}):
        cache.write_text(json.dumps({key: rates}))
        assert choose_dtype(CPU, SHAPE).dtype is torch.bfloat16
    assert len(measured) == 4


def test_a_processor_that_emulates_bfloat16_is_not_measured(cache, measured, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    choice = choose_dtype(CPU, SHAPE)
    assert (choice.dtype, choice.reason) == (torch.float32, "this processor only emulates bfloat16")
    assert not measured


def test_the_shape_is_that_of_the_mlp():
    assert model_shape(LlamaConfig(hidden_size=64, intermediate_size=160)) == (64, 160)
    assert model_shape(Qwen3MoeConfig(hidden_size=64, intermediate_size=160)) == (64, 160)


def test_the_measured_order_is_that_of_a_longer_measurement():
    """Where the rates differ by half or more, a product of another size has the same order."""
    rates = measure_rates((512, 2048))

    def seconds(dtype):
        left, right = torch.randn(512, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
        times = []
        for _ in range(12):
            begin = time.perf_counter()
            functional.linear(left, right)
            times.append(time.perf_counter() - begin)
        return min(times)  # without what other processes took

    ratio = rates["bfloat16"] / rates["float32"]
    if ratio > 1.5:
        assert seconds(torch.bfloat16) < seconds(torch.float32)
    elif ratio < 1 / 1.5:
        assert seconds(torch.float32) < seconds(torch.bfloat16)
