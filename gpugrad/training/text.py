"""A GPT that learns to continue a text, and what it writes."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import gpugrad.numpy as gnp
from gpugrad import nn, optim
from gpugrad.array import Array
from gpugrad.core.tape import no_grad
from gpugrad.data.arrays import DataError
from gpugrad.data.loader import Loader
from gpugrad.data.text import Alphabet, Stretches, Text, load_text
from gpugrad.device import Device
from gpugrad.random import Generator
from gpugrad.training.files import replacing
from gpugrad.training.gpt import GPT
from gpugrad.training.model_file import load
from gpugrad.training.pictures import draw_curve
from gpugrad.training.record import Record
from gpugrad.training.state_file import CheckpointError, read_state
from gpugrad.training.trainer import Trainer

LEFT_BEHIND = (
    "metrics.jsonl",
    "checkpoints",
    "best.safetensors",
    "model.safetensors",
    "curve.png",
    "sample.txt",
)
"""What a run leaves in its folder."""


class Settings(NamedTuple):
    """Of the model and of its training; the defaults suit half a megabyte and two cores."""

    context: int = 128
    width: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0
    steps: int = 6000
    batch_size: int = 8
    lr: float = 3e-3


USUAL = Settings()

WARM_UP = 0.02
"""Which part of the steps the learning rate goes up in; then it falls by half a cosine."""

LAST = 0.01
"""The last learning rate, as a part of the greatest."""

WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.99)
MAX_NORM = 1.0
REPORTS, APART = 24, 20
"""How many there are in a run, and the least number of steps between them."""

JUDGED = 512
"""Stretches of the held-out text that a report looks at, evenly spread, at most."""


def loss(model: Any, tokens: Any, following: Any) -> Any:
    """The mean over all tokens of what the next one costs, in nats."""
    scores = model(tokens)
    return nn.cross_entropy(scores.reshape(-1, scores.shape[-1]), following.reshape(-1))


def judge(model: Any, data: Stretches, batch_size: int) -> dict[str, Any]:
    """The loss over held-out stretches, which is read from the device once."""
    step = -(-len(data) // JUDGED)
    chosen = gnp.arange(0, len(data), step, device=data.device or "cpu")
    total: Any = 0.0
    for start in range(0, len(chosen), batch_size):
        rows = chosen[start : start + batch_size]
        total = total + loss(model, *data.take(rows)) * len(rows)
    return {"held_out_loss": total / len(chosen)}


def trainer(
    text: Text, settings: Settings = USUAL, *, device: Device, seed: int, **options: Any
) -> Trainer:
    """The trainer of a GPT on a text.

    Parameters
    ----------
    text : Text
        What to learn, and to judge by.
    settings : Settings
        Of the model and of its training.
    device : Device
        Where to train: the text lies there too.
    seed : int
        Decides the first weights and the order of the stretches: the same on every device.
    **options
        More for `gpugrad.training.Trainer`.

    Raises
    ------
    DataError
        If the text, or its held-out end, is too short for the context.
    """
    s = settings
    for name, part in (("training", text.train), ("held-out", text.held_out)):
        if len(part) <= s.context:
            raise DataError(
                f"{text.source} is too short: its {name} part has {len(part)} tokens, and a "
                f"context of {s.context} needs {s.context + 1}; give more text or a smaller context"
            )
    random = Generator(seed)
    data = Stretches(Array(text.train, device=device), s.context)
    held_out = Stretches(Array(text.held_out, device=device), s.context, every=s.context)
    loader = Loader(data, s.batch_size, generator=random)
    model = GPT(
        len(text.alphabet), s.context, s.width, s.layers, s.heads, s.dropout,
        device=device, generator=random,
    )  # fmt: skip
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = optim.AdamW(
        [{"params": matrices}, {"params": rest, "weight_decay": 0.0}],
        lr=s.lr,
        betas=BETAS,
        weight_decay=WEIGHT_DECAY,
    )
    warm = max(1, round(WARM_UP * s.steps))
    schedule = optim.SequentialLR(
        optimizer,
        [
            optim.LinearLR(optimizer, 1 / warm, 1.0, warm),
            optim.CosineAnnealingLR(optimizer, max(1, s.steps - warm), LAST * s.lr),
        ],
        [warm],
    )
    config = {
        "job": "text",
        "alphabet": text.alphabet.characters,
        "text": sha256(text.train.tobytes() + text.held_out.tobytes()).hexdigest(),
        **s._asdict(),
        "seed": seed,
    }
    return Trainer(
        model,
        optimizer,
        loss,
        loader,
        steps=s.steps,
        every=max(APART, -(-s.steps // REPORTS)),
        schedule=schedule,
        evaluate=lambda model: judge(model, held_out, 4 * s.batch_size),
        max_norm=MAX_NORM,
        watch="held_out_loss",
        config=config,
        **options,
    )


def train_text(
    source: Path | None = None,
    settings: Settings = USUAL,
    *,
    unit: Literal["characters", "bytes"] = "characters",
    device: Device,
    seed: int,
    out: Path,
    resume: bool = False,
    patience: int | None = None,
    callbacks: tuple[Callable[[Record], object], ...] = (),
) -> list[Record]:
    """Train on a text file, and leave the model, a curve and a sample in a folder.

    Parameters
    ----------
    source : Path, optional
        A file in UTF-8; the documentation that comes with Python if not given.
    settings : Settings
        Of the model and of its training.
    unit : {"characters", "bytes"}
        What a token is.
    device : Device
        Where to train.
    seed : int
        Decides the first weights, the order, and the sample.
    out : Path
        The folder; gets `LEFT_BEHIND`. What an earlier run left stays until this one has its own.
    resume : bool
        Go on from the folder's newest checkpoint, if it has one.
    patience : int, optional
        Stop after so many reports without a better held-out loss.
    callbacks : tuple of callable
        Each is given each record.

    Returns
    -------
    list of Record
        The reports.
    """
    text = load_text(source, unit=unit)
    run = trainer(
        text, settings, device=device, seed=seed, patience=patience, folder=out, callbacks=callbacks
    )
    if resume:
        run.resume()
    records = run.fit()
    draw_curve(records, out / "curve.png")
    start = text.held_out[: min(32, settings.context)]
    written = [*start, *write(run.model.eval(), start, 500, generator=Generator(seed))]
    with replacing(out / "sample.txt") as unfinished:
        unfinished.write_text(text.alphabet.decode(written), encoding="utf-8")
    return records


def write(
    model: Any,
    prompt: Any,
    count: int,
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    generator: Generator,
) -> Iterator[int]:
    """Continue a text: each token as it is drawn.

    Parameters
    ----------
    model : GPT
        What continues it, in evaluation mode.
    prompt : array of int
        The tokens to continue, at least one; the model sees the last ``model.context`` of them.
    count : int
        How many to draw.
    temperature : float
        Below 1 what is likely becomes likelier; 0 takes the likeliest.
    top_k : int, optional
        Draw from this many likeliest only.
    generator : gpugrad.random.Generator
        What draws; the same on every device.

    Yields
    ------
    int
        One token after the other.
    """
    where = model.tokens.weight.device
    seen = [int(t) for t in prompt]
    for _ in range(count):
        with no_grad():
            tokens = Array(np.array([seen[-model.context :]]), device=where)
            scores = model(tokens)[0, -1]
            if temperature > 0:
                if top_k is not None and top_k < len(scores):
                    least = gnp.sort(scores)[-top_k]
                    scores = gnp.where(scores >= least, scores, -np.inf)
                # The largest of scores with Gumbel noise is a draw by their softmax.
                drawn = generator.uniform(size=len(scores), dtype="float64", device=where)
                scores = scores / temperature - gnp.log(-gnp.log(drawn))
            seen.append(int(gnp.argmax(scores)))
        yield seen[-1]


def load_writer(path: str | Path, *, device: Device) -> tuple[GPT, Alphabet]:
    """The model and the alphabet of a run, by one of its files or by its folder.

    Raises
    ------
    CheckpointError
        If the file is damaged, or of a model that does not write text; or the folder of no run.
    FileNotFoundError
        If it is not there.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "best.safetensors"
        if not path.exists():
            raise CheckpointError(f"{path.parent} is no run's folder: it holds no {path.name}")
    config = read_state(path).get("config") or {}
    if config.get("job") != "text":
        raise CheckpointError(f"{path} is no model that `gpugrad train text` made")
    return load(path, device=device), Alphabet(config["alphabet"])


def continued(
    path: str | Path, prompt: str | None, count: int, *, device: Device, **how: Any
) -> Iterator[str]:
    """The prompt and what the model of a run adds to it, piece by piece.

    Parameters
    ----------
    path
        As for `load_writer`.
    prompt : str or None
        The text to continue, not empty; a new line if None, or where the model knows none, the
        first character of its alphabet.
    count : int
        How many tokens to add.
    device : Device
        Where the model shall be.
    **how
        Temperature, top_k and generator, as for `write`.
    """
    model, alphabet = load_writer(path, device=device)
    if prompt is None:
        known = alphabet.characters
        prompt = "\n" if known is None or "\n" in known else known[0]
    tokens = alphabet.encode(prompt, "the prompt")
    drawn = write(model, tokens, count, **how)
    if alphabet.characters is None:  # a character is up to four bytes, and may begin in the prompt
        decoder = getincrementaldecoder("utf-8")("replace")
        yield decoder.decode(bytes(tokens.tolist()))
        for token in drawn:
            yield decoder.decode(bytes([token]))
        yield decoder.decode(b"", True)
    else:
        yield prompt
        yield from (alphabet.decode([token]) for token in drawn)
