"""The doctor's report: extras by rolesum's requirements, models by their directories."""

from helpers.tiny import model_dir
from rolesum.doctor import base_of, examine, installed_extras, models_on_disk


def test_an_extra_is_installed_if_all_its_packages_are():
    lines = [
        "torch>=2.13",
        "no-such-package>=1; extra == 'vllm'",
        'numpy>=2 ; extra == "ray"',
        "numpy[all]>=2; python_version < '4' and extra == 'zstd'",
        "neither-this; extra == 'vllm'",
    ]
    assert installed_extras(lines) == [
        {"name": "ray", "installed": True, "absent": []},
        {"name": "vllm", "installed": False, "absent": ["no-such-package", "neither-this"]},
        {"name": "zstd", "installed": True, "absent": []},
    ]


def test_the_extras_of_this_installation_are_listed():
    assert {"server", "vllm", "openai"} <= {one["name"] for one in installed_extras()}


def test_models_on_disk_are_those_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "models" / "smollm2-135m"
    folder.mkdir(parents=True)
    (folder / "rolesum-model.json").write_text('{"alias": "smollm2-135m"}')
    (folder / "weights").write_bytes(bytes(100))
    found = {one["name"]: one for one in models_on_disk()}
    assert found["smollm2-135m"]["path"] == str(folder) and found["smollm2-135m"]["bytes"] > 100


def test_the_report_is_about_the_base_of_the_adapter():
    assert base_of(None, None) is None
    assert base_of("rolesum-smollm2-135m", None) == "smollm2-135m"
    assert base_of("qwen2.5-0.5b", None) == "qwen2.5-0.5b"


def test_speed_is_measured_with_the_shape_of_the_model():
    report = examine(base=str(model_dir("llama")), dtype="float32", seconds=0.02)
    assert report["dtype"] == {
        "for": str(model_dir("llama")),
        "on_disk": True,
        "chosen": "float32",
        "reason": "it was asked for",
    }
    assert report["speed"]["dtype"] == "float32" and report["speed"]["flops"] > 0 < report["speed"]["bytes_per_second"]
    assert report["threads"]["count"] >= 1 and report["cache"]["free"] > 0
