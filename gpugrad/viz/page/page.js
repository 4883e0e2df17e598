"use strict";
const { nodes, edges, steps } = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const graph = $("graph"), svg = graph.querySelector("svg");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const forwards = steps.filter((s) => s.phase === "forward").length;
const PACE = 1800; // milliseconds a step while it plays
let at = 0, timer = null;

// ---------------------------------------------------------------- numbers

/** A table's numbers, with as many decimals as the largest of `all` needs for four digits. */
function written(rows, all = rows) {
  const found = all.flat().filter((v) => typeof v === "number");
  const largest = Math.max(0, ...found.map(Math.abs));
  const huge = largest >= 1e6 || (largest > 0 && largest < 1e-4);
  const places = Math.max(0, 4 - Math.max(-3, Math.ceil(Math.log10(largest || 1))));
  const whole = found.every(Number.isInteger);
  const fixed = (v) => v.toFixed(whole ? 0 : places);
  const spare = Math.min(...found.map((v) => /\.?(0*)$/.exec(fixed(v))[1].length), places);
  const text = (v) => {
    if (typeof v !== "number") return v;
    if (v !== 0 && (huge || (!whole && Number(fixed(v)) === 0))) {
      return v.toExponential(2).replace("e+", "e");
    }
    return whole ? fixed(v) : v.toFixed(places - spare);
  };
  return rows.map((row) => row.map((v) => text(v).replace(/^-|(?<=e)-/g, "−")));
}

function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

function table(rows, name, kind, all = rows) {
  const t = element("table", { class: kind, "aria-label": name });
  written(rows, all).forEach((row, r) => {
    const tr = element("tr");
    row.forEach((text, c) => {
      const td = element("td", {}, text), v = rows[r][c];
      if (typeof v === "number") td.title = v;
      tr.append(td);
    });
    t.append(tr);
  });
  return t;
}

function typed(a) {
  return `${a.dtype} ${a.shape.length ? `(${a.shape.join(", ")}${a.shape.length === 1 ? "," : ""})` : "scalar"}`;
}

function figure(name, a, gradient = false) {
  const f = element("figure", gradient ? { class: "gradient" } : {});
  f.append(element("figcaption", {}, name));
  if (!a) {
    f.append(element("div", { class: "type" }, "not kept"));
    return f;
  }
  const rows = a.cells ?? ["min", "mean", "max"].map((n, i) => [n, a.range[i]]);
  f.append(table(rows, name, a.cells ? "" : "range"), element("div", { class: "type" }, typed(a)));
  return f;
}

const sign = (text) => element("span", { class: "sign" }, text);

function line(title, ...parts) {
  const equation = element("div", { class: "equation" }, ...parts);
  return element("div", { class: "line" }, ...(title ? [element("h3", {}, title)] : []), equation);
}

// ---------------------------------------------------------------- what a step shows

function forwardLines(step) {
  const node = nodes[step.node], parts = [];
  for (const e of step.edges) parts.push(figure(nodes[edges[e].source].label, nodes[edges[e].source].value));
  if (parts.length) parts.push(sign("→"));
  parts.push(figure(node.label, node.value));
  const notes = node.details.length ? node.details.join(", ") : "";
  return [line(notes, ...parts)];
}

function backwardLines(step) {
  const node = nodes[step.node];
  if (!step.edges.length) {
    const lines = [line("", figure(`∂L/∂${node.label}`, node.gradient, true), figure(node.label, node.value))];
    return [...lines, ...arrivals(step.node)];
  }
  return step.edges.filter((e) => edges[e].pull).map((e) => {
    const { pull, source } = edges[e];
    const incoming = figure(`∂L/∂${node.label}`, node.gradient, true);
    const name = pull.derivative || `∂${node.label}/∂${nodes[source].label}`;
    const factor = pull.factor ? figure(name, pull.factor) : element("span", {}, name);
    const parts = pull.left ? [factor, sign(pull.sign), incoming] : [incoming, sign(pull.sign), factor];
    if (pull.product) parts.push(sign("="), figure("product", pull.product, true), sign("Σ →"));
    else parts.push(sign("="));
    parts.push(figure(`to ${nodes[source].label}`, pull.sent, true));
    const l = line(`${node.label} → ${nodes[source].label}`, ...parts);
    l.dataset.edge = e;
    return l;
  });
}

/** What a complete gradient is the sum of: each edge's part, or each row's. */
function arrivals(n) {
  const into = edges.filter((e) => e.source === n && e.pull);
  if (into.length === 1 && into[0].pull.terms) {
    const parts = [], count = nodes[n].samples, row = count ? "sample" : "row";
    into[0].pull.terms.forEach((rows, i) => {
      if (i) parts.push(sign("+"));
      parts.push(element("figure", { class: "gradient" },
        element("figcaption", {}, `${row} ${i + 1}`), table(rows, `term of ${row} ${i + 1}`, "", into[0].pull.terms.flat())));
    });
    parts.push(sign("="), figure(`∂L/∂${nodes[n].label}`, nodes[n].gradient, true));
    const title = count ? `The mean over ${count} samples: each term is one sample's gradient / ${count}`
      : "The sum over the rows";
    return [line(title, ...parts)];
  }
  if (into.length < 2) return [];
  const parts = [];
  into.forEach((e, i) => {
    if (i) parts.push(sign("+"));
    parts.push(figure(`from ${nodes[e.target].label}`, e.pull.sent, true));
  });
  parts.push(sign("="), figure(`∂L/∂${nodes[n].label}`, nodes[n].gradient, true));
  return [line("The sum over its uses", ...parts)];
}

