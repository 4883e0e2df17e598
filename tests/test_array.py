"""The array that users touch: what it wraps, NumPy's behaviour, gradients, writes in place."""

from __future__ import annotations

import copy
import operator
import pickle
import warnings

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.device import to_device

CPU = gg.device("cpu")


def host(x):
    """A raw NumPy array of anything."""
    return x.numpy() if isinstance(x, gg.Array) else np.asarray(to_device(x, CPU))


def wrap(device, x, **options):
    return gg.Array(to_device(np.asarray(x), device), **options)


def leaf(device, x=(1.0, 2.0, 3.0)):
    return wrap(device, x, requires_grad=True)


# ------------------------------------------------------------------ what it is


def test_wraps_without_a_copy(device, xp):
    raw = xp.arange(6.0).reshape(2, 3)
    x = gg.Array(raw)
    assert x._value is raw
    assert gg.Array(x)._value is raw
    raw[0, 0] = 7
    assert x[0, 0].item() == 7
    assert gg.Array(raw, copy=True)._value is not raw


def test_attributes(device, xp):
    x = wrap(device, np.zeros((2, 3, 4), "f4"))
    assert x.device == device
    assert (x.dtype, x.shape, x.ndim, x.size) == (np.float32, (2, 3, 4), 3, 24)
    assert (x.itemsize, x.nbytes, len(x)) == (4, 96, 2)
    assert x.T.shape == (4, 3, 2)
    assert x.mT.shape == (2, 4, 3)
    z = wrap(device, [1 + 2j])
    assert z.real.item() == 1
    assert z.imag.item() == 2


def test_numbers_and_lists_go_to_the_default_device(device):
    with device:
        assert gg.Array([1, 2]).device == device
        assert gg.Array(1.5).device == device
        assert gg.Array([[gg.Array(1.0), 2.0]], dtype="f4").shape == (1, 2)
    assert gg.Array([1, 2], device=device).device == device


@pytest.mark.parametrize("what", [np.array(["a"]), "text", np.array([object()]), {1: 2}])
def test_what_holds_no_numbers_is_refused(what):
    with pytest.raises(TypeError, match="an Array holds numbers"):
        gg.Array(what)


def test_an_unknown_dtype_is_refused(device):
    with pytest.raises(TypeError, match="float33"):
        wrap(device, [1.0]).astype("float33")
    with pytest.raises(TypeError, match="float33"):
        gg.numpy.zeros(2, dtype="float33", device=device)


def test_moving(device):
    x = wrap(device, [1.0, 2.0])
    assert x.to(device) is x
    assert x.to("cpu").device == CPU
    np.testing.assert_array_equal(x.to("cpu").numpy(), [1, 2])
    g = gg.grad(lambda a: (a.to("cpu") ** 2).sum())(x)
    assert g.device == device
    np.testing.assert_array_equal(g.numpy(), [2, 4])


def test_reading(device):
    x = wrap(device, [[1.5, 2.5]])
    assert type(x.numpy()) is np.ndarray
    assert x.tolist() == [[1.5, 2.5]]
    assert x[0, 1].item() == 2.5
    assert type(x[0, 1].item()) is float
    assert x.item(0) == 1.5
    assert wrap(device, 3).item() == 3
    assert float(x[0, 0]) == 1.5
    assert int(wrap(device, 3)) == 3
    assert complex(x[0, 0]) == 1.5
    assert [10, 20, 30][wrap(device, 1)] == 20
    assert bool(wrap(device, True))
    assert f"{x[0, 0]:.2f}" == "1.50"
    assert 2.5 in x
    assert [row.shape for row in x] == [(2,)]


def test_repr(device):
    x = wrap(device, np.array([[1, 2.5]], "f4"))
    assert repr(x) == f"Array([[1. , 2.5]], dtype=float32, device={device})"
    x = leaf(device, [1.0])
    assert repr(x) == f"Array([1.], dtype=float64, device={device}, requires_grad=True)"
    assert repr(x * 2) == f"Array([2.], dtype=float64, device={device}, traced=tape)"
    assert str(x.detach()) == "[1.]"
    seen = []
    gg.vmap(lambda v: seen.append(repr(v)) or v)(wrap(device, np.zeros((5, 2))))
    assert seen == [f"Array(shape=(2,), dtype=float64, device={device}, traced=batch)"]


def test_array_namespace(device):
    x = wrap(device, [1.0])
    assert x.__array_namespace__() is gg.numpy
    assert x.__array_namespace__(api_version="2024.12") is gg.numpy
    with pytest.raises(ValueError, match="array API version '1999'"):
        x.__array_namespace__(api_version="1999")


