import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16
from safetensors.numpy import load_file, save_file

import tersor
from tersor.compress import (
    CompressedTensor,
    TensorFile,
    compress,
    compress_tensor,
    load,
    save,
    sqnr,
)
from tersor.testing import assert_identical, hostile, unchanged

W = hostile("normal", (96, 200))


def content(w, retain_ratio=None, block_size=None):
    """What the recipe says is stored, from the public functions alone."""
    if retain_ratio is not None:
        w = tersor.prune(w, retain_ratio)
    return tersor.quantize(w, axis=None if block_size else 0, block_size=block_size).dequantize()


@pytest.mark.parametrize("block_size", [None, 32, 64])
@pytest.mark.parametrize(
    "retain_ratio, layout", [(None, "dense"), (0.5, "bitmask"), (0.01, "csr"), (0.0, "csr")]
)
def test_content_is_the_recipes_and_layout_the_smallest(retain_ratio, layout, block_size):
    with unchanged(W):
        small = compress_tensor(W, retain_ratio=retain_ratio, block_size=block_size)
    assert_identical(small.to_dense(), content(W, retain_ratio, block_size))
    assert small.layout == layout
    zeros = (small.to_dense() == 0).mean()
    assert small.sparsity == pytest.approx(zeros)
    assert small.nbytes == sum(part.nbytes for part in small.parts.values())


def test_bytes_by_hand():
    small = compress_tensor(W, retain_ratio=0.5)
    kept = np.count_nonzero(tersor.quantize(tersor.prune(W, 0.5), axis=0).data)
    assert small.nbytes == kept + 96 * 200 // 8 + 4 * 96


def test_float_values_without_quantization_are_exact():
    small = compress_tensor(W, retain_ratio=0.25, dtype=None)
    assert_identical(small.to_dense(), tersor.prune(W, 0.25))
    assert small.layout == "bitmask"


@pytest.mark.parametrize(
    "w",
    [
        np.arange(5, dtype=np.float32),
        np.float32(3).reshape(()),
        np.zeros((0, 4), np.float32),
        np.arange(12).reshape(3, 4),
        np.array([[True, False]]),
        np.ones((3, 1), np.float32),  # a scale a row would need more than the row
    ],
)
def test_what_would_not_shrink_is_stored_as_it_is(w):
    small = compress_tensor(w)
    assert small.layout == "dense" and small.nbytes == w.nbytes
    assert_identical(small.to_dense(), w)


@pytest.mark.parametrize("dtype", [np.float16, bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(8, 40), (8, 4, 3, 3), (1, 40), (40, 300)])
def test_shapes_and_dtypes_come_back_from_the_file(dtype, shape, tmp_path):
    w = hostile("normal", shape, dtype)
    for options in ({}, {"retain_ratio": 0.3}, {"retain_ratio": 0.02}, {"block_size": 16}):
        small = compress({"w": w}, **options)
        save(tmp_path / "f", small)
        back = load(tmp_path / "f")["w"]
        assert (back.layout, back.nbytes) == (small["w"].layout, small["w"].nbytes)
        assert_identical(back.to_dense(), small["w"].to_dense())
        assert back.to_dense().dtype == w.dtype and back.to_dense().shape == shape


def test_wide_matrices_use_wider_indices():
    w = np.zeros((2, 70_000), np.float32)
    w[1, 69_999] = 1
    small = compress_tensor(w, dtype=None)
    assert small.layout == "csr" and small.parts["indices"].dtype == np.int32
    assert_identical(small.to_dense(), w)


def test_excluded_names_stay_as_they_are():
    small = compress({"a.weight": W, "embedding": W}, retain_ratio=0.02, exclude=("embed*",))
    assert_identical(small["embedding"].to_dense(), W)
    assert small["a.weight"].layout == "csr"


