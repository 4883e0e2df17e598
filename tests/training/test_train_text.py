"""The GPT on text: it learns, writes what it has learnt, and does the same on both devices."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.cli import main
from gpugrad.data import DataError, load_text
from gpugrad.random import Generator
from gpugrad.training.gpt import GPT
from gpugrad.training.text import Settings, train_text, trainer, write

SMALL = Settings(context=16, width=16, layers=1, heads=2, steps=20, batch_size=4, lr=1e-2)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Give the folder of a run on a text that says the same all over."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "a.txt").write_text("one, two, three; " * 200)
    settings = SMALL._replace(steps=120, width=32)
    records = train_text(
        folder / "a.txt", settings, device=gg.device("cpu"), seed=0, out=folder / "run"
    )
    assert records[-1].held_out["held_out_loss"] < 0.2
    return folder / "run"


def test_it_writes_what_it_has_learnt(learnt, capsys):
    assert (
        main(["sample", str(learnt), "--prompt", "ee; one", "--length", "34", "--seed", "3"]) == 0
    )
    assert capsys.readouterr().out.startswith("ee; one, two, three; one, two, three; ")
    assert "two, three; one" in (learnt / "sample.txt").read_text()
    assert (learnt / "curve.png").stat().st_size > 1000


def test_no_temperature_is_the_likeliest(learnt):
    model = gg.load(learnt / "best.safetensors")
    assert isinstance(model, GPT)
    cold = list(write(model, [1, 2], 12, temperature=0, generator=Generator(0)))
    assert cold == list(write(model, [1, 2], 12, top_k=1, temperature=5.0, generator=Generator(1)))
    seen = [1, 2, *cold]
    scores = model(np.array([seen[:-1]])).numpy()[0]
    np.testing.assert_array_equal(scores[1:].argmax(1)[-12:], cold)


def test_draws_are_by_the_softmax():
    gg.random.seed(0)
    model = GPT(5, context=4, width=8, layers=1, heads=2).eval()
    model.head.weight._replace(gg.Array(model.head.weight.numpy() * 100))
    scores = model(np.array([[3]])).numpy()[0, -1].astype(float) / 0.7
    scores[np.argsort(scores)[:2]] = -np.inf
    expected = np.exp(scores) / np.exp(scores).sum()
    draw = Generator(0)
    how = {"temperature": 0.7, "top_k": 3, "generator": draw}
    found = [next(write(model, [3], 1, **how)) for _ in range(400)]
    counts = np.bincount(found, minlength=5) / len(found)
    assert not counts[expected == 0].any()
    np.testing.assert_allclose(counts, expected, atol=0.08)


SMALLEST = ["--context", "8", "--width", "8", "--layers", "1", "--heads", "2", "--steps", "3"]


@pytest.fixture(scope="module")
def of_bytes(tmp_path_factory):
    """Give the folder of a run on bytes, which has learnt little."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "a.txt").write_text("äöü " * 100, encoding="utf-8")
    command = ["train", "text", str(folder / "a.txt"), "--bytes", *SMALLEST, "--device", "cpu"]
    assert main([*command, "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_without_a_prompt(learnt, of_bytes, capsys):
    # The text of the first has no new line.
    for run, begins in ((learnt, " "), (of_bytes, "\n")):
        assert main(["sample", str(run), "--length", "5", "--device", "cpu"]) == 0
        assert capsys.readouterr().out.startswith(begins)


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        (b"\xff", "\N{REPLACEMENT CHARACTER}".encode()),
        ("ä".encode(), "ä".encode()),
        ("ä".encode()[:1], b""),  # the rest is the model's to write
    ],
)
def test_a_prompt_of_any_bytes(of_bytes, prompt, shown):
    command = [sys.executable, "-m", "gpugrad.cli", "sample", of_bytes, "--seed", "0", "--prompt"]
    done = subprocess.run([*command, prompt, "--length", "3"], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(shown)
    assert done.stdout.decode().endswith("\n")


def test_a_terminal_that_cannot_show_all(of_bytes):
    command = [sys.executable, "-m", "gpugrad.cli", "sample", of_bytes, "--length", "1"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*command, "--prompt", "ä"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(r"\xe4")


def test_a_text_of_one_letter(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("a" * 400)
    out = ["--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(["train", "text", str(tmp_path / "a.txt"), *SMALLEST, *out]) == 0
    assert capsys.readouterr().err == ""  # its loss is 0, which no logarithm shows


def test_bytes_on_the_command_line(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("äöü " * 400, encoding="utf-8")
    out = ["--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(["train", "text", str(tmp_path / "a.txt"), "--bytes", *SMALLEST, *out]) == 0
    said = capsys.readouterr().out
    assert "nats a byte on the held-out end of the text, after 3 steps" in said
    assert said.count("held out loss") == 1
    assert main(["sample", str(tmp_path / "run"), "--prompt", "ä", "--length", "9"]) == 0
    assert capsys.readouterr().out.startswith("ä")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "text", "{}/none.txt"], "No such file or directory: {}/none.txt"),
        (
            ["train", "text", "{}/short.txt"],
            "short.txt is too short: its training part has 9 tokens",
        ),
        (["train", "text", "{}/empty.txt"], "{}/empty.txt is empty"),
        (["train", "text", "{}/latin.txt"], "byte 1 (line 1) is 0xe4; convert it"),
        (["sample", "{}/none"], "No such file or directory: {}/none"),
        (["sample", "{}"], "{} is no run's folder: it holds no best.safetensors"),
        (["sample", "{}/short.txt"], "{}/short.txt is half-written or no safetensors file"),
        (["sample", "{}/other.safetensors"], "is no model that `gpugrad train text` made"),
    ],
)
def test_what_cannot_be_used(arguments, said, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("ten chars.")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes("Bär".encode("latin1"))
    gg.save(gg.nn.Linear(2, 2), tmp_path / "other.safetensors")
    out = ["--out", str(tmp_path)] if arguments[0] == "train" else []
    assert main([a.format(tmp_path) for a in arguments] + out + ["--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert said.format(tmp_path) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "text", "--heads", "3"], "allowed are divisors of the width 128, got 3"),
        (["train", "text", "--dropout", "1"], "allowed are numbers from 0 to below 1"),
        (["sample", "x", "--temperature", "-1"], "allowed are numbers from 0 up"),
        (["sample", "x", "--prompt", ""], "a model needs at least one character"),
    ],
)
def test_wrong_usage_of_text(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_unknown_character_in_the_prompt(learnt, capsys):
    assert main(["sample", str(learnt), "--prompt", "on%"]) == 1
    assert "character 2 of the prompt is '%', which is none of the" in capsys.readouterr().err


def test_held_out_part_too_short():
    text = load_text()
    with pytest.raises(DataError, match="its held-out part has 20 tokens"):
        trainer(text._replace(held_out=text.held_out[:20]), device=gg.device("cpu"), seed=0)


def test_no_position_sees_a_later_one():
    model = GPT(9, context=6, width=8, layers=2, heads=2).eval()
    tokens = np.array([[1, 2, 3, 4, 5, 6]])
    other = tokens + np.array([0, 0, 0, 1, 1, 1])
    first, second = (model(t).numpy()[0] for t in (tokens, other))
    np.testing.assert_allclose(first[:3], second[:3], rtol=1e-5)
    assert (first[3:] != second[3:]).any(axis=1).all()


def test_a_run_goes_on_with_the_same_text_only(learnt, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("one, two, three! " * 200)
    small = ["--context", "16", "--width", "32", "--layers", "1", "--heads", "2", "--lr", "0.01"]
    small += ["--steps", "120", "--batch-size", "4", "--out", str(learnt), "--resume"]
    before = (learnt / "metrics.jsonl").read_bytes()
    assert main(["train", "text", str(tmp_path / "a.txt"), *small, "--device", "cpu"]) == 1
    assert "of a run with other settings, alphabet=" in capsys.readouterr().err
    assert (learnt / "metrics.jsonl").read_bytes() == before
    (tmp_path / "a.txt").write_text("one, two, three; " * 199 + "one, two, three,;")
    assert main(["train", "text", str(tmp_path / "a.txt"), *small, "--device", "cpu"]) == 1
    assert "of a run with other settings, text=" in capsys.readouterr().err
    assert (learnt / "metrics.jsonl").read_bytes() == before
    (tmp_path / "a.txt").write_text("one, two, three; " * 200)
    assert main(["train", "text", str(tmp_path / "a.txt"), *small, "--device", "cpu"]) == 0
    assert (learnt / "metrics.jsonl").read_bytes() == before


def test_a_sequence_longer_than_the_context():
    with pytest.raises(ValueError, match="6 tokens in a context of 5"):
        GPT(9, context=5, width=8, layers=1, heads=2)(np.zeros((1, 6), int))


def run(device, every):
    losses = []
    text = load_text()
    text = text._replace(train=text.train[:3000], held_out=text.held_out[:200])
    job = trainer(text, SMALL, device=device, seed=0)
    job.every = every
    job.callbacks.append(lambda record: losses.append((record.loss, *record.held_out.values())))
    return job, losses


def test_the_same_losses_on_cuda(cuda):
    """20 steps, each reported."""
    found = []
    for name in ("cpu", "cuda:0"):
        job, losses = run(gg.device(name), 1)
        job.evaluate, job.watch = None, "loss"
        job.fit()
        found.append(losses)
    assert len(found[0]) == 20
    assert found[0][-1][0] < found[0][0][0] - 0.3
    np.testing.assert_allclose(*found, rtol=0, atol=1e-4)


def test_copies_from_cuda_where_the_loss_is_logged_only(cuda, counters):
    job, losses = run(gg.device("cuda:0"), 10)
    batches = list(islice(job.loader, 2))
    for batch in batches:  # compiles the kernels
        job.take_step(batch)
    with counters() as r:
        for batch in batches * 5:
            job.take_step(batch)
    assert r["d2h"] == 0
    with counters() as r:
        job.fit()
    assert len(losses) == 2
    assert r["d2h"] == 4  # twice the training loss, and the held-out loss
