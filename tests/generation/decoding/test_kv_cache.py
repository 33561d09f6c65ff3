"""What a GPU's kernels ask of the blocks' masks, seen on a processor, which asks nothing."""

from helpers.tiny import model_dir
from rolesum.formats import read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.decoding import kv_cache
from rolesum.generation.engines import transformers as transformers_engine
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model


def test_every_mask_begins_at_an_address_of_16_bytes(monkeypatch):
    """With masks of odd sizes behind one another, CUDA's attention in bfloat16 ended with "misaligned address"."""
    loaded = load_model(model_dir("llama"), dtype="bfloat16", device="cpu")
    loaded.stop_ids = tuple(range(2, 600, 9))  # many, so that rows end at different steps and others join
    monkeypatch.setattr(transformers_engine, "CPU_ROWS", 6)
    begins, odd = [], []
    attending = kv_cache.KVView.attend

    def attend(view, query, layer, mask, scaling):
        begins.append(mask.storage_offset() * mask.element_size())
        odd.append(mask.numel() % 8 > 0)
        return attending(view, query, layer, mask, scaling)

    monkeypatch.setattr(kv_cache.KVView, "attend", attend)
    engine = TransformersEngine(loaded)
    prompts = [engine.layout.prompt(dialogue, ("overall", "user")) for dialogue in read_dialogues("sample:en-test")[:6]]
    decoding = Decoding(max_new_tokens=12)
    requests = [engine.make_request(index, prompt, decoding) for index, prompt in enumerate(prompts)]
    list(engine.new_scheduler().run(requests))
    assert any(begins) and any(odd)
    assert not [begin for begin in begins if begin % 16]
