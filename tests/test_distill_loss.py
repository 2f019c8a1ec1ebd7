import tracemalloc

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ml_dtypes import bfloat16

import tersor
from tersor.testing import assert_identical, assert_within_ulp, hostile, layouts, unchanged

KINDS = ["forward_kl", "reverse_kl", "js", "tvd"]
FLOATS = [np.float16, bfloat16, np.float32, np.float64]
every_kind = pytest.mark.parametrize("kind", KINDS)
LOG3 = np.log(3)


def logits(shape, dtype=np.float64, seed=0):
    """Student, teacher, labels."""
    rng = np.random.default_rng(seed)
    student, teacher = (3 * rng.standard_normal((2, *shape))).astype(dtype)
    return student, teacher, rng.integers(0, shape[-1], shape[:-1])


def probabilities(x, temperature):
    """Softmax, its logarithm, and how far a logit is from the largest; in longdouble."""
    x = x.astype(np.longdouble)
    distance = (x.max(-1, keepdims=True) - x) / temperature
    log = -distance - np.log(np.exp(-distance).sum(-1, keepdims=True))
    return np.exp(log), log, distance


def rounding(student, teacher, temperature, kind, eps):
    """The documented bounds of the gradient of D and, summed over rows, of D; T and w are 1."""
    q, log_q, u = probabilities(student, temperature)
    p, log_p, v = probabilities(teacher, temperature)
    size = (1 + np.maximum(u, v)) * np.maximum(p, q)
    weight = q if kind == "reverse_kl" else p
    bound = size
    if kind == "reverse_kl":
        difference = log_q - log_p
        divergence = (q * difference).sum(-1, keepdims=True)
        bound = size * (1 + np.abs(difference - divergence))
    if kind == "tvd":
        unclear = q * (np.abs(p - q) <= 4 * eps * size)
        bound = size + (unclear + q * unclear.sum(-1, keepdims=True)) / (4 * eps)
    loss = (weight * (1 + u + v)).sum()
    return 4 * eps * bound, 4 * eps * loss


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (2, 1023), (2, 1025), (9000, 2), (17, 1031)])
@pytest.mark.parametrize("temperature, spread", [(1, 0.01), (3, 1), (0.5, 10)])
def test_reference_and_documented_bounds(kind, shape, dtype, temperature, spread):
    student, teacher, _ = logits(shape, dtype)
    student, teacher = dtype(spread) * student, dtype(spread) * teacher
    options = {
        "temperature": temperature,
        "kind": kind,
        "beta": 0.3,
        "normalize": "sum",
        "scale_t2": False,
    }
    loss, grad = tersor.distillation_loss(student, teacher, **options)
    wide = (student.astype(np.float64), teacher.astype(np.float64))
    want, want_grad = tersor.distillation_loss(*wide, **options, backend="reference")
    bound, loss_bound = rounding(student, teacher, temperature, kind, np.finfo(dtype).eps)
    assert (np.abs(grad - want_grad) <= bound / temperature + np.finfo(dtype).tiny).all()
    assert abs(loss - want) <= loss_bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_hard_loss_and_its_documented_bound(backend, dtype, temperature):
    student, teacher, labels = logits((50, 33), dtype)
    loss, grad = tersor.distillation_loss(
        student,
        teacher,
        labels,
        alpha=1.0,
        temperature=temperature,
        normalize="sum",
        backend=backend,
    )
    h, log_h, d = probabilities(student, 1)
    rows, onehot = np.arange(50), np.eye(33)[labels]
    eps = np.finfo(dtype).eps
    assert (np.abs(grad - (h - onehot)) <= 4 * eps * ((1 + d) * h + onehot)).all()
    assert loss == pytest.approx(float(-log_h[rows, labels].sum()), rel=4 * float(eps))


