"""Graph pictures: the data are right, the layout is readable, the files are what they claim."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.device import to_device
from gpugrad.viz import account
from gpugrad.viz.picture import Box, Line, Text, compose, text_width

SVG = "{http://www.w3.org/2000/svg}"


def mlp(params, x, y):
    h = x
    for w, b in params[:-1]:
        h = np.maximum(h @ w + b, 0)
    w, b = params[-1]
    z = h @ w + b
    z = z - np.max(z, axis=1, keepdims=True)
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(log_p[np.arange(len(y)), y])


def mlp_arguments(sizes, count):
    rng = np.random.default_rng(0)
    params = [
        (rng.normal(size=(a, b)).astype("f4") / a**0.5, np.zeros(b, "f4"))
        for a, b in pairwise(sizes)
    ]
    x = rng.normal(size=(count, sizes[0])).astype("f4")
    return params, x, rng.integers(0, sizes[-1], count)


def dag(x, w):
    """Reuse outputs near and far: x over the whole graph, c as both operands."""
    a = np.sin(x)
    b = a * w
    c = a + b
    d = np.exp(c * 0.5)
    return np.sum(a * b * d + c * c) + np.sum(x)


def graphs():
    yield "account", lambda: gg.viz.graph(account.loss, *account.PARAMETERS, account.X, account.Y)
    yield "3 layers", lambda: gg.viz.graph(mlp, *mlp_arguments([784, 512, 256, 10], 16))
    yield "3 small layers", lambda: gg.viz.graph(mlp, *mlp_arguments([2, 3, 2, 2], 3), argnums=0)
    yield "reuse", lambda: gg.viz.graph(dag, np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, -3.0]))
    yield "recurrent", lambda: gg.viz.graph(recurrent, 0.5 * np.eye(2), np.ones((6, 2)))


def recurrent(w, xs):
    h = xs[0]
    for x in xs[1:]:
        h = np.tanh(h @ w + x)
    return np.sum(h)


every_graph = pytest.mark.parametrize(
    "make", [g for _, g in graphs()], ids=[n for n, _ in graphs()]
)


def numerical(f, args, n):
    """Central differences of ``f`` by its argument ``n``."""
    out = np.zeros_like(args[n])
    for at in np.ndindex(out.shape):
        sides = []
        for step in (1e-6, -1e-6):
            moved = [np.array(a) for a in args]
            moved[n][at] += step
            sides.append(f(*moved))
        out[at] = (sides[0] - sides[1]) / 2e-6
    return out


# ---------------------------------------------------------------------- the data


def test_nodes_and_edges_of_the_account(device):
    args = [to_device(a, device) for a in (*account.PARAMETERS, account.X, account.Y)]
    g = gg.viz.graph(account.loss, *args, argnums=(0, 1, 2, 3))
    kinds = {node.label: node.kind for node in g.nodes}
    assert [node.label for node in g.nodes if node.kind == "input"] == ["w1", "b1", "w2", "b2"]
    assert [node.label for node in g.nodes if node.kind == "constant"] == ["x", "y"]
    assert kinds["tanh"] == "operation"
    assert g.output.label == "mean"
    pairs = [(g.nodes[e.source].label, g.nodes[e.target].label, e.operand) for e in g.edges]
    assert sorted(pairs) == [
        ("add", "subtract", 0),
        ("add", "tanh", 0),
        ("b1", "add", 1),
        ("b2", "add", 1),
        ("matmul", "add", 0),
        ("matmul", "add", 0),
        ("square", "mean", 0),
        ("subtract", "square", 0),
        ("tanh", "matmul", 0),
        ("w1", "matmul", 1),
        ("w2", "matmul", 1),
        ("x", "matmul", 0),
        ("y", "subtract", 1),
    ]
    assert {g.nodes[e.source].label for e in g.edges if not e.backward} == {"x", "y"}
    assert all(e.source < e.target for e in g.edges)


def test_values_and_gradients_of_the_account(device):
    host = (*account.PARAMETERS, account.X, account.Y)
    g = gg.viz.graph(account.loss, *[to_device(a, device) for a in host], argnums=(0, 1, 2, 3))
    for n, name in enumerate(("w1", "b1", "w2", "b2")):
        assert type(g[name].gradient) is np.ndarray
        np.testing.assert_array_equal(g[name].value, host[n])
        np.testing.assert_allclose(g[name].gradient, numerical(account.loss, host, n), atol=1e-8)
        rms = np.sqrt(np.mean(g[name].gradient ** 2))
        assert g[name].gradient_rms == pytest.approx(rms, rel=1e-6)
    hidden = np.tanh(account.X @ host[0] + host[1])
    np.testing.assert_allclose(g["tanh"].value, hidden, rtol=1e-12)

    def from_hidden(h):
        return np.mean((h @ host[2] + host[3] - account.Y) ** 2)

    np.testing.assert_allclose(g["tanh"].gradient, numerical(from_hidden, [hidden], 0), atol=1e-8)
    np.testing.assert_allclose(g.output.value, account.loss(*host), rtol=1e-12)
    assert g.output.gradient == 1
    assert g["x"].gradient is None
    np.testing.assert_array_equal(g["x"].value, account.X)


def test_a_reused_output_has_the_sum_of_its_gradients():
    x, w = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, -3.0])
    g = gg.viz.graph(dag, x, w)
    np.testing.assert_allclose(g["x"].gradient, numerical(dag, [x, w], 0), atol=1e-7)
    squares = [e for e in g.edges if g.nodes[e.source].label == "add" and e.operand == 1]
    assert squares, "c * c has two edges from c"
    assert "b = 0.5" in next(n for n in g.nodes if n.details and n.label == "multiply").details


def test_paths_in_pytrees_name_the_leaves():
    params, x, y = mlp_arguments([2, 3, 2, 2], 3)
    g = gg.viz.graph(lambda net, x: mlp(net["layers"], x, y), {"layers": params}, x, argnums=0)
    assert g["net['layers'][0][1]"].shape == (3,)
    assert g["x"].kind == "constant"
    g = gg.viz.graph(mlp, params, x, y, names=["theta", "digits", "answers"])
    assert g["theta[2][0]"].kind == "input"
    assert g["answers"].kind == "constant"  # whole numbers have no gradient


def test_large_values_are_not_copied(device):
    big = to_device(np.ones((300, 300)), device)
    g = gg.viz.graph(lambda w: (w * w).mean(), big)
    assert g["w"].value is None
    assert g["w"].gradient is None
    assert g["w"].shape == (300, 300)
    assert g["w"].gradient_rms == pytest.approx(2 / 90000, rel=1e-5)


def test_empty_and_complex_and_infinite_values():
    g = gg.viz.graph(lambda x: np.sum(x * x), np.ones((0, 3)))
    assert g["x"].gradient.shape == (0, 3)
    ET.fromstring(g.svg())
    z = np.array([1.0 + 1.0j, 2.0 - 0.5j])
    g = gg.viz.graph(lambda z: np.sum(np.abs(z)), z)
    np.testing.assert_allclose(g["z"].gradient, gg.grad(lambda z: np.sum(np.abs(z)))(z))
    assert "1+1j" in g.svg()
    with np.errstate(divide="ignore"):
        g = gg.viz.graph(lambda x: np.sum(np.log(x)), np.zeros(2))
    assert g["x"].gradient_rms == np.inf
    assert "\N{MINUS SIGN}inf" in g.svg()


def test_under_vmap_shapes_are_those_of_one_example():
    seen = []

    def f(x):
        seen.append(gg.viz.graph(lambda v: np.sum(v * x), np.ones(2)))
        return np.sum(x * x)

    gg.vmap(f)(np.ones((3, 2)))
    assert seen[0]["multiply"].shape == (2,)
    assert seen[0]["multiply"].value is None
    ET.fromstring(seen[0].svg())


def test_an_operation_with_several_outputs():
    g = gg.viz.graph(lambda x: np.sum(np.split(x, 2)[0] * np.split(x, [1])[1]), np.ones(2))
    assert [n.label for n in g.nodes] == ["x", "split", "split", "multiply", "sum"]

    def both(x):
        a, b = np.split(x, 2)
        return np.sum(a * b)

    g = gg.viz.graph(both, np.array([2.0, 3.0]))
    assert [n.label for n in g.nodes] == ["x", "split", "split[0]", "split[1]", "multiply", "sum"]
    np.testing.assert_array_equal(g["split[0]"].gradient, [3.0])
    ET.fromstring(g.svg())


def test_what_a_comparison_computes_is_drawn_without_a_gradient():
    g = gg.viz.graph(lambda x: np.sum(np.where(x > 0, x, 0.1 * x)), np.array([-1.0, 2.0]))
    greater = g["greater"]
    assert greater.gradient is None
    np.testing.assert_array_equal(greater.value, [False, True])
    flows = {(g.nodes[e.source].label, g.nodes[e.target].label): e.backward for e in g.edges}
    assert flows["greater", "where"] is False
    assert flows["x", "greater"] is False
    assert flows["x", "where"] is True


def test_gradients_flow_only_where_a_rule_sends_them():
    g = gg.viz.graph(lambda x: np.sum(np.copysign(x * x, x)), np.array([1.0, -2.0]))
    (sign,) = [e for e in g.edges if g.nodes[e.target].label == "copysign" and e.operand == 1]
    assert g.nodes[sign.source].label == "x"
    assert not sign.backward
    assert g["x"].gradient is not None

    @gg.custom_vjp
    def scaled(x, by):
        return x * by

    scaled.defvjp(lambda x, by: (x * by, by), lambda by, c: (c * by, None))
    g = gg.viz.graph(lambda x, by: np.sum(scaled(x, by)), np.ones(2), np.ones(2))
    assert [e.backward for e in g.edges] == [True, False, True]
    assert g["by"].gradient is None


def test_numbers_without_a_gradient_stand_in_the_box_that_uses_them():
    def f(x, y):
        both = np.where(x > 0, x, 2.0) * np.where(y > 0, y, 3.0)  # True and True: one object
        return both + x

    g = gg.viz.graph(f, 4.0, 5.0)
    assert [n.label for n in g.nodes] == ["x", "y", "where", "where", "multiply", "add"]
    assert g["where"].details == ("condition = True", "b = 2.0")


def test_it_composes_with_transforms_inside_the_function():
    def f(w, x):
        inner = gg.grad(lambda v: np.sum(np.tanh(v * w)))(x)
        per_row = gg.vmap(lambda row: np.sum(row * w))(np.stack([x, x]))
        return np.sum(inner) + np.sum(gg.checkpoint(np.exp)(per_row))

    w, x = np.array([0.5, -0.3]), np.array([0.2, 0.4])
    g = gg.viz.graph(f, w, x, argnums=0)
    np.testing.assert_allclose(g["w"].gradient, gg.grad(f)(w, x), rtol=1e-12)
    ET.fromstring(g.svg())


def test_a_recorded_loss(xp, device):
    w = gg.Array(xp.asarray([[0.5, -1.0], [0.8, 0.3]]), requires_grad=True)
    b = gg.Array(xp.asarray([0.1, -0.2]), requires_grad=True)
    x = xp.asarray([[1.0, 0.0], [0.5, -1.0]])
    loss = gg.numpy.mean(gg.numpy.square(gg.numpy.tanh(gg.numpy.matmul(x, w) + b)))
    g = gg.viz.graph(loss, names={"w": w, "rest": [b]})
    assert w.grad is None
    assert b.grad is None
    assert [n.label for n in g.nodes if n.kind == "input"] == ["w", "rest[0]"]
    np.testing.assert_array_equal(g["w"].value, w.numpy())
    np.testing.assert_array_equal(g["constant"].value, gg.Array(x).numpy())
    np.testing.assert_allclose(g["mean"].value, loss.item())
    assert g["tanh"].value is not None, "the rule of tanh keeps its output"
    assert g["matmul"].value is None, "nothing keeps the product"
    assert g["matmul"].shape == (2, 2), "its gradient tells the shape"
    loss.backward()  # the graph is still whole
    np.testing.assert_allclose(g["w"].gradient, w.grad.numpy())
    np.testing.assert_allclose(g["rest[0]"].gradient, b.grad.numpy())
    with pytest.raises(gg.TapeError, match="retain_graph=True"):
        gg.viz.graph(loss)


def test_a_recorded_loss_keeps_its_gradients():
    w = gg.Array(np.ones(2), requires_grad=True)
    w.grad = np.array([5.0, 6.0])
    gg.viz.graph((w * w).sum())
    np.testing.assert_array_equal(w.grad.numpy(), [5.0, 6.0])


def test_values_are_those_of_the_moment():
    w = np.ones(2)
    g = gg.viz.graph(lambda w: np.sum(w * w), w)
    w[:] = 7
    np.testing.assert_array_equal(g["w"].value, [1.0, 1.0])


# ---------------------------------------------------------------------- the layout


def overlaps(a, b, gap):
    return (
        a.x < b.x + b.width + gap
        and b.x < a.x + a.width + gap
        and a.y < b.y + b.height + gap
        and b.y < a.y + a.height + gap
    )


def boxes_of(picture):
    return [s for s in picture.shapes if isinstance(s, Box) and s.hint]


@every_graph
def test_boxes_do_not_overlap(make):
    g = make()
    picture = compose(g)
    boxes = boxes_of(picture)
    assert len(boxes) == len(g.nodes)
    for i, a in enumerate(boxes):
        assert a.x >= 0
        assert a.y >= 0
        assert a.x + a.width <= picture.width
        assert a.y + a.height <= picture.height
        for b in boxes[i + 1 :]:
            assert not overlaps(a, b, 10), (a.hint, b.hint)


@every_graph
def test_graphs_run_from_left_to_right(make):
    g = make()
    boxes = boxes_of(compose(g))
    for e in g.edges:
        assert boxes[e.source].x + boxes[e.source].width < boxes[e.target].x
    assert max(boxes, key=lambda b: b.x + b.width) is boxes[g.output.id]


@every_graph
def test_edges_go_round_the_boxes(make):
    picture = compose(make())
    boxes = boxes_of(picture)
    for line in (s for s in picture.shapes if isinstance(s, Line)):
        for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(line.points)):
            bend = line.curves.get(i)
            for t in np.linspace(0.02, 0.98, 25):
                u = 1 - t
                if bend is None:
                    x, y = u * x0 + t * x1, u * y0 + t * y1
                else:  # the cubic that both renderers draw
                    x = u**3 * x0 + 3 * u * t * bend + t**3 * x1
                    y = (u**3 + 3 * u**2 * t) * y0 + (3 * u * t**2 + t**3) * y1
                inside = [
                    b.hint
                    for b in boxes
                    if b.x + 1 < x < b.x + b.width - 1 and b.y + 1 < y < b.y + b.height - 1
                ]
                assert not inside


@every_graph
def test_text_stays_in_its_box_and_apart(make):
    picture = compose(make())
    boxes = boxes_of(picture)
    placed = []
    for text in (s for s in picture.shapes if isinstance(s, Text)):
        w = text_width(text.text, text.size, text.bold)
        left = text.x - {"start": 0, "middle": w / 2, "end": w}[text.anchor]
        placed.append(Box(left, text.y - 0.75 * text.size, w, 0.75 * text.size, None, text.text))
        assert left + w <= picture.width
    for text in placed:
        home = [b for b in boxes if overlaps(b, text, 0)]
        if home:
            (b,) = home
            assert b.x + 4 <= text.x
            assert text.x + text.width <= b.x + b.width - 4
            assert b.y + 4 <= text.y
            assert text.y + text.height <= b.y + b.height - 4
    for i, a in enumerate(placed):
        assert not any(overlaps(a, b, 1) for b in placed[i + 1 :])


def test_a_big_graph_is_drawn():
    def long(x):
        y = x
        for i in range(200):
            y = np.sin(y) if i % 2 else y * x
        return np.sum(y)

    g = gg.viz.graph(long, np.ones(2))
    ET.fromstring(g.svg())
    assert len(g.nodes) == 202


# ---------------------------------------------------------------------- the files


@every_graph
def test_svg_is_well_formed(make, tmp_path):
    g = make()
    g.save(tmp_path / "g.svg")
    root = ET.parse(tmp_path / "g.svg").getroot()
    assert root.tag == SVG + "svg"
    assert g._repr_svg_() == (tmp_path / "g.svg").read_text(encoding="utf-8")
    texts = [t.text for t in root.iter(SVG + "text")]
    for node in g.nodes:
        assert node.label in texts
    colours = {p.get("stroke"): p.get("stroke-dasharray") for p in root.iter(SVG + "path")}
    assert len(colours) == 2, "forward edges have one colour, backward edges another"
    assert set(map(bool, colours.values())) == {False, True}


def test_the_numbers_are_written_once_each():
    g = gg.viz.graph(lambda x: np.sum(x * x), np.array([[0.25, -1.5], [1234.5, 3e-8]]))
    texts = [t.text for t in ET.fromstring(g.svg()).iter(SVG + "text")]
    minus = "\N{MINUS SIGN}"
    for written in (
        "0.25",
        f"{minus}1.5",
        f"3e{minus}8",
        "0.5",
        f"{minus}3",
        "2470",
        f"6e{minus}8",
    ):
        assert texts.count(written) == 1, written
    assert texts.count("1") == 5  # the gradient of the sum and of each square


def test_svg_escapes_names():
    g = gg.viz.graph(lambda a: np.sum(a["<&>"] * 2), {"<&>": np.ones(2)})
    texts = [t.text for t in ET.fromstring(g.svg()).iter(SVG + "text")]
    assert "a['<&>']" in texts


def test_png_shows_the_picture(tmp_path):
    from matplotlib.image import imread

    g = account.draw(tmp_path / "account.png")
    image = imread(tmp_path / "account.png")
    picture = compose(g)
    assert image.shape[1] == pytest.approx(2 * picture.width, abs=2)
    (result,) = [b for b in boxes_of(picture) if b.style.name == "result"]
    x, y = round(2 * (result.x + 6)), round(2 * (result.y + result.height / 2 - 12))
    np.testing.assert_allclose(image[y, x, :3], [1.0, 0xEF / 255, 0xC9 / 255], atol=0.01)


def test_path_draws_at_once(tmp_path):
    gg.viz.graph(lambda x: x * x, 3.0, path=tmp_path / "g.SVG")
    assert (tmp_path / "g.SVG").read_text().startswith("<svg")


# ---------------------------------------------------------------------- bad input


def test_an_unknown_suffix_runs_nothing(tmp_path):
    def f(x):
        raise AssertionError("ran")

    with pytest.raises(ValueError, match=r"\.svg or \.png file, not to 'graph\.pdf'"):
        gg.viz.graph(f, 1.0, path="graph.pdf")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        gg.viz.graph(f, 1.0, path=tmp_path / "none" / "g.svg")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gg.viz.graph(3.0), TypeError, "a function with its arguments or a gg.Array"),
        (lambda: gg.viz.graph(lambda x: 1.0, 2.0), TypeError, "no gradient leads"),
        (lambda: gg.viz.graph(lambda x: x > 0, 2.0), TypeError, "no gradient leads"),
        (lambda: gg.viz.graph(lambda x: None, 2.0), TypeError, "is a return missing"),
        (lambda: gg.viz.graph(lambda x: x, 2, argnums=0), TypeError, "has dtype int64"),
        (lambda: gg.viz.graph(lambda x: x, 2.0, argnums=1), ValueError, "with 1 arguments"),
        (lambda: gg.viz.graph(lambda x: x, 2.0, names=["a", "b"]), ValueError, "list of 1 names"),
        (lambda: gg.viz.graph(gg.Array([1.0])), gg.TapeError, "requires a gradient"),
        (lambda: gg.viz.graph(gg.Array([1.0]), 1.0), TypeError, "takes no arguments"),
    ],
)
def test_errors_say_what_to_do(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_unknown_labels_name_the_known_ones():
    g = gg.viz.graph(lambda x: x * x, 3.0)
    with pytest.raises(KeyError, match="there are x, multiply"):
        g["w"]


def test_importing_gpugrad_leaves_matplotlib_out():
    code = "import sys, gpugrad; assert 'matplotlib' not in sys.modules; gpugrad.viz.graph"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        gg.nothing
