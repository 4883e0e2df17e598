"""Corners that drawn operands do not reach: empty arrays, infinities, zeros, unused outputs."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device


def put(x, device):
    return to_device(np.array(x), device)


def back(x):
    return to_device(x, CPU)


def test_indices_that_repeat_add_up_in_order(device):
    """Bit for bit the same sum as a loop's, and the same each time."""
    rng = np.random.default_rng(0)
    at, weights = rng.integers(-5, 5, 200), rng.normal(size=(200, 3))
    want = np.zeros((5, 3))
    for i, w in zip(at, weights, strict=True):
        want[i] += w
    index, w = put(at, device), put(weights, device)
    for _ in range(2):
        g = gg.grad(lambda x: gnp.sum(x[index] * w))(put(np.ones((5, 3)), device))
        np.testing.assert_array_equal(back(g), want)


def test_an_index_that_picks_nothing_has_gradient_zero(device):
    x = put(np.ones((3, 2)), device)
    for key in (slice(3, 3), [], put(np.zeros(3, bool), device)):
        value, g = gg.value_and_grad(lambda x, k=key: gnp.sum(x[k]))(x)
        assert float(back(value)) == 0
        np.testing.assert_array_equal(back(g), np.zeros((3, 2)))


def test_assigning_by_a_mask_is_where(device):
    x = put([1.0, -2.0, 3.0], device)
    g = gg.grad(lambda x: gnp.sum(gnp.where(x > 0, x, 0) ** 2))(x)
    np.testing.assert_array_equal(back(g), [2, 0, 6])


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([-np.inf, -np.inf], [0, 0]),
        ([-np.inf, 0.0], [0, 1]),
        ([1000.0, 1000.0], [0.5, 0.5]),
    ],
)
def test_logsumexp_of_extremes(values, want, device):
    value, g = gg.value_and_grad(gnp.logsumexp)(put(values, device))
    with np.errstate(divide="ignore"):
        assert float(back(value)) == np.logaddexp.reduce(values)
    np.testing.assert_allclose(back(g), want, rtol=1e-12)


