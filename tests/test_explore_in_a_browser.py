"""The explorer's page as a person drives it, in headless Chromium."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.viz import account

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
HOST = (*account.PARAMETERS, account.X, account.Y)
GRADIENTS = dict(zip(("w1", "b1", "w2", "b2"), gg.grad(account.loss, (0, 1, 2, 3))(*HOST)))
STEPS = 26
PACE = 1800


@pytest.fixture(scope="module")
def browser():
    """Start one browser for all tests of the file."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        found = [shutil.which(name) for name in BROWSERS] + [play.chromium.executable_path]
        path = next((p for p in found if p and Path(p).exists()), None)
        if path is None:
            pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is installed")
        running = play.chromium.launch(executable_path=path)
        yield running
        running.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return account.walk(tmp_path_factory.mktemp("page") / "account.html")


@pytest.fixture
def visit(browser, written):
    """Open the page in a window; whatever goes wrong on it, or leaves it, fails the test."""
    contexts = []
    wrong = []

    def visit(width=1400, height=1000, path=written, **options):
        context = browser.new_context(
            viewport={"width": width, "height": height}, **{"reduced_motion": "reduce"} | options
        )
        contexts.append(context)
        page = context.new_page()
        page.clock.install()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("file:") else 0)
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def step(page):
    return int(re.match(r"step (\d+) / 26", page.inner_text("#count"))[1])


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def to_step(page, number):
    press(page, "Home", *["ArrowRight"] * (number - 1))


def table(page, name):
    """The numbers of a table as they are read, and in full as its cells' hints have them."""
    rows = page.locator(f'table[aria-label="{name}"]').first.locator("tr").all()
    cells = [row.locator("td").all() for row in rows]
    read = [[float(c.inner_text().replace("\N{MINUS SIGN}", "-")) for c in row] for row in cells]
    return np.array(read), np.array([[float(c.get_attribute("title")) for c in r] for r in cells])


def lit(page, kind):
    return page.locator(f"svg .{kind}.past").count()


def numbered(page, heading):
    """Step forward from here until the heading is that one."""
    while page.inner_text("#heading") != heading:
        assert step(page) < STEPS, heading
        press(page, "ArrowRight")


def test_keys_step_through_both_passes(visit):
    page = visit()
    said = []
    for number in range(1, STEPS + 1):
        assert step(page) == number
        said.append((page.inner_text("#phase"), page.inner_text("#heading")))
        assert page.locator("svg .box.now").count() == 1
        assert lit(page, "backward") == (0 if number <= 14 else lit(page, "factor"))
        press(page, "ArrowRight")
    assert step(page) == STEPS, "there is nothing after the last step"
    assert said[0] == ("Forward pass, step 1 of 14", "x")
    assert said[13] == ("Forward pass, step 14 of 14", "mean")
    assert said[14] == ("Backward pass, step 1 of 12", "mean")
    assert said[-1] == ("Backward pass, step 12 of 12", "∂L/∂w1")
    assert (lit(page, "forward"), lit(page, "backward"), lit(page, "grad")) == (13, 11, 12)
    press(page, "ArrowLeft")
    assert (step(page), page.inner_text("#heading")) == (STEPS - 1, "matmul₁")
    press(page, "Home", "ArrowLeft")
    assert (step(page), lit(page, "value"), lit(page, "forward")) == (1, 1, 0)
    press(page, "End")
    assert step(page) == STEPS


def test_what_is_read_is_what_grad_computes(visit):
    page = visit()
    to_step(page, 15)
    for name in ("b2", "w2", "b1", "w1"):  # in the order in which they are complete
        numbered(page, f"∂L/∂{name}")
        assert "mean gradient over all 3 samples" in page.inner_text("#say")
        read, full = table(page, f"∂L/∂{name}")
        gradient = GRADIENTS[name].reshape(full.shape)
        np.testing.assert_allclose(full, gradient, rtol=1e-12)
        np.testing.assert_allclose(read, gradient, atol=1e-4)
        samples = [table(page, f"term of sample {i}")[1] for i in (1, 2, 3)]
        np.testing.assert_allclose(np.reshape(sum(samples), full.shape), gradient, rtol=1e-12)
        shown = page.locator("svg .grad.past text").all_inner_texts()
        assert shown


def test_a_step_shows_gradient_factor_and_product(visit):
    page = visit()
    to_step(page, 15)
    numbered(page, "tanh")
    minus = "\N{MINUS SIGN}"
    hidden = np.tanh(account.X @ account.PARAMETERS[0] + account.PARAMETERS[1])
    arrives, factor, sent = (table(page, n)[1] for n in ("∂L/∂tanh", f"1 {minus} tanh²", "to add₁"))
    np.testing.assert_allclose(factor, 1 - hidden**2, rtol=1e-12)
    np.testing.assert_allclose(sent, arrives * factor, rtol=1e-12)
    assert page.locator("svg .backward.now").count() == 1
    shown = page.locator("svg .factor.now").text_content().strip()
    assert shown == f"\N{MULTIPLICATION SIGN} (1 {minus} tanh²)"
    assert page.locator("svg .box.gets").count() == 1
    numbered(page, "matmul₁")
    left, right, sent = (table(page, n)[1] for n in ("xᵀ", "∂L/∂matmul₁", "to w1"))
    np.testing.assert_allclose(left @ right, sent, rtol=1e-12)


