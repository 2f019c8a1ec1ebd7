"""The main job on real data: prints two tables and writes report/index.html."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import demo_digits
import demo_minilm
from demo_report import write_report

REPORT = Path(__file__).parents[1] / "report" / "index.html"


def main() -> None:
    start = time.monotonic()
    console = Console(width=max(Console().width, 132))
    digits = demo_digits.run()
    console.print(demo_digits.table(digits))
    console.print(digits["text"])

    minilm = demo_minilm.run()
    console.print(layers_table(minilm))
    console.print(totals_table(minilm))

    write_report(REPORT, digits, minilm)
    console.print(f"\nPlots and every layer: {REPORT}", soft_wrap=True)
    console.print(f"Done in {time.monotonic() - start:.0f} s, compilation included.")


def layers_table(result: dict[str, Any]) -> Table:
    """A row a matrix; a column a recipe with kB, ratio, SQNR, zeros and layout."""
    shown = ["int8, scale a channel", "int8, scale a block of 64", "half kept, int8"]
    table = Table(
        title="MiniLM, matrix by matrix: kB stored, original over stored, SQNR in dB, zeros, layout"
    )
    table.add_column("matrix", no_wrap=True)
    for recipe in shown:
        table.add_column(recipe, justify="right", no_wrap=True)
    matrices: dict[str, dict[str, Any]] = {}
    for row in result["layers"]:
        if row["matrix"]:
            matrices.setdefault(row["layer"], {})[row["recipe"]] = row
    for layer, rows in matrices.items():
        cells = [
            f"{row['bytes'] / 1e3:.0f} {row['ratio']:.2f}x {row['sqnr']:.1f} {row['sparsity']:.0%}"
            f" {row['layout']:7}"
            for row in (rows[recipe] for recipe in shown)
        ]
        name = layer.removesuffix(".weight").removeprefix("encoder.")
        table.add_row(f"{name} {rows[shown[0]]['shape']}", *cells)
    return table


def totals_table(result: dict[str, Any]) -> Table:
    table = Table(title=f"MiniLM, all tensors: {result['source'] / 1e6:.1f} MB as float32")
    for column in ("recipe", "MB", "file, MB", "smaller by", "SQNR, dB", "layouts"):
        table.add_column(column, justify="left" if column in ("recipe", "layouts") else "right")
    for row in result["totals"]:
        table.add_row(
            row["recipe"],
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['file'] / 1e6:.2f}",
            f"{row['ratio']:.2f}x",
            f"{row['sqnr']:.1f}",
            row["layouts"],
        )
    return table


if __name__ == "__main__":
    main()
