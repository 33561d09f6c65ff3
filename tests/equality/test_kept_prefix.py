"""A dialogue that grows, with the keys of its prefix kept, gives the texts of the whole dialogue sent at once."""

from dataclasses import replace

import pytest

from helpers.tiny import model_dir
from rolesum.formats import ReadOptions, read_dialogues
from rolesum.generation import Decoding
from rolesum.generation.async_engine import AsyncEngine
from rolesum.generation.decoding import prefix_shared
from rolesum.generation.decoding.kept_prefix import KeptPrefix
from rolesum.generation.engines.transformers import TransformersEngine
from rolesum.models.loading import load_model

KINDS = ("llama", "qwen2", "mistral", "gemma3", "bloom", "baichuan2-7b", "baichuan2-13b", "chatglm2-6b")
ROLES = ("overall", "user", "agent")
HOW = Decoding(max_new_tokens=10)


def an_engine(kind):
    """Of a model with many stop ids, so that texts end at different steps."""
    loaded = load_model(model_dir(kind), dtype="float32", device="cpu")
    loaded.stop_ids = tuple(range(2, 600, 9))
    return TransformersEngine(loaded)


@pytest.fixture
def llama():
    shared = AsyncEngine(an_engine("llama"))
    yield shared
    shared.close()


def moments(number=0, counts=(2, 6)):
    """A dialogue as it grows; the last moment is the whole of it."""
    whole = read_dialogues("sample:dialogues-en-test", ReadOptions(limit=number + 1))[number]
    return [replace(whole, turns=whole.turns[:count]) for count in (*counts, len(whole.turns))]


def client_of(shared):
    client = shared.client()
    client.kept = KeptPrefix()
    return client


def generate(engine, dialogue, decoding=HOW, roles=ROLES):
    (made,) = engine.generate([engine.layout.prompt(dialogue, roles)], decoding)
    return [(one.text, one.tokens, one.finish_reason) for one in made]


@pytest.mark.parametrize(("kind", "beams"), [*((kind, 1) for kind in KINDS), ("llama", 2)])
def test_each_moment_gives_the_texts_of_the_dialogue_sent_at_once(kind, beams):
    engine, decoding = an_engine(kind), replace(HOW, beams=beams)
    shared = AsyncEngine(engine)
    try:
        client = client_of(shared)
        for dialogue in moments():
            assert generate(client, dialogue, decoding) == generate(engine, dialogue, decoding)
        assert engine.loaded.shares_prefix == (client.kept.reused > 0)
    finally:
        shared.close()


def test_a_padded_prefill_and_one_in_chunks_give_the_same(monkeypatch):
    monkeypatch.setattr(prefix_shared, "supports_segment_attention", lambda *_: False)
    monkeypatch.setattr(prefix_shared, "PREFILL_CHUNK", 23)
    shared = AsyncEngine(an_engine("gemma3"))
    try:
        client = client_of(shared)
        for dialogue in moments():
            assert generate(client, dialogue) == generate(shared.engine, dialogue)
    finally:
        shared.close()


def test_only_new_tokens_are_computed(llama):
    client = client_of(llama)
    lengths = []
    for dialogue in moments():
        generate(client, dialogue)
        prefix = llama.engine.encode(0, llama.engine.layout.prompt(dialogue, ROLES)).prefix
        grown = len(prefix) - (lengths[-1] if lengths else 0)
        lengths.append(len(prefix))
        assert client.kept.computed + client.kept.reused == len(prefix)
        assert client.kept.computed <= grown + 3  # the end of the dialogue before is another token
    assert client.kept.num_bytes == 2 * 3 * 2 * 8 * 4 * lengths[-1]  # keys, values; layers, heads, head size, bytes


def test_asked_again_for_other_roles_a_dialogue_costs_its_instructions_only(llama):
    client, whole = client_of(llama), moments()[-1]
    generate(client, whole, roles=("user",))
    assert generate(client, whole, roles=("agent", "overall")) == generate(
        llama.engine, whole, roles=("agent", "overall")
    )
    assert client.kept.computed == 0


@pytest.mark.parametrize("kept_count", [3, 6])
def test_a_dialogue_that_was_changed_or_cut_is_computed_from_there_on(llama, kept_count):
    client, whole = client_of(llama), moments()[-1]
    generate(client, whole)
    other = replace(whole.turns[4], text="I would rather have my money back.")
    changed = replace(whole, turns=(*whole.turns[:4], other, *whole.turns[5:]))
    cut = replace(whole, turns=whole.turns[:kept_count])
    for dialogue in (changed, cut, moments(1)[-1]):
        assert generate(client, dialogue) == generate(llama.engine, dialogue)


def test_keys_that_were_dropped_are_computed_again(llama):
    client, (*_, before, whole) = client_of(llama), moments()
    generate(client, before)
    client.kept.drop()
    assert client.kept.num_bytes == 0
    assert generate(client, whole) == generate(llama.engine, whole)
    assert client.kept.reused == 0 < client.kept.computed


def test_dialogues_that_grow_side_by_side_do_not_mix(llama):
    clients = [client_of(llama) for _ in range(3)]
    for step in zip(*(moments(number) for number in range(3)), strict=True):
        found = [generate(client, dialogue) for client, dialogue in zip(clients, step, strict=True)]
        assert found == [generate(llama.engine, dialogue) for dialogue in step]
