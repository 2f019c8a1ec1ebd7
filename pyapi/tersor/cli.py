"""The `tersor` command: compress a checkpoint, look into one, expand one, compile ahead of time."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ImportError:  # the entry point exists whatever extras were installed
    sys.exit("the tersor command needs typer and rich: pip install 'tersor[cli]'")

from . import __version__
from ._progress import track
from .compress import CompressedTensor, TensorFile, compress, load, save, sqnr

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
_Source = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
_Force = Annotated[bool, typer.Option("--force", help="Replace the destination if it exists.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command("compress")
def _compress(
    source: _Source,
    destination: Annotated[Path, typer.Argument(dir_okay=False)],
    retain_ratio: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of each matrix's entries to keep.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="int8, or none to keep the floats.")] = "int8",
    block_size: Annotated[
        int | None, typer.Option(min=1, help="Entries that share a scale; a row by default.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Names to store as they are, as a glob; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    report: Annotated[Path | None, typer.Option("--json", help="Write the rows here too.")] = None,
    force: _Force = False,
) -> None:
    """Prune and quantize the matrices of a safetensors file, each stored where it is smallest."""
    if dtype not in ("int8", "none"):
        raise typer.BadParameter(f"must be int8 or none, got {dtype!r}", param_hint="--dtype")
    if not dry_run:
        _refuse_overwriting(source, destination, force)
    original = _open(source)
    small = compress(
        original,
        retain_ratio=retain_ratio,
        dtype=None if dtype == "none" else dtype,
        block_size=block_size,
        exclude=tuple(exclude or ()),
    )
    if not dry_run:
        save(destination, small)
    rows = [_row(name, tensor, original[name]) for name, tensor in small.items()]
    _print(rows)
    if report is not None:
        report.write_text(json.dumps(rows, indent=1))


@app.command("info")
def _info(source: _Source) -> None:
    """List the tensors of a file that `tersor compress` wrote."""
    _print([_row(name, tensor) for name, tensor in _load(source).items()])


@app.command("expand")
def _expand(
    source: _Source,
    destination: Annotated[Path, typer.Argument(dir_okay=False)],
    force: _Force = False,
) -> None:
    """Write the tensors of a compressed file as plain dense ones, for other programs."""
    from ._safetensors import write_tensors

    _refuse_overwriting(source, destination, force)
    dense = {name: tensor.to_dense() for name, tensor in _load(source).items()}
    write_tensors(destination, dense, {"format": "pt"})


@app.command("warmup")
def _warmup() -> None:
    """Compile the kernels that most programs use; they are cached on disk, beside the package."""
    from ._warmup import calls

    start = time.monotonic()
    ready = 0
    for call in track(calls(), "Compiling"):
        call()
        ready += 1
    typer.echo(f"{ready} calls ready after {time.monotonic() - start:.0f} s")


def _refuse_overwriting(source: Path, destination: Path, force: bool) -> None:
    if destination.exists() and (not force or destination.samefile(source)):
        hint = "" if destination.samefile(source) else "; --force replaces it"
        raise typer.BadParameter(f"{destination} exists{hint}", param_hint="DESTINATION")


def _open(path: Path) -> TensorFile:
    try:
        return TensorFile(path)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SOURCE") from None


def _load(path: Path) -> dict[str, CompressedTensor]:
    try:
        return load(path)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SOURCE") from None


def _row(name: str, tensor: CompressedTensor, original: Any = None) -> dict[str, Any]:
    before = tensor.to_dense().nbytes if original is None else original.nbytes
    row = {
        "name": name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "layout": tensor.layout,
        "before": before,
        "after": tensor.nbytes,
        "zeros": tensor.sparsity,
    }
    if original is not None and original.dtype.kind not in "iub":
        row["sqnr_db"] = sqnr(original, tensor.to_dense())
    return row


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("name", "shape", "layout")
    for column in ("bytes before", "after", "smaller by", "zeros", "SQNR, dB"):
        table.add_column(column, justify="right")
    before, after = (sum(row[key] for row in rows) for key in ("before", "after"))
    total = {"name": "total", "shape": "", "layout": "", "before": before, "after": after}
    for row in [*rows, total]:
        table.add_row(
            row["name"],
            "x".join(map(str, row["shape"])),
            row["layout"],
            f"{row['before']:,}",
            f"{row['after']:,}",
            f"{row['before'] / max(1, row['after']):.2f}x",
            f"{row['zeros']:.0%}" if "zeros" in row else "",
            f"{row['sqnr_db']:.1f}" if "sqnr_db" in row else "",
        )
    console = Console()
    Console(width=max(console.width, 120)).print(table)


def main() -> None:
    app()