@every_kind
@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_short_floats_are_float32_rounded(backend, kind, dtype, monkeypatch):
    student, teacher, labels = logits((40, 33), dtype)
    options = {"temperature": 2, "alpha": 0.3, "kind": kind, "backend": backend}
    loss, grad = tersor.distillation_loss(student, teacher, labels, **options)
    wide = student.astype(np.float32), teacher.astype(np.float32)
    want, want_grad = tersor.distillation_loss(*wide, labels, **options)
    assert loss == pytest.approx(want, rel=1e-6)
    assert grad.dtype == dtype
    assert_within_ulp(grad, want_grad, 1, floor=1e-4)
    monkeypatch.setattr("tersor_kernels.cpu.distill._PIECE", 100)  # 3 rows at a time
    assert_identical(tersor.distillation_loss(student, teacher, labels, **options)[1], grad)


def test_two_dtypes_compute_in_the_wider(backend):
    student, teacher, _ = logits((40, 33), np.float32)
    wide = teacher.astype(np.float64)
    loss, grad = tersor.distillation_loss(student, wide, backend=backend)
    want, want_grad = tersor.distillation_loss(student.astype(np.float64), wide, backend=backend)
    assert loss == want
    assert_identical(grad, want_grad.astype(np.float32))


@every_kind
@pytest.mark.parametrize("alpha, scale_t2", [(None, True), (0.25, True), (0.25, False)])
@pytest.mark.parametrize("normalize", ["batch", "token", "element", "sum"])
def test_torch_autograd_agrees(backend, kind, alpha, scale_t2, normalize):
    torch = pytest.importorskip("torch")
    log_softmax = torch.nn.functional.log_softmax
    student, teacher, labels = logits((4, 5, 7))
    labels[1, 2] = labels[3, 0] = -100
    beta, temperature = 0.3, 2.5
    s, t = torch.tensor(student, requires_grad=True), torch.tensor(teacher)
    log_q, log_p = log_softmax(s / temperature, -1), log_softmax(t / temperature, -1)
    q, p = log_q.exp(), log_p.exp()
    log_m = (beta * p + (1 - beta) * q).log()
    rows = {
        "forward_kl": (p * (log_p - log_q)).sum(-1),
        "reverse_kl": (q * (log_q - log_p)).sum(-1),
        "js": (beta * p * (log_p - log_m) + (1 - beta) * q * (log_q - log_m)).sum(-1),
        "tvd": (p - q).abs().sum(-1) / 2,
    }[kind]
    if scale_t2:
        rows = rows * temperature**2
    y = torch.tensor(labels)
    if alpha is not None:
        hard = torch.nn.functional.cross_entropy(
            s.reshape(-1, 7), y.reshape(-1), ignore_index=-100, reduction="none"
        )
        rows = alpha * hard.reshape(4, 5) + (1 - alpha) * rows
    number = {"batch": 4, "token": 18, "element": 140, "sum": 1}[normalize]
    want = (rows * (y != -100)).sum() / number
    want.backward()
    loss, grad = tersor.distillation_loss(
        student,
        teacher,
        labels,
        temperature=temperature,
        alpha=alpha,
        kind=kind,
        beta=beta,
        scale_t2=scale_t2,
        normalize=normalize,
        ignore_index=-100,
        backend=backend,
    )
    assert type(loss) is float
    assert loss == pytest.approx(want.item(), rel=1e-13)
    np.testing.assert_allclose(grad, s.grad.numpy(), rtol=1e-12, atol=1e-16)


@every_kind
@pytest.mark.parametrize("alpha, temperature", [(None, 1.0), (0.4, 3.0), (1.0, 1.0)])
def test_finite_differences(backend, kind, alpha, temperature):
    student, teacher, labels = logits((2, 3, 4))
    labels[0, 1] = 9

    def loss_of(x):
        return tersor.distillation_loss(
            x,
            teacher,
            labels,
            temperature=temperature,
            alpha=alpha,
            kind=kind,
            beta=0.7,
            ignore_index=9,
            normalize="token",
            backend=backend,
        )

    _, grad = loss_of(student)
    step = 1e-5
    for i in np.ndindex(student.shape):
        up, down = student.copy(), student.copy()
        up[i] += step
        down[i] -= step
        slope = (loss_of(up)[0] - loss_of(down)[0]) / (2 * step)
        assert slope == pytest.approx(grad[i], abs=1e-8)