def test_space_plays_and_stops(visit):
    page = visit()
    press(page, " ")
    assert page.inner_text("#play") == "Pause"
    page.clock.run_for(3 * PACE + 100)
    assert step(page) == 4
    press(page, " ")
    page.clock.run_for(3 * PACE)
    assert (step(page), page.inner_text("#play")) == (4, "Play")
    press(page, " ")
    page.clock.run_for(STEPS * PACE)
    assert (step(page), page.inner_text("#play")) == (STEPS, "Play")
    press(page, " ")
    assert step(page) == 1, "played again it starts over"
    press(page, "ArrowRight")
    assert page.inner_text("#play") == "Play", "who steps has stopped it"


def test_tab_reaches_all_controls_and_the_focus_is_seen(visit):
    page = visit()
    reached = []
    for _ in range(7):
        press(page, "Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        style = "getComputedStyle(document.activeElement)"
        assert page.evaluate(f"{style}.outlineStyle") == "solid"
        assert page.evaluate(f"parseFloat({style}.outlineWidth)") >= 2
    assert reached == ["first", "back", "play", "next", "last", "slider", "graph"]
    page.focus("#next")
    press(page, " ", "Enter")
    assert step(page) == 3, "a button that has the focus is pressed, once"
    page.focus("#slider")
    press(page, "ArrowRight")
    assert step(page) == 4, "the slider moves by one"
    press(page, "End")
    assert step(page) == STEPS
    press(page, "Home")
    page.focus("#last")
    press(page, "Enter", "ArrowLeft")
    assert step(page) == STEPS - 1, "keys still step from a button that has nothing to do"


def test_a_screen_reader_hears_the_step(visit):
    page = visit()
    live = page.locator("[aria-live=polite]")
    assert live.count() == 1
    before = live.inner_text()
    press(page, "ArrowRight")
    assert live.inner_text() != before
    assert page.get_attribute("#slider", "aria-valuetext") == "step 2 of 26: w1"
    assert page.get_by_role("button", name="Next step").count() == 1
    name = page.get_attribute("svg", "aria-label")
    assert name == "Computational graph of 14 nodes that ends in mean"


def test_a_box_takes_one_to_its_step(visit):
    page = visit()
    page.locator("svg .box.n7").click()
    assert (page.inner_text("#heading"), step(page)) == ("tanh", 6)
    press(page, "End")
    page.locator("svg .box.n7").click()
    assert page.inner_text("#phase").startswith("Backward")
    assert page.inner_text("#heading") == "tanh"


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (1400, 1000), (1440, 900)])
def test_the_page_fits_the_window(width, height, visit):
    page = visit(width, height)
    for number in range(1, STEPS + 1):
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"step {number} scrolls sideways"
        box = page.locator("svg .box.now rect").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, "the step's box is in sight"
        press(page, "ArrowRight")
    if folder := os.environ.get("GPUGRAD_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/explore{width}.png", full_page=True)


CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const found = {};
  const texts = "h1,h2,p,kbd,#play,#count,figcaption,td,.type,h3,.passes span";
  for (const e of document.querySelectorAll(texts))
    if (e.textContent.trim() && e.offsetParent)
      found[e.tagName + "." + e.className + "#" + e.id] =
        ratio(light(parse(getComputedStyle(e).color)), light(behind(e)));
  for (const group of document.querySelectorAll("svg .past")) {
    const text = group.querySelector("text"), box = group.classList[1];
    if (!text) continue;
    const rect = document.querySelector(`svg .box.${box} rect`);
    const back = getComputedStyle(rect ?? document.body)[rect ? "fill" : "backgroundColor"];
    found["svg ." + group.classList] =
      ratio(light(parse(getComputedStyle(text).fill)), light(parse(back)));
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(scheme, visit):
    page = visit(color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    for number in (3, 20, STEPS):
        to_step(page, number)
        ratios = page.evaluate(CONTRAST)
        assert len(ratios) > 10
        assert {k: v for k, v in ratios.items() if v < 4.5} == {}, "WCAG AA asks for 4.5 to 1"


def test_without_script_the_graph_is_all_there(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("svg .grad").first.is_visible()
    assert "no steps" in page.inner_text(".noscript")


def test_of_large_arrays_the_range_is_read(visit, tmp_path):
    x = np.linspace(-1, 2, 1000).reshape(50, 20)
    w = np.ones(20)
    path = gg.viz.explore(lambda x, w: np.sum((x * w) ** 2), x, w, path=tmp_path / "large.html")
    page = visit(360, 740, path=path)
    press(page, "End")
    assert page.inner_text("#heading") == "∂L/∂w"
    press(page, "ArrowLeft")
    assert page.inner_text("#heading") == "∂L/∂x"
    assert page.locator("table.range").first.locator("tr").all_inner_texts() == [
        "min\t\N{MINUS SIGN}2",
        "mean\t1",
        "max\t4",
    ]
    assert "float64 (50, 20)" in page.inner_text("#numbers")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