def test_nan_weights_are_refused():
    w = W.copy()
    w[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        compress_tensor(w, retain_ratio=0.5)
    with pytest.raises(ValueError, match=r"tensor 'layer': .*NaN"):
        compress({"layer": w})


def test_infinite_weights_are_refused_where_they_are_quantized():
    w = np.where(W > 1, np.inf, W)
    with pytest.raises(ValueError, match="w must be finite to be quantized"):
        compress_tensor(w)
    assert_identical(
        compress_tensor(w, retain_ratio=0.5, dtype=None).to_dense(), tersor.prune(w, 0.5)
    )


ANY = "some.safetensors"


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: compress_tensor(ANY), TypeError, "w must be an array or nested lists"),
        (lambda: compress_tensor(W.astype(complex)), TypeError, "w must be float16.* got complex"),
        (lambda: compress_tensor(np.array(["a"])), TypeError, "w must be float16.* got <U1"),
        (lambda: compress_tensor(np.ma.masked_array(W)), TypeError, "w must be a plain array"),
        (lambda: compress_tensor(compress_tensor(W)), TypeError, "w .* already compressed by ter"),
        (lambda: compress_tensor(W, dtype="int5"), ValueError, "dtype must be .*, got 'int5'"),
        (lambda: compress_tensor(W, dtype=np.int8), TypeError, "dtype must be .*, got <class"),
        (lambda: compress_tensor(W, retain_ratio="1"), TypeError, "retain_ratio must be a number"),
        (lambda: compress_tensor(W, retain_ratio=2), ValueError, r"retain_ratio must be in 0\.\.1"),
        (lambda: compress_tensor(W, block_size=2.0), TypeError, "block_size must be an int, got 2"),
        (lambda: compress_tensor(W, block_size=0), ValueError, "block_size must be at least 1"),
        (lambda: compress(ANY), TypeError, "tensors must be a mapping of names to arr.* got str"),
        (lambda: compress(Path(ANY)), TypeError, "tensors must be a mapping .* got PosixPath"),
        (lambda: compress(W), TypeError, "tensors must be a mapping .* got ndarray"),
        (lambda: compress({0: W}), TypeError, "tensors must have names that are str, got 0"),
        (lambda: compress({"w": ANY}), TypeError, "tensor 'w': w must be an array or nested"),
        (lambda: compress({"w": compress_tensor(W)}), TypeError, "'w': .* compressed by tersor"),
        (lambda: compress({}, block_size="1"), TypeError, "block_size must be an int, got '1'"),
        (lambda: compress({}, retain_ratio=True), TypeError, "retain_ratio must be a .* got True"),
        (lambda: compress({}, exclude="*w"), TypeError, r"exclude must be a tuple .* got '\*w'"),
        (lambda: compress({}, exclude=None), TypeError, "exclude must be a tuple .* got None"),
        (lambda: compress({}, exclude=(1,)), TypeError, r"exclude must be a tuple .* got \(1,\)"),
        (lambda: save({}, ANY), TypeError, r"path must be a str or an os\.PathLike, got dict"),
        (lambda: save(b"f", {}), TypeError, "path must be a str .* got bytes"),
        (lambda: save(ANY, Path(ANY)), TypeError, "tensors must be a mapping .* got PosixPath"),
        (lambda: save(ANY, {"w": W}), TypeError, r"tensors\['w'\] must be a Comp.* got ndarray"),
        (lambda: save(ANY, compress_tensor(W)), TypeError, "tensors must be .* got CompressedT"),
        (lambda: load({}), TypeError, "path must be a str .* got dict"),
        (lambda: TensorFile(3), TypeError, "path must be a str .* got int"),
        (lambda: sqnr(ANY, W), TypeError, "original must be an array"),
        (lambda: sqnr(W, compress_tensor(W)), TypeError, "approximation must be an array"),
        (lambda: sqnr(W, W[0]), ValueError, r"approximation must have the shape \(96, 200\)"),
    ],
)
def test_arguments_are_checked(call, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call()
    assert not list(tmp_path.iterdir())


def test_a_compressed_file_is_not_compressed_again(tmp_path):
    save(tmp_path / "f", compress({"w": W}))
    with pytest.raises(ValueError, match=r"f is already compressed by tersor: .*`tersor expand`"):
        compress(TensorFile(tmp_path / "f"))


def test_any_order_of_bytes_and_axes_is_stored_right(tmp_path):
    tensors = {"w": W.astype(">f4"), "bias": W[0].astype(">f8"), "n": np.arange(3, dtype=">i2")}
    tensors |= {"transposed": W.T, "reversed": W[::-1, ::2], "scalar": np.array(2.5)}
    small = compress(tensors, dtype=None)
    save(tmp_path / "f", small)
    for name, tensor in load(tmp_path / "f").items():
        assert_identical(tensor.to_dense(), tensors[name].astype(tensor.dtype))


def test_files_are_readable_by_the_safetensors_library(tmp_path):
    save(tmp_path / "f", compress({"w": W}))
    parts = load_file(tmp_path / "f")
    assert_identical(parts["w"], tersor.quantize(W, axis=0).data)
    assert_identical(parts["w.scale"], tersor.quantize(W, axis=0).scale)


def test_reads_what_the_safetensors_library_writes(tmp_path):
    tensors = {"a": W, "b": np.arange(3), "c": np.array([True]), "d": np.float16([1.5])}
    tensors |= {"e": W.astype(bfloat16), "f": np.array(3.0), "g": np.zeros((0, 3), np.int8)}
    save_file(tensors, tmp_path / "f", {"key": "value"})
    file = TensorFile(tmp_path / "f")
    assert file.metadata == {"key": "value"} and set(file) == set(tensors) and len(file) == 7
    for name, tensor in tensors.items():
        assert_identical(file[name], tensor)
        assert name in file and not file[name].flags.writeable
    assert "absent" not in file
    with pytest.raises(KeyError, match="absent"):
        file["absent"]


def test_saving_is_whole_or_not_at_all(tmp_path, full_disk):
    path, other = tmp_path / "f", compress({"w": 2 * W})
    save(path, compress({"w": W}))
    before = path.read_bytes()
    with full_disk(), pytest.raises(OSError, match=r"File too large: '.*/f'"):
        save(path, other)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    save(path, other)
    assert_identical(load(path)["w"].to_dense(), other["w"].to_dense())


def test_destinations_that_can_not_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such folder: '.*/no'"):
        save(tmp_path / "no" / "f", {})
    with pytest.raises(FileExistsError, match="exists and is no regular file"):
        save(tmp_path, {})


def test_files_have_the_usual_permissions(tmp_path):
    save(tmp_path / "f", {})
    (tmp_path / "plain").touch()
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_the_format_has_not_is_refused_and_leaves_nothing(tmp_path):
    odd = CompressedTensor("dense", (2,), "complex128", {"values": np.ones(2, complex)})
    with pytest.raises(ValueError, match=r"f can not be written: .*complex128"):
        save(tmp_path / "f", {"w": odd})
    assert not list(tmp_path.iterdir())


def test_without_the_library_files_say_so(tmp_path, monkeypatch):
    small = compress({"w": W})
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    calls = (lambda: TensorFile(tmp_path / "f"), lambda: save(tmp_path / "f", small))
    for call in calls:
        with pytest.raises(ImportError, match=r"need the safetensors .*: pip install 'tersor\[mod"):
            call()
    assert not list(tmp_path.iterdir())


def test_empty_tensors_and_empty_files(tmp_path):
    tensors = {"a": np.zeros((0, 4), np.float32), "b": np.zeros(0, bool)}
    for named in (tensors, {}):
        save(tmp_path / "f", compress(named))
        back = load(tmp_path / "f")
        assert set(back) == set(load_file(tmp_path / "f")) == set(named)
        for name, tensor in named.items():
            assert_identical(back[name].to_dense(), tensor)


def test_the_name_of_the_metadata_is_no_tensors(tmp_path):
    with pytest.raises(ValueError, match="tensors must not have the name '__metadata__'"):
        save(tmp_path / "f", compress({"__metadata__": W}))


def test_clashing_names_are_refused(tmp_path):
    tensors = compress({"w": W, "w.scale": W[0]})
    with pytest.raises(ValueError, match=r"tensors must not hold 'w\.scale': a part of another"):
        save(tmp_path / "f", tensors)


def with_header(header, data=b""):
    """The bytes of a safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(offsets, shape=(1,), dtype="F32"):
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 20,
        with_header(b""),
        with_header(b"{nope"),
        with_header(b"[1,2]"),
        with_header(b"[" * 10**5),
        with_header({"w": {}}),
        with_header({"w": 12}),
        with_header({"__metadata__": []}),
        *(with_header(entry(o), bytes(8)) for o in ([0, 8], [-4, 0], [4, 0], [0, 400], [4, 8])),
        with_header(entry([0, 4]), bytes(8)),
        with_header(entry([0, 4], (-1,)), bytes(4)),
        with_header(entry([0, 4], (2**63, 2**63)), bytes(4)),
        with_header(entry([0, 4], dtype="F31"), bytes(4)),
    ],
)
def test_broken_files_are_refused(raw, tmp_path):
    (tmp_path / "f").write_bytes(raw)
    for read in (TensorFile, load):
        with pytest.raises(ValueError, match="f is no safetensors file, or is damaged: "):
            read(tmp_path / "f")


@pytest.mark.parametrize(
    "header, data",
    [
        (entry([0, 4], [1] * 100), bytes(4)),
        (entry([0, 0], [2**62, 0]), b""),
        (entry([0, 1], dtype="F8_E4M3"), bytes(1)),
    ],
)
def test_what_numpy_can_not_hold_is_refused_when_it_is_read(header, data, tmp_path):
    (tmp_path / "f").write_bytes(with_header(header, data))
    file = TensorFile(tmp_path / "f")
    assert list(file) == ["w"]
    with pytest.raises(ValueError, match=r"f: w \(F.*\) can not be read as an array: "):
        file["w"]


def read_all(path):
    return [*TensorFile(path).values(), *(tensor.to_dense() for tensor in load(path).values())]


def test_cut_files_are_refused(tmp_path):
    save(tmp_path / "f", compress({"w": W[:4, :8], "b": W[0, :3]}, retain_ratio=0.3))
    whole = (tmp_path / "f").read_bytes()
    assert len(read_all(tmp_path / "f")) > 4
    for size in range(len(whole)):
        (tmp_path / "f").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="f is no safetensors file, or is damaged"):
            TensorFile(tmp_path / "f")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_damaged_files_are_read_or_refused(place, byte, tmp_path):
    """Whatever byte is another one: no crash, no other error."""
    path = tmp_path / "f"
    save(path, compress({"w": W[:4, :8], "b": W[0, :3]}, retain_ratio=0.3))
    raw = bytearray(path.read_bytes())
    raw[int(place * len(raw))] = byte
    path.write_bytes(raw)
    try:
        read_all(path)
    except ValueError as error:
        assert str(error)


def test_load_refuses_files_of_others(tmp_path):
    save_file({"w": W}, tmp_path / "f")
    with pytest.raises(ValueError, match="was not written by tersor"):
        load(tmp_path / "f")


@pytest.mark.parametrize(
    "layouts",
    [
        "[]",
        "{nope",
        '{"w": 3}',
        '{"absent": {"layout": "dense", "shape": [96, 200], "dtype": "float32", '
        '"block_size": null, "parts": ["values"]}}',
    ],
)
def test_metadata_that_do_not_fit_are_refused(layouts, tmp_path):
    save_file({"w": W}, tmp_path / "f", {"tersor": layouts})
    with pytest.raises(ValueError, match="f is damaged: its entry 'tersor' does not fit"):
        load(tmp_path / "f")


@pytest.mark.parametrize("retain_ratio, layout", [(None, "dense"), (0.5, "bitmask"), (0.01, "csr")])
def test_parts_that_do_not_fit_are_refused(retain_ratio, layout):
    small = compress_tensor(W, retain_ratio=retain_ratio)
    assert small.layout == layout
    wrong = [{name: part[:-1]} for name, part in small.parts.items()]
    if layout == "csr":
        wrong.append({"indices": np.full_like(small.parts["indices"], 200)})
        wrong.append({"indptr": small.parts["indptr"][::-1]})
    for parts in [{}, *(small.parts | part for part in wrong)]:
        with pytest.raises(ValueError, match="the parts of the tensor do not fit together"):
            replace(small, parts=parts).to_dense()


def test_sqnr_by_hand():
    assert sqnr(np.array([3.0, 4.0]), np.array([3.0, 4.5])) == pytest.approx(20.0)
    assert sqnr(W, W) == np.inf
    for value in (np.inf, np.nan):
        assert np.isnan(sqnr(np.array([3.0, value]), np.array([3.0, value])))


def test_demo_on_a_toy_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")
    from demo_minilm import RECIPES, run

    save_file({"layer.weight": W, "layer.bias": W[0]}, tmp_path / "toy")
    result = run(tmp_path / "toy")
    assert result["source"] == W.nbytes + W[0].nbytes
    assert len(result["layers"]) == 2 * len(RECIPES)
    first = next(row for row in result["layers"] if row["layer"] == "layer.weight")
    assert first["sqnr"] == pytest.approx(sqnr(W, content(W))) and first["bytes"] == 96 * 204
    assert isinstance(compress_tensor(W), CompressedTensor)