# Student (1/2, 1/2), teacher (1/4, 3/4).
@pytest.mark.parametrize(
    "kind, beta, loss, first",
    [
        ("forward_kl", 0.5, 0.75 * LOG3 - np.log(2), 1 / 4),
        ("reverse_kl", 0.5, np.log(2) - LOG3 / 2, LOG3 / 4),
        # M = (3/8, 5/8); a = log(Q / M) / 2, and q (a1 - mean) = (a1 - a2) / 4
        (
            "js",
            0.5,
            (np.log(2 / 3) / 4 + np.log(6 / 5) * 3 / 4 + np.log(4 / 3) / 2 + np.log(4 / 5) / 2) / 2,
            np.log(5 / 3) / 8,
        ),
        ("tvd", 0.5, 1 / 4, 1 / 4),
    ],
)
def test_by_hand(backend, kind, beta, loss, first):
    teacher = np.array([0.0, LOG3])
    got, grad = tersor.distillation_loss([1.0, 1.0], teacher, kind=kind, beta=beta, backend=backend)
    assert got == pytest.approx(loss, abs=1e-15)
    np.testing.assert_allclose(grad, [first, -first], atol=1e-15)


def test_mix_by_hand(backend):
    """alpha -log H[1] + (1 - alpha) T^2 KL with T = 2: teacher logits twice those above."""
    loss, grad = tersor.distillation_loss(
        [[0.0, 0.0]], [[0.0, 2 * LOG3]], [1], temperature=2, alpha=0.25, backend=backend
    )
    assert loss == pytest.approx(0.25 * np.log(2) + 0.75 * 4 * (0.75 * LOG3 - np.log(2)), abs=1e-14)
    first = 0.25 * 0.5 + 0.75 * 4 * (1 / 4) / 2
    np.testing.assert_allclose(grad, [[first, -first]], atol=1e-15)


def test_scipy_knows_js_and_kl(backend):
    student, teacher, _ = logits((5, 30))
    p, q = tersor.softmax(teacher, -1), tersor.softmax(student, -1)
    options = {"normalize": "sum", "return_grad": False, "backend": backend}
    js, _ = tersor.distillation_loss(student, teacher, kind="js", **options)
    assert js == pytest.approx((scipy.spatial.distance.jensenshannon(p, q, axis=1) ** 2).sum())
    kl, none = tersor.distillation_loss(student, teacher, **options)
    assert kl == pytest.approx(scipy.stats.entropy(p, q, axis=1).sum())
    assert none is None


@every_kind
@pytest.mark.parametrize("dtype", FLOATS)
def test_masked_classes_are_as_if_absent(backend, kind, dtype):
    student, teacher, labels = logits((6, 20), dtype)
    labels //= 2
    mask = np.arange(20) % 2 == 0
    options = {"temperature": 2, "alpha": 0.2, "kind": kind, "backend": backend}
    want, want_grad = tersor.distillation_loss(
        student[:, mask], teacher[:, mask], labels, **options
    )
    student[:, ~mask] = teacher[:, ~mask] = -np.inf
    loss, grad = tersor.distillation_loss(student, teacher, 2 * labels, **options)
    assert loss == pytest.approx(want, rel=1e-6)
    assert (grad[:, ~mask] == 0).all()
    assert_within_ulp(grad[:, mask], want_grad, 4, floor=0.1)


def test_classes_forbidden_by_one_side(backend):
    open_, shut = np.zeros((1, 2)), np.array([[0.0, -np.inf]])
    for kind, finite in [("forward_kl", np.log(2)), ("reverse_kl", np.inf), ("tvd", 0.5)]:
        loss, _ = tersor.distillation_loss(open_, shut, kind=kind, backend=backend)
        assert loss == pytest.approx(finite)
    loss, grad = tersor.distillation_loss(shut, open_, backend=backend)
    assert loss == np.inf
    assert_identical(grad, [[0.5, -0.5]])
    loss, grad = tersor.distillation_loss(shut, open_, kind="reverse_kl", backend=backend)
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_array_equal(grad, 0)
    js = [tersor.distillation_loss(*pair, kind="js") for pair in [(open_, shut), (shut, open_)]]
    assert js[0][0] == pytest.approx(js[1][0]) == pytest.approx(0.75 * np.log(4 / 3))
    assert np.isfinite(js[0][1]).all() and np.isfinite(js[1][1]).all()


