"""The demo's results as one self-contained HTML page."""

import html
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

plt.rcParams |= {"svg.fonttype": "none", "font.family": "sans-serif", "axes.spines.top": False}
plt.rcParams |= {"axes.spines.right": False, "figure.constrained_layout.use": True}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff; }
table { border-collapse: collapse; font-size: .875rem; margin: 1rem 0; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
details { margin: 1rem 0; } summary { cursor: pointer; }
"""


def write_report(path: Path, digits: dict[str, Any], minilm: dict[str, Any]) -> None:
    """Write the page to `path`, making its folder."""
    body = [
        "<h1>tersor: what compression costs and saves</h1>",
        "<h2>Digits: a classifier trained, pruned, quantized and distilled</h2>",
        f"<p>{html.escape(digits['text'])}</p>",
        _figure(_accuracy_against_bytes(digits["rows"]), "Accuracy against size of each variant"),
        _table(
            ["variant", "accuracy", "bytes", "bytes / original", "time / dense"],
            [
                [
                    row["variant"],
                    f"{row['accuracy']:.2%} ± {row['spread']:.2%}",
                    f"{row['bytes']:,.0f}",
                    f"{row['bytes_ratio']:.3f}",
                    f"{row['time_ratio']:.2f}",
                ]
                for row in digits["rows"]
            ],
        ),
        "<h2>MiniLM: a pretrained language model's weights</h2>",
        "<p>SQNR, the signal to quantization noise ratio, says how close the stored weights are to "
        "the original ones. It is not the accuracy of a task.</p>",
        _figure(_bytes_of_recipes(minilm), "Bytes and SQNR of each recipe"),
        _figure(_sqnr_of_layers(minilm), "SQNR of each matrix"),
        _table(
            ["recipe", "bytes", "file", "smaller by", "SQNR, dB", "layouts"],
            [
                [
                    row["recipe"],
                    f"{row['bytes']:,}",
                    f"{row['file']:,}",
                    f"{row['ratio']:.2f}x",
                    f"{row['sqnr']:.1f}",
                    row["layouts"],
                ]
                for row in minilm["totals"]
            ],
        ),
        "<details><summary>Every tensor by every recipe</summary>",
        _table(
            ["layer", "recipe", "shape", "bytes", "smaller by", "SQNR, dB", "zeros", "layout"],
            [
                [
                    row["layer"],
                    row["recipe"],
                    row["shape"],
                    f"{row['bytes']:,}",
                    f"{row['ratio']:.2f}x",
                    f"{row['sqnr']:.1f}",
                    f"{row['sparsity']:.0%}",
                    row["layout"],
                ]
                for row in minilm["layers"]
            ],
        ),
        "</details>",
    ]
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>tersor demo</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page)
    temporary.replace(path)


def _table(header: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return (
        f"<table><thead>{line(header, 'th')}</thead><tbody>"
        + "".join(line(row, "td") for row in rows)
        + "</tbody></table>"
    )


def _figure(figure: Any, alt: str) -> str:
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = svg.getvalue()
    return (
        f"<figure role='img' aria-label='{html.escape(alt)}'>{text[text.index('<svg') :]}</figure>"
    )


def _accuracy_against_bytes(rows: list[dict[str, Any]]) -> Any:
    figure, axes = plt.subplots(figsize=(9, 4.5))
    for i, row in enumerate(rows):
        axes.errorbar(
            row["bytes"],
            100 * row["accuracy"],
            yerr=100 * row["spread"],
            fmt="osD^vPX*"[i % 8],
            color=f"C{i % 10}",
            capsize=3,
            label=row["variant"],
        )
    axes.set(xscale="log", xlabel="bytes of weights", ylabel="accuracy on held-out digits, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _bytes_of_recipes(minilm: dict[str, Any]) -> Any:
    totals = minilm["totals"]
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(totals) + 1.5))
    names = ["original, float32", *(row["recipe"] for row in totals)]
    sizes = [minilm["source"] / 1e6, *(row["bytes"] / 1e6 for row in totals)]
    bars = axes.barh(names, sizes, color=["C7", *["C0"] * len(totals)])
    labels = ["", *(f"{row['ratio']:.1f}x smaller, {row['sqnr']:.1f} dB" for row in totals)]
    axes.bar_label(bars, labels, padding=4)
    axes.invert_yaxis()
    axes.set(xlabel="MB", xlim=(0, 1.15 * max(sizes)))
    return figure


def _sqnr_of_layers(minilm: dict[str, Any]) -> Any:
    figure, axes = plt.subplots(figsize=(9, 4.5))
    matrices = [row for row in minilm["layers"] if row["matrix"]]
    for recipe in dict.fromkeys(row["recipe"] for row in matrices):
        values = [row["sqnr"] for row in matrices if row["recipe"] == recipe]
        axes.plot(np.arange(len(values)), values, ".-", label=recipe)
    axes.set(xlabel="matrix, in the order of the file", ylabel="SQNR, dB")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure
