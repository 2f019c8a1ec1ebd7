"""ONNX's node tests of the operators that our reductions, selections and softmax compute."""

import warnings
from functools import cache

import numpy as np
import pytest

import tersor
from tersor.testing import assert_identical

onnx = pytest.importorskip("onnx")


def total(x, axis, keepdims, backend):
    return tersor.sum(x, axis, keepdims=keepdims, backend=backend, dtype=x.dtype)


def mean(x, axis, keepdims, backend):
    return tersor.mean(x, axis, keepdims=keepdims, backend=backend)


def largest(x, axis, keepdims, backend):
    return extremum(tersor.max, x, axis, keepdims, backend)


def smallest(x, axis, keepdims, backend):
    return extremum(tersor.min, x, axis, keepdims, backend)


def extremum(function, x, axis, keepdims, backend):
    options = {}
    if x.size == 0:  # to ONNX, of nothing at all it is the infinity that any number replaces
        least = False if x.dtype == bool else -np.inf
        options["initial"] = least if function is tersor.max else np.inf
    return function(x, axis, keepdims=keepdims, backend=backend, **options)


def product(x, axis, keepdims, backend):
    return tersor.prod(x, axis, keepdims=keepdims, backend=backend)


def sum_of_sizes(x, axis, keepdims, backend):
    if isinstance(axis, tuple) and len(axis) == 1:
        return tersor.norm(x, 1, axis, keepdims, backend=backend)
    return total(np.abs(x), axis, keepdims, backend)


def length(x, axis, keepdims, backend):
    return tersor.norm(x, None, axis, keepdims, backend=backend)


def sum_of_squares(x, axis, keepdims, backend):
    return total(x * x, axis, keepdims, backend)


def logarithm_of_sum(x, axis, keepdims, backend):
    with np.errstate(divide="ignore"):
        return np.log(total(x, axis, keepdims, backend))


def logsumexp(x, axis, keepdims, backend):
    return tersor.logsumexp(x, axis, keepdims=keepdims, backend=backend)


REDUCTIONS = {
    "ReduceSum": total,
    "ReduceMean": mean,
    "ReduceMax": largest,
    "ReduceMin": smallest,
    "ReduceProd": product,
    "ReduceL1": sum_of_sizes,
    "ReduceL2": length,
    "ReduceSumSquare": sum_of_squares,
    "ReduceLogSum": logarithm_of_sum,
    "ReduceLogSumExp": logsumexp,
}
EXACT = ("ReduceMax", "ReduceMin")


@cache
def every_case():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(action="ignore"):  # where ONNX makes those of other operators
        return load_model_tests(kind="node")


def cases(operator):
    """(name, attributes, inputs, outputs) of each node test."""
    count = 0
    for case in every_case():
        node = case.model.graph.node[0]
        if node.op_type == operator and "_expanded" not in case.name:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            yield case.name, attributes, *map(arrays, case.data_sets[0])
            count += 1
    assert count > 4


def arrays(side):
    return [onnx.numpy_helper.to_array(a) if hasattr(a, "dims") else np.asarray(a) for a in side]


def assert_close(got, want, name):
    assert (got.dtype, got.shape) == (want.dtype, want.shape), name
    tolerance = {2: 1e-3, 4: 2e-6, 8: 1e-13}[want.dtype.itemsize]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("operator", REDUCTIONS)
def test_reductions(operator, backend):
    for name, attributes, (x, *axes), (want,) in cases(operator):
        axis = tuple(axes[0].tolist()) if axes else None
        if axis == () and not attributes.get("noop_with_empty_axes", 0):
            axis = None
        got = REDUCTIONS[operator](x, axis, bool(attributes.get("keepdims", 1)), backend)
        if operator in EXACT:
            assert_identical(got, want)
        else:
            assert_close(got, want, name)


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
def test_positions(operator, backend):
    function = getattr(tersor, operator.lower())
    for _, attributes, (x,), (want,) in cases(operator):
        axis, last = attributes.get("axis", 0), attributes.get("select_last_index", 0)
        keepdims = bool(attributes.get("keepdims", 1))
        x = np.flip(x, axis) if last else x
        got = function(x, axis, keepdims=keepdims, backend=backend)
        assert_identical(x.shape[axis] - 1 - got if last else got, want)


@pytest.mark.parametrize("operator", ["CumSum", "CumProd"])
def test_running_totals(operator, backend):
    function = getattr(tersor, operator.lower())
    for name, attributes, (x, axis), (want,) in cases(operator):
        axis, start = int(axis), int(operator == "CumProd")
        x = np.flip(x, axis) if attributes.get("reverse", 0) else x
        got = function(x, axis, dtype=x.dtype, backend=backend)
        if attributes.get("exclusive", 0):
            got = np.roll(got, 1, axis)
            np.moveaxis(got, axis, 0)[0] = start
        got = np.flip(got, axis) if attributes.get("reverse", 0) else got
        assert_close(got, want, name)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_softmax(operator, backend):
    function = {"Softmax": tersor.softmax, "LogSoftmax": tersor.log_softmax}[operator]
    for name, attributes, (x,), (want,) in cases(operator):
        assert_close(function(x, axis=attributes.get("axis", -1), backend=backend), want, name)


def test_top_k(backend):
    for _, attributes, (x, k), (values, indices) in cases("TopK"):
        mode = "largest" if attributes.get("largest", 1) else "smallest"
        axis = attributes.get("axis", -1)
        got = tersor.top_k(x, int(k[0]), axis=axis, mode=mode, backend=backend)
        assert_identical(got.values, values)
        assert_identical(got.indices, indices)