@every_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf, "all -inf"])
@pytest.mark.parametrize("side", [0, 1])
def test_bad_row_is_nan_and_alone(backend, kind, bad, side):
    pair = logits((5, 9), np.float32)[:2]
    good, good_grad = tersor.distillation_loss(pair[0], pair[1], kind=kind, backend=backend)
    pair[side][2, 3 if bad != "all -inf" else slice(None)] = -np.inf if bad == "all -inf" else bad
    loss, grad = tersor.distillation_loss(pair[0], pair[1], kind=kind, backend=backend)
    assert np.isnan(loss) and np.isfinite(good)
    assert np.isnan(grad[2]).all()
    others = [0, 1, 3, 4]
    assert_identical(grad[others], good_grad[others])


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(backend, kind, dtype):
    """A difference of 1e4: probabilities of exactly 0 beside logarithms of -1e4."""
    student, teacher = np.array([[1e4, 0, -1e4]], dtype), np.array([[1e4, -1e4, 0]], dtype)
    loss, grad = tersor.distillation_loss(student, teacher, kind=kind, backend=backend)
    assert loss == 0 and (grad == 0).all()
    loss, grad = tersor.distillation_loss(student, teacher[:, ::-1], kind=kind, backend=backend)
    want = {"forward_kl": 2e4, "reverse_kl": 1e4, "js": np.log(2), "tvd": 1}[kind]
    assert loss == pytest.approx(want)
    np.testing.assert_allclose(grad, [[1, 0, -1]] if kind == "forward_kl" else [[0, 0, 0]])


@every_kind
@pytest.mark.parametrize("shape", [(1,), (4, 1), (0, 3), (2, 0, 3), (1, 1, 5)])
def test_one_class_and_no_rows(backend, kind, shape):
    student, teacher, labels = logits(shape)
    options = {"ignore_index": -100, "kind": kind, "backend": backend}
    loss, grad = tersor.distillation_loss(student, teacher, labels, **options)
    assert grad.shape == shape
    if shape[-1] == 1 or student.size == 0:
        assert loss == 0.0 and (grad == 0).all()


@every_kind
@pytest.mark.parametrize("normalize", ["batch", "token", "element", "sum"])
def test_all_labels_ignored(backend, kind, normalize):
    student = np.full((3, 4), np.nan)
    for alpha in (None, 0.5):
        loss, grad = tersor.distillation_loss(
            student,
            student,
            np.full(3, -100),
            alpha=alpha,
            ignore_index=None if alpha else -100,
            kind=kind,
            normalize=normalize,
            backend=backend,
        )
        assert_identical(loss, 0.0)
        assert_identical(grad, np.zeros((3, 4)))


def test_ignored_rows_count_in_batch_and_element_only(backend):
    student, teacher, labels = logits((6, 9))
    ignored = labels.copy()
    ignored[[1, 4]] = -1
    rest = [0, 2, 3, 5]
    options = {"alpha": 0.5, "ignore_index": -1, "backend": backend}
    args = student[rest], teacher[rest], labels[rest]
    total, total_grad = tersor.distillation_loss(*args, normalize="sum", **options)
    student[1] = teacher[4] = np.nan
    for normalize, number in [("batch", 6), ("token", 4), ("element", 54), ("sum", 1)]:
        loss, grad = tersor.distillation_loss(
            student, teacher, ignored, normalize=normalize, **options
        )
        assert loss == pytest.approx(total / number, rel=1e-14)
        np.testing.assert_allclose(grad[rest], total_grad / number, rtol=1e-13)
        assert_identical(grad[[1, 4]], np.zeros((2, 9)))


def test_alpha_one_does_not_look_at_the_teacher(backend):
    student, teacher, labels = logits((3, 4))
    teacher[:] = np.nan
    loss, grad = tersor.distillation_loss(student, teacher, labels, alpha=1, backend=backend)
    assert np.isfinite(loss) and np.isfinite(grad).all()


