"""What is exported is the model again: checked here by other means than the export's own check."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from helpers.tiny import model_dir
from helpers.tiny_seq2seq import seq2seq_dir
from rolesum.atomic_io import make_temp_dir
from rolesum.errors import ModelError, ResourceError, UsageError
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.models.adapter_metadata import PROBE_FILE
from rolesum.models.adapters import save_adapter
from rolesum.models.export import exporter
from rolesum.models.export.exporter import export, find_source
from rolesum.models.export.gguf import export_gguf
from rolesum.models.export.stock_layout import to_stock_model
from rolesum.models.loading import load_model, load_prompt_model

ORIGINALS = ("baichuan2-7b", "baichuan2-13b", "chatglm3-6b")
PLAIN = {"baichuan2-7b": "LlamaForCausalLM", "chatglm2-6b": "GlmForCausalLM", "chatglm3-6b": "GlmForCausalLM"}


def adapted(base, folder):
    """A run's directory with a random adapter on a base."""
    loaded = load_model(model_dir(base), device="cpu", dtype="float32")
    torch.manual_seed(3)
    targets = list(loaded.family.lora_targets)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    note = {"base": str(model_dir(base)), "fingerprint": loaded.fingerprint, "roles": ["user"], "recipe": "test"}
    save_adapter(get_peft_model(loaded.model, config), folder / "adapter", note, "card")
    return folder


def logits(model):
    with torch.no_grad():
        return model(torch.arange(5, 40)[None]).logits


def adapted_logits(base, run):
    return logits(load_model(model_dir(base), adapter=run / "adapter", device="cpu", dtype="float32").model)


def assert_near(found, expected):
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("base", ORIGINALS)
def test_merged_originals_are_originals_with_the_adapters_logits(tmp_path, base):
    run = adapted(base, tmp_path / "run")
    done = export(str(run), "merged", tmp_path / "out")
    assert done.largest_difference < 1e-4 < done.largest_logit
    assert_near(logits(load_model(tmp_path / "out", device="cpu", dtype="float32").model), adapted_logits(base, run))
    stored, original = (tmp_path / "out" / "model.safetensors"), model_dir(base) / "pytorch_model.bin"
    assert load_file(stored).keys() == torch.load(original, weights_only=True).keys()
    raw = json.loads((tmp_path / "out" / "config.json").read_text())
    assert raw == json.loads((model_dir(base) / "config.json").read_text())


@pytest.mark.parametrize("base", ["baichuan2-7b", "chatglm3-6b"])
def test_stock_transformers_reads_the_plain_directory_without_rolesum(tmp_path, base, stock_processes):
    run = adapted(base, tmp_path / "run")
    done = export(str(run), "llama", tmp_path / "out")
    assert done.architecture == PLAIN[base]
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)\n"
        "AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "assert not any(name.startswith('rolesum') for name in sys.modules)\n"
        "torch.save(model(torch.arange(5, 40)[None]).logits.detach(), sys.argv[2])\n"
    )
    command = [sys.executable, "-P", program, tmp_path / "out", tmp_path / "logits.pt"]
    done = stock_processes.run(command)
    assert done.returncode == 0, done.stderr
    assert_near(torch.load(tmp_path / "logits.pt", weights_only=True), adapted_logits(base, run))


@pytest.mark.parametrize("base", PLAIN)
def test_a_plain_directory_is_asked_as_the_original_is(tmp_path, base):
    """Ids of the prompt, of the answer, and what ends it: the template says what the family's row said."""
    export(str(model_dir(base)), "llama", tmp_path / "out")
    original, plain = load_model(model_dir(base), device="cpu"), load_model(tmp_path / "out", device="cpu")
    assert plain.stop_ids == original.stop_ids and plain.max_length == original.max_length
    for one in read_dialogues("sample:en-test", ReadOptions(limit=3)):
        asked = [(*side.layout().prefix(one), *side.layout().branch(one, "user")) for side in (original, plain)]
        assert original.encoder.encode(asked[0]) == plain.encoder.encode(asked[1])
    assert [original.encoder.encode_segment(s) for s in end_of(original)] == [
        plain.encoder.encode_segment(s) for s in end_of(plain)
    ]


def end_of(side):
    from rolesum.dialogue import make_bundle

    bundle = make_bundle(read_dialogues("sample:en-train")[0], ("overall",))
    return side.layout().target(bundle.examples[0])


@pytest.mark.fresh_process
def test_a_merged_llama_is_what_peft_merges(tmp_path):
    run = adapted("llama", tmp_path / "run")
    (run / "adapter" / PROBE_FILE).write_bytes(b"weights")
    export(str(run / "adapter"), "merged", tmp_path / "out")
    assert (tmp_path / "out" / PROBE_FILE).read_bytes() == b"weights"
    base = AutoModelForCausalLM.from_pretrained(model_dir("llama"), dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, run / "adapter").merge_and_unload()
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert_near(logits(found), logits(merged))
    assert load_prompt_model(tmp_path / "out").metadata["roles"] == ["user"]


