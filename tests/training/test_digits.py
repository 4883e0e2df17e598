"""The main job: accuracy, the same curve on every device, bit for bit on one, what it leaves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

import gpugrad as gg
from gpugrad.cli import main
from gpugrad.data.digits import Digits, load_digits, warped
from gpugrad.training import digits
from gpugrad.training.pictures import draw_misclassified


def run(device, out, kind="mlp", *, seed=0, **options):
    return digits.train_digits(kind, device=gg.device(device), out=out, seed=seed, **options)


def curve(records):
    """What must be the same in two runs: all but the speed and the device."""
    return [replace(r, samples_per_second=0.0, device="") for r in records]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    return run("cpu", out), out


def test_accuracy(finished):
    records, _ = finished
    assert records[-1].held_out["accuracy"] >= 0.975
    assert records[-1].loss < 0.01


def test_what_is_left_behind(finished):
    records, out = finished
    assert {p.name for p in out.iterdir()} == set(digits.LEFT_BEHIND)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 31))
    last = records[-1]
    assert lines[-1] == {
        "epoch": 30,
        "step": 30 * 45,
        "loss": last.loss,
        **last.held_out,
        "samples_per_second": last.samples_per_second,
        "device": "cpu",
    }


def test_the_weights_give_the_accuracy(finished, device):
    records, out = finished
    model = gg.load(out / "model.safetensors", device=device)
    images, labels = load_digits(np.random.default_rng(0).spawn(1)[0]).held_out
    images, labels = (
        gg.Array(images, "float64", device=device),
        gg.Array(labels, device=device),
    )
    found = digits.judge(model, images, labels)
    assert found["accuracy"].item() == records[-1].held_out["accuracy"]
    assert found["held_out_loss"].item() == pytest.approx(
        records[-1].held_out["held_out_loss"], rel=1e-10
    )


@pytest.mark.parametrize("name", ["curve.png", "misclassified.png"])
def test_pictures_show_something(name, finished):
    _, out = finished
    picture = imread(out / name)
    height, width, _ = picture.shape
    assert min(height, width) > 200
    below = picture[height // 4 :]  # below the title, where digits and lines are
    assert (below[..., :3].min(axis=2) < 0.5).mean() > 0.01


@pytest.mark.parametrize("wrong", [0, 1, 30])
def test_any_number_of_misclassified_digits(wrong, tmp_path):
    images = np.ones((40, 8, 8))
    true = np.arange(40) % 10
    predicted = np.where(np.arange(40) < wrong, (true + 1) % 10, true)
    draw_misclassified(images, predicted, true, tmp_path / "wrong.png")
    dark = (imread(tmp_path / "wrong.png")[..., :3].max(axis=2) < 0.05).mean()
    assert (dark > 0.05) == (wrong > 0)  # the images here are all ink


@pytest.mark.cuda
def test_same_curve_on_cpu_and_cuda(cuda, tmp_path):
    cpu, gpu = (run(name, tmp_path, epochs=4) for name in ("cpu", "cuda:0"))
    assert [r.device for r in (cpu[0], gpu[0])] == ["cpu", "cuda:0"]
    for a, b in zip(cpu, gpu, strict=True):
        figures = [[r.loss, *r.held_out.values()] for r in (a, b)]
        np.testing.assert_allclose(*figures, rtol=1e-5, atol=0)


def test_bit_for_bit_on_one_device(device, tmp_path):
    first, again = (run(device, tmp_path, epochs=2) for _ in range(2))
    assert curve(first) == curve(again)


def test_convolutions(tmp_path, capsys):
    # As it stands: no option changes how it learns.
    out = ["--device", "cpu", "--out", str(tmp_path)]
    assert main(["train", "digits", "--model", "cnn", *out]) == 0
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    accuracy = json.loads(lines[-1])["accuracy"]
    assert accuracy >= 0.99
    said = capsys.readouterr().out
    assert f"{accuracy:.2%} of the held-out digits are read correctly, after 8 epochs" in said
    model = gg.load(tmp_path / "model.safetensors", device="cpu")
    assert [type(layer).__name__ for layer in model][1:6:2] == ["Conv2d"] * 2 + ["MaxPool2d"]
    images, labels = load_digits(np.random.default_rng(0).spawn(1)[0]).held_out
    assert (model(images).numpy().argmax(axis=1) == labels).mean() == accuracy


def test_convolutions_on_cpu_and_cuda(cuda):
    digits_ = load_digits(0)
    few = Digits(*(type(p)(p.images[:20], p.labels[:20]) for p in digits_))
    losses = []
    for name in ("cpu", "cuda:0"):
        made = digits.trainer(
            few, "cnn", device=gg.device(name), seed=0, batch_size=10, every=1, epochs=1
        )
        losses.append([r.loss for r in made.fit()])
    assert len(losses[0]) == 20
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_warped_digits():
    samples = load_digits(0).train
    found = warped(samples, 2, seed=1)
    count = len(samples.labels)
    np.testing.assert_array_equal(found.images[:count], samples.images)
    np.testing.assert_array_equal(found.labels, np.tile(samples.labels, 3))
    assert found.images.dtype == np.float32
    # Each is close to the image it comes from, and closer to it than to another.
    copies = found.images[count:].reshape(2, count, -1)
    away = abs(copies - samples.images).mean()
    assert 0.02 < away < 0.7 * abs(copies - samples.images[::-1]).mean()
    assert not np.array_equal(copies[0], copies[1])


def test_another_seed_is_another_run(tmp_path):
    first, other = (run("cpu", tmp_path, epochs=1, seed=n) for n in (0, 1))
    assert curve(first) != curve(other)


def test_the_order_of_sums_does_not_show(tmp_path, monkeypatch):
    # Another device adds in another order. Pixels in another order do that to every sum over
    # them, and over a whole run it must not be seen.
    first = run("cpu", tmp_path)
    order = np.random.default_rng(0).permutation(64)
    load, make = digits.load_digits, digits.mlp

    def shuffled_data(seed):
        return Digits(*[part._replace(images=part.images[:, order]) for part in load(seed)])

    def shuffled_weights(**kwargs):
        model = make(**kwargs)
        first = model.state_dict()["0.weight"]
        model.load_state_dict({"0.weight": first.numpy()[:, order]}, strict=False)
        return model

    monkeypatch.setattr(digits, "load_digits", shuffled_data)
    monkeypatch.setattr(digits, "mlp", shuffled_weights)
    other = run("cpu", tmp_path)
    assert [r.loss for r in first] != [r.loss for r in other]
    for a, b in zip(first, other, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-5)
        assert b.held_out["accuracy"] == a.held_out["accuracy"]


def test_a_learning_rate_that_is_too_large(tmp_path, recwarn):
    (tmp_path / "curve.png").write_text("of an earlier run")
    with pytest.raises(FloatingPointError, match=r"epoch 1, by step 45: .* 1e\+300 is"):
        run("cpu", tmp_path, lr=1e300)
    assert not recwarn.list
    assert [p.name for p in tmp_path.iterdir()] == ["curve.png"]
    run("cpu", tmp_path, epochs=1)  # and the next run works
    assert imread(tmp_path / "curve.png").shape[0] > 200