def test_any_integers_are_labels_and_logits(backend):
    want = tersor.distillation_loss([[1, 2, 3]], [[3.0, 2.0, 1.0]], [2], alpha=0.5)
    for dtype in (np.uint8, np.int16, np.uint64):
        got = tersor.distillation_loss(
            np.array([[1, 2, 3]]),
            np.array([[3, 2, 1]], np.int8),
            np.array([2], dtype),
            alpha=0.5,
            backend=backend,
        )
        assert got[0] == pytest.approx(want[0])


@every_kind
def test_layouts(backend, kind):
    student, teacher, labels = logits((6, 9), np.float32)
    options = {"temperature": 2, "alpha": 0.3, "kind": kind, "backend": backend}
    want = tersor.distillation_loss(student, teacher, labels, **options)
    for (_, s), (_, t) in zip(layouts(student), layouts(teacher), strict=True):
        with unchanged(s, t, labels):
            got = tersor.distillation_loss(s, t, labels, **options)
        assert got[0] == want[0]
        assert_identical(got[1], want[1])
    swapped = student.astype(">f4"), teacher.astype(">f4")
    assert tersor.distillation_loss(*swapped, labels, **options)[0] == want[0]


@every_kind
@pytest.mark.parametrize("shape", [(4000, 9), (70, 1000), (3, 70_000)])
def test_same_bits_for_any_thread_count(threads, kind, shape):
    student, teacher, labels = logits(shape, np.float32)
    got = tersor.distillation_loss(student, teacher, labels, alpha=0.5, kind=kind)
    with tersor.num_threads(1):
        want = tersor.distillation_loss(student, teacher, labels, alpha=0.5, kind=kind)
    assert got[0] == want[0]
    assert_identical(got[1], want[1])


@every_kind
def test_huge_row(kind):
    student, teacher, _ = logits((1, 1_000_000), np.float32)
    loss, grad = tersor.distillation_loss(student, teacher, kind=kind)
    want, want_grad = tersor.distillation_loss(student, teacher, kind=kind, backend="reference")
    bound, loss_bound = rounding(student, teacher, 1, kind, np.finfo(np.float32).eps)
    assert (np.abs(grad - want_grad.astype(np.float64)) <= bound).all()
    assert abs(loss - want) <= loss_bound
    assert abs(grad.sum(dtype=np.float64)) < 1e-7


finite = st.floats(-50, 50, width=32)
pairs = st.integers(1, 40).flatmap(lambda n: arrays(np.float32, (2, 3, n), elements=finite))


@every_kind
@settings(max_examples=100, deadline=None)
@given(pair=pairs, shift=st.integers(-100, 100), temperature=st.sampled_from([0.5, 1.0, 8.0]))
def test_properties(kind, pair, shift, temperature):
    student, teacher = pair
    options = {"kind": kind, "temperature": temperature, "normalize": "sum"}
    loss, grad = tersor.distillation_loss(student, teacher, **options)
    assert loss >= 0
    size = np.abs(grad).sum(axis=1) + temperature
    assert (np.abs(grad.sum(axis=1, dtype=np.float64)) <= 1e-5 * size).all()
    zero, zero_grad = tersor.distillation_loss(student, student.copy(), **options)
    assert zero <= 1e-5 * temperature**2
    assert (np.abs(zero_grad) <= 1e-5 * temperature).all()
    # The shifted logits are exact in float64.
    wide = pair.astype(np.float64)
    loss, grad = tersor.distillation_loss(*wide, **options)
    moved, moved_grad = tersor.distillation_loss(wide[0] + shift, wide[1] - shift, **options)
    assert moved == pytest.approx(loss, rel=1e-9, abs=1e-9)
    if kind != "tvd":  # the sign where P = Q but for rounding
        np.testing.assert_allclose(moved_grad, grad, rtol=1e-9, atol=1e-9)


def test_torch_tensors_in_and_out():
    torch = pytest.importorskip("torch")
    student, teacher, labels = logits((6, 9), np.float32)
    want, want_grad = tersor.distillation_loss(student, teacher, labels, alpha=0.5)
    tensors = torch.from_numpy(student), torch.from_numpy(teacher), torch.from_numpy(labels)
    loss, grad = tersor.distillation_loss(*tensors, alpha=0.5)
    assert loss == want and type(grad) is torch.Tensor
    assert_identical(grad.numpy(), want_grad)
    short = tensors[0].bfloat16(), tensors[1].bfloat16()
    assert tersor.distillation_loss(*short)[1].dtype == torch.bfloat16
    assert tersor.kl_divergence(*tensors[:2]).shape == (6,)