@pytest.mark.parametrize("base", ["llama", "baichuan2-13b"])
def test_an_exported_adapter_is_the_adapter(tmp_path, base):
    run = adapted(base, tmp_path / "run")
    assert export(str(run), "adapter", tmp_path / "out").largest_difference == 0
    found = load_model(adapter=tmp_path / "out", device="cpu", dtype="float32")
    assert torch.equal(logits(found.model), adapted_logits(base, run))


def test_an_adapter_is_rounded_where_a_dtype_is_asked_for_and_half_as_large(tmp_path):
    run = adapted("llama", tmp_path / "run")
    done = export(str(run), "adapter", tmp_path / "out", dtype="bfloat16")
    before, after = (load_file(one / "adapter_model.safetensors") for one in (run / "adapter", tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], one.to(torch.bfloat16)) for name, one in before.items())
    assert done.largest_difference < 0.1 * done.largest_logit
    rounded = adapted_logits("llama", run)
    again = logits(load_model(model_dir("llama"), adapter=tmp_path / "out", device="cpu", dtype="float32").model)
    assert 0 < (again - rounded).abs().max() < 0.02 * rounded.abs().max()


def test_bfloat16_weights_round_and_say_by_how_much(tmp_path):
    run = adapted("llama", tmp_path / "run")
    done = export(str(run), "merged", tmp_path / "out", dtype="bfloat16")
    assert done.dtype == "bfloat16" and 0 < done.largest_difference < 0.1 * done.largest_logit
    assert {one.dtype for one in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_a_wrong_export_is_noticed_and_leaves_nothing(tmp_path, monkeypatch):
    run = adapted("baichuan2-7b", tmp_path / "run")
    write = exporter.write_model

    def spoiled(loaded, to, work):
        model = write(loaded, to, work)
        model.lm_head.weight.data *= 1.01
        model.save_pretrained(work)
        return model

    monkeypatch.setattr(exporter, "write_model", spoiled)
    with pytest.raises(ModelError, match="more than float32 rounds"):
        export(str(run), "llama", tmp_path / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_an_adapter_that_is_left_out_is_noticed_in_every_dtype(tmp_path, monkeypatch, dtype):
    """In bfloat16 the logits would not tell."""
    run = adapted("llama", tmp_path / "run")
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self, **_: self.unload(), raising=False)
    with pytest.raises(ModelError, match="was not merged into"):
        export(str(run), "merged", tmp_path / "out", dtype=dtype)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("base", ["baichuan2-7b", "llama"])
def test_a_tensor_that_is_written_wrong_is_noticed_in_bfloat16(tmp_path, monkeypatch, base):
    run = adapted(base, tmp_path / "run")
    write = exporter.write_model

    def spoiled(loaded, to, work):
        model = write(loaded, to, work)
        tensors = load_file(work / "model.safetensors")
        tensors["model.norm.weight"][0] += 0.01
        save_file(tensors, work / "model.safetensors", metadata={"format": "pt"})
        return model

    monkeypatch.setattr(exporter, "write_model", spoiled)
    with pytest.raises(ModelError, match=r"model\.norm\.weight was not written as it is"):
        export(str(run), "merged", tmp_path / "out", dtype="bfloat16")


@pytest.mark.parametrize("base", ["bloom", "qwen2", "gemma3"])
def test_other_families_are_merged_too(tmp_path, base):
    run = adapted(base, tmp_path / "run")
    export(str(run), "merged", tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert_near(logits(found), adapted_logits(base, run))


@pytest.mark.parametrize("kind", ["bart", "mbart50", "t5", "pegasus"])
def test_an_encoder_decoder_that_is_written_anew_generates_what_it_did(tmp_path, kind):
    """Its decoder begins and ends as the checkpoint says, which a fresh generation_config would forget."""
    export(str(seq2seq_dir(kind)), "merged", tmp_path / "out")
    ids = torch.arange(5, 25)[None]
    how = {"max_new_tokens": 12, "do_sample": False, "num_beams": 1}
    texts = [
        AutoModelForSeq2SeqLM.from_pretrained(path, dtype=torch.float32).generate(ids, **how)
        for path in (seq2seq_dir(kind), tmp_path / "out")
    ]
    assert torch.equal(*texts)


def test_what_cannot_be_exported_says_why(tmp_path):
    with pytest.raises(ModelError, match="ALiBi"):
        export(str(model_dir("baichuan2-13b")), "llama", tmp_path / "out")
    with pytest.raises(ModelError, match="--to merged"):
        export(str(model_dir("bloom")), "llama", tmp_path / "out")
    with pytest.raises(UsageError, match="no adapter to export"):
        export(str(model_dir("llama")), "adapter", tmp_path / "out")
    with pytest.raises(ModelError, match="only Llamas are written"):
        export_gguf(str(model_dir("chatglm3-6b")), tmp_path / "out.gguf")
    with pytest.raises(UsageError, match="neither a finished run"):
        find_source(str(tmp_path))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not empty"):
        export(str(model_dir("llama")), "merged", tmp_path / "full")
    with pytest.raises(ResourceError):
        export(str(model_dir("llama")), "merged", tmp_path / "full" / "thesis.txt" / "out")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["full"]


def test_an_adapter_of_another_base_is_not_exported(tmp_path):
    run = adapted("llama", tmp_path / "run")
    with pytest.raises(ModelError, match="was trained on"):
        export(str(run), "merged", tmp_path / "out", model=str(model_dir("llama", seed=1)))


def test_the_plain_model_shares_the_tensors_it_was_made_from():
    model = load_model(model_dir("baichuan2-7b"), device="cpu").model
    plain = to_stock_model(model)
    assert plain.model.layers[0].mlp.up_proj.weight.data_ptr() == model.model.layers[0].mlp.up_proj.weight.data_ptr()


def test_a_gguf_file_of_an_original_runs_in_llama_cpp_as_it_runs_here(tmp_path):
    pytest.importorskip("xllamacpp", reason="llama.cpp is absent: pip install xllamacpp")
    run = adapted("baichuan2-7b", tmp_path / "run")
    done = export_gguf(str(run), tmp_path / "out.gguf", precision="f32")
    assert done.same_texts == done.texts > 0 and done.largest_difference < 1e-3
    with pytest.raises(UsageError, match="there already"):
        export_gguf(str(run), tmp_path / "out.gguf")


@pytest.mark.parametrize("to", ["merged", "gguf"])
def test_hidden_directories_of_others_beside_the_target_are_let_be(tmp_path, to):
    (tmp_path / ".out-backup").mkdir()
    (tmp_path / ".out-backup" / "thesis.txt").write_text("years of work")
    if to == "gguf":
        export_gguf(str(model_dir("wide-llama")), tmp_path / "out")
    else:
        export(str(model_dir("llama")), to, tmp_path / "out")
    assert (tmp_path / ".out-backup" / "thesis.txt").exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == [".out-backup", "out"]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    left, mine = make_temp_dir(tmp_path / "out"), make_temp_dir(tmp_path / "out")
    dead = left.rename(left.with_name(left.name.replace(f"-{os.getpid()}-", "-4194305-")))  # no process has this number
    again = make_temp_dir(tmp_path / "out")
    assert not dead.exists() and mine.exists() and again.exists()


def spoil(run, change):
    file = run / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file(change(tensors), file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: {name: one for name, one in tensors.items() if "layers.0" in name}, "missing tensors"),
        (lambda tensors: {name.replace("model.model", "model.h"): one for name, one in tensors.items()}, "surplus"),
        (lambda tensors: {name: one * torch.nan for name, one in tensors.items()}, "not finite"),
    ],
)
def test_an_adapter_with_tensors_lost_or_strange_is_refused(tmp_path, change, said):
    """PEFT loads what fits and leaves the rest as it was."""
    run = adapted("baichuan2-7b", tmp_path / "run")
    spoil(run, change)
    with pytest.raises(ModelError, match=said):
        load_model(adapter=run / "adapter", device="cpu")


