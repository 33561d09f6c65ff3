"""The commands `rolesum export` and `rolesum convert-adapter`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from rolesum import strict_json
from rolesum.cli.help import Panel, choices
from rolesum.cli.options import Device, Json
from rolesum.counts import counted

# Choices of modules that take long to import; tests/cli/test_choices.py holds them equal to those of the modules.
ExportFormat = Literal["adapter", "merged", "llama", "gguf"]
ExportDtype = Literal["float32", "bfloat16", "float16"]
GgufPrecision = Literal["f32", "f16", "bf16", "q8_0"]


def export(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Directory of a run, an adapter or a model, or the name of a model."),
    ],
    to: Annotated[
        ExportFormat,
        typer.Option(
            "--to",
            metavar=choices(ExportFormat),
            rich_help_panel=Panel.OUTPUT,
            help="What to write; each format is described above.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            rich_help_panel=Panel.OUTPUT,
            help="Output directory, new or empty; with --to gguf, the output file.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            rich_help_panel=Panel.MODEL,
            help="Base model of the adapter. Default: the one that the adapter names.",
        ),
    ] = None,
    dtype: Annotated[
        ExportDtype | None,
        typer.Option(
            "--dtype",
            metavar=choices(ExportDtype),
            rich_help_panel=Panel.OUTPUT,
            help="Data type of the written weights, except with --to gguf. Default: unchanged.",
        ),
    ] = None,
    precision: Annotated[
        GgufPrecision | None,
        typer.Option(
            "--precision",
            metavar=choices(GgufPrecision),
            rich_help_panel=Panel.OUTPUT,
            help="With --to gguf: precision of the written weights. Default: f16.",
        ),
    ] = None,
    device: Device = "cpu",
    json_: Json = False,
) -> None:
    """Export a trained run or a base model for other tools, and compare the export with the model.

    adapter: PEFT format. merged: full weights in the base model's own layout. llama: a Llama or GLM checkpoint that
    stock transformers and vLLM load, also for an original Baichuan2-7B or ChatGLM. gguf: a file for llama.cpp.

    Example: rolesum export runs/sample --to merged --out sample-merged
    """
    from rolesum.errors import UsageError
    from rolesum.models.export.exporter import export

    if to == "gguf":
        if dtype:
            raise UsageError("--dtype does not apply to --to gguf", fix="write --precision f16")
        _export_gguf(run, out, precision or "f16", model, device, json_)
        return
    if precision:
        raise UsageError("--precision applies only to --to gguf", fix="write --dtype bfloat16")
    done = export(run, to, out, model=model, dtype=dtype, device=device)
    if json_:
        typer.echo(strict_json.dumps({**asdict(done), "path": str(done.path)}))
        return
    typer.echo(f"{to}: {done.path} ({done.architecture}, {done.dtype}, {done.bytes / 1e6:,.1f} MB)")
    process = "in a fresh process" if to != "adapter" else "in this process"
    typer.echo(
        f"reloaded {process}: logits differ by at most {done.largest_difference:.2g} "
        f"(largest logit {done.largest_logit:.3g})"
    )


def _export_gguf(run: str, out: Path, precision: str, model: str | None, device: str, json_: bool) -> None:
    from rolesum.models.export.gguf import export_gguf

    done = export_gguf(run, out, precision=precision, model=model, device=device)
    if json_:
        typer.echo(strict_json.dumps({**asdict(done), "path": str(done.path)}))
        return
    typer.echo(f"gguf: {done.path} ({precision}, {done.bytes / 1e6:,.1f} MB)")
    if done.texts is None:
        typer.echo(
            "not checked in llama.cpp: that needs pip install 'rolesum[llamacpp]' and memory for the float32 model"
        )
    else:
        typer.echo(
            f"checked in llama.cpp: {done.same_texts} of {done.texts} greedy texts equal float32's; "
            f"log-probabilities differ by {done.mean_difference:.2g} on average, {done.largest_difference:.2g} at most"
        )


def convert_adapter(
    adapter: Annotated[
        Path,
        typer.Argument(metavar="ADAPTER", help="Directory of the adapter, which targets W_pack or query_key_value."),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            rich_help_panel=Panel.MODEL,
            help="Base model of the adapter: an original Baichuan or ChatGLM checkpoint.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", rich_help_panel=Panel.OUTPUT, help="Output directory."),
    ],
    device: Device = "cpu",
    json_: Json = False,
) -> None:
    """Convert a LoRA adapter trained with the original Baichuan or ChatGLM code to the layout that rolesum loads.

    Example: rolesum convert-adapter old-adapter --model baichuan2-7b --out new-adapter
    """
    from rolesum.models.export.convert_adapter import convert_adapter

    done = convert_adapter(adapter, out, model, device=device)
    if json_:
        typer.echo(strict_json.dumps({**asdict(done), "path": str(done.path)}))
        return
    typer.echo(f"adapter: {done.path} ({counted(done.layers_before, 'LoRA layer')} became {done.layers})")
    typer.echo(f"reloaded: the weight updates differ by at most {done.largest_difference:.2g}")
