"""Recurrent layers: plain, gated (GRU) and with long short-term memory (LSTM).

Names, shapes and formulas are PyTorch's. The products with the inputs are one for the whole
sequence; what is left to each time is the product with the state.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import gpugrad.numpy as gnp
from gpugrad import random
from gpugrad.device import Device
from gpugrad.nn.activations import dropout, relu, sigmoid, tanh
from gpugrad.nn.linear import linear
from gpugrad.nn.module import Module, parameter
from gpugrad.ops.creation import zeros_near

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

Nonlinearity = Literal["tanh", "relu"]


class _Recurrent(Module):
    """What recurrent layers share.

    Parameters
    ----------
    input_size, hidden_size : int
        Lengths of the input and of the state.
    num_layers : int
        Each runs over the outputs of the one before.
    bias : bool
        Whether there are biases.
    batch_first : bool
        Inputs and outputs are (N, L, ...) instead of (L, N, ...).
    dropout : float
        Between layers, while training.
    bidirectional : bool
        A second state runs backward over the sequence; outputs hold both.
    device, dtype
        Of the parameters.
    generator : gpugrad.random.Generator, optional
        What draws them and the dropout.
    """

    _gates: ClassVar[int] = 1
    _states: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: str | Device | None = None,
        dtype: Any = "float32",
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.generator = generator
        draw = random.default_generator if generator is None else generator
        limit = 1 / math.sqrt(hidden_size)
        rows = self._gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self._directions())
            for suffix in self._directions():
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, width),
                    "weight_hh": (rows, hidden_size),
                }
                if bias:
                    shapes.update(bias_ih=(rows,), bias_hh=(rows,))
                for name, shape in shapes.items():
                    start = draw.uniform(-limit, limit, shape, dtype, device=device)
                    setattr(self, f"{name}_l{layer}{suffix}", parameter(start))

    def _directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _cell(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """The next state from the input's part ``x`` and the state's part ``h`` of the gates."""
        raise NotImplementedError

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run over a sequence.

        Parameters
        ----------
        input : array
            Shape (L, N, input_size), or (N, L, ...) with ``batch_first``, or (L, input_size).
        hx : array, optional
            The state at the start, (layers * directions, N, hidden_size); zeros if not given. Of
            an LSTM a pair of them.

        Returns
        -------
        tuple
            The outputs at all times, (L, N, directions * hidden_size), and the last state, shaped
            like ``hx``.
        """
        x = input
        alone = x.ndim == 2
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: input is (L, N, {self.input_size}) or (L, "
                f"{self.input_size}), got shape {x.shape}"
            )
        if alone:
            x = gnp.expand_dims(x, 1)
        elif self.batch_first:
            x = gnp.swapaxes(x, 0, 1)
        start = self._start(x, hx, alone)
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                draw = self.generator or random.default_generator
                x = dropout(x, self.dropout, key=draw.stream(x.device))
            outputs = []
            for suffix in self._directions():
                begin = tuple([s[len(last)] for s in start])
                y, end = self._run(x, begin, f"_l{layer}{suffix}", backward=bool(suffix))
                outputs.append(y)
                last.append(end)
            x = outputs[0] if len(outputs) == 1 else gnp.concatenate(outputs, axis=-1)
        states = [gnp.stack([end[i] for end in last]) for i in range(self._states)]
        if alone:
            x, states = gnp.squeeze(x, 1), [gnp.squeeze(s, 1) for s in states]
        elif self.batch_first:
            x = gnp.swapaxes(x, 0, 1)
        return x, states[0] if self._states == 1 else tuple(states)

    def _start(self, x: Any, hx: Any, alone: bool) -> list[Any]:
        shape = (self.num_layers * len(self._directions()), x.shape[1], self.hidden_size)
        if hx is None:
            return [zeros_near([x], shape, x.dtype)] * self._states
        given = [hx] if self._states == 1 else list(hx)
        given = [gnp.expand_dims(h, 1) for h in given] if alone else given
        for h in given:
            if h.shape != shape:
                raise ValueError(
                    f"{type(self).__name__}: a state at the start has shape {shape}, got {h.shape}"
                )
        return given

    def _run(
        self, x: Any, state: tuple[Any, ...], suffix: str, *, backward: bool
    ) -> tuple[Any, tuple[Any, ...]]:
        w_ih, w_hh = (getattr(self, f"weight_{part}{suffix}") for part in ("ih", "hh"))
        b_ih, b_hh = (
            getattr(self, f"bias_{part}{suffix}") if self.bias else None for part in ("ih", "hh")
        )
        length = x.shape[0]
        flat = linear(gnp.reshape(x, (-1, x.shape[-1])), w_ih, b_ih)
        parts = gnp.reshape(flat, (length, x.shape[1], -1))
        outputs: list[Any] = [None] * length
        for t in reversed(range(length)) if backward else range(length):
            state = self._cell(parts[t], linear(state[0], w_hh, b_hh), state)
            outputs[t] = state[0]
        return gnp.stack(outputs), state

    def extra_repr(self) -> str:
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        usual["bidirectional"] = False
        words = [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([str(self.input_size), str(self.hidden_size), *words])


class RNN(_Recurrent):
    """``h = tanh(W_ih x + b_ih + W_hh h + b_hh)`` at each time (Elman 1990), or with relu.

    Parameters
    ----------
    input_size, hidden_size, num_layers
        Lengths of the input and the state, and the number of layers.
    nonlinearity : {"tanh", "relu"}
        The function.
    bias, batch_first, dropout, bidirectional, device, dtype, generator
        As for `LSTM`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: str | Device | None = None,
        dtype: Any = "float32",
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype, generator=generator,
        )  # fmt: skip
        self.nonlinearity = _known("RNN", nonlinearity)

    def _cell(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return _rnn(self.nonlinearity, x, h)


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014).

    ``r, z = sigmoid(...)`` of both parts, ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))`` and
    ``h = (1 - z) n + z h``. The parameters are `LSTM`'s.
    """

    _gates = 3

    def _cell(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return _gru(x, h, *state)


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997).

    ``i, f, o = sigmoid(...)`` and ``g = tanh(...)`` of both parts, ``c = f c + i g`` and
    ``h = o tanh(c)``.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As PyTorch's; see `forward` for shapes.
    device, dtype
        Of the parameters.
    generator : gpugrad.random.Generator, optional
        What draws them and the dropout.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> y, (h, c) = nn.LSTM(3, 5, batch_first=True)(np.ones((2, 7, 3), "float32"))
    >>> y.shape, h.shape, c.shape
    ((2, 7, 5), (1, 2, 5), (1, 2, 5))
    """

    _gates = 4
    _states = 2

    def _cell(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return _lstm(x, h, state[1])


def _known(name: str, nonlinearity: Nonlinearity) -> Nonlinearity:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{name}: nonlinearity={nonlinearity!r} is neither 'tanh' nor 'relu'")
    return nonlinearity


def _rnn(nonlinearity: Nonlinearity, x: Any, h: Any) -> tuple[Any]:
    return ((tanh if nonlinearity == "tanh" else relu)(x + h),)


def _gru(x: Any, h: Any, state: Any) -> tuple[Any]:
    n = state.shape[-1]
    gates = sigmoid(x[:, : 2 * n] + h[:, : 2 * n])
    r, z = gates[:, :n], gates[:, n:]
    new = tanh(x[:, 2 * n :] + r * h[:, 2 * n :])
    return (new + z * (state - new),)


def _lstm(x: Any, h: Any, c: Any) -> tuple[Any, Any]:
    n = c.shape[-1]
    both = x + h
    gates = sigmoid(both[:, : 2 * n])
    i, f = gates[:, :n], gates[:, n:]
    c = f * c + i * tanh(both[:, 2 * n : 3 * n])
    return sigmoid(both[:, 3 * n :]) * tanh(c), c


class _Cell(Module):
    """One step of a recurrent layer.

    Parameters
    ----------
    input_size, hidden_size : int
        Lengths of the input and of the state.
    bias : bool
        Whether there are biases.
    device, dtype
        Of the parameters.
    generator : gpugrad.random.Generator, optional
        What draws them.
    """

    _gates: ClassVar[int]
    _states: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: str | Device | None = None,
        dtype: Any = "float32",
        *,
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        draw = random.default_generator if generator is None else generator
        limit = 1 / math.sqrt(hidden_size)
        rows = self._gates * hidden_size

        def start(*shape: int) -> Any:
            return parameter(draw.uniform(-limit, limit, shape, dtype, device=device))

        self.weight_ih, self.weight_hh = start(rows, input_size), start(rows, hidden_size)
        self.bias_ih: Any = start(rows) if bias else None
        self.bias_hh: Any = start(rows) if bias else None

    def _next(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        raise NotImplementedError

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The next state, from an input (N, input_size) or (input_size,) and the last one.

        The first state is zeros if none is given.
        """
        name, alone = type(self).__name__, input.ndim == 1
        x = gnp.expand_dims(input, 0) if alone else input
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise ValueError(
                f"{name}: input is (N, {self.input_size}) or ({self.input_size},), got shape "
                f"{input.shape}"
            )
        shape = (x.shape[0], self.hidden_size)
        if hx is None:
            state = (zeros_near([x], shape, x.dtype),) * self._states
        else:
            given = (hx,) if self._states == 1 else tuple(hx)
            state = tuple([gnp.expand_dims(s, 0) for s in given]) if alone else given
        if len(state) != self._states or any(s.shape != shape for s in state):
            raise ValueError(
                f"{name}: a state has shape {shape[1:] if alone else shape}, got "
                f"{[s.shape for s in given]}"
            )
        parts = linear(x, self.weight_ih, self.bias_ih)
        found = self._next(parts, linear(state[0], self.weight_hh, self.bias_hh), state)
        found = tuple([gnp.squeeze(s, 0) for s in found]) if alone else found
        return found if self._states > 1 else found[0]

    def extra_repr(self) -> str:
        bias = "" if self.bias_ih is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


class RNNCell(_Cell):
    """One step of an `RNN`: the next state (N, hidden_size) from an input and a state.

    Parameters
    ----------
    input_size, hidden_size, bias
        As for `RNN`.
    nonlinearity : {"tanh", "relu"}
        The function.
    device, dtype, generator
        As for `RNN`.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> nn.RNNCell(3, 5)(np.ones((2, 3), "float32")).shape
    (2, 5)
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        device: str | Device | None = None,
        dtype: Any = "float32",
        *,
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, generator=generator)
        self.nonlinearity = _known("RNNCell", nonlinearity)

    def _next(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return _rnn(self.nonlinearity, x, h)


class GRUCell(_Cell):
    """One step of a `GRU`: the next state (N, hidden_size) from an input and a state.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> cell, h = nn.GRUCell(3, 5), None
    >>> for x in np.ones((7, 2, 3), "float32"):
    ...     h = cell(x, h)
    >>> h.shape
    (2, 5)
    """

    _gates = 3

    def _next(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return _gru(x, h, *state)


class LSTMCell(_Cell):
    """One step of an `LSTM`: the next pair ``(h, c)`` from an input and a pair.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> cell, state = nn.LSTMCell(3, 5), None
    >>> for x in np.ones((7, 2, 3), "float32"):
    ...     state = cell(x, state)
    >>> h, c = state
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    _gates = 4
    _states = 2

    def _next(self, x: Any, h: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return _lstm(x, h, state[1])
