import json
import os
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ml_dtypes import bfloat16
from safetensors.numpy import load_file, save_file

import tersor
from tersor.cli import main
from tersor.testing import assert_identical, hostile

W = hostile("normal", (64, 128))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": W, "layer.bias": W[0]}, path)
    return path


def tersor_command(*arguments, fails=False):
    """What the command prints; where it fails, the one line that says why."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments)])
    assert end.value.code == (2 if fails else 0), err.getvalue()
    if not fails:
        assert not err.getvalue()
        return out.getvalue()
    *usage, error = err.getvalue().splitlines()
    assert not out.getvalue() and error.startswith("Error: ")
    assert not usage or usage[0].startswith("Usage: ")
    return error


@contextmanager
def nothing_written(folder):
    """Fails where a file in `folder` is another one, or has other bytes, at the end."""

    def contents():
        return {path: path.is_file() and path.read_bytes() for path in folder.iterdir()}

    before = contents()
    yield
    assert contents() == before


def test_compress_info_expand(source, tmp_path):
    small, dense = tmp_path / "small", tmp_path / "dense"
    report = tmp_path / "rows.json"
    shown = tersor_command("compress", source, small, "--retain-ratio", "0.5", "--json", report)
    assert "bitmask" in shown and "total" in shown
    strict = json.loads(report.read_text(), parse_constant=pytest.fail)
    rows = {row["name"]: row for row in strict}
    assert rows["layer.bias"]["sqnr_db"] is None and rows["layer.weight"]["sqnr_db"] > 5
    assert rows["layer.weight"]["before"] == W.nbytes
    assert rows["layer.weight"]["after"] < W.nbytes / 5
    assert "bitmask" in tersor_command("info", small)

    tersor_command("expand", small, dense)
    want = tersor.quantize(tersor.prune(W, 0.5), axis=0).dequantize()
    assert_identical(load_file(dense)["layer.weight"], want)
    assert_identical(load_file(dense)["layer.bias"], W[0])


def test_options_reach_the_kernels(source, tmp_path):
    out = tmp_path / "out"
    options = ("--dtype", "none", "--retain-ratio", "0.25", "--exclude", "*bias")
    tersor_command("compress", source, out, *options)
    assert_identical(tersor.compress.load(out)["layer.weight"].to_dense(), tersor.prune(W, 0.25))
    tersor_command("compress", source, out, "--block-size", "32", "--force")
    want = tersor.quantize(W, block_size=32).dequantize()
    assert_identical(tersor.compress.load(out)["layer.weight"].to_dense(), want)


def test_nothing_is_overwritten_unasked(source, tmp_path):
    other = tmp_path / "other"
    other.write_text("mine")
    with nothing_written(tmp_path):
        for options in ((other,), (tmp_path / "out", "--json", other)):
            assert "--force replaces it" in tersor_command("compress", source, *options, fails=True)


def test_source_and_destination_must_differ(source, tmp_path):
    small, other = tmp_path / "small", tmp_path / "other"
    tersor_command("compress", source, small)
    for kind in ("symlink_to", "hardlink_to"):
        getattr(tmp_path / f"model_{kind}", kind)(source)
        getattr(tmp_path / f"small_{kind}", kind)(small)
    same = "source and destination are the same file"
    with nothing_written(tmp_path):
        for name in ("model.safetensors", "model_symlink_to", "model_hardlink_to"):
            for force in ((), ("--force",)):
                message = tersor_command("compress", source, tmp_path / name, *force, fails=True)
                assert same in message and str(source) in message
        for name in ("small", "small_symlink_to", "small_hardlink_to"):
            assert same in tersor_command("expand", small, tmp_path / name, fails=True)
        message = tersor_command("compress", source, other, "--json", source, fails=True)
        assert "source and --json are the same file" in message
        message = tersor_command("compress", source, other, "--json", other, fails=True)
        assert "destination and --json are the same file" in message


def test_dry_run_writes_nothing(source, tmp_path):
    with nothing_written(tmp_path):
        assert "total" in tersor_command("compress", source, tmp_path / "out", "--dry-run")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("compress absent out", "absent: No such file"),
        ("info absent", "absent: No such file"),
        ("expand absent out", "absent: No such file"),
        ("compress . out", ".: Is a directory"),
        ("info .", ".: Is a directory"),
        ("compress text out", "text is no safetensors file"),
        ("info text", "text is no safetensors file"),
        ("compress cut out", "cut is no safetensors file, or is damaged: "),
        ("compress nan out", "tensor 'layer.weight': w must be finite to be quantized"),
        ("compress inf out", "tensor 'layer.weight': w must be finite to be quantized"),
        ("compress nan out --dtype none --retain-ratio 0.5", "'layer.weight': w must not hold NaN"),
        ("compress clash out", "tensors must not hold 'w.scale'"),
        ("compress float8 out", "'w': float8: w (F8_E4M3) can not be read as an array"),
        ("compress small out", "small is already compressed by tersor: compress the original"),
        ("compress SOURCE no/out", "no: No such folder"),
        ("compress SOURCE text/out", "text: No such folder"),
        ("compress SOURCE folder", "folder: exists and is no regular file"),
        ("compress SOURCE pipe --force", "pipe: exists and is no regular file"),
        ("info pipe", "pipe is no safetensors file"),
        ("compress SOURCE out --json no/rows", "no: No such folder"),
        ("compress SOURCE", "Missing argument"),
        ("compress SOURCE out --dtype int5", "must be int8 or none"),
        ("compress SOURCE out --retain-ratio 1.5", "--retain-ratio"),
        ("compress SOURCE out --retain-ratio nan", "retain"),
        ("compress SOURCE out --retain-ratio half", "--retain-ratio"),
        ("compress SOURCE out --block-size 0", "--block-size"),
        ("info SOURCE", "was not written by tersor"),
        ("expand SOURCE out", "was not written by tersor"),
        ("expand small no/out", "no: No such folder"),
        ("expand small folder", "folder: exists and is no regular file"),
        ("expand damaged out", "the parts of the tensor do not fit together"),
        ("info damaged", "the parts of the tensor do not fit together"),
        ("warmup fast", "argument"),
        ("wramup", "No such command"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, message, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad_files(source)
    arguments = [source.name if a == "SOURCE" else a for a in arguments.split()]
    with nothing_written(tmp_path):
        assert message in tersor_command(*arguments, fails=True)


def bad_files(source):
    """One of each kind, in the working folder."""
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("text").write_text("This is a text of more than a few bytes.")
    Path("cut").write_bytes(source.read_bytes()[:-1000])
    for name, value in {"nan": np.nan, "inf": np.inf}.items():
        save_file({"layer.bias": W[0], "layer.weight": np.where(W > 1, value, W)}, name)
    save_file({"w": W, "w.scale": W[0]}, "clash")
    header = b'{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}'
    Path("float8").write_bytes(len(header).to_bytes(8, "little") + header + b"0")
    small = tersor.compress.compress({"w": W}, retain_ratio=0.01)
    tersor.compress.save("small", small)
    indices = small["w"].parts["indices"].tobytes()
    damaged = Path("small").read_bytes().replace(indices, b"\xff" * len(indices))
    Path("damaged").write_bytes(damaged)


def test_a_destination_is_checked_before_any_work(source, tmp_path, monkeypatch):
    monkeypatch.setattr("tersor.cli.compress", lambda *arguments, **options: 1 / 0)
    assert "No such folder" in tersor_command("compress", source, tmp_path / "no/out", fails=True)
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)  # root may write anywhere
    message = tersor_command("compress", source, tmp_path / "out", fails=True)
    assert message == f"Error: {tmp_path}: No permission to write here"


def test_no_permission_to_read(source, tmp_path, monkeypatch):
    def refuse(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # root may read anything
    for command in (("compress", source, tmp_path / "out"), ("info", source)):
        assert tersor_command(*command, fails=True) == f"Error: {source}: Permission denied"


def test_a_full_disk_leaves_no_partial_file(source, tmp_path, full_disk):
    small, out = tmp_path / "small", tmp_path / "out"
    tersor_command("compress", source, small)
    for command in (("compress", source), ("expand", small)):
        with nothing_written(tmp_path), full_disk():
            message = tersor_command(*command, out, fails=True)
        assert message == f"Error: {out}: File too large"


def test_names_are_no_markup(tmp_path):
    save_file({"layers[bold].weight:smile:": W, "[/bold]": W}, tmp_path / "f")
    shown = tersor_command("compress", tmp_path / "f", tmp_path / "out")
    assert "layers[bold].weight:smile:" in shown and "[/bold]" in shown


def fresh(*arguments):
    """A new interpreter with these arguments, when it has ended."""
    path = os.pathsep.join(sys.path)
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": path})


def test_runs_as_a_module(tmp_path):
    assert fresh("-m", "tersor", "--version").stdout.strip() == tersor.__version__
    failed = fresh("-m", "tersor", "info", tmp_path / "absent")
    assert failed.returncode == 2
    assert failed.stderr == f"Error: {tmp_path / 'absent'}: No such file or directory\n"


def test_without_its_extra_the_command_says_so():
    code = "import sys; sys.modules['typer'] = None; import tersor.cli"
    failed = fresh("-c", code)
    assert failed.returncode == 2
    assert failed.stderr == (
        "Error: the tersor command needs typer and rich: pip install 'tersor[cli]'\n"
    )


def test_without_the_library_of_files_the_command_says_so(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    message = tersor_command("compress", source, tmp_path / "out", fails=True)
    assert message == (
        "Error: safetensors files need the safetensors library: pip install 'tersor[models]'"
    )


def test_bfloat16_is_read_before_anything_has_imported_it(tmp_path):
    save_file({"w": W.astype(bfloat16)}, tmp_path / "f")
    code = "import sys; from tersor.compress import TensorFile; print(TensorFile(sys.argv[1])['w'])"
    assert fresh("-c", code, tmp_path / "f").stdout.startswith("[[")


def test_version():
    assert tersor_command("--version").strip() == tersor.__version__


def test_warmup_compiles_what_later_calls_use():
    assert "calls ready" in tersor_command("warmup")
    from tersor_kernels.cpu import distill

    compiled = len(distill._softmax.signatures)
    tersor.softmax(np.ones((4, 5), np.float32), axis=1)
    assert len(distill._softmax.signatures) == compiled > 0
