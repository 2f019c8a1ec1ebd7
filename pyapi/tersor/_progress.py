"""A progress bar for what takes longer than a moment."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """`items`, with a bar on a terminal's stderr where rich is installed; else just `items`."""
    if not sys.stderr.isatty():
        return items
    try:
        from rich.console import Console
        from rich.progress import track as rich_track
    except ImportError:
        return items
    if total is None and isinstance(items, Sized):
        total = len(items)
    console = Console(stderr=True)
    bar: Iterator[T] = iter(rich_track(items, description, total, console=console, transient=True))
    return bar
