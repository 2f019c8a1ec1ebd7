"""Demo, part a: train a classifier of handwritten digits, then make it small in every way.

The digits of scikit-learn are 1797 pictures of 8 x 8 pixels. For each seed a stratified quarter is
held out, a perceptron of 51 thousand parameters is trained on the rest, and it and its variants are
scored on the held-out quarter. The settings were chosen on other seeds than those shown.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import tersor
from tersor._progress import track
from tersor.mlp import MLPClassifier
from tersor_bench.timer import interleave

SEEDS = range(10, 15)
RETAIN_RATIO = 0.2
COMPRESSION_RATIO = 10
ROUNDS = 101  # of the timer

TEACHER = "teacher, float32"
INT8 = "teacher, int8"
PRUNED = f"pruned: {RETAIN_RATIO:.0%} kept"
TRAINED = f"{PRUNED}, trained further"
GRADUAL = f"{PRUNED}, gradually in training"
CSR = f"{GRADUAL}, CSR"
AWARE = f"{PRUNED}, trained for int8, int8"
AWARE_CSR = f"{PRUNED}, trained for int8, int8 CSR"
UNLABELLED = f"student 1/{COMPRESSION_RATIO}: distilled, no labels"
UNLABELLED_INT8 = f"{UNLABELLED}, int8"
TENTH = f"student 1/{COMPRESSION_RATIO}: a tenth of the labels"
PLAIN = f"student 1/{COMPRESSION_RATIO}: all labels"
DISTILLED = f"student 1/{COMPRESSION_RATIO}: distilled, all labels"
VARIANTS = 13

Labels = NDArray[np.int64]
Pixels = NDArray[np.float32]


def run(seeds: Sequence[int] = SEEDS, *, epochs: int = 30) -> dict[str, Any]:
    """Train all variants for each seed; time those of the last one.

    `epochs` are the teacher's; the others train in proportion.

    Returns {"rows": [{"variant", "accuracy", "spread", "bytes", "bytes_ratio", "time_ratio"}, ...],
    "text": str}. The accuracy is the mean over the seeds of the share of held-out digits that are
    right, the spread its standard deviation, the bytes what the model stores, ratios are over the
    teacher's, and the text says what the numbers show.
    """
    # Layers so small gain nothing from a second thread of BLAS, and lose where cores are shared.
    with threadpool_limits(1), tersor.num_threads(1):
        scored = track(_scored(seeds, epochs), "digits", VARIANTS * len(seeds))
        accuracy: dict[str, list[float]] = {}
        models: dict[str, MLPClassifier] = {}
        for name, model, share in scored:
            models[name] = model
            accuracy.setdefault(name, []).append(share)
        pixels, _ = digits()
        batch = pixels[: len(pixels) // 4]
        calls = {name: partial(model.logits, batch) for name, model in models.items()}
        times = interleave(calls, rounds=ROUNDS, check=_check)
    teacher = models[TEACHER]
    rows = [
        {
            "variant": name,
            "accuracy": fmean(accuracy[name]),
            "spread": _spread(accuracy[name]),
            "bytes": model.nbytes,
            "bytes_ratio": model.nbytes / teacher.nbytes,
            "time_ratio": times[name].median / times[TEACHER].median,
        }
        for name, model in models.items()
    ]
    return {"rows": rows, "text": _text(accuracy, len(batch))}


def digits() -> tuple[Pixels, Labels]:
    """Pixels in 0..1, shape (1797, 64), and the digits they show."""
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), labels


def _scored(seeds: Sequence[int], epochs: int) -> Iterator[tuple[str, MLPClassifier, float]]:
    """Name, model and accuracy of each variant for each seed."""
    pixels, labels = digits()
    for seed in seeds:
        x, held_out, y, answers = train_test_split(
            pixels, labels, test_size=0.25, stratify=labels, random_state=seed
        )
        for name, model in variants(x, y, seed, epochs):
            yield name, model, model.score(held_out, answers)


def variants(x: Pixels, y: Labels, seed: int, epochs: int) -> Iterator[tuple[str, MLPClassifier]]:
    """The teacher, trained on x and y, and what is made of it."""
    teacher = MLPClassifier((256, 128), epochs=epochs, random_state=seed).fit(x, y)
    yield TEACHER, teacher
    yield INT8, teacher.quantize()

    pruned = teacher.prune(RETAIN_RATIO)
    yield PRUNED, pruned
    yield TRAINED, pruned.finetune(x, y)
    schedule = partial(tersor.retain_schedule, begin=0, end=0.6 * epochs, final=RETAIN_RATIO)
    gradual = teacher.finetune(x, y, retain_schedule=schedule)
    yield GRADUAL, gradual
    yield CSR, gradual.to_csr()
    aware = gradual.quantization_aware().finetune(x, y, epochs=-(-epochs // 3))
    yield AWARE, aware.quantize()
    yield AWARE_CSR, aware.quantize().to_csr()

    # Small networks learn more slowly; all students take about as many steps.
    student = teacher.student(COMPRESSION_RATIO).set_params(epochs=4 * epochs)
    unlabelled = student.distil(teacher, x)
    yield UNLABELLED, unlabelled
    yield UNLABELLED_INT8, unlabelled.quantize()
    few, _, few_y, _ = train_test_split(x, y, train_size=0.1, stratify=y, random_state=seed)
    yield TENTH, _like(student, epochs=40 * epochs).fit(few, few_y)
    yield PLAIN, _like(student).fit(x, y)
    yield DISTILLED, student.distil(teacher, x, y, alpha=0.5)


def _like(model: MLPClassifier, **changed: Any) -> MLPClassifier:
    return MLPClassifier(**{**model.get_params(), **changed})


def table(result: dict[str, Any]) -> Table:
    """The rows as a table for the terminal."""
    shown = Table(title="Digits")
    shown.add_column("variant", no_wrap=True)
    for column in ("accuracy", "bytes", "bytes / teacher", "time / teacher"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in result["rows"]:
        shown.add_row(
            row["variant"],
            f"{row['accuracy']:.2%} ± {row['spread']:.2%}",
            f"{row['bytes']:,}",
            f"{row['bytes_ratio']:.3f}",
            f"{row['time_ratio']:.2f}",
        )
    return shown


def _text(accuracy: dict[str, list[float]], batch: int) -> str:
    """What the numbers show, in words."""

    def against(name: str) -> str:
        points = round(100 * (fmean(accuracy[name]) - fmean(accuracy[TEACHER])), 1)
        side = "above" if points > 0 else "below"
        return f"{abs(points)} points {side}" if points else "level"

    gains = [100 * (a - b) for a, b in zip(accuracy[DISTILLED], accuracy[PLAIN], strict=True)]
    level = abs(fmean(gains)) <= max(_spread(gains), 100 / batch)
    verdict = (
        "about level, so on these digits distillation pays where labels are missing"
        if level
        else "more than the spread between seeds"
    )
    return (
        f"Accuracy is the mean ± standard deviation over {len(gains)} seeds and splits; one "
        f"held-out digit is {1 / batch:.2%}. Against the teacher: in int8 {against(INT8)}; with "
        f"{RETAIN_RATIO:.0%} of its weights {against(PRUNED)}, {against(TRAINED)} after further "
        f"training, {against(GRADUAL)} if pruned gradually, {against(AWARE)} if then trained for "
        f"int8. The student that never saw a label is {against(UNLABELLED)}; trained on a tenth of "
        f"the labels alone it is {against(TENTH)}. With all labels, distillation changes the "
        f"student by {fmean(gains):+.1f} ± {_spread(gains):.1f} points: {verdict}. Times are "
        f"medians of interleaved calls with a batch of {batch}, in one thread."
    )


def _spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _check(name: str, result: NDArray[Any]) -> None:
    if not np.isfinite(result).all():
        raise ValueError(f"{name} gives logits that are not finite")
