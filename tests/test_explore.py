"""The explorer's page: what it says is what `gg.grad` computes, and a person can drive it."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.core.primitive import registry
from gpugrad.device import to_device
from gpugrad.scipy.special import expit
from gpugrad.viz import account
from gpugrad.viz.local import WRITTEN
from gpugrad.viz.record import graph_of_function, graph_of_loss
from gpugrad.viz.walk import Walk, named_apart

NAMES = ("w1", "b1", "w2", "b2")
HOST = (*account.PARAMETERS, account.X, account.Y)
GRADIENTS = dict(zip(NAMES, gg.grad(account.loss, (0, 1, 2, 3))(*HOST)))


class Page(HTMLParser):
    """The tags of a page, and the texts of its elements with an id."""

    def __init__(self, path):
        super().__init__()
        self.tags = []
        self.texts = {}
        self.inside = None
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.data = json.loads(self.texts["data"])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = dict(attributes).get("id")

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, text):
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + text

    def node(self, label):
        return next(n for n in self.data["nodes"] if n["label"] == label)


def cells(array):
    return np.reshape(array["cells"], array["shape"])


def reuse(x, w):
    a = np.sin(x)
    return np.sum(a * w * np.exp(a + w) + x * x) / np.sum(w)


def broadcast(x, w, s):
    return np.mean(np.maximum((x - s) / w, 0.25) ** 2)


def several(x):
    a, b = np.split(x, 2)
    return np.sum(a * b * np.max(x))


GRAPHS = {
    "account": (account.loss, HOST),
    "reuse": (reuse, (np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, -1.5]))),
    "broadcast": (broadcast, (np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 4.0]), 0.5)),
    "several": (several, (np.array([1.0, 3.0, -2.0, 0.5]),)),
    "vector": (lambda x, w: np.mean((x @ w) ** 2), (np.arange(6.0).reshape(3, 2), np.ones(2))),
}
every_graph = pytest.mark.parametrize(("f", "args"), GRAPHS.values(), ids=GRAPHS)


# ------------------------------------------------------------------ the data


@every_graph
def test_the_chain_rule_holds_at_each_edge(f, args, device):
    moved = tuple(to_device(a, device) if isinstance(a, np.ndarray) else a for a in args)
    g = graph_of_function(f, moved, None, None, 64, True)
    arrived = {}
    for edge in g.edges:
        assert edge.backward == (edge in g.pulls)
        if not edge.backward:
            continue
        pull = g.pulls[edge]
        sent = pull.sent.values
        if g.nodes[edge.source].gradient is None:  # of several outputs
            continue
        arrived[edge.source] = arrived.get(edge.source, 0) + sent
        if pull.factor is not None:
            product = g.nodes[edge.target].gradient * pull.factor.values
            np.testing.assert_allclose(
                product, sent if pull.product is None else pull.product.values, rtol=1e-12
            )
        if pull.product is not None:
            assert pull.product.values.sum() == pytest.approx(sent.sum(), rel=1e-12)
        if pull.terms is not None:
            np.testing.assert_allclose(np.reshape(pull.terms.sum(0), sent.shape), sent, rtol=1e-12)
    assert arrived
    for source, gradient in arrived.items():
        np.testing.assert_allclose(gradient, g.nodes[source].gradient, rtol=1e-12)


@every_graph
def test_each_node_has_its_steps_in_order(f, args):
    walk = Walk(named_apart(graph_of_function(f, args, None, None, 64, True)))
    data = walk.data()
    forward = [s["node"] for s in data["steps"] if s["phase"] == "forward"]
    backward = [s["node"] for s in data["steps"] if s["phase"] == "backward"]
    assert sorted(forward) == list(range(len(walk.graph.nodes)))
    assert backward[0] == walk.graph.output.id
    for edge in data["edges"]:
        source, target = (data["nodes"][edge[end]] for end in ("source", "target"))
        assert source["value_at"] < target["value_at"]
        if edge["backward_at"] is not None:
            assert target["gradient_at"] <= edge["backward_at"] <= source["gradient_at"]
    labels = [n["label"] for n in data["nodes"]]
    assert len(set(labels)) == len(labels)
    assert all(step["say"].endswith(".") for step in data["steps"])


VALUES = {"arcsin": 0.3, "arccos": 0.3, "power": (1.7, 2.3)}
ARRAYS = ("matmul", "dot", "sum", "mean", "logsumexp")


@pytest.mark.parametrize("name", [n for n in WRITTEN if n not in ARRAYS])
def test_the_written_derivatives_are_the_rules(name):
    written = WRITTEN[name]
    letters = "x" if len(written.derivatives) == 1 else "ab"
    values = np.ravel(VALUES.get(name, (1.2, 0.7)[: len(letters)]))
    primitive = registry[name]
    names = dict(zip(letters, values))
    y = names["y"] = float(primitive(*map(float, values)))
    functions = vars(np) | {"ln": np.log, "max": max, "min": min, "expit": expit}

    def read(text):
        text = re.sub(r"\|(.)\|", r"abs(\1)", text).replace("\N{MINUS SIGN}", "-")
        for sign, python in {"²": "**2", "·": "*", "^": "**", "√": "sqrt", "∛": "cbrt"}.items():
            text = text.replace(sign, python)
        return float(eval(text, functions | names))

    assert read(written.formula) == pytest.approx(y)
    for i, text in enumerate(written.derivatives):
        slope = gg.grad(lambda *v: primitive(*v), i)(*map(float, values))
        assert read(text) == pytest.approx(float(slope)), text


def test_a_step_says_the_local_derivative_and_the_product():
    walk = Walk(named_apart(graph_of_function(*GRAPHS["account"], (0, 1, 2, 3), None, 64, True)))
    said = {(s["phase"], s["heading"]): s["say"] for s in walk.steps}
    minus = "\N{MINUS SIGN}"
    times = "\N{MULTIPLICATION SIGN}"
    assert said["forward", "matmul₁"].startswith("matmul₁ = x @ w1.")
    assert said["backward", "tanh"] == (
        f"∂tanh/∂add₁ = 1 {minus} tanh², so add₁ receives ∂L/∂tanh {times} (1 {minus} tanh²)."
    )
    assert (
        "∂matmul₂/∂tanh is a product with w2ᵀ: tanh receives ∂L/∂matmul₂ · w2ᵀ."
        in said["backward", "matmul₂"]
    )
    assert "each of the 3 numbers that are averaged receives 1/3" in said["backward", "mean"]
    for name in NAMES:
        assert "the mean gradient over all 3 samples" in said["backward", name]


def test_a_samples_term_is_its_gradient_over_the_count(tmp_path):
    page = Page(account.walk(tmp_path / "a.html"))
    each = gg.per_sample_grad(account.loss, (0, 1, 2, 3), (None,) * 4 + (0, 0))(*HOST)
    for n, name in enumerate(NAMES):
        index = page.data["nodes"].index(page.node(name))
        (edge,) = [e for e in page.data["edges"] if e["source"] == index]
        for i, term in enumerate(edge["pull"]["terms"]):
            found = np.reshape(term, HOST[n].shape)
            np.testing.assert_allclose(found, each[n][i] / 3, rtol=1e-12, atol=1e-15)


# ------------------------------------------------------------------ the page's text


def test_the_page_holds_the_gradients_and_needs_nothing_else(tmp_path):
    path = account.walk(tmp_path / "account.html")
    page = Page(path)
    for name, gradient in GRADIENTS.items():
        np.testing.assert_allclose(cells(page.node(name)["gradient"]), gradient, rtol=1e-12)
    assert page.node("mean")["value"]["cells"] == [[account.loss(*HOST)]]
    assert page.node("x")["gradient"] is None
    linked = [
        a for _, a in page.tags if "src" in a or not a.get("href", "data:").startswith("data:")
    ]
    assert linked == []
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page.source)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    roles = {c for _, a in page.tags for c in (a.get("class") or "").split()}
    assert {f"n{i}" for i in range(14)} | {f"e{i}" for i in range(13)} <= roles


def test_a_recorded_loss(tmp_path, xp):
    w = gg.Array(xp.asarray([[0.5, -1.0], [0.8, 0.3]]), requires_grad=True)
    x = xp.asarray([[1.0, 0.0], [0.5, -1.0]])
    loss = gg.numpy.mean(gg.numpy.square(gg.numpy.tanh(gg.numpy.matmul(x, w))))
    page = Page(gg.viz.explore(loss, names={"w": w}, path=tmp_path / "loss.html"))
    assert w.grad is None
    loss.backward()  # the graph is still whole
    np.testing.assert_allclose(cells(page.node("w")["gradient"]), w.grad.numpy(), rtol=1e-12)
    assert page.node("matmul")["value"] is None, "nothing keeps the product"


def test_of_large_arrays_the_range_is_shown(tmp_path, device):
    x = np.linspace(-1, 2, 1000, dtype="f4").reshape(50, 20)
    w = to_device(np.ones(20, "f4"), device)
    f = lambda x, w: np.sum((x * w) ** 2)  # noqa: E731
    page = Page(gg.viz.explore(f, to_device(x, device), w, path=tmp_path / "large.html"))
    shown = page.node("x")["value"]
    assert (shown["shape"], shown["dtype"], shown["cells"]) == ([50, 20], "float32", None)
    assert shown["range"] == pytest.approx([-1, x.mean(), 2], abs=1e-6)
    gradient = page.node("x")["gradient"]["range"]
    assert gradient == pytest.approx([-2, 2 * x.mean(), 4], abs=1e-5)
    assert len(page.node("w")["value"]["cells"][0]) == 8


def test_names_and_numbers_that_html_and_json_cannot_hold(tmp_path):
    path = tmp_path / "odd.html"
    with np.errstate(divide="ignore"):
        gg.viz.explore(
            lambda a: np.sum(np.log(a["</script>"])), {"</script>": np.zeros(2)}, path=path
        )
    page = Page(path)
    assert page.source.count("</script>") == 2
    node = page.node("a['</script>']")
    assert node["gradient"]["cells"] == [["inf", "inf"]]
    assert node["value"]["cells"] == [[0.0, 0.0]]
    z = gg.viz.explore(lambda z: np.sum(np.abs(z)), np.array([1 + 1j]), path=path)
    assert Page(z).node("z")["value"]["cells"] == [["1+1j"]]


def test_wrong_use(tmp_path):
    with pytest.raises(ValueError, match=r"\.html file, not to 'graph\.svg'"):
        gg.viz.explore(account.loss, *HOST, path="graph.svg")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        gg.viz.explore(account.loss, *HOST, path=tmp_path / "none" / "a.html")
    with pytest.raises(TypeError, match="no gradient leads"):
        gg.viz.explore(lambda x: x > 0, 2.0, path=tmp_path / "a.html")
    assert not list(tmp_path.iterdir())


def test_a_graph_alone_notes_no_pulls():
    assert gg.viz.graph(account.loss, *HOST).pulls == {}
    w = gg.Array(np.ones(2), requires_grad=True)
    assert graph_of_loss((w * w).sum(), None).pulls == {}


def test_a_models_parameters_are_called_as_in_python():
    gg.random.seed(0)
    model = gg.nn.Sequential(
        gg.nn.Conv2d(1, 2, 3), gg.nn.ReLU(), gg.nn.Flatten(), gg.nn.Linear(8, 3)
    )
    x = np.ones((2, 1, 4, 4), "f4")
    walk = Walk(graph_of_function(lambda m, x: m(x).sum(), (model, x), (0,), None, 64, True))
    labels = [n["label"] for n in walk.data()["nodes"]]
    assert {"m.layers[0].weight", "m.layers[3].bias", "x"} <= set(labels)
    # A kernel is smaller than what comes out, but nothing is repeated to fit.
    assert not any("repeated" in step["say"] for step in walk.data()["steps"])