@pytest.mark.parametrize("values", [[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
def test_prod_with_zeros_to_second_order(values, device):
    """The product of the others, and of all but two."""
    x = np.array(values)
    first = [np.prod(np.delete(x, i)) for i in range(3)]
    second = [[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(3)] for i in range(3)]
    there = put(x, device)
    np.testing.assert_array_equal(back(gg.grad(gnp.prod)(there)), first)
    np.testing.assert_array_equal(back(gg.hessian(gnp.prod)(there)), second)


def test_pieces_that_are_not_used_have_gradient_zero(device):
    x = put(np.arange(6.0), device)
    g = gg.grad(lambda x: gnp.sum(gnp.split(x, 3)[1] ** 2))(x)
    np.testing.assert_array_equal(back(g), [0, 0, 4, 6, 0, 0])


def test_an_operand_used_twice(device):
    x = put([1.0, 2.0], device)
    g = gg.grad(lambda x: gnp.sum(gnp.concatenate([x, x * 3]) * gnp.stack([x, x]).reshape(-1)))(x)
    np.testing.assert_allclose(back(g), [8, 16])


@pytest.mark.parametrize("name", ["sum", "prod", "any", "all"])
def test_reduction_of_nothing(name, device):
    x = put(np.ones((0, 3)), device)
    np.testing.assert_array_equal(
        back(getattr(gnp, name)(x, axis=0)), getattr(np, name)(np.ones((0, 3)), axis=0)
    )


def test_gradient_of_empty_arrays(device):
    x = put(np.ones((0, 3)), device)
    for f in (gnp.sum, gnp.prod, lambda x: gnp.sum(gnp.exp(x) @ x.T), lambda x: gnp.sum(x[:, 1])):
        assert back(gg.grad(f)(x)).shape == (0, 3)


def test_sqrt_and_hypot_at_0(device):
    with np.errstate(divide="ignore", invalid="ignore"):
        g = gg.grad(lambda x: gnp.sum(gnp.sqrt(x)))(put([0.0, 4.0], device))
    np.testing.assert_array_equal(back(g), [np.inf, 0.25])
    g = gg.grad(gnp.hypot)(put(0.0, device), put(0.0, device))
    assert float(back(g)) == 0


def test_power_at_0(device):
    x = put([0.0, 0.0, 2.0], device)
    n = put([2.0, 0.0, 3.0], device)
    for_base, for_exponent = gg.grad(lambda x, n: gnp.sum(x**n), (0, 1))(x, n)
    np.testing.assert_array_equal(back(for_base), [0, 0, 12])
    np.testing.assert_allclose(back(for_exponent), [0, 0, 8 * np.log(2)])


def test_sinc_near_0_to_third_order(device):
    def d3(x):
        return gg.grad(gg.grad(gg.grad(gnp.sinc)))(x)

    g = [float(back(d3(put(x, device)))) for x in (0.0, 1e-4, 0.3)]
    pi, x = np.pi, 0.3
    a = pi * x
    # The third derivative of sin(a)/a, by hand.
    far = pi**3 * (
        -np.cos(a) / a + 3 * np.sin(a) / a**2 + 6 * np.cos(a) / a**3 - 6 * np.sin(a) / a**4
    )
    np.testing.assert_allclose(g, [0, pi**4 / 5 * 1e-4, far], rtol=1e-5, atol=1e-9)


# ------------------------------------------------------------------------------ casts


def test_a_cast_casts_its_gradient_back(device):
    x = put(np.ones(3, np.float32), device)
    g = gg.grad(lambda x: gnp.sum(gnp.astype(x, np.float64) ** 2))(x)
    assert g.dtype == np.float32
    np.testing.assert_array_equal(back(g), [2, 2, 2])


def test_no_gradient_through_integers(device):
    g = gg.grad(lambda x: gnp.sum(gnp.astype(x, int) * x))(put([1.5, 2.5], device))
    np.testing.assert_array_equal(back(g), [1, 2])


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
@pytest.mark.parametrize("number", [2, 2.0])
def test_a_number_gives_way_to_the_dtype_of_an_array(dtype, number, device):
    x = put(np.ones(3, dtype), device)
    fs = [
        lambda x: x + number,
        lambda x: number - x,
        lambda x: x * number,
        lambda x: number / x,
        lambda x: x**number,
        lambda x: number**x,
        lambda x: gnp.where(x == 1, x, number),
    ]
    for f in fs:
        y, pull = gg.vjp(f, x)
        (g,) = pull(x)
        _, t = gg.jvp(f, (x,), (x,))
        shape = gg.eval_shape(f, x)
        assert {y.dtype, g.dtype, t.dtype, shape.dtype} == {np.dtype(dtype)}


# ------------------------------------------------------------------------------ devices


def test_moving_to_another_device_and_back(cuda):
    x = np.arange(3.0)

    def f(x):
        return gnp.sum(gg.asarray(x).to("cuda") ** 2).to("cpu")

    value, g = gg.value_and_grad(f)(x)
    assert isinstance(g, np.ndarray)
    assert float(value) == 5
    np.testing.assert_array_equal(g, 2 * x)
    np.testing.assert_array_equal(gg.jvp(f, (x,), (np.ones(3),))[1], 6)
    np.testing.assert_array_equal(gg.vmap(f)(np.stack([x, x])), [5, 5])
    np.testing.assert_array_equal(gg.hessian(f)(x), 2 * np.eye(3))


# ------------------------------------------------------------------------------ creation


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("zeros", ((2, 3),)),
        ("ones", (3,)),
        ("full", ((2,), 7.0)),
        ("arange", (4,)),
        ("arange", (1, 7, 2)),
        ("linspace", (0.0, 1.0, 5)),
        ("eye", (3, 2, 1)),
        ("identity", (2,)),
        ("asarray", ([[1, 2], [3, 4]],)),
        ("array", ([1.0, 2.0],)),
    ],
)
@pytest.mark.parametrize("dtype", [None, "float32", "int32", "complex64"])
def test_creation(name, args, dtype, device):
    made = getattr(gnp, name)(*args, **({} if dtype is None else {"dtype": dtype}), device=device)
    want = getattr(np, name)(*args, **({} if dtype is None else {"dtype": dtype}))
    assert isinstance(made, gg.Array)
    assert made.device == device
    assert made.dtype == want.dtype
    np.testing.assert_array_equal(made.numpy(), want)
    with device:  # as the default device
        there = getattr(gnp, name)(*args, **({} if dtype is None else {"dtype": dtype}))
    assert there.device == device


@pytest.mark.parametrize("name", ["zeros_like", "ones_like", "empty_like", "full_like"])
def test_creation_like_another(name, device):
    x = put(np.ones((2, 3), np.float32), device)
    made = getattr(gnp, name)(x, *([5] if name == "full_like" else []))
    assert (made.shape, made.dtype, made.device) == ((2, 3), np.float32, device)
    if name != "empty_like":
        assert set(made.numpy().ravel()) == {{"z": 0, "o": 1, "f": 5}[name[0]]}


def test_arrays_of_traced_parts(device):
    g = gg.grad(lambda x: gnp.sum(gnp.array([[x[0], x[1] * 2], [x[0], 1.0]]) ** 2))(
        put([3.0, 1.0], device)
    )
    np.testing.assert_allclose(back(g), [12, 8])
    g = gg.grad(lambda x: gnp.sum(gnp.full((2, 2), x) ** 2))(put(3.0, device))
    assert float(back(g)) == 24


def test_a_recorded_gradient_of_var_looks_into_the_distances_from_the_mean(device):
    x = gg.Array(put([1.0, 4.0, -2.0], device), requires_grad=True)
    gnp.var(x).backward(create_graph=True)
    g, x.grad = x.grad, None
    gnp.sum(g * g).backward()
    # g = 2 (x - mean) / 3, and the distances from the mean do not depend on the mean.
    np.testing.assert_allclose(x.grad.numpy(), 8 / 9 * np.array([0.0, 3.0, -3.0]))


def test_a_choice_by_a_python_condition(device, xp):
    x = xp.asarray([1.0, 2.0], dtype="float32")
    for condition, want in ((True, [1, 2]), (False, [0, 0]), (np.bool_(True), [1, 2])):
        assert gnp.where(condition, x, 0.0).tolist() == want
        assert xp.where(condition, gg.Array(x), 0.0).tolist() == want
        g = gg.grad(lambda x, c=condition: gnp.sum(gnp.where(c, x, 0.0)))(x)
        assert (g.dtype, g.tolist()) == ("float32", [float(condition)] * 2)


@pytest.mark.parametrize("other", [-1, -1.0, np.float32(-1.0)])
def test_copysign_keeps_the_dtype_of_its_gradient(other, device, xp):
    x = xp.asarray([1.0, -2.0, 0.0], dtype="float32")
    g = gg.grad(lambda x: gnp.sum(gnp.copysign(x, other)))(x)
    assert (g.dtype, g.tolist()) == ("float32", [-1, 1, 0])
    assert gg.jvp(lambda x: gnp.copysign(x, other), (x,), (x,))[1].dtype == "float32"


@pytest.mark.parametrize("name", ["nanmean", "nanvar", "nanstd", "mean", "var", "std"])
def test_what_nothing_is_left_for_has_gradient_zero_both_ways(name, device, xp):
    x = xp.asarray([[np.nan] * 3, [1, np.nan, np.nan], [1, 2, np.nan], [1, 2, 4]])
    options = {"axis": 1} if name.endswith("mean") else {"axis": 1, "ddof": 1}
    if not name.startswith("nan"):
        x, options["where"] = xp.nan_to_num(x), ~xp.isnan(x)

    def f(x):
        return getattr(gnp, name)(x, **options)

    few = [True, "mean" not in name, False, False]
    assert xp.isnan(f(x)).tolist() == few
    pulled = gg.jacobian(f)(x)
    forward = gg.vmap(lambda t: gg.jvp(f, (x,), (t,))[1])(xp.eye(12).reshape(12, 4, 3))
    np.testing.assert_allclose(back(pulled).reshape(4, 12), back(forward).T, atol=1e-15)
    assert not back(pulled)[few].any()
    assert back(pulled)[2].any()


NUMBERS = {
    "where": lambda: gnp.where(True, 1.0, 2.0),
    "select": lambda: gnp.select([True], [1.0], 0.0),
    "piecewise": lambda: gnp.piecewise(1.0, [True], [lambda x: x, 0.0]),
    "interp": lambda: gnp.interp(0.5, [0, 1], [0, 2]),
    "logsumexp": lambda: gnp.logsumexp([0.0, -np.inf]) + 1,
    "median": lambda: gnp.median([1.0]),
    "nanmax": lambda: gnp.nanmax([1.0, np.nan]),
    "nanvar": lambda: gnp.nanvar([0.0, 2.0, np.nan]),
    "quantile": lambda: gnp.quantile([1.0, 1.0], 0.5),
    "inner": lambda: gnp.inner([1.0, 0.0], [1.0, 0.0]),
    "vecdot": lambda: gnp.vecdot([1.0, 0.0], [1.0, 0.0]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_from_numbers_goes_beside_any_array(name, xp):
    y = NUMBERS[name]()
    assert isinstance(y, np.floating)
    assert (xp.ones(1) * y).tolist() == [1.0]


def test_the_bounds_of_clip_have_two_names(device, xp):
    x = xp.asarray([0.0, 1.0, 2.0, 3.0])
    for options in ({"a_min": 0.5, "a_max": 2.5}, {"min": 0.5, "max": 2.5}):
        assert gnp.clip(x, **options).tolist() == [0.5, 1, 2, 2.5]
        assert np.clip(gg.Array(x), **options).tolist() == [0.5, 1, 2, 2.5]
    assert gnp.clip(x, a_min=1.5).tolist() == [1.5, 1.5, 2, 3]
    assert gg.grad(lambda x: gnp.clip(x, 0.5, 2.5).sum())(x).tolist() == [0, 1, 1, 0]


HOST_INDICES = {
    "rows": (lambda m, x: x[np.array([0, 0])], [2, 2, 2, 0, 0, 0]),
    "columns": (lambda m, x: x[:, np.array([-1, 0])], [1, 0, 1, 1, 0, 1]),
    "pairs": (lambda m, x: x[np.array([1, 1]), m.asarray([0, 2])], [0, 0, 0, 1, 0, 1]),
    "mask": (lambda m, x: x[np.array([[True, False, True]] * 2)], [1, 0, 1, 1, 0, 1]),
    "take": (lambda m, x: m.take(x, np.array([4, 1])), [0, 1, 0, 0, 1, 0]),
    "along": (
        lambda m, x: gnp.take_along_axis(x, np.array([[0], [2]]), 1),
        [1, 0, 0, 0, 0, 1],
    ),
    "array": (lambda m, x: x[gg.Array(np.array([1]))], [0, 0, 0, 1, 1, 1]),
}


@pytest.mark.parametrize("name", HOST_INDICES)
def test_indices_on_the_host_go_with_any_device(name, device, xp):
    f, want = HOST_INDICES[name]
    x = xp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(back(gg.grad(lambda x: gnp.sum(f(xp, x)))(x)).ravel(), want)
    assert f(xp, gg.Array(x)).device == device


PADS = {
    "axes by number": {"pad_width": {-1: (1, 2)}},
    "axes by number, mean": {"pad_width": {0: 1, 1: (0, 2)}, "mode": "mean"},
    "ramp": {"pad_width": 3, "mode": "linear_ramp", "end_values": (2, -5)},
    "mean": {"pad_width": 1, "mode": "mean"},
    "median": {"pad_width": (2, 0), "mode": "median", "stat_length": 2},
    "odd": {"pad_width": 5, "mode": "reflect", "reflect_type": "odd"},
    "odd with the edge": {"pad_width": 5, "mode": "symmetric", "reflect_type": "odd"},
}


@pytest.mark.parametrize("shape", [(2, 3), (1, 4)])
@pytest.mark.parametrize("name", PADS)
def test_margins_of_integers(name, shape, device):
    x = np.random.default_rng(0).integers(-9, 9, shape)
    got, want = gnp.pad(put(x, device), **PADS[name]), np.pad(x, **PADS[name])
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(back(got), want)
    np.testing.assert_array_equal(np.pad(gg.Array(put(x, device)), **PADS[name]).numpy(), want)


def test_a_margin_of_anything_has_a_gradient_of_zero(device, xp):
    x = xp.ones((2, 2))
    assert gnp.pad(x, 1, "empty").shape == (4, 4)
    assert gg.grad(lambda x: gnp.pad(x, 1, "empty")[0, 0])(x).tolist() == [[0, 0], [0, 0]]


def test_infinities_stay_where_the_margin_has_them(device, xp):
    x = xp.asarray([np.inf, 1.0, 2.0])
    assert gnp.pad(x, (0, 1), "reflect", reflect_type="odd").tolist() == [np.inf, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "round"}, "'round' is none of 'constant', 'edge', 'empty', 'linear_ramp'"),
        ({"mode": "edge", "constant_values": 3}, "mode 'edge' takes no constant_values"),
        ({"end_values": 1}, "mode 'constant' takes no end_values"),
        ({"mode": "mean", "stat_length": 0}, "stat_length 0"),
        ({"mode": "wrap", "reflect_type": "odd"}, "takes no reflect_type"),
        ({"mode": "reflect", "reflect_type": "loud"}, "'loud' is neither 'even' nor 'odd'"),
    ],
)
def test_what_pad_cannot_do(options, message):
    with pytest.raises(ValueError, match=message):
        gnp.pad(np.ones(2), 1, **options)
