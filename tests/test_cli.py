import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import tersor
from tersor.cli import app
from tersor.testing import assert_identical, hostile

W = hostile("normal", (64, 128))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": W, "layer.bias": W[0]}, path)
    return path


def tersor_command(*arguments, fails=False):
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def test_compress_info_expand(source, tmp_path):
    small, dense = tmp_path / "small", tmp_path / "dense"
    report = tmp_path / "rows.json"
    shown = tersor_command("compress", source, small, "--retain-ratio", "0.5", "--json", report)
    assert "bitmask" in shown and "total" in shown
    rows = {row["name"]: row for row in json.loads(report.read_text())}
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
    before = source.read_bytes()
    assert "exists" in tersor_command("compress", source, source, "--force", fails=True)
    other = tmp_path / "other"
    other.write_text("mine")
    assert "--force replaces it" in tersor_command("compress", source, other, fails=True)
    assert (source.read_bytes(), other.read_text()) == (before, "mine")


def test_dry_run_writes_nothing(source, tmp_path):
    assert "total" in tersor_command("compress", source, tmp_path / "out", "--dry-run")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("compress", "absent", "out"), "absent"),
        (("compress", "SOURCE", "out", "--dtype", "int5"), "must be int8 or none"),
        (("compress", "SOURCE", "out", "--retain-ratio", "1.5"), "--retain-ratio"),
        (("info", "SOURCE"), "was not written by tersor"),
        (("info", __file__), "no safetensors file"),
    ],
)
def test_what_is_wrong_is_said(arguments, message, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [source if a == "SOURCE" else a for a in arguments]
    assert message in tersor_command(*arguments, fails=True)


def test_version():
    assert tersor_command("--version").strip() == tersor.__version__


def test_warmup_compiles_what_later_calls_use():
    assert "calls ready" in tersor_command("warmup")
    from tersor_kernels.cpu import distill

    compiled = len(distill._softmax.signatures)
    tersor.softmax(np.ones((4, 5), np.float32), axis=1)
    assert len(distill._softmax.signatures) == compiled > 0