def test_copies(device):
    x = wrap(device, [1.0, 2.0])
    for y in (x.copy(), copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.device == device
        y[0] = 9
        assert x.tolist() == [1, 2]
    w = leaf(device)
    for v in (copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        assert (v.requires_grad, v.device) == (True, device)
        np.testing.assert_array_equal(v.numpy(), w.numpy())
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(w * 2)
    with pytest.raises(TypeError, match="deep-copied"):
        copy.deepcopy(w * 2)


def test_it_cannot_be_subclassed():
    with pytest.raises(TypeError, match="hold one in a field"):
        type("Mine", (gg.Array,), {})


# ------------------------------------------------------------------ operators, as NumPy's

ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
COMPARISON = ["eq", "ne", "lt", "le", "gt", "ge"]
BITWISE = ["and_", "or_", "xor", "lshift", "rshift"]
FEW = ["bool", "int32", "float16", "float32", "complex64"]
DTYPES = [*FEW, "int8", "uint8", "int64", "float64", "complex128"]


def same(got, want):
    assert isinstance(got, gg.Array)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(host(got), want, rtol=1e-3 if want.dtype == "f2" else 1e-5)


def numpys(op, a, b):
    """NumPy's own answer; None where it refuses these dtypes."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return op(a, b)
    except TypeError:
        return None


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISON + BITWISE)
def test_operators_promote_and_broadcast_as_numpys(device, name):
    op = getattr(operator, name)
    tried = 0
    dtypes = DTYPES if device.kind == "cpu" else FEW  # each pair compiles a kernel
    for left in dtypes:
        for right in dtypes:
            a, b = np.array([[1], [3]], left), np.array([1, 2, 3], right)
            want = numpys(op, a, b)
            if want is None:
                with pytest.raises(TypeError):
                    op(wrap(device, a), wrap(device, b))
                continue
            if device.kind == "cuda" and complex_order(op, left, right):
                continue
            same(op(wrap(device, a), wrap(device, b)), want)
            tried += 1
    assert tried >= 4


def complex_order(op, *dtypes):
    """CuPy's comparisons of complex numbers are not NumPy's (they are not lexicographic)."""
    order = (operator.lt, operator.le, operator.gt, operator.ge)
    return op in order and any(d.startswith("complex") for d in dtypes)


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISON)
@pytest.mark.parametrize("scalar", [2, 1.5, True, np.float32(1.5), np.int8(2)], ids=repr)
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_scalars_on_either_side(device, name, scalar, dtype):
    op = getattr(operator, name)
    a = np.array([1, 2, 3], dtype)
    same(op(wrap(device, a), scalar), op(a, scalar))
    same(op(scalar, wrap(device, a)), op(scalar, a))


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISON, "matmul"])
def test_a_raw_array_on_either_side(device, name):
    op = getattr(operator, name)
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 1.0], [0.5, 3.0]])
    raw = to_device(a, device)
    same(op(raw, wrap(device, b)), op(a, b))
    same(op(wrap(device, b), raw), op(b, a))
    assert isinstance(op(raw, leaf(device, b)), gg.Array)


@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISON, "matmul"])
@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_on_either_side(device, name, kind):
    op = getattr(operator, name)
    a, items = np.array([1.0, 2.0, 3.0]), kind([2, 0.5, 4.0])
    same(op(wrap(device, a), items), op(a, items))
    same(op(items, wrap(device, a)), op(np.array(items), a))


def test_a_list_in_place(device):
    a = wrap(device, np.array([1.0, 2.0]))
    a += [1.0, 2.0]
    same(a, np.array([2.0, 4.0]))


@pytest.mark.parametrize("name", BITWISE)
def test_a_raw_array_on_the_left_of_a_bitwise_operator(device, name):
    op = getattr(operator, name)
    a, b = np.array([5, 6]), np.array([1, 3])
    same(op(to_device(a, device), wrap(device, b)), op(a, b))
    same(op(5, wrap(device, b)), op(5, b))


def test_operators_of_one_operand(device):
    x = np.array([-1.5, 2.0])
    same(-wrap(device, x), -x)
    same(+wrap(device, x), +x)
    same(abs(wrap(device, x)), abs(x))
    same(~wrap(device, [True, False]), np.array([False, True]))
    same(round(wrap(device, [1.26, 2.0]), 1), np.array([1.3, 2.0]))
    for got, want in zip(
        (*divmod(wrap(device, x), 1.5), *divmod(5.0, wrap(device, x))),
        (*divmod(x, 1.5), *divmod(5.0, x)),
        strict=True,
    ):
        same(got, want)


def test_gradients_through_reflected_operators(device):
    c = to_device(np.array([2.0, 3.0, 4.0]), device)
    for op, want in [
        (operator.add, [1, 1, 1]),
        (operator.sub, [-1, -1, -1]),
        (operator.mul, [2, 3, 4]),
        (operator.truediv, [-2, -0.75, -4 / 9]),
    ]:
        x = leaf(device)
        op(c, x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), want)


def test_shapes_that_do_not_fit_are_named(device):
    a, b = wrap(device, np.zeros((2, 3))), wrap(device, np.zeros((4, 5)))
    message = rf"add\(float64\(2, 3\) on {device}, float64\(4, 5\) on {device}\)"
    with pytest.raises(ValueError, match=message):
        a + b
    with pytest.raises(ValueError, match="matmul"):
        a @ b
    assert (a + a).shape == (2, 3)


# ------------------------------------------------------------------ indexing

KEYS = [
    0,
    -1,
    slice(1, None),
    slice(None, None, -2),
    ...,
    None,
    (slice(None), 1),
    (..., 1, None),
    (None, 0, ..., slice(0, 2)),
    np.array([2, 0, -1]),
    [0, 2],
    (np.array([0, 1]), np.array([2, 0])),
    (slice(None), np.array([[0, 1], [1, 1]])),
    (np.array([0, 1]), slice(None), np.array([1, 0])),
    np.array([True, False, True]),
    (slice(None), np.array([True, False, True, False])),
    np.array(True),
    np.array([], int),
    (),
    np.int64(1),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_indexing_as_numpys(device, key):
    x = np.arange(24.0).reshape(3, 4, 2)

    def on(k):
        return to_device(k, device) if isinstance(k, np.ndarray) else k

    moved = tuple([on(k) for k in key]) if isinstance(key, tuple) else on(key)
    same(wrap(device, x)[moved], x[key])
    want = np.zeros_like(x)
    np.add.at(want, key, 2 * x[key])
    a = wrap(device, x, requires_grad=True)
    (a[moved] ** 2).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), want)


def test_an_array_as_a_key(device):
    x = wrap(device, [1.0, 2.0, 3.0])
    assert x[x > 1.5].tolist() == [2, 3]
    assert x[wrap(device, [0, 0])].tolist() == [1, 1]
    x[x > 2.5] = wrap(device, [0.0])
    assert x.tolist() == [1, 2, 0]


def test_bad_keys(device):
    x = wrap(device, np.zeros((2, 3)))
    with pytest.raises(IndexError, match="integers or booleans, got float64"):
        x[wrap(device, [0.5])]
    with pytest.raises(IndexError, match="index"):
        x[5]
    with pytest.raises(IndexError):
        x[0, 0, 0]
    with pytest.raises(TypeError, match="len"):
        len(x.sum())
    with pytest.raises(TypeError, match="iterated"):
        iter(x.sum())


# ------------------------------------------------------------------ DLPack

LIBRARIES = ["torch", "jax"]


def other(name):
    if name == "torch":
        torch = pytest.importorskip("torch")
        return torch.from_dlpack, lambda t: t.data_ptr(), torch.arange(4.0)
    jax = pytest.importorskip("jax")
    return jax.dlpack.from_dlpack, lambda a: a.unsafe_buffer_pointer(), jax.numpy.arange(4.0)


@pytest.mark.parametrize("name", LIBRARIES)
def test_dlpack_shares_memory(name):
    theirs, pointer, made = other(name)
    raw = np.frombuffer(bytearray(4 * 16 + 64), np.uint8)
    raw = raw[-raw.ctypes.data % 64 :][:64].view("f4")  # JAX shares what is aligned to 64 bytes
    raw[:] = np.arange(16)
    x = gg.Array(raw)
    out = theirs(x)
    assert pointer(out) == raw.ctypes.data
    np.testing.assert_array_equal(np.asarray(out), raw)
    back = gg.from_dlpack(made)
    assert back._value.ctypes.data == pointer(made)
    assert back.tolist() == [0, 1, 2, 3]
    assert gg.Array(made)._value.ctypes.data == pointer(made)


def test_dlpack_shares_memory_with_the_array_library(device, xp):
    raw = xp.arange(4.0)
    x = gg.Array(raw)
    out = xp.from_dlpack(x)
    raw[0] = 5
    assert out[0] == 5
    back = gg.from_dlpack(raw)
    assert back.device == device
    raw[1] = 6
    assert back[1].item() == 6
    assert x.__dlpack_device__() == raw.__dlpack_device__()
    with pytest.raises(BufferError, match="detach"):
        xp.from_dlpack(leaf(device))


# ------------------------------------------------------------------ gradients


def test_backward_fills_grad(device):
    x = leaf(device)
    assert x.requires_grad
    assert x.grad is None
    y = (x**2).sum()
    assert not y.requires_grad
    y.backward()
    assert isinstance(x.grad, gg.Array)
    assert (x.grad.device, x.grad.dtype) == (device, np.float64)
    assert not x.grad.requires_grad
    assert x.grad.tolist() == [2, 4, 6]


def test_gradients_add_up_over_backwards(device):
    x = leaf(device)
    x.sum().backward()
    first = x.grad
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3, 3, 3]
    assert first.tolist() == [1, 1, 1]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_grads_are_writable_and_their_own(device):
    c = wrap(device, [1.0, 1.0, 1.0])
    seed = wrap(device, [1.0, 2.0, 3.0])
    a, b, x = leaf(device), leaf(device), leaf(device)
    (a + b + x.reshape(3, 1).T[0] + c).backward(seed)
    a.grad[0] = 50
    b.grad += 7
    x.grad[1] = 9
    assert a.grad.tolist() == [50, 2, 3]
    assert b.grad.tolist() == [8, 9, 10]
    assert x.grad.tolist() == [1, 9, 3]
    assert seed.tolist() == [1, 2, 3]
    y = leaf(device)
    y.sum().backward()  # a broadcast, read-only unless it is copied
    y.grad[0] = 5
    assert y.grad.tolist() == [5, 1, 1]


def test_grad_of_functions_are_writable_and_their_own(device, xp):
    one = xp.ones(3)
    ga, gb = gg.grad(lambda a, b: (a + b).sum(), (0, 1))(one, one)
    ga[0] = 5
    assert gb.tolist() == [1, 1, 1]
    assert one.tolist() == [1, 1, 1]


def test_cotangents(device):
    x = leaf(device)
    with pytest.raises(ValueError, match=r"shape \(3,\) needs a cotangent of that shape"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"cotangent of shape \(2,\) for an array of shape \(3,\)"):
        (x * 2).backward(wrap(device, [1.0, 1.0]))
    (x * 2).backward(wrap(device, np.array([1, 2, 3])))
    assert x.grad.tolist() == [2, 4, 6]
    assert x.grad.dtype == np.float64
    with pytest.raises(gg.TapeError, match="nothing behind this array requires a gradient"):
        wrap(device, [1.0]).backward()


def test_setting_grad(device):
    x = leaf(device)
    with pytest.raises(ValueError, match=r"shape \(3,\), float64 cannot be of shape \(2,\)"):
        x.grad = wrap(device, [1.0, 2.0])
    x.grad = to_device(np.ones(3), device)
    assert isinstance(x.grad, gg.Array)


def test_requires_grad_wants_numbers_with_derivatives(device):
    with pytest.raises(TypeError, match=r"requires_grad needs floating-point or complex.*int64"):
        wrap(device, [1, 2], requires_grad=True)
    assert wrap(device, [1j], requires_grad=True).requires_grad


def test_detach(device):
    x = leaf(device)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert x.detach()._value is x._value
    (x * y).sum().backward()
    assert x.grad.tolist() == [2, 4, 6]


def test_a_traced_array_is_not_lost(device):
    x = leaf(device, 2.0)
    with pytest.raises(TypeError, match="float of an array that is being differentiated"):
        float(x * 2)
    with pytest.raises(TypeError, match="would be lost"):
        np.asarray(x)
    with pytest.raises(TypeError, match="would cut its gradient"):
        gg.Array(x * 2)
    assert (x * 2).item() == 4


def test_assigning_to_a_number(device):
    x = gg.asarray([1.0, 2.0], device=device).sum()
    x[()] = 5.0
    assert x.item() == 5.0
    x[gg.asarray(True, device=device)] = 6.0
    assert x.item() == 6.0


def test_a_mask_without_elements_chooses_nothing(device):
    x = gg.asarray(np.ones((3, 2)), device=device)
    for shape in [(0,), (0, 2), (3, 0), (0, 0)]:
        mask = gg.asarray(np.zeros(shape, bool), device=device)
        assert x[mask].shape == np.ones((3, 2))[np.zeros(shape, bool)].shape
    with pytest.raises(IndexError, match=r"a mask of shape \(2,\) does not fit"):
        x[gg.asarray(np.zeros(2, bool), device=device)]


def test_no_copy_to_the_host_unasked(cuda):
    x = gg.Array(cuda.ones(3))
    with pytest.raises(TypeError, match=r"asarray met .*cuda:0, which is not copied"):
        np.asarray(x)


# ------------------------------------------------------------------ two devices


def test_two_devices_are_both_named(cuda):
    host_array, gpu = gg.Array(np.ones(2)), gg.Array(cuda.ones(2))
    for op in (lambda: host_array + gpu, lambda: np.concatenate([gpu, host_array])):
        with pytest.raises(gg.DeviceError, match=r"cpu.*cuda:0|cuda:0.*cpu") as error:
            op()
        assert "move one of them first" in str(error.value)
        assert ".to('cuda:0')" in str(error.value)
    with pytest.raises(gg.DeviceError, match="move one"):
        np.ones(2) * gpu
    with pytest.raises(gg.DeviceError, match="move one"):
        cuda.ones(2) * host_array
    assert (host_array.to("cuda:0") + gpu).tolist() == [2, 2]


def test_two_gpus_are_both_named(cuda):
    if cuda.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU")
    a = gg.Array(cuda.ones(2))
    b = a.to("cuda:1")
    with pytest.raises(gg.DeviceError, match=r"cuda:0 .* cuda:1 .*x\.to\('cuda:1'\)"):
        a * b
    w = gg.Array(b, requires_grad=True)
    (w.to("cuda:0") * a * 3).sum().backward()
    assert w.grad.device == gg.device("cuda:1")
    assert w.grad.tolist() == [3, 3]


def test_a_write_from_another_device_is_refused(cuda):
    a = gg.Array(cuda.ones(2))
    with pytest.raises(gg.DeviceError, match=r"cuda:0.*cpu"):
        a += np.ones(2)
    with pytest.raises(gg.DeviceError, match=r"cuda:0.*cpu"):
        a[0] = gg.Array(np.ones(()))
    assert a.tolist() == [1, 1]


# ------------------------------------------------------------------ in place

IN_PLACE = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow"]


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_on_a_constant(device, name):
    op = getattr(operator, name)
    a = np.array([3.0, 5.0])
    x = wrap(device, a.copy())
    kept, raw = x, x._value
    x = op(x, 2.0)
    assert x is kept
    assert x._value is raw
    np.testing.assert_allclose(x.numpy(), op(a.copy(), 2.0))


@pytest.mark.parametrize("name", ["iand", "ior", "ixor", "ilshift", "irshift"])
def test_in_place_on_integers(device, name):
    op = getattr(operator, name)
    assert op(wrap(device, [5, 6]), 3).tolist() == op(np.array([5, 6]), 3).tolist()


def test_in_place_on_a_fresh_result(device):
    rng = np.random.default_rng(0)
    w, b, x = rng.standard_normal((3, 2)), rng.standard_normal(2), rng.standard_normal((4, 3))

    def loss(w, b, plain):
        h = x_ @ w
        if plain:
            h = h + b
            h = h * 2.0 * b
        else:
            h += b
            h *= 2.0
            h *= b
        return (h * h).sum()

    x_ = wrap(device, x)
    grads = []
    for plain in (True, False):
        ws, bs = leaf(device, w), leaf(device, b)
        loss(ws, bs, plain).backward()
        grads.append((ws.grad.numpy(), bs.grad.numpy()))
    np.testing.assert_allclose(grads[0][0], grads[1][0])
    np.testing.assert_allclose(grads[0][1], grads[1][1])
    np.testing.assert_allclose(
        host(gg.grad(loss)(wrap(device, w), wrap(device, b), False)), grads[0][0]
    )


def test_in_place_inside_a_transform_changes_no_other_name(device, xp):
    outside = wrap(device, [0.0, 0.0])

    def f(x):
        y = x * 2.0
        view, same, total = y[:1], y, outside
        y += x
        total += x
        assert total is not outside
        return np.sum(y * same) + np.sum(view) + np.sum(total)

    x, t = xp.asarray([1.0, 2.0]), xp.asarray([1.0, 0.0])
    want = [12.0 + 2 + 1, 24.0 + 1]
    assert gg.grad(f)(x).tolist() == want
    assert float(gg.jvp(f, (x,), (t,))[1]) == want[0]
    assert gg.vmap(gg.grad(f))(x[None]).tolist() == [want]
    assert gg.vmap(f)(x[None]).tolist() == [6.0 + 24 + 2 + 3]
    assert gg.hessian(f)(x).tolist() == [[12, 0], [0, 12]]
    assert outside.tolist() == [0, 0]


def test_in_place_inside_a_transform_may_change_the_shape(device, xp):
    def f(x):
        x += xp.ones((3, 2))
        x @= xp.ones(2)
        return np.sum(x**2)

    assert gg.grad(f)(xp.asarray([1.0, 2.0])).tolist() == [30, 30]


def test_a_leaf_inside_a_transform_is_not_written(device):
    w = leaf(device)
    with pytest.raises(gg.TapeError, match="requires_grad=True would change"):
        gg.grad(lambda x: operator.iadd(w, x).sum())(wrap(device, [1.0, 2.0, 3.0]))
    assert w.tolist() == [1, 2, 3]


def test_integers_that_were_computed_index_a_plain_array(device, xp):
    data = xp.asarray([0.0, 10.0, 20.0])

    def f(x):
        at = np.floor(x).astype(int)
        return np.sum(data[at] * x + data[:2][at > 0])

    assert gg.grad(f)(xp.asarray([0.5, 2.5])).tolist() == [0, 20]
    at = wrap(device, np.array([2, 0]))
    assert data[at].tolist() == [20, 0]
    data[at] = 1.0
    assert data.tolist() == [1, 10, 1]
    rows = gg.vmap(lambda k: data[:2] * k)(xp.asarray([[1, 2], [0, 1]]))
    assert rows.tolist() == [[1, 20], [0, 10]]
    with pytest.raises(TypeError, match=r"under vmap.* gpugrad.numpy.take\(a, x\)"):
        gg.vmap(lambda k: data[k])(xp.asarray([1, 2]))


def test_only_integers_of_a_device_are_handed_out_raw(device):
    for dtype in (float, np.float32, complex):
        assert not hasattr(wrap(device, np.ones(2, dtype)), "__cuda_array_interface__")
    on_cuda = device.kind == "cuda"
    assert hasattr(wrap(device, np.ones(2, bool)), "__cuda_array_interface__") == on_cuda


def test_out_says_what_to_write(device):
    x = leaf(device)
    with pytest.raises(TypeError, match=r"take what it returns, as in x = add\(x, y\)"):
        np.add(x, x, out=x)


def test_a_leaf_is_not_written_while_recording(device):
    w = leaf(device)
    with pytest.raises(gg.TapeError, match=r"requires_grad=True would change.*no_grad"):
        w += 1.0
    with pytest.raises(gg.TapeError, match="assigning to elements"):
        w[0] = 1.0
    with gg.no_grad():
        w += 1.0
    assert w.requires_grad
    assert w.tolist() == [2, 3, 4]
    w.sum().backward()
    assert w.grad.tolist() == [1, 1, 1]


def test_a_residual_is_not_written(device):
    x = leaf(device)
    y = np.exp(x)
    z = y * 3.0
    with pytest.raises(gg.TapeError, match="the tape needs"):
        y += 1.0
    with gg.no_grad(), pytest.raises(gg.TapeError):
        y += 1.0
    z.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * np.exp([1, 2, 3]))


def test_an_operand_that_is_a_residual_is_not_written(device):
    x = leaf(device)
    y = x * 3.0
    z = y * y
    with pytest.raises(gg.TapeError, match="the tape needs"):
        y *= 2.0
    z.sum().backward()
    assert x.grad.tolist() == [18, 36, 54]


def test_a_view_is_not_written(device):
    x = leaf(device)
    y = x * 3.0
    v = y[1:]
    with pytest.raises(gg.TapeError, match="view"):
        v += 1.0
    w = y.reshape(3, 1)
    with pytest.raises(gg.TapeError, match="view"):
        y += 1.0
    with pytest.raises(gg.TapeError, match="view"):
        w += 1.0


def test_a_constant_that_a_live_tape_needs_is_not_written(device):
    x, c = leaf(device), wrap(device, [1.0, 2.0, 3.0])
    product = x * c  # kept, as users do
    y = product.sum()
    with pytest.raises(gg.TapeError, match="needs its values until backward"):
        c += 1.0
    with pytest.raises(gg.TapeError, match="needs its values until backward"):
        c[0] = 5.0
    y.backward()
    c += 1.0
    c[0] = 5.0
    assert c.tolist() == [5, 3, 4]
    assert x.grad.tolist() == [1, 2, 3]


def test_a_view_of_a_constant_that_a_live_tape_needs_is_not_written(device):
    x, c = leaf(device), wrap(device, [1.0, 2.0, 3.0])
    v = c[:]
    y = (x * c).sum()
    with pytest.raises(gg.TapeError, match="needs its values until backward"):
        v += 1.0
    y.backward()
    v += 1.0
    assert c.tolist() == [2, 3, 4]


def test_a_view_taken_before_is_written(device):
    x, c = leaf(device), wrap(device, [1.0, 2.0, 3.0])
    v = c[:2]
    y = (x[:2] * v).sum()
    with pytest.raises(gg.TapeError, match="needs its values until backward"):
        c += 1.0
    del y
    c += 1.0
    assert v.tolist() == [2, 3]


def test_what_is_detached_is_not_written(device):
    w = leaf(device)
    loss = (w * w).sum()
    d = w.detach()
    with pytest.raises(gg.TapeError, match=r"change a copy, x.detach\(\).copy\(\)"):
        d += 1.0
    with pytest.raises(gg.TapeError, match="change a copy"):
        d[0] = 1.0
    v = d[1:]
    with pytest.raises(gg.TapeError, match="change a copy"):
        v += 1.0
    with gg.no_grad():
        v = w[1:]
        with pytest.raises(gg.TapeError, match="change a copy"):
            v += 1.0
        h = w * 2.0  # new memory
        h += 1.0
    e = w.detach().copy()
    e += 1.0
    loss.backward()
    assert w.grad.tolist() == [2, 4, 6]


def test_a_constant_in_a_users_operation_is_not_written(device):
    @gg.primitive
    def times(x, c):
        return x * c

    gg.defvjp(times, lambda ans, x, c: lambda g: g * c, None)
    x, c = leaf(device), wrap(device, [1.0, 2.0, 3.0])
    y = times(x, c).sum()
    with pytest.raises(gg.TapeError, match="needs its values until backward"):
        c += 1.0
    y.backward()
    assert x.grad.tolist() == [1, 2, 3]


def test_a_constant_that_no_rule_names_may_be_written(device):
    x, c = leaf(device), wrap(device, [1.0, 2.0, 3.0])
    y = (x + c).sum()
    c += 1.0
    y.backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_a_leaf_written_between_forward_and_backward_is_an_error(device):
    w, x = leaf(device), leaf(device)
    loss = (w * w * x).sum()
    with gg.no_grad():
        w *= 2.0
    with pytest.raises(gg.TapeError, match="changed in place after it was used"):
        loss.backward()
    assert w.grad is None
    assert x.grad is None
    (w * w * x).sum().backward()
    assert w.grad.tolist() == [4, 16, 36]


def test_a_leaf_whose_detached_values_the_tape_needs_is_not_written(device):
    w, x = leaf(device), leaf(device)
    loss = (w.detach() * x).sum()
    with gg.no_grad(), pytest.raises(gg.TapeError, match="needs its values until backward"):
        w *= 2.0
    loss.backward()
    assert x.grad.tolist() == [1, 2, 3]


def test_a_leaf_written_under_no_grad_by_index(device):
    w = leaf(device)
    with gg.no_grad():
        w[0] = 9.0
    assert w.tolist() == [9, 2, 3]
    assert w.requires_grad
    loss = (w * w).sum()
    with gg.no_grad():
        w[0] = 1.0
    with pytest.raises(gg.TapeError, match="changed in place after it was used"):
        loss.backward()


def test_in_place_with_another_shape_or_dtype(device):
    x = leaf(device)
    y = x * 2.0
    with pytest.raises(ValueError, match=r"shape \(2, 3\), float64 does not fit"):
        y += np.zeros((2, 3)) if device.kind == "cpu" else to_device(np.zeros((2, 3)), device)
    c = wrap(device, np.array([1, 2]))
    with pytest.raises(TypeError):
        c += 0.5


def test_a_raw_array_is_not_made_traced_in_place(device, xp):
    a, x = xp.ones(3), leaf(device)
    with pytest.raises(TypeError, match="out="):
        a += x
    assert a.tolist() == [1, 1, 1]


# ------------------------------------------------------------------ NumPy's and CuPy's functions

FUNCTIONS = {
    "sum": lambda np, x: np.sum(x, axis=0),
    "mean": lambda np, x: np.mean(x, axis=(0, 1), keepdims=True),
    "concatenate": lambda np, x: np.concatenate([x, x * 2], axis=1),
    "einsum": lambda np, x: np.einsum("ij,kj->ik", x, x),
    "where": lambda np, x: np.where(x > 0.2, x, 2 * x),
    "tanh": lambda np, x: np.tanh(x),
    "maximum": lambda np, x: np.maximum(x, 0.1),
    "transpose": lambda np, x: np.transpose(x),
    "stack": lambda np, x: np.stack([x, x]),
    "matmul": lambda np, x: np.matmul(x, x.T),
    "clip": lambda np, x: np.clip(x, -0.5, 0.5),
    "max": lambda np, x: np.max(x, axis=1),
    "reshape": lambda np, x: np.reshape(x, (3, 2)),
    "cumsum": lambda np, x: np.cumsum(x, axis=1),
    "dot": lambda np, x: np.dot(x, x.T),
    "var": lambda np, x: np.var(x, axis=1),
    "add.reduce": lambda np, x: np.sum(x),
    "broadcast_to": lambda np, x: np.broadcast_to(x, (4, 2, 3)),
    "square": lambda np, x: np.square(x),
    "abs": lambda np, x: np.abs(x),
}
X = np.array([[0.1, -0.4, 0.9], [0.7, 0.3, -0.2]])


def check_function(library, f, device):
    x = wrap(device, X, requires_grad=True)
    y = f(library, x)
    same(y.detach(), np.asarray(f(np, X)))
    y.sum().backward()
    eps, want = 1e-6, np.zeros_like(X)
    for i in np.ndindex(X.shape):
        d = np.zeros_like(X)
        d[i] = eps
        want[i] = (f(np, X + d).sum() - f(np, X - d).sum()) / (2 * eps)
    np.testing.assert_allclose(x.grad.numpy(), want, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpys_functions(device, name):
    check_function(np, FUNCTIONS[name], device)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gpugrads_functions(device, name):
    check_function(gg.numpy, FUNCTIONS[name], device)


# These CuPy routes through its ufuncs and reductions, which ask their arguments first.
CUPYS = ["sum", "mean", "where", "tanh", "maximum", "clip", "max", "add.reduce", "square", "abs"]


@pytest.mark.parametrize("name", CUPYS)
def test_cupys_functions(cuda, name):
    check_function(cuda, FUNCTIONS[name], gg.device("cuda:0"))


def test_ufunc_methods(device):
    x = wrap(device, X)
    same(np.add.reduce(x), np.add.reduce(X))
    same(np.add.reduce(x, axis=1, keepdims=True), np.add.reduce(X, axis=1, keepdims=True))
    same(np.add.reduce(x, axis=None), np.asarray(np.add.reduce(X, axis=None)))
    same(np.multiply.reduce(x, axis=1), np.multiply.reduce(X, axis=1))
    same(np.maximum.reduce(x, axis=1), np.maximum.reduce(X, axis=1))
    same(np.logical_and.reduce(x > 0, axis=1), np.logical_and.reduce(X > 0, axis=1))
    same(np.add.accumulate(x, axis=1), np.add.accumulate(X, axis=1))
    same(np.multiply.outer(x, x[0]), np.multiply.outer(X, X[0]))
    same(np.subtract.outer(x[0], 2.0), np.subtract.outer(X[0], 2.0))
    same(np.subtract.reduce(x), np.subtract.reduce(X))
    same(np.maximum.accumulate(x, axis=1), np.maximum.accumulate(X, axis=1))
    same(np.add.reduceat(x, [0, 1], axis=1), np.add.reduceat(X, [0, 1], axis=1))
    with pytest.raises(TypeError, match=r"equal.reduce has no rule"):
        np.equal.reduce(x)
    with pytest.raises(TypeError, match=r"add.at writes into an array.*bincount"):
        np.add.at(x, 0, 1)


def test_ufunc_options(device):
    x = wrap(device, np.array([1, 2], "i4"))
    same(np.add(x, 1, dtype="f4"), np.array([2, 3], "f4"))
    with pytest.raises(TypeError, match=r"where= is not supported; use where\(mask, a, b\)"):
        np.add(x, 1, where=np.array([True, False]))


def test_out_is_refused(device):
    x = leaf(device)
    with pytest.raises(TypeError, match=r"add: a result that may carry a gradient.*out="):
        np.add(np.ones(3), x, out=np.zeros(3))
    with pytest.raises(TypeError, match="out="):
        np.sum(x, out=np.zeros(()))
    with pytest.raises(TypeError, match="out="):
        x.sum(out=np.zeros(()))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("putmask", lambda x: np.putmask(x, [True], 0)),
        ("copyto", lambda x: np.copyto(x, 0)),
    ],
)
def test_a_function_without_a_rule_is_named(device, name, call):
    with pytest.raises(TypeError, match=rf"{name} has no rule in gpugrad"):
        call(leaf(device))
    with pytest.raises(AttributeError, match=r"gpugrad.numpy has no 'putmask'"):
        gg.numpy.putmask
    with pytest.raises(AttributeError, match=r"gpugrad.numpy has no 'nonsense'$"):
        gg.numpy.nonsense


def test_a_users_cupy_kernel_is_named(cuda):
    x = gg.Array(cuda.ones(3), requires_grad=True)
    kernel = cuda.ElementwiseKernel("T x", "T y", "y = x * x", "my_square")
    with pytest.raises(TypeError, match=r"'my_square' has no rule in gpugrad.*gg.primitive"):
        kernel(x)
    total = cuda.ReductionKernel("T x", "T y", "x", "a + b", "y = a", "0", "my_total")
    with pytest.raises(TypeError, match="Array"):  # CuPy itself refuses: these have no hook
        total(x)
    assert cuda.tanh(x).shape == (3,)


def test_methods_as_numpys(device):
    x = wrap(device, X)
    for name, args in [
        ("sum", ()),
        ("sum", (0,)),
        ("mean", (1,)),
        ("prod", ()),
        ("max", (0,)),
        ("min", (1,)),
        ("any", ()),
        ("all", (0,)),
        ("var", ()),
        ("std", (0,)),
        ("argmax", (1,)),
        ("argmin", ()),
        ("cumsum", (0,)),
        ("clip", (0, 0.5)),
        ("round", (1,)),
        ("reshape", (3, 2)),
        ("reshape", ((6,),)),
        ("ravel", ()),
        ("flatten", ()),
        ("transpose", ()),
        ("transpose", (1, 0)),
        ("swapaxes", (0, 1)),
        ("astype", ("f4",)),
        ("astype", ("i4",)),
        ("conj", ()),
        ("repeat", (2, 1)),
    ]:
        same(getattr(x, name)(*args), np.asarray(getattr(X, name)(*args)))
    same(x.dot(x.T), X.dot(X.T))
    same(x.take(wrap(device, [1, 1]), 0), X.take([1, 1], 0))
    same(x[None].squeeze(0), X)
    for got, want in zip(x.nonzero(), X.nonzero(), strict=True):
        same(got, want)


def test_python_lists_do_not_hash(device):
    with pytest.raises(TypeError, match="unhashable"):
        hash(wrap(device, [1.0]))
