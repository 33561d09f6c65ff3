"""rolesum export and rolesum convert-adapter."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rolesum.cli.options import Device, Json

_Base = Annotated[
    str | None, typer.Option("--model", help="The adapter's base, if it is not where the adapter says it is.")
]


def export(
    run: Annotated[str, typer.Argument(help="A run's directory, an adapter's, a model's, or a model's name.")],
    to: Annotated[str, typer.Option("--to", help="adapter, merged, llama or gguf.")],
    out: Annotated[Path, typer.Option("--out", help="The new directory; for gguf the new file.")],
    model: _Base = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="Of the weights: float32, bfloat16, float16. Default: as they are.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Of a gguf file: f32, f16, bf16 or q8_0. Default: f16.")
    ] = None,
    device: Device = "cpu",
    json_: Json = False,
) -> None:
    """Write a trained run, or a base as it comes, for other tools, and compare what was written with the model.

    adapter: in PEFT's format. merged: whole weights in the base's own layout. llama: a plain Llama or GLM directory
    that stock transformers and vLLM read, also of an original Baichuan2-7B or ChatGLM. gguf: a file for llama.cpp.

    Example: rolesum export runs/sample --to merged --out sample-merged
    """
    from rolesum.errors import UsageError
    from rolesum.models.export.export import EXPORT_FORMATS, export

    if to not in (*EXPORT_FORMATS, "gguf"):
        raise UsageError(f'cannot export to "{to}"', fix=f"one of {', '.join((*EXPORT_FORMATS, 'gguf'))}")
    if to == "gguf":
        if dtype:
            raise UsageError("a gguf file has a --precision, not a --dtype", fix="write --precision f16")
        _export_gguf(run, out, precision or "f16", model, device, json_)
        return
    if precision:
        raise UsageError("--precision is for --to gguf", fix="write --dtype bfloat16")
    done = export(run, to, out, model=model, dtype=dtype, device=device)
    if json_:
        typer.echo(json.dumps({**asdict(done), "path": str(done.path)}))
        return
    typer.echo(f"{to}: {done.path} ({done.architecture}, {done.dtype}, {done.bytes / 1e6:,.1f} MB)")
    reader = "a fresh process" if to != "adapter" else "loading it"
    typer.echo(
        f"read again by {reader}: logits differ by at most {done.largest_difference:.2g}; "
        f"the largest is {done.largest_logit:.3g}"
    )


def _export_gguf(run: str, out: Path, precision: str, model: str | None, device: str, json_: bool) -> None:
    from rolesum.models.export.gguf import export_gguf

    done = export_gguf(run, out, precision=precision, model=model, device=device)
    if json_:
        typer.echo(json.dumps({**asdict(done), "path": str(done.path)}))
        return
    typer.echo(f"gguf: {done.path} ({precision}, {done.bytes / 1e6:,.1f} MB)")
    if done.texts is None:
        typer.echo(
            "not run in llama.cpp: that needs pip install 'rolesum[llamacpp]', and room for the model in float32"
        )
    else:
        typer.echo(
            f"run in llama.cpp: {done.same_texts} of {done.texts} greedy texts as in float32; log-probabilities differ "
            f"by {done.mean_difference:.2g} on average, {done.largest_difference:.2g} at most"
        )


def convert_adapter(
    adapter: Annotated[Path, typer.Argument(help="The adapter's directory, with W_pack or query_key_value.")],
    model: Annotated[str, typer.Option("--model", help="Its base: an original Baichuan or ChatGLM checkpoint.")],
    out: Annotated[Path, typer.Option("--out", help="The new directory.")],
    device: Device = "cpu",
    json_: Json = False,
) -> None:
    """Convert an old LoRA adapter, trained with the authors' code, for the base as rolesum loads it.

    Example: rolesum convert-adapter old-adapter --model baichuan2-7b --out new-adapter
    """
    from rolesum.models.export.convert_adapter import convert_adapter

    done = convert_adapter(adapter, out, model, device=device)
    if json_:
        typer.echo(json.dumps({**asdict(done), "path": str(done.path)}))
        return
    typer.echo(f"adapter: {done.path} ({done.layers_before} LoRA layers became {done.layers})")
    typer.echo(f"read again: the weights that they add differ by at most {done.largest_difference:.2g}")