X = np.zeros((2, 3))


@pytest.mark.parametrize(
    "error, match, args, options",
    [
        (TypeError, "student must be float16", (X + 1j, X), {}),
        (TypeError, "teacher must be float16", (X, X.astype("S1")), {}),
        (TypeError, "labels must be integers, got float64", (X, X, [0.0, 1.0]), {}),
        (TypeError, "labels must be integers, got bool", (X, X, [True, False]), {}),
        (ValueError, r"must have one shape, got \(2, 3\) and \(3,\)", (X, X[0]), {}),
        (ValueError, r"axis of classes, got shape \(2, 0\)", (X[:, :0], X[:, :0]), {}),
        (ValueError, r"axis of classes, got shape \(\)", (1.0, 1.0), {}),
        (ValueError, r"labels must have shape \(2,\), got \(1,\)", (X, X, [0]), {}),
        (ValueError, r"0\.\.2 or ignore_index=-100, got 3", (X, X, [0, 3]), {}),
        (ValueError, r"0\.\.2 or ignore_index=7, got -100", (X, X, [7, -100]), {"ignore_index": 7}),
        (ValueError, "temperature must be positive and finite, got 0", (X, X), {"temperature": 0}),
        (ValueError, "positive and finite, got nan", (X, X), {"temperature": np.nan}),
        (ValueError, r"alpha must be in 0..1, got 1.5", (X, X, [0, 1]), {"alpha": 1.5}),
        (ValueError, "alpha, the weight of the loss of labels, must be given", (X, X, [0, 1]), {}),
        (TypeError, "alpha must be a number, got True", (X, X, [0, 1]), {"alpha": True}),
        (TypeError, "ignore_index must be an int, got 0.5", (X, X, [0, 1]), {"ignore_index": 0.5}),
        (TypeError, "temperature must be a number, got '2'", (X, X), {"temperature": "2"}),
        (TypeError, "scale_t2 must be True or False, got 'no'", (X, X), {"scale_t2": "no"}),
        (TypeError, "return_grad must be True or False, got None", (X, X), {"return_grad": None}),
        (ValueError, "alpha=0.5 weighs the loss of labels", (X, X), {"alpha": 0.5}),
        (ValueError, "kind must be 'forward_kl', .* got 'kl'", (X, X), {"kind": "kl"}),
        (ValueError, "got 1: at its ends", (X, X), {"kind": "js", "beta": 1}),
        (ValueError, "normalize must be 'batch', .* got 'mean'", (X, X), {"normalize": "mean"}),
    ],
)
def test_errors(error, match, args, options, backend):
    with pytest.raises(error, match=match):
        tersor.distillation_loss(*args, **options, backend=backend)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_kl_divergence_is_scipys_entropy(backend, axis, dtype):
    p, q, _ = logits((4, 5, 6), dtype)
    got = tersor.kl_divergence(p, q, axis, backend=backend)
    wide = [tersor.softmax(x.astype(np.float64), axis) for x in (p, q)]
    want = scipy.stats.entropy(*wide, axis=axis)
    assert got.dtype == dtype
    assert_within_ulp(got, want, 16, floor=1.0)
    assert np.isscalar(got) == (axis is None)


def test_kl_divergence_takes_log_probabilities_and_broadcasts(backend):
    p, q = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]), np.array([0.25, 0.75, 0.0])
    with np.errstate(divide="ignore"):
        got = tersor.kl_divergence(np.log(p), np.log(q), temperature=1, backend=backend)
    np.testing.assert_allclose(got, scipy.stats.entropy(p, q[None], axis=1), rtol=1e-14)
    assert got[1] == np.inf
    same = tersor.kl_divergence(2 * p, 2 * q, temperature=2, backend=backend)
    np.testing.assert_allclose(same, tersor.kl_divergence(p, q), rtol=1e-13)
    mixed = tersor.kl_divergence(p.astype(bfloat16), q.astype(np.float16), backend=backend)
    assert mixed.dtype == np.float32
    assert tersor.kl_divergence(np.zeros((0, 3)), np.zeros(3), backend=backend).shape == (0,)


