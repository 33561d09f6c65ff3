"""Made-up wheels that carry parts of a file, and an entry of the catalog that is made of them."""

import hashlib
import zipfile

from rolesum.models.catalog import CatalogEntry, GGUFSource, Wheel


def write_wheel(folder, package, member, data, version="1.0"):
    """A wheel that pip accepts, with `data` as its member; its row."""
    wheel = Wheel(package, version, 0, member)
    info = f"{package.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheel.file_name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(package, version, path.stat().st_size, member)


def entry_in_wheels(folder, data, parts=3, hub_id="", alias="made-up"):
    """An entry whose file is `data`, cut into wheels in a directory."""
    step = -(-len(data) // parts)
    wheels = tuple(
        write_wheel(
            folder, f"made-up-part{number}", f"made_up_part{number}/data/part0{number}.bin", data[start:][:step]
        )
        for number, start in enumerate(range(0, len(data), step), 1)
    )
    sha256 = hashlib.sha256(data).hexdigest()
    source = GGUFSource("made-up-q4_k_m.gguf", "Q4_K_M", len(data), sha256, hub_id, wheels)
    return CatalogEntry(alias, "1M", ("en",), "MIT", "llama", gguf=source)
