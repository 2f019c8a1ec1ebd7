"""The `tersor` command: compress a checkpoint, look into one, expand one, compile ahead of time."""

import json
import sys
import time
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ImportError:  # the entry point exists whatever extras were installed
    sys.stderr.write("Error: the tersor command needs typer and rich: pip install 'tersor[cli]'\n")
    sys.exit(2)

from . import __version__
from ._progress import track
from ._safetensors import check_destination, whole_file, write_tensors
from .compress import CompressedTensor, TensorFile, compress, load, save, sqnr

# Without markup an error is one line, not a box that breaks long paths.
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__)
_Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command("compress")
def _compress(
    source: Path,
    destination: Path,
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write no destination.")] = False,
    report: Annotated[
        Path | None,
        typer.Option("--json", help="Write the rows here too; an SQNR of inf or NaN is null."),
    ] = None,
    force: _Force = False,
) -> None:
    """Prune and quantize the matrices of a safetensors file, each stored where it is smallest."""
    if dtype not in ("int8", "none"):
        raise typer.BadParameter(f"must be int8 or none, got {dtype!r}", param_hint="--dtype")
    original = TensorFile(source)
    if not dry_run:
        _check_free("destination", destination, source, force)
    if report is not None:
        _check_free("--json", report, source, force)
        if report.resolve() == destination.resolve():
            raise ValueError(f"destination and --json are the same file: {report}")
    small = compress(
        original,
        retain_ratio=retain_ratio,
        dtype=None if dtype == "none" else dtype,
        block_size=block_size,
        exclude=tuple(exclude or ()),
    )
    rows = [_row(name, tensor, original[name]) for name, tensor in small.items()]
    if not dry_run:
        save(destination, small)
    if report is not None:
        with whole_file(report) as file:
            file.write_text(json.dumps([_in_json(row) for row in rows], indent=1, allow_nan=False))
    _print(rows)


@app.command("info")
def _info(source: Path) -> None:
    """List the tensors of a file that `tersor compress` wrote."""
    _print([_row(name, tensor) for name, tensor in load(source).items()])


@app.command("expand")
def _expand(source: Path, destination: Path, force: _Force = False) -> None:
    """Write the tensors of a compressed file as plain dense ones, for other programs."""
    small = load(source)
    _check_free("destination", destination, source, force)
    dense = {name: tensor.to_dense() for name, tensor in small.items()}
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


def _check_free(name: str, path: Path, source: Path, force: bool) -> None:
    """Raise where `path` can not, or should not, be written, before any work is done for it."""
    check_destination(path)
    if path.exists():
        if path.samefile(source):
            raise ValueError(f"source and {name} are the same file: {source}, {path}")
        if not force:
            raise ValueError(f"{path} exists; --force replaces it")


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


def _in_json(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with null for an SQNR that is no number of JSON."""
    return row if isfinite(row.get("sqnr_db", 0)) else row | {"sqnr_db": None}


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
    # Plain: brackets and colons in a name are no markup.
    Console(width=max(Console().width, 120), markup=False, emoji=False).print(table)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; what its user can cause ends in one line on stderr and exit status 2."""
    try:
        app(arguments)
    except (ImportError, MemoryError, OSError, ValueError) as error:
        text = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{error.filename}: {error.strerror}"
        typer.echo(f"Error: {text}", err=True)
        sys.exit(2)