@pytest.mark.parametrize(
    "error, match, args, options",
    [
        (TypeError, "q must be float16", (X, X + 1j), {}),
        (ValueError, r"must broadcast, got shapes \(2, 3\) and \(2,\)", (X, X[:, 0]), {}),
        (ValueError, "axis must be in -2..1", (X, X, 2), {}),
        (ValueError, "p or q must have at least one dimension for axis=-1", (1.0, 2.0), {}),
        (TypeError, "temperature must be a number, got None", (X, X), {"temperature": None}),
        (ValueError, "not be empty along axis 0", (X[:0], X[:0], 0), {}),
        (
            ValueError,
            "temperature must be positive and finite, got -1",
            (X, X),
            {"temperature": -1},
        ),
    ],
)
def test_kl_divergence_errors(error, match, args, options, backend):
    with pytest.raises(error, match=match):
        tersor.kl_divergence(*args, **options, backend=backend)


def layers(dtype=np.float64):
    """hidden_s, weight_s, hidden_t, weight_t, labels: 2 x 15 tokens, 40 classes, widths 6 and 4."""
    rng = np.random.default_rng(1)
    shapes = (2, 15, 6), (40, 6), (2, 15, 4), (40, 4)
    return *(rng.standard_normal(s).astype(dtype) for s in shapes), rng.integers(0, 40, (2, 15))


