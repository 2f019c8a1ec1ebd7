"""Shared objects of C++ text, kept in a folder of the checkout by what they are made of."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

RUNTIME = Path(__file__).with_name("runtime")
CACHE = Path(__file__).parents[2] / ".ptx_cache"
_FLAGS = ("-std=c++17", "-fPIC", "-shared", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off")


def missing():
    """What this machine lacks to run kernels, or None."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return "the emulator needs Linux on x86-64"
    return None if shutil.which("g++") else "the emulator needs g++"


@cache
def runtime():
    """The path of the built runtime."""
    sources = sorted(RUNTIME.glob("*.cpp"))
    return _built(sources, ("-O2", *_FLAGS), _headers())


def kernels(source):
    """The path of the built C++ of a translated module."""
    flags = ("-O1", *_FLAGS, "-w", f"-I{RUNTIME}")
    key = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = CACHE / f"{key}.cpp"
    CACHE.mkdir(exist_ok=True)
    if not path.exists():
        _write(path, source.encode())
    return _built([path], flags, _headers())


def kept(key, make):
    """What `make()` gives, of text and lists, or gave before for the same key."""
    path = CACHE / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    if path.exists():
        return json.loads(path.read_text())
    CACHE.mkdir(exist_ok=True)
    result = make()
    _write(path, json.dumps(result).encode())
    return result


@cache
def _headers():
    return b"".join(path.read_bytes() for path in sorted(RUNTIME.glob("*.h")))


def _built(sources, flags, headers):
    parts = [" ".join(flags[:-1]).encode(), headers, *(path.read_bytes() for path in sources)]
    target = CACHE / f"{hashlib.sha256(b'|'.join(parts)).hexdigest()[:24]}.so"
    if not target.exists():
        CACHE.mkdir(exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        command = ["g++", *flags, *map(str, sources), "-o", str(part)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"g++ failed:\n{done.stderr[:4000]}")
        part.replace(target)
    return target


def _write(path, content):
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)