@pytest.mark.parametrize("told", [[], 5, {"fingerprint": 5}, {"instruction_sets": 5}, {"aliases": None}, {"roles": 5}])
def test_a_note_that_is_none_is_an_error(tmp_path, told):
    run = adapted("llama", tmp_path / "run")
    (run / "adapter" / "rolesum.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="broken note"):
        load_model(model_dir("llama"), adapter=run / "adapter", device="cpu")


@pytest.mark.parametrize("change", [{"r": "x"}, {"lora_alpha": None}, {"target_modules": 5}, []])
def test_an_adapters_config_of_odd_types_is_an_error(tmp_path, change):
    run = adapted("llama", tmp_path / "run")
    file = run / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change if change else change))
    with pytest.raises(ModelError, match="the adapter cannot be loaded"):
        load_model(model_dir("llama"), adapter=run / "adapter", device="cpu")


def test_a_target_that_no_rename_can_make_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "real")
    for out in (tmp_path / "link", Path(), Path("/proc")):
        with pytest.raises((UsageError, ResourceError)):
            export("no-such-model", "merged", out)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="there already"):
        export_gguf("no-such-model", tmp_path / "dangling")


def test_what_is_written_has_the_modes_of_the_users_umask(tmp_path):
    export(str(model_dir("llama")), "merged", tmp_path / "out")
    mask = os.umask(0o022)
    os.umask(mask)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "out").iterdir()}
    assert modes == {0o666 & ~mask}