@every_kind
@pytest.mark.parametrize("chunk_size", [None, 1, 7, 30, 100])
@pytest.mark.parametrize("normalize", ["batch", "token", "element", "sum"])
def test_linear_is_distillation_loss_of_products(backend, kind, chunk_size, normalize):
    hs, ws, ht, wt, labels = layers()
    labels[0, 3] = labels[1, 14] = -100
    options = {"temperature": 2, "alpha": 0.3, "kind": kind, "normalize": normalize}
    want, grad = tersor.distillation_loss(hs @ ws.T, ht @ wt.T, labels, **options)
    want_hidden, want_weight = grad @ ws, np.tensordot(grad, hs, ((0, 1), (0, 1)))
    hs[0, 3] = ht[1, 14] = np.nan  # of ignored rows
    with unchanged(hs, ws, ht, wt, labels):
        loss, *grads = tersor.linear_distillation_loss(
            hs, ws, ht, wt, labels, **options, chunk_size=chunk_size, backend=backend
        )
    assert loss == pytest.approx(want, rel=1e-13)
    np.testing.assert_allclose(grads[0], want_hidden, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(grads[1], want_weight, rtol=1e-11, atol=1e-15)
    loss_alone = tersor.linear_distillation_loss(
        hs, ws, ht, wt, labels, **options, return_grad=False, backend=backend
    )
    assert loss_alone == (pytest.approx(want, rel=1e-13), None, None)


@pytest.mark.parametrize("dtype", FLOATS)
def test_linear_dtypes_and_layouts(backend, dtype):
    *arrays_, labels = layers(dtype)
    want = tersor.linear_distillation_loss(
        *(x.astype(np.float64) for x in arrays_), labels, alpha=0.5
    )
    tolerance = 40 * {np.float32: 2**-23, np.float64: 2**-52}.get(dtype, 2**-9)
    views = [dict(layouts(x)) for x in arrays_]
    for name in ("C", "strided", "read-only", "negative strides"):
        args = [view[name] for view in views]
        got = tersor.linear_distillation_loss(*args, labels, alpha=0.5, chunk_size=8)
        assert got[0] == pytest.approx(want[0], rel=1e-5 if dtype != np.float64 else 1e-13)
        for result, exact in zip(got[1:], want[1:], strict=True):
            assert result.dtype == dtype
            error = np.abs(result.astype(np.float64) - exact).max()
            assert error <= tolerance * np.abs(exact).max()


def test_linear_finite_differences(backend):
    hs, ws, ht, wt, labels = layers()
    labels[0, 0] = -100
    options = {"alpha": 0.3, "temperature": 1.5, "kind": "js", "chunk_size": 11}
    _, *grads = tersor.linear_distillation_loss(hs, ws, ht, wt, labels, **options, backend=backend)
    rng, step = np.random.default_rng(2), 1e-5
    for which, grad in enumerate(grads):
        direction = rng.standard_normal(grad.shape)
        losses = []
        for sign in (1, -1):
            moved = [hs, ws]
            moved[which] = moved[which] + sign * step * direction
            losses.append(tersor.linear_distillation_loss(*moved, ht, wt, labels, **options)[0])
        slope = (losses[0] - losses[1]) / (2 * step)
        assert slope == pytest.approx((grad * direction).sum(), rel=1e-8)


def test_linear_all_ignored_and_empty(backend):
    hs, ws, ht, wt, labels = layers()
    hs[:] = np.nan
    loss, *grads = tersor.linear_distillation_loss(
        hs, ws, ht, wt, np.full_like(labels, -100), alpha=0.5, backend=backend
    )
    assert_identical(loss, 0.0)
    for grad, x in zip(grads, (hs, ws), strict=True):
        assert_identical(grad, np.zeros(x.shape))
    loss, *grads = tersor.linear_distillation_loss(hs[:0], ws, ht[:0], wt, backend=backend)
    assert loss == 0.0 and grads[0].shape == (0, 15, 6) and (grads[1] == 0).all()


def test_linear_never_holds_the_logits():
    rng = np.random.default_rng(0)
    hidden, weight = rng.standard_normal((512, 8), np.float32), rng.standard_normal((4096, 8))
    weight = weight.astype(np.float32)

    def call():
        return tersor.linear_distillation_loss(hidden, weight, hidden[::-1], weight, chunk_size=16)

    call()
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 512 * 4096 * 4 / 8


def test_linear_same_bits_for_any_thread_count(threads):
    *arrays_, labels = layers(np.float32)
    got = tersor.linear_distillation_loss(*arrays_, labels, alpha=0.5)
    with tersor.num_threads(1):
        want = tersor.linear_distillation_loss(*arrays_, labels, alpha=0.5)
    for a, b in zip(got, want, strict=True):
        assert_identical(a, b)


H, W = np.zeros((2, 3)), np.zeros((5, 3))


@pytest.mark.parametrize(
    "error, match, args, options",
    [
        (TypeError, "weight_t must be float16", (H, W, H, W + 1j), {}),
        (ValueError, r"hidden_s must have shape .* got \(2, 3\) and \(3, 5\)", (H, W.T, H, W), {}),
        (ValueError, r"hidden_t must have shape .* got \(2, 3\) and \(3,\)", (H, W, H, W[0]), {}),
        (ValueError, "one shape but for the last axis", (H, W, H[:1], W), {}),
        (ValueError, "same number of rows, 1 or more, got 5 and 4", (H, W, H, W[:4]), {}),
        (ValueError, "1 or more, got 0 and 0", (H, W[:0], H, W[:0]), {}),
        (ValueError, "chunk_size must be 1 or more, got 0", (H, W, H, W), {"chunk_size": 0}),
        (ValueError, r"labels must be in 0..4 .* got 5", (H, W, H, W, [0, 5]), {}),
    ],
)
def test_linear_errors(error, match, args, options, backend):
    with pytest.raises(error, match=match):
        tersor.linear_distillation_loss(*args, **options, backend=backend)


@pytest.mark.parametrize("kind", ["ties", "constant", "zeros", "denormal", "leading_bits"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_hostile_logits(backend, kind, dtype):
    student, teacher = hostile(kind, (7, 65), dtype), hostile(kind, (7, 65), dtype, seed=1)
    for divergence in KINDS[:3]:
        loss, grad = tersor.distillation_loss(student, teacher, kind=divergence, backend=backend)
        want, want_grad = tersor.distillation_loss(
            student.astype(np.float64), teacher.astype(np.float64), kind=divergence
        )
        short = np.dtype(dtype).itemsize < 8
        assert loss == pytest.approx(
            want, rel=1e-6 if short else 1e-13, abs=1e-6 if short else 1e-14
        )
        assert_within_ulp(grad, want_grad, 16, floor=0.1)
