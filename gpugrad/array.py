"""The device-agnostic array that users touch."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

import numpy as np

from gpugrad import dispatch, operators
from gpugrad.conversion import is_minus_zero, raw_array, raw_to_dlpack
from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.batching import Batch
from gpugrad.core.box import Box, is_held, is_lent, lend, register, strip
from gpugrad.core.errors import AssignmentError, TapeError
from gpugrad.core.tape import BASE, Leaf, backward
from gpugrad.core.trace import state
from gpugrad.cotangents import one_like, settle
from gpugrad.device import (
    Device,
    common_device,
    default_device,
    device,
    device_of,
    is_cuda,
    on,
)
from gpugrad.device import to_device as _to_device
from gpugrad.ops import (
    broadcast,
    clip,
    complex,
    elementwise,
    indexing,
    matmul,
    reductions,
    shape,
    transfer,
)
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.creation import raw_of
from gpugrad.ops.operands import as_arrays


@register
class Array(Box):
    """An array on a device, with NumPy's operators, that gradients can flow through.

    Wraps a ``numpy.ndarray`` or a ``cupy.ndarray`` without a copy and never moves data between
    devices by itself.

    Parameters
    ----------
    data : array_like
        A NumPy or CuPy array (wrapped as it is), another `Array`, a number or nested lists.
    dtype : dtype, optional
        Element type; by default the data's own.
    device : str or Device, optional
        Where the array shall live; by default where the data are, and for numbers and lists the
        default device.
    requires_grad : bool
        Record what is computed from this array, so that ``.backward()`` on a result fills
        ``.grad``. The elements must be floating point or complex.
    copy : bool, optional
        True: always copy. False: never, and an error where it would take one.

    Raises
    ------
    TypeError
        For data that are no numbers, or ``requires_grad`` on integers.
    ValueError
        Where ``copy=False`` cannot be kept.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> w = gg.Array(np.array([1.0, 2.0]), requires_grad=True)
    >>> loss = np.sum(w**2)
    >>> loss.backward()
    >>> w.grad
    Array([2., 4.], dtype=float64, device=cpu)
    """

    __slots__ = ("__weakref__", "_grad")

    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        *,
        device: str | Device | None = None,
        requires_grad: bool = False,
        copy: bool | None = None,
    ) -> None:
        value = data._value if isinstance(data, Box) and data._trace is None else data
        if isinstance(value, Box):
            raise TypeError(
                "Array(x) of an array that is being differentiated would cut its gradient: use it "
                "as it is, or x.detach() to cut on purpose"
            )
        value = raw_array(value, dtype, device, copy)
        self._value = value
        self._trace = None
        self._payload = None
        if requires_grad:
            self.requires_grad = True

    def __init_subclass__(cls) -> None:
        raise TypeError("gpugrad.Array cannot be subclassed: hold one in a field instead")

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        value = self._value
        try:
            found: tuple[int, ...] = value.shape
        except AttributeError:
            return ()
        trace = self._trace
        return found if trace is None or not trace.hidden else found[trace.hidden :]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        try:
            found: np.dtype[Any] = self._value.dtype
        except AttributeError:
            return shape_dtype(self._value).dtype
        return found

    @property
    def ndim(self) -> int:
        """Number of axes."""
        value = self._value
        try:
            found: int = value.ndim
        except AttributeError:
            return 0
        trace = self._trace
        return found if trace is None else found - trace.hidden

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def device(self) -> Device:
        """Where the elements are."""
        raw = raw_of(self)
        return default_device() if isinstance(raw, ShapeDtype) else device_of(raw)

    @property
    def T(self) -> Any:
        """The axes reversed."""
        return shape.transpose(self)

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return shape.matrix_transpose(self)

    @property
    def real(self) -> Any:
        """Real part."""
        return complex.real(self)

    @property
    def imag(self) -> Any:
        """Imaginary part."""
        return complex.imag(self)

    @property
    def flat(self) -> Any:
        """An iterator over the elements."""
        return iter(shape.ravel(self))

    @property
    def requires_grad(self) -> bool:
        """Whether ``.backward()`` fills this array's ``.grad``; may be set for one that is made."""
        return self._trace is BASE and isinstance(self._payload, Leaf)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value == self.requires_grad:
            return
        if value and not is_inexact(self.dtype):
            raise TypeError(
                f"requires_grad needs floating-point or complex elements, got {self.dtype}: "
                "convert with astype(float)"
            )
        if self._trace is not None and value:
            raise TypeError(
                "requires_grad can be set for an array that is no result of a differentiated "
                "computation: use x.detach()"
            )
        self._trace = BASE if value else None
        self._payload = Leaf(ref(self)) if value else None

    @property
    def grad(self) -> Any:
        """The gradient that backward passes have added up, an `Array`; None before the first."""
        return getattr(self, "_grad", None)

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            like = shape_dtype(value)
            if like.shape != self.shape or like.dtype != self.dtype:
                raise ValueError(
                    f".grad of an array of shape {self.shape}, {self.dtype} cannot be of shape "
                    f"{like.shape}, {like.dtype}"
                )
            value = value if isinstance(value, Array) else Array(value)
        self._grad = value

    # ------------------------------------------------------------------ gradients

    def backward(
        self,
        cotangent: Any = None,
        *,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this array to ``.grad`` of each ``requires_grad`` array behind it.

        Parameters
        ----------
        cotangent : array_like, optional
            What each element of this array counts for; 1 for a single element, else needed.
        retain_graph : bool
            Keep the residuals, to go back through the same graph again.
        create_graph : bool
            Record the backward pass too, so that the gradients can be differentiated; implies
            ``retain_graph``.

        Raises
        ------
        TapeError
            If nothing behind this array requires a gradient, or the graph was freed.
        ValueError
            If ``cotangent`` is missing for several elements or has another shape.

        Examples
        --------
        >>> import gpugrad as gg
        >>> x = gg.Array(3.0, requires_grad=True)
        >>> (x * x).backward(create_graph=True)
        >>> (x.grad * x).backward()  # d(2x * x)/dx = 4x, added to the 2x from before
        >>> x.grad.item()
        18.0
        """
        if self._trace is not BASE:
            raise TapeError(
                "backward: nothing behind this array requires a gradient. Make a parameter with "
                "gg.Array(x, requires_grad=True), or use gg.grad(f) on the function."
            )
        seed = self._seed(cotangent)
        reached = backward(
            [self._payload],
            [seed],
            retain_graph=retain_graph or create_graph,
            lift=BASE if create_graph else None,
        )
        if any(node.stale for node in reached):
            raise TapeError(
                "backward: a requires_grad array was changed in place after it was used. Compute "
                "the loss again, or change parameters after backward()."
            )
        mine = [(node.owner(), g) for node, g in reached.items() if node.owner is not None]
        mine = [(array, g) for array, g in mine if array is not None]
        for array, g in zip(
            [a for a, _ in mine], settle([g for _, g in mine], [seed]), strict=True
        ):
            g = g if isinstance(g, Array) else Array(g)
            array._grad = g if array.grad is None else array.grad + g

    def _seed(self, cotangent: Any) -> Any:
        value = self._value
        if cotangent is None:
            if self.size != 1:
                raise ValueError(
                    f"backward on an array of shape {self.shape} needs a cotangent of that shape; "
                    "only a single number has the default 1. Reduce first: loss.mean().backward()"
                )
            return one_like(value)
        like = shape_dtype(cotangent)
        if like.shape != self.shape:
            raise ValueError(
                f"backward: a cotangent of shape {like.shape} for an array of shape {self.shape}"
            )
        raw = strip(cotangent)
        if not isinstance(raw, Box):
            raw = raw_array(raw, None, None, None)
            if device_of(raw) != self.device:
                raise ValueError(
                    f"backward: the cotangent is on {device_of(raw)}, the array on {self.device}: "
                    f"move it with .to('{self.device}')"
                )
        return cast(raw, self.dtype)

    def detach(self) -> Array:
        """The same elements, cut off from what they were computed from; shares the memory."""
        value = self._value
        if isinstance(value, Box) and self._trace is not BASE:
            return value.detach() if isinstance(value, Array) else value  # type: ignore[return-value]
        out = Array(value)
        if self._trace is not None:
            out._payload = _CUT
            lend(value)
        return out

    # ------------------------------------------------------------------ moving and converting

    def to(self, target: str | Device, *, stream: Any = None) -> Any:
        """Give the elements on another device; gradients flow back to this one."""
        return transfer.to(self, device(target))

    to_device = to

    def numpy(self) -> np.ndarray[Any, Any]:
        """The elements as a NumPy array, copied from the device if they are on one.

        A gradient does not flow through it. On the CPU it shares this array's memory.
        """
        return np.asarray(_to_device(self._concrete("numpy"), device("cpu")))

    def item(self, *at: Any) -> Any:
        """One element as a Python number; waits for the device."""
        return self.numpy().item(*at)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self.numpy().tolist()

    def _concrete(self, what: str) -> Any:
        """The raw value, which exists unless a batch or a shape stands for it."""
        box: Any = self
        while isinstance(box, Box):
            if isinstance(box._trace, Batch) or isinstance(box._value, ShapeDtype):
                raise TypeError(
                    f"{what}: the value of an array under vmap or eval_shape is not one array; "
                    "use where() in place of a Python condition, and gpugrad.numpy.take(a, x) for "
                    "elements of a plain array"
                )
            box = box._value
        return box

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        raw = self._value
        if self._trace is not None:
            kind = self.dtype.kind if dtype is None else np.dtype(dtype).kind
            if kind not in "biu":  # integers have no gradient
                caller = dispatch.met_in()
                raise TypeError(
                    f"{caller or 'np.asarray'} met an array that is being differentiated, and its "
                    f"gradient would be lost. Use {dispatch.differentiable(caller)}, or "
                    "x.detach().numpy() to cut the gradient on purpose."
                )
            raw = self._concrete("np.asarray")
        if is_cuda(raw):
            raise TypeError(
                f"{dispatch.met_in() or 'np.asarray'} met an array on {self.device}, which is not "
                "copied to the host unasked: use x.numpy()"
            )
        return np.array(raw, dtype=dtype, copy=copy)

    @property
    def __cuda_array_interface__(self) -> Any:
        """Of integers and booleans, which have no gradient: CuPy's arrays are indexed by them."""
        if self.dtype.kind in "biu":
            with suppress(TypeError):  # under vmap, where it is not one array
                raw = self._concrete("an index")
                if is_cuda(raw):
                    return raw.__cuda_array_interface__
        raise AttributeError("__cuda_array_interface__")

    def __bool__(self) -> bool:
        return bool(self._concrete("bool"))

    def __float__(self) -> float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __index__(self) -> int:
        return operator.index(self._number("an index").item())

    def __complex__(self) -> Any:
        return self._number("complex").astype("complex128").item()

    def _number(self, what: str) -> Any:
        if self._trace is not None and is_inexact(self.dtype):
            raise TypeError(
                f"{what} of an array that is being differentiated would lose its gradient: use "
                "the function from gpugrad.numpy in place of math, or x.item() to read the value"
            )
        if self.size != 1:
            raise TypeError(f"{what}: one element is needed, the array has shape {self.shape}")
        return self._concrete(what)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self._trace is not None:
            raise BufferError("an array that requires a gradient cannot be exported: x.detach()")
        value = self._value
        value = value if hasattr(value, "__dlpack__") else np.asarray(value)
        return raw_to_dlpack(value, stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> Any:
        value = self._concrete("__dlpack_device__")
        return (
            value if hasattr(value, "__dlpack_device__") else np.asarray(value)
        ).__dlpack_device__()

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ValueError(f"array API version {api_version!r} is not known; 2024.12 is")
        return sys.modules["gpugrad.numpy"]

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        if self._trace is None or self.requires_grad:
            return Array(self._value, copy=True, requires_grad=self.requires_grad)
        raise TypeError("only a leaf or a constant can be deep-copied: use x.detach()")

    def __reduce__(self) -> Any:
        if self.requires_grad:
            return partial(Array, requires_grad=True), (self._value,)
        if self._trace is not None:
            raise TypeError("an array that is being differentiated cannot be pickled: x.detach()")
        return Array, (self._value,)

    def __repr__(self) -> str:
        extra = f"dtype={self.dtype}, device={self.device}"
        if self.requires_grad:
            extra += ", requires_grad=True"
        elif self._trace is not None:
            extra += f", traced={type(self._trace).__name__.lower()}"
        try:
            value = self._concrete("repr")
        except TypeError:
            return f"Array(shape={self.shape}, {extra})"
        text = np.array2string(
            np.asarray(_to_device(value, device("cpu"))), separator=", ", prefix="Array("
        )
        return f"Array({text}, {extra})"

    def __str__(self) -> str:
        return repr(self) if self._trace is not None else str(self.numpy())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.ndim == 0 else format(str(self), spec)

    # ------------------------------------------------------------------ indexing

    def __getitem__(self, key: Any) -> Any:
        return indexing.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        quiet = self.requires_grad and BASE.level <= state.quiet
        if (self._trace is not None and not quiet) or (
            isinstance(value, Box) and value._trace is not None
        ):
            raise AssignmentError(
                "assigning to elements would change an array that the tape needs: build the result "
                "with where, concatenate or stack, or update parameters under gg.no_grad()"
            )
        self._check_hold()
        if isinstance(key, tuple):
            key = tuple([strip(k) for k in key])
        if isinstance(self._value, np.generic):  # which cannot be written to
            self._value = np.array(self._value)
        with on(common_device([self._value, strip(value)], "assigning to elements")):
            if is_minus_zero(value):
                value = _to_device(np.asarray(value), self.device)
            self._value[strip(key)] = strip(value)
        self._written()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("an array without axes cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, item: Any) -> bool:
        return bool((self == item).any())

    # ------------------------------------------------------------------ operators

    __add__, __radd__ = operators.recorded(elementwise.add)
    __sub__, __rsub__ = operators.recorded(elementwise.subtract)
    __mul__, __rmul__ = operators.recorded(elementwise.multiply)
    __truediv__, __rtruediv__ = operators.recorded(elementwise.divide)
    __floordiv__, __rfloordiv__ = operators.recorded(elementwise.floor_divide)
    __mod__, __rmod__ = operators.recorded(elementwise.mod)
    __pow__, __rpow__ = operators.binary(operators.power)
    __matmul__, __rmatmul__ = operators.binary(matmul.matmul)
    __and__, __rand__ = operators.recorded(elementwise.bitwise_and)
    __or__, __ror__ = operators.recorded(elementwise.bitwise_or)
    __xor__, __rxor__ = operators.recorded(elementwise.bitwise_xor)
    __lshift__, __rlshift__ = operators.recorded(elementwise.left_shift)
    __rshift__, __rrshift__ = operators.recorded(elementwise.right_shift)
    __eq__, _ = operators.recorded(elementwise.equal)
    __ne__, _ = operators.recorded(elementwise.not_equal)
    __lt__, _ = operators.recorded(elementwise.less)
    __le__, _ = operators.recorded(elementwise.less_equal)
    __gt__, _ = operators.recorded(elementwise.greater)
    __ge__, _ = operators.recorded(elementwise.greater_equal)

    __iadd__ = operators.in_place(elementwise.add, operator.iadd)
    __isub__ = operators.in_place(elementwise.subtract, operator.isub)
    __imul__ = operators.in_place(elementwise.multiply, operator.imul)
    __itruediv__ = operators.in_place(elementwise.divide, operator.itruediv)
    __ifloordiv__ = operators.in_place(
        elementwise.floor_divide, operators.into(elementwise.floor_divide)
    )
    __imod__ = operators.in_place(elementwise.mod, operators.into(elementwise.mod))
    __ipow__ = operators.in_place(operators.power, operator.ipow)
    __imatmul__ = operators.in_place(matmul.matmul, operators.into(matmul.matmul))
    __iand__ = operators.in_place(elementwise.bitwise_and, operator.iand)
    __ior__ = operators.in_place(elementwise.bitwise_or, operator.ior)
    __ixor__ = operators.in_place(elementwise.bitwise_xor, operator.ixor)
    __ilshift__ = operators.in_place(elementwise.left_shift, operator.ilshift)
    __irshift__ = operators.in_place(elementwise.right_shift, operator.irshift)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

    def __round__(self, decimals: int = 0) -> Any:
        return clip.round(self, decimals)

    def __neg__(self) -> Any:
        return elementwise.negative(self)

    def __pos__(self) -> Any:
        return elementwise.positive(self)

    def __abs__(self) -> Any:
        return elementwise.absolute(self)

    def __invert__(self) -> Any:
        return elementwise.invert(self)

    def _write(self, op: Any, raw_op: Any, other: Any) -> Array:
        """``self op= other``: into the buffer where nothing else needs it, else an error.

        With an array of a transform on either side it is ``self = self op other``, as to JAX and
        HIPS autograd: names that shared the array keep the old one.
        """
        if type(other) in operators.LISTS:
            other = as_arrays(self, other)[1]
        traced = isinstance(other, Box) and other._trace is not None
        quiet = BASE.level <= state.quiet
        if self.requires_grad:
            if not quiet:
                raise TapeError(
                    "an in-place operator on an array with requires_grad=True would change what "
                    "the tape needs: write x = x + y, or update parameters under gg.no_grad()"
                )
        elif _in_a_transform(self) or _in_a_transform(other):
            return op(self, other)  # type: ignore[no-any-return]
        elif self._trace is not None or traced:
            if shared(self):
                raise TapeError(
                    "an in-place operator would change an array that the tape needs, or that a "
                    "view shares: write x = x + y"
                )
            return self._rebind(op(self, other))
        self._check_hold()
        raw = raw_of(other)
        with on(common_device([self._value, raw], "an in-place operator")):
            self._value = raw_op(self._value, raw)
        self._written()
        return self

    def _written(self) -> None:
        """The elements changed: what was recorded of a leaf before holds no longer."""
        if self._trace is not None:
            self._payload.stale = True
            self._payload = Leaf(ref(self))

    def _replace(self, other: Array) -> None:
        """Another array's value, of any shape and on any device, in the place of a leaf's own."""
        self._value = other._value
        self.grad = None
        self._written()

    def _rebind(self, out: Any) -> Array:
        if out.shape != self.shape or out.dtype != self.dtype:
            raise ValueError(
                f"in place: a result of shape {out.shape}, {out.dtype} does not fit an array of "
                f"shape {self.shape}, {self.dtype}"
            )
        self._value, self._trace, self._payload = out._value, out._trace, out._payload
        return self

    def _check_hold(self) -> None:
        if self._payload is _CUT or (
            self._trace is None
            and getattr(self._value, "base", None) is not None
            and is_lent(self._value)
        ):
            raise TapeError(
                "x.detach() and views under no_grad share the memory of an array that the tape "
                "may need, so they are not changed in place: change a copy, x.detach().copy(), or "
                "assign to elements of a parameter itself, w[:2] = w[:2] + 1"
            )
        if is_held(self._value):
            raise TapeError(
                "changing this array in place would change a gradient: a recorded operation needs "
                "its values until backward. Write x = x + y, or change it after backward."
            )

    # ------------------------------------------------------------------ methods of NumPy's array

    def sum(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> Any:
        """Sum over ``axis``."""
        _no_out(out)
        return broadcast.sum(self, axis, dtype, keepdims=keepdims)

    def mean(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> Any:
        """Mean over ``axis``."""
        _no_out(out)
        return reductions.mean(self, axis, dtype, keepdims=keepdims)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> Any:
        """Product over ``axis``."""
        _no_out(out)
        return reductions.prod(self, axis, dtype, keepdims=keepdims)

    def max(self, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
        """Largest element over ``axis``."""
        _no_out(out)
        return reductions.max(self, axis, keepdims=keepdims)

    def min(self, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
        """Smallest element over ``axis``."""
        _no_out(out)
        return reductions.min(self, axis, keepdims=keepdims)

    def any(self, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
        """Whether some element over ``axis`` is true."""
        _no_out(out)
        return reductions.any(self, axis, keepdims=keepdims)

    def all(self, axis: Any = None, out: None = None, keepdims: bool = False) -> Any:
        """Whether every element over ``axis`` is true."""
        _no_out(out)
        return reductions.all(self, axis, keepdims=keepdims)

    def var(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        keepdims: bool = False,
    ) -> Any:
        """Variance over ``axis``."""
        _no_out(out)
        return reductions.var(self, axis, dtype, ddof=ddof, keepdims=keepdims)

    def std(
        self,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        keepdims: bool = False,
    ) -> Any:
        """Standard deviation over ``axis``."""
        _no_out(out)
        return reductions.std(self, axis, dtype, ddof=ddof, keepdims=keepdims)

    def argmax(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> Any:
        """Position of the largest element along ``axis``."""
        _no_out(out)
        return reductions.argmax(self, axis, keepdims=keepdims)

    def argmin(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> Any:
        """Position of the smallest element along ``axis``."""
        _no_out(out)
        return reductions.argmin(self, axis, keepdims=keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
        """Running sum along ``axis``."""
        _no_out(out)
        return reductions.cumsum(self, axis, dtype)

    def clip(self, min: Any = None, max: Any = None, out: None = None) -> Any:
        """Elements kept within ``min`` and ``max``."""
        _no_out(out)
        return clip.clip(self, min, max)

    def round(self, decimals: int = 0, out: None = None) -> Any:
        """Elements rounded to ``decimals`` places."""
        _no_out(out)
        return clip.round(self, decimals)

    def reshape(self, *new: Any, order: str = "C", copy: bool | None = None) -> Any:
        """The same elements in another shape."""
        return shape.reshape(self, _spread(new), order, copy=copy)

    def ravel(self, order: str = "C") -> Any:
        """All elements along one axis."""
        return shape.ravel(self, order)

    flatten = ravel

    def transpose(self, *axes: Any) -> Any:
        """Axes in another order; reversed by default."""
        order = _spread(axes)
        return shape.transpose(self, None if order in ((), None) else order)

    def swapaxes(self, axis1: int, axis2: int) -> Any:
        """Two axes exchanged."""
        return shape.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Any:
        """Axes of length 1 removed."""
        return shape.squeeze(self, axis)

    def astype(self, dtype: Any, *, copy: bool = True, device: Any = None) -> Any:
        """Elements converted to ``dtype``."""
        out = cast(self, dtype)
        if out is self and copy:
            out = self.copy()
        return out if device is None else out.to(device)

    def copy(self) -> Any:
        """A new array with the same elements."""
        return copy_p(self) if self._trace is not None else Array(self._value, copy=True)

    def conj(self) -> Any:
        """Complex conjugate."""
        return complex.conj(self)

    conjugate = conj

    def dot(self, other: Any) -> Any:
        """NumPy's dot product."""
        return matmul.dot(self, other)

    def take(self, indices: Any, axis: Any = None, out: None = None, mode: str = "raise") -> Any:
        """Elements at ``indices`` along ``axis``."""
        _no_out(out)
        return indexing.take(self, indices, axis, mode=mode)

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        """Elements repeated along ``axis``."""
        return dispatch.by_name["repeat"](self, repeats, axis)

    def argsort(self, axis: Any = -1, kind: Any = None) -> Any:
        """The positions that sort along ``axis``."""
        return dispatch.by_name["argsort"](self, axis, kind)

    def argpartition(self, kth: Any, axis: Any = -1, kind: str = "introselect") -> Any:
        """Positions that put the ``kth`` smallest in its place along ``axis``."""
        return dispatch.by_name["argpartition"](self, kth, axis, kind)

    def searchsorted(self, v: Any, side: str = "left", sorter: Any = None) -> Any:
        """Where to insert each of ``v`` to keep the order."""
        return dispatch.by_name["searchsorted"](self, v, side=side, sorter=sorter)

    def cumprod(self, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
        """Running product along ``axis``."""
        _no_out(out)
        return dispatch.by_name["cumprod"](self, axis, dtype)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        """A diagonal of two axes."""
        return dispatch.by_name["diagonal"](self, offset, axis1, axis2)

    def trace(
        self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
    ) -> Any:
        """The sum of a diagonal of two axes."""
        _no_out(out)
        return dispatch.by_name["trace"](self, offset, axis1, axis2, dtype)

    def compress(self, condition: Any, axis: Any = None, out: None = None) -> Any:
        """The slices along ``axis`` where the condition holds."""
        _no_out(out)
        return dispatch.by_name["compress"](condition, self, axis)

    def choose(self, choices: Any, out: None = None, mode: str = "raise") -> Any:
        """For each element the one there of the choice with that number."""
        _no_out(out)
        return dispatch.by_name["choose"](self, choices, mode)

    def nonzero(self) -> Any:
        """Positions of the elements that are not zero, an array for each axis."""
        found: tuple[Any, ...] = indexing.nonzero(self)
        return found

    # ------------------------------------------------------------------ NumPy's and CuPy's calls

    if not TYPE_CHECKING:  # to which it would be an attribute of every name

        def __getattr__(self, name: str) -> NoReturn:
            raise dispatch.no_attribute(self, name)

    __array_ufunc__ = dispatch.array_ufunc
    __array_function__ = dispatch.array_function
    __cupy_override_elementwise_kernel__ = dispatch.cupy_elementwise
    __cupy_override_reduction_kernel__ = dispatch.cupy_reduction


_CUT = object()
"""As the payload of a constant: it shares the memory of an array that the tape may need."""

copy_p = type(elementwise.positive)("copy", "copy", "x", (lambda g: g,))


def _spread(items: tuple[Any, ...]) -> Any:
    """``reshape(2, 3)`` and ``reshape((2, 3))`` mean the same."""
    if len(items) == 1 and (isinstance(items[0], Sequence) or items[0] is None):
        return items[0]
    return items


def _no_out(out: Any) -> None:
    if out is not None:
        dispatch.refuse_out(out, "this method")


def _in_a_transform(x: Any) -> bool:
    """Whether a transform follows ``x``; what the tape of ``backward()`` follows is none's."""
    return isinstance(x, Box) and x._trace is not None and x._trace is not BASE


def _references(box: Box) -> int:
    return sys.getrefcount(box._value)


_ALONE = _references(Array(np.zeros(1)))
"""The count for a value that only its box refers to: it differs between versions of Python."""


def shared(box: Box) -> bool:
    """Whether something besides ``box`` refers to its value: a residual, a view, another name."""
    if isinstance(box._value, np.generic) or not hasattr(box._value, "shape"):
        return False
    if _references(box) > _ALONE:
        return True
    if isinstance(box._value, Box):
        return shared(box._value)
    return getattr(box._value, "base", None) is not None
