"""A function of ours in PyTorch and one of PyTorch's in ours: values, gradients of every order."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from gpugrad.interop.torch import as_function, from_torch  # noqa: E402

X = np.random.default_rng(0).normal(size=(3, 4))
W = np.random.default_rng(1).normal(size=(4, 2))


def ours(x, w):
    return np.tanh(x @ w) ** 2


def theirs(x, w):
    return torch.tanh(x @ w) ** 2


def tensors(*arrays):
    return [torch.tensor(a, requires_grad=True) for a in arrays]


def test_values_and_gradients_in_torch_are_pytorch_s_own():
    x, w = tensors(X, W)
    y = as_function(ours)(x, w)
    torch.testing.assert_close(y, theirs(x, w))
    (y * y).sum().backward()
    a, b = tensors(X, W)
    (theirs(a, b) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, a.grad)
    torch.testing.assert_close(w.grad, b.grad)


def test_gradcheck_to_the_second_order():
    inputs = tensors(X, W)
    assert torch.autograd.gradcheck(as_function(ours), inputs)
    assert torch.autograd.gradgradcheck(as_function(ours), inputs)


def test_gradcheck_of_complex_numbers():
    z = torch.tensor(X[0] + 1j * X[1], requires_grad=True)
    f = as_function(lambda z: np.exp(z) * np.real(z))
    assert torch.autograd.gradcheck(f, [z])
    assert torch.autograd.gradgradcheck(f, [z])


def test_a_third_derivative():
    (x,) = tensors(np.array(0.7))
    y = as_function(np.sin)(x)
    for _ in range(3):
        (y,) = torch.autograd.grad(y, x, create_graph=True)
    torch.testing.assert_close(y, -torch.cos(x))


def test_pytrees_settings_and_integers_pass_through():
    def f(params, rows, power):
        picked = gnp.take(params["table"], rows, axis=0)
        return {"y": picked**power, "rows": rows}

    (table,) = tensors(X)
    out = as_function(f)({"table": table}, torch.tensor([2, 0, 2]), 3)
    assert out["rows"].dtype == torch.int64
    assert not out["rows"].requires_grad
    out["y"].sum().backward()
    want = 3 * X**2 * np.array([1, 0, 2])[:, None]
    np.testing.assert_allclose(table.grad.numpy(), want)


def test_keywords_are_arguments_too():
    x, w = tensors(X, W)
    as_function(ours)(x=x, w=w).sum().backward()
    want = gg.grad(lambda x, w: ours(x, w).sum(), 1)(X, W)
    np.testing.assert_allclose(w.grad.numpy(), want)
    f = from_torch(lambda x, *, w: theirs(x, w))
    np.testing.assert_allclose(gg.grad(lambda w: f(X, w=w).sum())(W), want)


def test_only_what_needs_a_gradient_gets_one():
    x, w = tensors(X, W)
    as_function(ours)(x.detach(), w).sum().backward()
    assert x.grad is None
    assert w.grad is not None
    with torch.no_grad():
        assert not as_function(ours)(x, w).requires_grad


def test_an_output_does_not_share_the_memory_of_an_input():
    x = torch.zeros(3, dtype=torch.float64)
    y = as_function(lambda x: x.reshape(3, 1))(x)
    y += 1
    assert x.sum() == 0


def test_memory_is_shared_with_the_function():
    seen = []
    x = torch.zeros(3)
    as_function(lambda x: seen.append(x.__array_interface__["data"][0]) or np.sum(x))(x)
    assert seen == [x.data_ptr()]


def test_a_layer_inside_a_torch_model_trains():
    torch.manual_seed(0)
    swish = as_function(lambda x, b: x / (1 + np.exp(-b * x)))
    b = torch.nn.Parameter(torch.tensor(1.0))
    first, last = torch.nn.Linear(4, 8), torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([b, *first.parameters(), *last.parameters()], lr=0.05)
    x = torch.tensor(X, dtype=torch.float32)
    losses = []
    for _ in range(60):
        loss = (last(swish(first(x), b)) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20
    assert b.item() != 1.0


def test_from_torch_gives_numpy_s_arrays_and_their_gradients():
    f = from_torch(theirs)
    y = f(X, W)
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, ours(X, W))
    for argnum in (0, 1):
        got = gg.grad(lambda *a: (f(*a) ** 2).sum(), argnum)(X, W)
        want = gg.grad(lambda *a: (ours(*a) ** 2).sum(), argnum)(X, W)
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_from_torch_to_higher_orders():
    f = from_torch(lambda x: torch.sin(x) * x**2)
    g = lambda x: np.sin(x) * x**2  # noqa: E731
    x = np.array([0.3, -1.2])
    np.testing.assert_allclose(
        gg.hessian(lambda x: np.sum(f(x) ** 2))(x), gg.hessian(lambda x: np.sum(g(x) ** 2))(x)
    )
    np.testing.assert_allclose(
        gg.hvp(lambda x: np.sum(f(x)))(x, x), gg.hvp(lambda x: np.sum(g(x)))(x, x)
    )
    got = gg.jvp(f, (x,), (np.ones(2),))
    np.testing.assert_allclose(got, gg.jvp(g, (x,), (np.ones(2),)))


def test_from_torch_of_a_module_with_its_parameters():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh()).double()
    apply = from_torch(lambda params, x: torch.func.functional_call(module, params, (x,)))
    params = {name: p.detach().numpy() for name, p in module.named_parameters()}
    got = gg.grad(lambda params: (apply(params, X) ** 2).sum())(params)
    (module(torch.tensor(X)) ** 2).sum().backward()
    for name, p in module.named_parameters():
        np.testing.assert_allclose(got[name], p.grad.numpy())


def test_from_torch_on_the_tape_of_backward():
    x = gg.Array(X, requires_grad=True)
    from_torch(lambda x, n: x.abs() ** n)(x, 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * X)


def test_from_torch_without_a_gradient_is_zero():
    f = from_torch(lambda x: torch.ones(2, dtype=torch.float64))
    assert gg.grad(lambda x: f(x).sum())(1.5) == 0.0


def test_from_torch_under_vmap():
    f = from_torch(theirs)
    both = gg.vmap(gg.vmap(lambda a, b: f(a, b)[0], (0, None)), (None, 0))(X[:, None], W[None])
    np.testing.assert_allclose(both, ours(X, W)[None])


def test_from_torch_under_eval_shape_says_so():
    with pytest.raises(TypeError, match=r"from_torch: .*eval_shape"):
        gg.eval_shape(from_torch(torch.sin), X)


def test_there_and_back_again():
    f = from_torch(as_function(ours))
    np.testing.assert_allclose(
        gg.grad(lambda x: f(x, W).sum())(X), gg.grad(lambda x: ours(x, W).sum())(X)
    )


def test_on_a_gpu_memory_stays_there(cuda):
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU; the stand-in's memory is none to it")
    x = torch.tensor(X, device="cuda", requires_grad=True)
    as_function(lambda x: np.tanh(x).sum())(x).backward()
    torch.testing.assert_close(x.grad, 1 - torch.tanh(x.detach()) ** 2)
    f = from_torch(torch.tanh)
    g = gg.grad(lambda x: f(x).sum())(cuda.asarray(X))
    assert isinstance(g, cuda.ndarray)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_floats_pass_both_ways(dtype):
    x = torch.linspace(-1, 1, 5, dtype=dtype, requires_grad=True)
    y = as_function(lambda x: gnp.sum(gnp.tanh(x) ** 2))(x)
    y.backward()
    assert (y.dtype, x.grad.dtype) == (dtype, dtype)
    t = torch.linspace(-1, 1, 5, dtype=torch.float64, requires_grad=True)
    (torch.tanh(t) ** 2).sum().backward()
    torch.testing.assert_close(x.grad.double(), t.grad, rtol=0.02, atol=0.01)
    mine = gg.Array(x.detach())
    assert str(dtype) == f"torch.{mine.dtype.name}"
    back = from_torch(lambda x: x.to(dtype))(mine)
    np.testing.assert_array_equal(back.numpy(), mine.numpy())
    g = gg.grad(lambda x: from_torch(torch.tanh)(x).astype("f4").sum())(mine)
    assert g.dtype == mine.dtype
    np.testing.assert_allclose(
        g.astype("f4").numpy(), 1 - np.tanh(np.linspace(-1, 1, 5)) ** 2, atol=0.01
    )


def test_a_bfloat16_state_dict_is_loaded():
    theirs = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    ours = gg.nn.Linear(3, 2, dtype="bfloat16")
    ours.load_state_dict(theirs.state_dict())
    got = ours.weight.detach().astype("f4").numpy()
    np.testing.assert_array_equal(got, theirs.weight.detach().float().numpy())


def test_a_model_of_ours_inside_pytorch_gives_gradients_of_its_input():
    model = gg.nn.Sequential(gg.nn.Linear(4, 3), gg.nn.tanh)
    (x,) = tensors(X.astype("f4"))
    as_function(model)(x).sum().backward()
    want = gg.grad(lambda x: model(x).sum())(gg.Array(X.astype("f4")))
    np.testing.assert_allclose(x.grad.numpy(), want.numpy(), rtol=1e-5)
    assert model[0].weight.grad is None  # what is no argument is a constant


def test_views_that_conjugate_and_numbers():
    z = torch.tensor([1 + 2j, 3 - 1j]).conj()
    got = as_function(lambda z: z * 1j)(z)
    torch.testing.assert_close(got, z.resolve_conj() * 1j)
    assert as_function(lambda x: 3.0)(torch.ones(2)).item() == 3.0


def test_what_cannot_be_handed_over_is_named():
    with pytest.raises(TypeError, match="<lambda> returned a str; it returns arrays"):
        as_function(lambda x: "a")(torch.ones(2))
    with pytest.raises(TypeError, match="the function returned a ndarray; it returns tensors"):
        from_torch(lambda x: x.numpy())(X)
    with pytest.raises(TypeError, match="from_torch: <lambda> returned a str"):
        from_torch(lambda x: "a")(X)
    with pytest.raises(Exception, match=r"torch\.strided"):
        as_function(lambda x: x)(torch.eye(2).to_sparse())


# ---------------------------------------------------------- random numbers, buffers, arguments


def kept(x):
    """Which elements dropout of half of them has left, as 2 and 0."""
    return torch.nn.functional.dropout(x, 0.5, True)


ONES = np.ones(64)


def test_the_gradient_has_the_dropout_of_the_value():
    f = from_torch(kept)
    y, pull = gg.vjp(f, ONES)
    np.testing.assert_array_equal(pull(ONES)[0], y)
    np.testing.assert_array_equal(pull(ONES)[0], y)
    y, t = gg.jvp(f, (ONES,), (ONES,))
    np.testing.assert_array_equal(t, y)
    assert len(set(map(bytes, [f(ONES), f(ONES), y]))) == 3


def test_second_derivatives_have_the_dropout_of_the_value():
    f = from_torch(lambda x: kept(x) ** 3)

    def both(x):
        y, pull = gg.vjp(f, x)
        return y, pull(ONES)[0]

    (y, g), (_, t) = gg.jvp(both, (ONES,), (ONES,))
    np.testing.assert_allclose(g, 3 * y)
    np.testing.assert_allclose(t, 6 * y)
    x = gg.Array(ONES, requires_grad=True)
    y = f(x)
    y.sum().backward(create_graph=True)
    first = x.grad
    np.testing.assert_allclose(first.detach().numpy(), 3 * y.detach().numpy())
    x.grad = None
    first.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * y.detach().numpy())


def test_each_example_has_its_own_dropout_and_gradient():
    f = from_torch(kept)
    rows = np.ones((3, 64))
    y, pull = gg.vjp(gg.vmap(f), rows)
    np.testing.assert_array_equal(pull(rows)[0], y)
    assert len(set(map(bytes, y))) == 3

    def both(x):
        y, pull = gg.vjp(f, x)
        return y, pull(ONES)[0]

    y, g = gg.vmap(both)(rows)
    np.testing.assert_array_equal(g, y)
    assert len(set(map(bytes, y))) == 3
    full = gg.jacfwd(f)(ONES)
    np.testing.assert_array_equal(full, np.diag(np.diag(full)))
    shared = gg.vmap(lambda scale: gg.grad(lambda x: (f(x) * scale).sum())(ONES))(np.arange(3.0))
    assert shared.shape == (3, 64)
    np.testing.assert_array_equal(np.unique(shared[2]), [0.0, 4.0])


def test_a_module_counts_its_batches_once():
    norm = torch.nn.BatchNorm1d(2).double()
    f = from_torch(norm)
    x = np.random.default_rng(0).normal(size=(5, 2))
    gg.grad(lambda x: (f(x) ** 3).sum())(x)
    assert norm.num_batches_tracked == 1
    h = gg.hessian(lambda x: (f(x) ** 3).sum())(x)
    assert norm.num_batches_tracked == 2
    want = torch.autograd.functional.hessian(lambda x: (norm(x) ** 3).sum(), torch.tensor(x))
    np.testing.assert_allclose(h, want, atol=1e-12)


def test_writing_to_an_argument_is_an_error():
    f = from_torch(lambda x: x.mul_(2))
    with pytest.raises(ValueError, match=r"written to an argument in place.*clone\(\)"):
        f(np.ones(3))
    x = np.ones(3)
    with pytest.raises(RuntimeError, match="in-place"):
        gg.grad(lambda x: f(x).sum())(x)
    np.testing.assert_array_equal(x, 1)


def test_a_graph_of_the_backward_pass_has_the_dropout_of_the_value():
    f = as_function(gg.nn.Sequential(gg.nn.Dropout(0.5), lambda x: x**3))
    x = torch.ones(64, dtype=torch.float64, requires_grad=True)
    y = f(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    torch.testing.assert_close(g, 3 * y)
    (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
    torch.testing.assert_close(h, 6 * y)
    (h,) = torch.autograd.grad(h.sum(), x)
    torch.testing.assert_close(h, 6 * y)


def test_a_model_of_ours_counts_its_batches_once():
    model = gg.nn.BatchNorm1d(2)
    x = torch.tensor(X[:, :2], dtype=torch.float32, requires_grad=True)
    (g,) = torch.autograd.grad(as_function(model)(x).pow(3).sum(), x, create_graph=True)
    g.sum().backward()
    assert model.num_batches_tracked.value == 1
