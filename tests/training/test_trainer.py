"""The trainer: its steps are the plain loop's, and no interruption changes a bit of a run."""

from __future__ import annotations

import json
import os
import signal
import threading

import numpy as np
import pytest
from small_run import X, Y, bits, loss, network, trainer

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.data import Arrays, DataError, Loader, Records
from gpugrad.random import Generator
from gpugrad.training import CheckpointError, Checkpoints, Trainer, read_state, write_state
from gpugrad.training.pictures import draw_curve


def end_of(run):
    run.fit()
    return bits(run.state_dict())


@pytest.fixture(scope="module")
def whole(device, tmp_path_factory):
    """Give the end of a run that nothing interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return end_of(trainer(device, folder)), folder


class Stop(Exception):
    pass


def until(run, step):
    """Train to a step, and break off there as by an error."""
    take = run.take_step

    def limited(batch):
        if run.step == step:
            raise Stop
        return take(batch)

    run.take_step = limited
    with pytest.raises(Stop):
        run.fit()


@pytest.mark.parametrize("step", [1, 2, 3, 8, 17])  # in an epoch, at its end, in the last
def test_resumed_is_as_never_stopped(step, whole, device, tmp_path):
    until(trainer(device, tmp_path), step)
    gg.random.uniform(size=5)  # what happens in between does not count
    again = trainer(device, tmp_path)
    assert again.resume()
    assert again.step == step
    assert end_of(again) == whole[0]
    lines = [(f / "metrics.jsonl").read_text().splitlines() for f in (tmp_path, whole[1])]
    for ours, theirs in zip(*lines, strict=True):
        assert bits(json.loads(ours)) == bits(json.loads(theirs))


def test_float16_goes_on_too(device, tmp_path):
    mixed_precision("float16", device, tmp_path)


def test_bfloat16_goes_on_too(tmp_path):  # of which the stand-in knows no products
    mixed_precision("bfloat16", "cpu", tmp_path)


def mixed_precision(precision, device, tmp_path):
    whole = trainer(device, tmp_path / "whole", precision=precision, epochs=3)
    expected = end_of(whole)
    scale = 65536.0 if precision == "float16" else 1.0
    assert whole.scaler.get_scale() == scale
    until(trainer(device, tmp_path, precision=precision, epochs=3), 5)
    again = trainer(device, tmp_path, precision=precision, epochs=3)
    again.scaler._scale *= 3
    assert again.resume()
    assert again.scaler.get_scale() == scale
    assert end_of(again) == expected
    plain = trainer(device, None, epochs=3)
    assert plain.fit()[0].loss == pytest.approx(whole.records[0].loss, rel=0.05)
    assert plain.records[0].loss != whole.records[0].loss


def test_stopped_again_and_again(whole, device, tmp_path):
    for step in range(1, 18):
        run = trainer(device, tmp_path)
        run.resume()
        until(run, step)
    run = trainer(device, tmp_path)
    run.resume()
    assert end_of(run) == whole[0]


def test_a_finished_run_has_nothing_to_do(whole, device):
    run = trainer(device, whole[1])
    assert run.resume()
    assert end_of(run) == whole[0]


def test_a_longer_run_goes_on(whole, device, tmp_path):
    trainer(device, tmp_path, epochs=3).fit()
    run = trainer(device, tmp_path)
    assert run.resume()
    assert end_of(run) == whole[0]


def test_what_is_left_behind(whole):
    end, folder = whole
    assert {p.name for p in folder.iterdir()} == {
        "metrics.jsonl", "checkpoints", "best.safetensors", "model.safetensors"
    }  # fmt: skip
    names = [p.name for p in Checkpoints(folder / "checkpoints").paths()]
    assert names == ["step-00000017.safetensors", "step-00000018.safetensors"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(n, 3 * n) for n in range(1, 7)]
    best = min(lines, key=lambda line: line["held_out_loss"])
    assert end["best"] == best["held_out_loss"]
    assert read_state(folder / "best.safetensors")["step"] == best["step"]
    model = gg.load(folder / "model.safetensors")
    found = loss(model, X[:20], Y[:20]).item()
    assert found == pytest.approx(lines[-1]["held_out_loss"], rel=1e-5)


def test_the_steps_are_those_of_a_plain_loop(device):
    gg.random.seed(0)
    model, same = (nn.Linear(5, 3, device=device) for _ in range(2))
    same.load_state_dict(model.state_dict())
    data = Arrays(*(gg.Array(a, device=device) for a in (X, Y)))
    batches = [Loader(data, 16, generator=Generator(1)) for _ in range(2)]
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    records = Trainer(model, optimizer, loss, batches[0], epochs=3).fit()
    optimizer = optim.SGD(same.parameters(), 0.1, momentum=0.9)
    for record in records:
        total = 0.0
        for x, y in batches[1]:
            value, grads = gg.value_and_grad(loss)(same, x, y)
            optimizer.step(grads)
            total += value.item() * len(x)
        assert record.loss == pytest.approx(total / 60, rel=1e-6)
    np.testing.assert_allclose(model.weight.numpy(), same.weight.numpy(), rtol=1e-5, atol=1e-7)


def test_an_epoch_reads_the_losses_sum_only(counters, cuda):
    gg.random.seed(0)
    model = nn.Linear(5, 3, device="cuda:0")
    data = Arrays(*(gg.Array(a, device="cuda:0") for a in (X, Y)))
    run = Trainer(model, optim.SGD(model.parameters(), 0.1), loss, Loader(data, 16), epochs=2)
    run._rest_of_epoch()  # compiles
    with counters() as r:
        run._rest_of_epoch()
    assert r["d2h"] == 1
    assert np.isfinite(run.records[-1].loss)


def test_steps_and_reports_within_epochs(device):
    run = trainer(device, None, epochs=None, steps=8, every=3)
    records = run.fit()
    assert [(r.epoch, r.step) for r in records] == [(1, 3), (2, 6), (3, 8)]
    with pytest.raises(ValueError, match="one of epochs=None and steps=None is needed"):
        trainer(device, None, epochs=None)


def test_it_stops_early_and_gives_the_best(tmp_path):
    values = iter([3.0, 2.0, 2.5, 2.2, 1.0])
    run = trainer(
        "cpu", tmp_path, patience=2, evaluate=lambda model: {"held_out_loss": next(values)}
    )
    records = run.fit()
    assert len(records) == 4
    assert run.best == 2.0
    run.restore_best()
    best = read_state(tmp_path / "best.safetensors")
    assert best["step"] == 6
    assert bits(run.model.state_dict()) == bits(best["model"])
    # It has stopped for good, also after a resume.
    again = trainer("cpu", tmp_path, patience=2)
    assert again.resume()
    assert len(again.fit()) == 4


def test_higher_may_be_better():
    values = iter([0.1, 0.5, 0.4])
    options = {"watch": "accuracy", "better": "higher", "epochs": 3}
    run = trainer("cpu", None, evaluate=lambda model: {"accuracy": next(values)}, **options)
    run.fit()
    assert run.best == 0.5
    with pytest.raises(ValueError, match=r"watch='acuracy' is none of \["):
        trainer("cpu", None, watch="acuracy").fit()


def test_a_plateau_lowers_the_rate_and_is_kept(tmp_path):
    def run(epochs):
        made = trainer("cpu", tmp_path, evaluate=None, watch="loss", epochs=epochs)
        made.schedule = optim.ReduceLROnPlateau(made.optimizer, patience=0, threshold=0.999999)
        return made

    run(2).fit()
    again = run(4)
    assert again.resume()
    assert again.schedule.best == pytest.approx(again.records[0].loss)
    again.fit()
    assert again.optimizer.param_groups[0]["lr"] == pytest.approx(0.02 / 25 * 0.1**3)


@pytest.mark.parametrize("step", [2, 3])
def test_ctrl_c_saves_and_the_run_goes_on(step, tmp_path):
    expected = end_of(trainer("cpu", tmp_path / "whole"))
    run = trainer("cpu", tmp_path / "run", checkpoint_every=None)
    take = run.take_step

    def interrupted(batch):
        if run.step == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return take(batch)  # the step is done to its end

    run.take_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = trainer("cpu", tmp_path / "run", checkpoint_every=None)
    assert again.resume()
    assert again.step == step
    assert end_of(again) == expected


def test_sigterm_saves_as_ctrl_c_does(tmp_path):
    run = trainer("cpu", tmp_path, checkpoint_every=None)
    take = run.take_step

    def stopped(batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return take(batch)

    run.take_step = stopped
    with pytest.raises(SystemExit) as stop:
        run.fit()
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    again = trainer("cpu", tmp_path)
    assert again.resume()
    assert again.step == 1


def test_a_program_that_handles_sigterm_still_does():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(True))
    try:
        run = trainer("cpu", None, epochs=1)
        run.callbacks.append(lambda record: os.kill(os.getpid(), signal.SIGTERM))
        assert len(run.fit()) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [True]


@pytest.mark.parametrize("every", [None, 5])
def test_ctrl_c_while_the_last_records_are_left_out(every, tmp_path):
    def read(item):
        if item < 15:
            return X[item], Y[item]
        if item == 19:
            os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("torn")

    run = trainer("cpu", tmp_path, epochs=1, every=every, checkpoint_every=None)
    run.loader = Loader(Records(range(20), read, broken="skip"), 5, shuffle=False, prefetch=0)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert run.checkpoints.newest().state["step"] == 3


def test_a_second_ctrl_c_does_not_wait():
    run = trainer("cpu", None)

    def stuck(batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it waited")

    run.take_step = stuck
    with pytest.raises(KeyboardInterrupt):
        run.fit()


def test_it_trains_in_any_thread():
    run = trainer("cpu", None, epochs=1)
    thread = threading.Thread(target=run.fit)
    thread.start()
    thread.join()
    assert len(run.records) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"lr": 0.1}}, r"other settings, lr=0.02, not 0.1: use the same"),
        ({"extras": {}}, r"extras \['ema'\], expected 1 and \[\]"),
        ({"precision": "float16"}, "other settings, precision=None, not 'float16'"),
        ({"max_norm": None}, "other settings, max_norm=1.0, not None"),
        ({"watch": "loss"}, "other settings, watch='held_out_loss', not 'loss'"),
        ({"better": "higher"}, "other settings, better='lower', not 'higher'"),
        ({"schedule": None}, "other settings, schedule='OneCycleLR', not None"),
    ],
)
def test_another_runs_checkpoint_is_refused(change, said, tmp_path):
    trainer("cpu", tmp_path, epochs=1).fit()
    run = trainer("cpu", tmp_path, **change)
    before = bits(run.state_dict())
    with pytest.raises(CheckpointError, match=rf"step-00000003.safetensors is of .*{said}"):
        run.resume()
    assert bits(run.state_dict()) == before


def test_another_models_checkpoint_is_refused(tmp_path):
    run = trainer("cpu", tmp_path, epochs=1)
    run.fit()
    state = run.state_dict()
    state["recipe"] = network(7).recipe
    write_state(tmp_path / "checkpoints" / "step-00000009.safetensors", state)
    again = trainer("cpu", tmp_path)
    before = bits(again.state_dict())
    with pytest.raises(CheckpointError, match=r"holds network\(width=7\), not network\(width=6\)"):
        again.resume()
    state["recipe"] = None
    del state["optimizer"]["state"][0]["exp_avg"]
    write_state(tmp_path / "checkpoints" / "step-00000009.safetensors", state)
    with pytest.raises(CheckpointError, match=r"of another optimizer: .*states \["):
        again.resume()
    with pytest.raises(CheckpointError, match="holds a model, not a run that can go on"):
        again.load_state_dict(read_state(tmp_path / "model.safetensors"))
    assert bits(again.state_dict()) == before


def test_weights_of_another_element_type_are_another_runs(tmp_path):
    trainer("cpu", tmp_path, epochs=1).fit()
    run = trainer("cpu", tmp_path)
    run.model.to(dtype="float64")
    with pytest.raises(CheckpointError, match=r"0\.weight is float32, expected float64"):
        run.resume()
    assert run.model[0].weight.dtype == "float64"


def test_other_data_is_refused_and_nothing_changed(tmp_path):
    run = trainer("cpu", tmp_path, epochs=1)
    run.fit()
    again = trainer("cpu", tmp_path)
    again.loader = Loader(Arrays(X[:9], Y[:9]), 4)
    before = bits(again.state_dict())
    said = "of another loader: 40 records in batches of 16, here are 9 in batches of 4"
    with pytest.raises(CheckpointError, match=said):
        again.resume()
    assert bits(again.state_dict()) == before


DATA = X[20:], Y[20:]
SPOILT = X[20:].copy()
SPOILT[39, 4] += 1


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ({"shuffle": False}, "shuffle=True, here is shuffle=False"),
        ({"drop_last": True}, "drop_last=False, here is drop_last=True"),
        ({"data": (SPOILT, Y[20:])}, r"data=\['Arrays', 'float32 \(40, 5\) .*here is data="),
        ({"data": (X[20:].astype(float), Y[20:])}, r"is data=\['Arrays', 'float64 \(40, 5\) "),
        ({"data": (X[20:, :4], Y[20:])}, r"is data=\['Arrays', 'float32 \(40, 4\) "),
    ],
)
def test_other_batches_are_refused(loader, said, device, tmp_path):
    trainer("cpu", tmp_path, epochs=1).fit()

    def again(data=DATA, **options):
        run = trainer(device, tmp_path)
        data = Arrays(*(gg.Array(a, device=device) for a in data))
        run.loader = Loader(data, 16, device=device, **options)
        return run

    run = again(**loader)
    before = bits(run.state_dict())
    with pytest.raises(CheckpointError, match=f"is of another loader: .*{said}"):
        run.resume()
    assert bits(run.state_dict()) == before
    assert again().resume()  # arrays on a device are the same as those that are sent there


def test_another_optimizer_is_refused(tmp_path):
    trainer("cpu", tmp_path, epochs=1).fit()
    run = trainer("cpu", tmp_path)
    run.optimizer = optim.Adam(run.model.parameters(), lr=0.02)
    with pytest.raises(CheckpointError, match="other settings, optimizer='AdamW', not 'Adam'"):
        run.resume()


@pytest.mark.cuda
def test_a_run_goes_on_on_another_device(cuda, tmp_path):
    trainer("cpu", tmp_path, epochs=1).fit()
    run = trainer("cuda:0", tmp_path, epochs=2)
    assert run.resume()
    records = run.fit()
    assert [r.device for r in records] == ["cpu", "cuda:0"]
    back = trainer("cpu", tmp_path, epochs=3)
    assert back.resume()
    records = back.fit()
    whole = trainer("cpu", None, epochs=3).fit()
    for ours, theirs in zip(records, whole, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)


def test_a_new_run_replaces_the_old_one(tmp_path):
    trainer("cpu", tmp_path).fit()
    trainer("cpu", tmp_path, epochs=1).fit()
    steps = sorted(p.stem for p in (tmp_path / "checkpoints").iterdir())
    assert steps == ["step-00000002", "step-00000003"]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_earlier_run_stays_until_the_new_one_has_its_own(tmp_path):
    trainer("cpu", tmp_path).fit()
    earlier = files_of(tmp_path)
    model = earlier["model.safetensors"]
    again = trainer("cpu", tmp_path)
    again.take_step = lambda batch: 1 / 0
    for run in (again, again):  # the second has no checkpoints to set aside
        with pytest.raises(ZeroDivisionError):
            run.fit()
        aside = {name.replace("-earlier/", "/"): data for name, data in files_of(tmp_path).items()}
        assert aside == earlier
        # Nothing of the earlier run is gone on from.
        assert not trainer("cpu", tmp_path).resume()
    until(trainer("cpu", tmp_path), 2)
    assert set(files_of(tmp_path)) == {
        "metrics.jsonl", "best.safetensors", "model.safetensors",
        "checkpoints/step-00000001.safetensors", "checkpoints/step-00000002.safetensors",
    }  # fmt: skip
    assert (tmp_path / "model.safetensors").read_bytes() == model
    again = trainer("cpu", tmp_path, epochs=1)
    assert again.resume()
    assert again.step == 2
    again.fit()
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1
    assert (tmp_path / "model.safetensors").read_bytes() != model


def test_killed_before_the_earlier_checkpoints_were_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(2, {"step": 2})
    aside = tmp_path / "checkpoints-earlier"
    aside.mkdir()
    (aside / "step-00000030.safetensors").write_text("of an earlier run")
    (aside / ".gpugrad-0123456789abcdef.safetensors").write_text("of a killed one")
    assert checkpoints.newest().state == {"step": 2}
    checkpoints.set_aside()
    assert [p.name for p in aside.iterdir()] == ["step-00000002.safetensors"]
    (aside / "notes.txt").write_text("the user's")
    checkpoints.save(3, {"step": 3})
    assert [p.name for p in aside.iterdir()] == ["notes.txt"]
    with pytest.raises(OSError, match=r"could not write: .*checkpoints-earlier"):
        checkpoints.set_aside()


def test_a_loss_that_is_no_number_ends_it(tmp_path):
    run = trainer("cpu", tmp_path, checkpoint_every=None)
    run.loss = lambda model, x, y: loss(model, x, y) * (np.nan if run.step == 4 else 1)
    said = r"the loss became nan in epoch 2, by step 6: the learning rate .* is too large"
    with pytest.raises(FloatingPointError, match=said):
        run.fit()
    # What is kept is from before.
    again = trainer("cpu", tmp_path, checkpoint_every=None)
    assert again.resume()
    assert again.step == 3


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("stopped", [False, True])
def test_weights_that_are_no_numbers_are_not_kept(every, stopped, device, tmp_path):
    run = trainer(device, tmp_path, checkpoint_every=every, keep=1)
    take = run.take_step

    def spoilt(batch):
        value = take(batch)
        if run.step == 4:  # of which this batch's loss says nothing yet
            weight = run.model[0].weight
            weight._replace(weight.detach() * np.inf)
            if stopped:
                os.kill(os.getpid(), signal.SIGINT)
        return value

    run.take_step = spoilt
    said = r"the (weights became infinite or no numbers|loss became nan) in epoch 2, by step [56]"
    with pytest.raises(FloatingPointError, match=said):
        run.fit()
    again = trainer(device, tmp_path, keep=1)
    assert again.resume()
    assert again.step == (4 if every == 1 else 3)
    best = read_state(tmp_path / "best.safetensors")
    assert all(np.isfinite(w).all() for w in best["model"].values())


def test_a_model_that_is_no_numbers_is_not_kept(tmp_path):
    (tmp_path / "model.safetensors").write_text("of an earlier run")
    run = trainer("cpu", tmp_path, epochs=1, every=4, checkpoint_every=None)
    run.loss = lambda model, x, y: loss(model, x, y) * (np.nan if run.step == 2 else 1)
    with pytest.raises(FloatingPointError, match="the loss became nan in epoch 1, by step 3"):
        run.fit()
    assert (tmp_path / "model.safetensors").read_text() == "of an earlier run"


def test_a_figure_that_is_no_number_is_never_the_best(tmp_path):
    values = iter([np.nan, 2.0, np.nan, 1.0, np.nan, np.nan])
    run = trainer("cpu", tmp_path, evaluate=lambda model: {"held_out_loss": next(values)})
    bests = []
    run.callbacks.append(lambda record: bests.append(run.best))
    run.fit()
    assert bests == [None, 2.0, 2.0, 1.0, 1.0, 1.0]
    assert read_state(tmp_path / "best.safetensors")["step"] == 12
    run = trainer("cpu", None, patience=2, evaluate=lambda model: {"held_out_loss": np.nan})
    assert len(run.fit()) == 2


@pytest.mark.parametrize("name", ["loss", "step", "epoch", "device", "samples_per_second"])
def test_a_held_out_figure_has_a_name_of_its_own(name, tmp_path):
    run = trainer("cpu", tmp_path, evaluate=lambda model: {"held_out_loss": 1.0, name: 2.0})
    with pytest.raises(ValueError, match=rf"a held-out figure is called '{name}', as one of"):
        run.fit()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "every is at least 1, or None, got 0"),
        ({"checkpoint_every": -1}, "checkpoint_every is at least 1, or None, got -1"),
        ({"patience": 0}, "patience is at least 1, or None, got 0"),
        ({"better": "max"}, r"better is one of \['lower', 'higher'\], got 'max'"),
        ({"precision": "float64"}, r"precision is one of \[None, 'float16', 'bfloat16'\]"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(ValueError, match=f"Trainer: {said}"):
        trainer("cpu", None, **options)


@pytest.mark.parametrize("length", [{"steps": 3}, {"epochs": 3}])
def test_an_epoch_without_records_ends_it(length):
    def read(item):
        if item >= last:
            raise ValueError("torn")
        return X[item], Y[item]

    data = Records(range(20), read, broken="skip")
    last = 0
    run = trainer("cpu", None)
    given = [run.model, run.optimizer, loss, Loader(data, 5, shuffle=False)]
    with pytest.raises(DataError, match="all were left out, such as record 0, 0: torn"):
        Trainer(*given, **length).fit()
    last = 5  # the rest of an epoch may be broken
    given[-1] = Loader(data, 5, shuffle=False)
    given[-1].load_state_dict(given[-1].state_dict() | {"batch": 2})
    run = Trainer(*given, steps=3)
    run.fit()
    assert run.loader.epoch == 3


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_goes_on_too(search, device, tmp_path):
    def make(folder):
        gg.random.seed(1)
        model = nn.Linear(5, 3, device=device)
        optimizer = optim.LBFGS(model.parameters(), 0.5, max_iter=3, line_search_fn=search)
        loader = Loader(Arrays(X, Y), 60, shuffle=False, device=device)
        return Trainer(model, optimizer, loss, loader, steps=6, every=1, folder=folder)

    whole = make(None)
    expected = end_of(whole)
    assert whole.records[-1].loss < whole.records[0].loss - 0.1
    until(make(tmp_path), 3)
    again = make(tmp_path)
    assert again.resume()
    assert end_of(again) == expected


@pytest.mark.parametrize("option", [{"max_norm": 1.0}, {"precision": "float16"}])
def test_lbfgs_takes_gradients_as_they_are(option):
    model = nn.Linear(5, 3)
    optimizer = optim.LBFGS(model.parameters())
    with pytest.raises(ValueError, match="LBFGS goes with neither max_norm nor precision='float16"):
        Trainer(model, optimizer, loss, Loader(Arrays(X, Y), 60), steps=1, **option)


def test_curves(tmp_path):
    from matplotlib.image import imread

    run = trainer("cpu", None)
    draw_curve(run.fit(), tmp_path / "curve.png")
    picture = imread(tmp_path / "curve.png")[..., :3]
    assert picture.shape[1] > 400
    assert (picture.min(axis=2) < 0.5).mean() > 0.01