// ---------------------------------------------------------------- the graph's lights

const shapes = [];
for (const [list, letter] of [[nodes, "n"], [edges, "e"]]) {
  list.forEach((data, i) => {
    for (const g of svg.querySelectorAll(`.${letter}${i}`)) {
      const role = g.classList[0];
      const since = {
        box: data.value_at, title: data.value_at, note: data.value_at, value: data.value_at,
        grad: data.gradient_at, forward: data.forward_at, backward: data.backward_at,
        factor: data.backward_at,
      }[role];
      shapes.push({ g, since, box: role === "box" ? i : null });
      if (role === "box") {
        g.addEventListener("click", () => {
          const inBackward = at >= forwards && data.backward_at !== null && data.backward_at !== undefined;
          go(inBackward ? data.backward_at : data.value_at);
        });
      }
    }
  });
}

function light() {
  const step = steps[at], backward = step.phase === "backward";
  const getting = new Set(backward ? step.edges.map((e) => edges[e].source) : []);
  for (const { g, since, box } of shapes) {
    g.classList.toggle("past", since !== null && since !== undefined && at >= since);
    g.classList.toggle("now", box === null ? since === at && !g.classList.contains("value") : box === step.node);
    g.classList.toggle("gets", getting.has(box));
  }
}

/** Scroll the graph so that the step's box stands in the middle. */
function follow() {
  const box = svg.querySelector(`.box.n${steps[at].node}`);
  if (!box) return;
  const b = box.getBoundingClientRect(), g = graph.getBoundingClientRect();
  graph.scrollTo({
    left: graph.scrollLeft + b.left + b.width / 2 - g.left - g.width / 2,
    top: graph.scrollTop + b.top + b.height / 2 - g.top - g.height / 2,
    behavior: still.matches ? "auto" : "smooth",
  });
}

/** As large as the window takes, but never so small that the numbers can't be read. */
function fit() {
  const { width, height } = svg.viewBox.baseVal;
  const least = innerWidth < 700 ? 0.9 : 0.72;
  const scale = Math.min(1, Math.max(least, (graph.clientWidth - 2) / width));
  svg.setAttribute("width", width * scale);
  svg.setAttribute("height", height * scale);
}

// ---------------------------------------------------------------- moving

function go(to) {
  at = Math.min(steps.length - 1, Math.max(0, to));
  const step = steps[at], backward = step.phase === "backward";
  const inPass = backward ? at - forwards + 1 : at + 1;
  const ofPass = backward ? steps.length - forwards : forwards;
  document.body.classList.toggle("backward-pass", backward);
  document.body.classList.toggle("forward-pass", !backward);
  $("phase").textContent = `${backward ? "Backward" : "Forward"} pass, step ${inPass} of ${ofPass}`;
  $("heading").textContent = backward && !step.edges.length ? `∂L/∂${step.heading}` : step.heading;
  $("say").textContent = step.say;
  $("numbers").replaceChildren(...(backward ? backwardLines(step) : forwardLines(step)));
  $("slider").value = at;
  $("slider").setAttribute("aria-valuetext", `step ${at + 1} of ${steps.length}: ${step.heading}`);
  $("count").textContent = `step ${at + 1} / ${steps.length}`;
  for (const id of ["first", "back"]) $(id).ariaDisabled = at === 0;
  for (const id of ["next", "last"]) $(id).ariaDisabled = at === steps.length - 1;
  light();
  follow();
  if (at === steps.length - 1) pause();
}

function pause() {
  clearInterval(timer);
  timer = null;
  $("play").textContent = "Play";
}

function play() {
  if (timer !== null) return pause();
  if (at === steps.length - 1) go(0);
  timer = setInterval(() => go(at + 1), PACE);
  $("play").textContent = "Pause";
}

const keys = { ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0),
  End: () => go(steps.length - 1), " ": play };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  // A button is pressed by the space bar, the slider moved by the arrows, as everywhere.
  if (event.key === " " ? event.target.tagName === "BUTTON" : event.target.id === "slider") return;
  event.preventDefault();
  if (event.key !== " ") pause();
  keys[event.key]();
});
$("first").addEventListener("click", () => { pause(); go(0); });
$("back").addEventListener("click", () => { pause(); go(at - 1); });
$("play").addEventListener("click", play);
$("next").addEventListener("click", () => { pause(); go(at + 1); });
$("last").addEventListener("click", () => { pause(); go(steps.length - 1); });
$("slider").max = steps.length - 1;
$("slider").addEventListener("input", (event) => { pause(); go(Number(event.target.value)); });
document.querySelector(".passes").style.gridTemplateColumns = `${forwards}fr ${steps.length - forwards}fr`;
addEventListener("resize", () => { fit(); follow(); });

document.body.classList.add("scripted");
fit();
go(0);
