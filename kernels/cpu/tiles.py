"""Small matrix products whose operands are found by lists of places: convolution and attention.

Both functions keep a tile of sums in vector registers over a whole inner loop, which Numba's own
vectoriser does not do, so the inner loops are written as LLVM vector code. They come near a core's
arithmetic peak without packing their operands first: no copy of every window (im2col), no
transposed copy of a matrix. The order of summation depends on the shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_FEATURES = binding.get_host_cpu_features()

BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
"""Of a vector register."""

_INT = ir.IntType(64)
_Sums = list[list[Any]]


def lanes(dtype: Any) -> int:
    """How many elements fill a vector register."""
    return BYTES // int(dtype.itemsize)


class _Code:
    """What the tiles are written with: vectors of one element type, and a loop over sums."""

    def __init__(self, context: Any, builder: Any, array: Any) -> None:
        self.builder = builder
        element = context.get_data_type(array.dtype)
        self.size = context.get_abi_sizeof(element)
        self.lanes = BYTES // self.size
        self.vector = ir.VectorType(element, self.lanes)
        self.none = ir.Constant(self.vector, ir.Undefined)
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)
        name = f"llvm.fmuladd.v{self.lanes}f{8 * self.size}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        known = builder.module.globals.get(name)
        self.fma = known or ir.Function(builder.module, kind, name)

    def place(self, pointer: Any, offset: Any, vector: int = 0) -> Any:
        """Where a vector starts."""
        element = self.builder.gep(pointer, [offset])
        element = self.builder.gep(element, [_INT(vector * self.lanes)])
        return self.builder.bitcast(element, self.vector.as_pointer())

    def load(self, pointer: Any, offset: Any, vector: int = 0) -> Any:
        out = self.builder.load(self.place(pointer, offset, vector))
        out.align = self.size  # of an element: nothing is known of the vector's
        return out

    def store(self, value: Any, pointer: Any, offset: Any, vector: int) -> None:
        self.builder.store(value, self.place(pointer, offset, vector)).align = self.size

    def item(self, pointer: Any, i: Any) -> Any:
        """A number out of a list."""
        return self.builder.load(self.builder.gep(pointer, [i]))

    def everywhere(self, scalar: Any) -> Any:
        """A vector of one number."""
        first = self.builder.insert_element(self.none, scalar, ir.IntType(32)(0))
        return self.builder.shuffle_vector(first, self.none, self._picks([0] * self.lanes))

    def total(self, vector: Any) -> Any:
        """The sum over a vector, by halves."""
        n = self.lanes
        while n > 1:
            n //= 2
            upper = self._picks([i + n if i < n else i for i in range(self.lanes)])
            upper = self.builder.shuffle_vector(vector, self.none, upper)
            vector = self.builder.fadd(vector, upper)
        return self.builder.extract_element(vector, ir.IntType(32)(0))

    def _picks(self, lanes: list[int]) -> Any:
        return ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), lanes)

    def loop(self, count: Any, start: _Sums, step: Callable[[Any, _Sums], _Sums]) -> _Sums:
        """Run ``sums = step(i, sums)`` for each i below ``count``, at least once."""
        builder = self.builder
        before = builder.block
        body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.branch(body)
        builder.position_at_end(body)
        i = builder.phi(_INT)
        held = [[builder.phi(self.vector) for _ in row] for row in start]
        new = step(i, held)
        following = builder.add(i, _INT(1))
        i.add_incoming(_INT(0), before)
        i.add_incoming(following, builder.block)
        for phis, first, later in zip(held, start, new, strict=True):
            for phi, a, b in zip(phis, first, later, strict=True):
                phi.add_incoming(a, before)
                phi.add_incoming(b, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        builder.position_at_end(after)
        return new


def _data(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """The arguments, arrays as pointers to their data."""
    return [
        context.make_array(t)(context, builder, a).data if isinstance(t, types.Array) else a
        for t, a in zip(signature.args, args, strict=True)
    ]


def _product_tile(rows: int, vectors: int) -> Any:
    """``out[start + m * pitch + j] (+)= sum_k w[wm[m] + wk[k]] * x[xk[k] + j]``."""

    @intrinsic  # type: ignore[misc, unused-ignore]
    def tile(
        typing: Any, out: Any, start: Any, pitch: Any, w: Any, wm: Any, wk: Any, x: Any, xk: Any,
        m: Any, j: Any, w0: Any, x0: Any, count: Any, fresh: Any,
    ) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh) = _data(
                context, builder, signature, args
            )
            code = _Code(context, builder, signature.args[0])
            numbers = [builder.add(m, _INT(i)) for i in range(rows)]
            factors = [
                builder.gep(w, [builder.add(w0, code.item(wm, number))]) for number in numbers
            ]
            start = builder.add(start, j)
            places = [builder.add(start, builder.mul(number, pitch)) for number in numbers]
            columns = builder.gep(x, [builder.add(x0, j)])
            with builder.if_else(fresh) as (new, old):
                with new:
                    at_new = builder.block
                with old:
                    loaded = [[code.load(out, p, v) for v in range(vectors)] for p in places]
                    at_old = builder.block
            first: _Sums = []
            for row in loaded:
                first.append([])
                for value in row:
                    phi = builder.phi(code.vector)
                    phi.add_incoming(code.zero, at_new)
                    phi.add_incoming(value, at_old)
                    first[-1].append(phi)

            def step(k: Any, sums: _Sums) -> _Sums:
                at = code.item(xk, k)
                across = [code.load(columns, at, v) for v in range(vectors)]
                at = code.item(wk, k)
                down = [code.everywhere(code.item(f, at)) for f in factors]
                return [
                    [builder.call(code.fma, [d, a, s]) for a, s in zip(across, row, strict=True)]
                    for d, row in zip(down, sums, strict=True)
                ]

            for place, row in zip(places, code.loop(count, first, step), strict=True):
                for v, value in enumerate(row):
                    code.store(value, out, place, v)
            return context.get_dummy_value()

        arguments = (out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh)
        return types.void(*arguments), build

    return tile


def _dots_tile(rows: int, columns: int) -> Any:
    """``out[m, n] += sum_t a[am[m] + at[t]] * b[bn[n] + bt[t]]``, t over whole vectors."""

    @intrinsic  # type: ignore[misc, unused-ignore]
    def tile(
        typing: Any, out: Any, pitch: Any, a: Any, am: Any, at: Any, b: Any, bn: Any, bt: Any,
        m: Any, n: Any, count: Any,
    ) -> Any:  # fmt: skip
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            out, pitch, a, am, at, b, bn, bt, m, n, count = _data(context, builder, signature, args)
            code = _Code(context, builder, signature.args[0])
            down = [builder.gep(a, [code.item(am, builder.add(m, _INT(i)))]) for i in range(rows)]
            across = [
                builder.gep(b, [code.item(bn, builder.add(n, _INT(i)))]) for i in range(columns)
            ]

            def step(t: Any, sums: _Sums) -> _Sums:
                here, there = code.item(at, t), code.item(bt, t)
                left = [code.load(p, here) for p in down]
                right = [code.load(p, there) for p in across]
                return [
                    [builder.call(code.fma, [x, y, s]) for y, s in zip(right, row, strict=True)]
                    for x, row in zip(left, sums, strict=True)
                ]

            sums = code.loop(count, [[code.zero] * columns for _ in range(rows)], step)
            for i, row in enumerate(sums):
                place = builder.add(builder.mul(builder.add(m, _INT(i)), pitch), n)
                for k, vector in enumerate(row):
                    element = builder.gep(out, [builder.add(place, _INT(k))])
                    value = builder.fadd(builder.load(element), code.total(vector))
                    builder.store(value, element)
            return context.get_dummy_value()

        return types.void(out, pitch, a, am, at, b, bn, bt, m, n, count), build

    return tile


@intrinsic  # type: ignore[misc, unused-ignore]
def copy(typing: Any, to: Any, i: Any, source: Any, j: Any, count: Any) -> Any:
    """``to[i : i + count] = source[j : j + count]`` of flat arrays: rows too short for a loop."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, i, source, j, count = _data(context, builder, signature, args)
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        cgutils.raw_memcpy(
            builder, builder.gep(to, [i]), builder.gep(source, [j]), count, _INT(size)
        )
        return context.get_dummy_value()

    return types.void(to, i, source, j, count), build


# Sums fill half of AVX-512's registers (a product) or three quarters (dots); AVX2 has half as many.
_WIDE, _ACROSS = (4, 6) if BYTES != 32 else (2, 3)
_p4w, _p42, _p41 = _product_tile(4, _WIDE), _product_tile(4, 2), _product_tile(4, 1)
_p1w, _p12, _p11 = _product_tile(1, _WIDE), _product_tile(1, 2), _product_tile(1, 1)
_d4a, _d41 = _dots_tile(4, _ACROSS), _dots_tile(4, 1)
_d1a, _d11 = _dots_tile(1, _ACROSS), _dots_tile(1, 1)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def product(
    out: Any, start: int, pitch: int, w: Any, w0: int, wm: Any, wk: Any, x: Any, x0: int, xk: Any,
    rows: int, columns: int, count: int, fresh: bool,
) -> None:  # fmt: skip
    """``out[start + m*pitch + j] (+)= sum_k w[w0 + wm[m] + wk[k]] * x[x0 + xk[k] + j]``.

    For m below ``rows``, k below ``count`` and j below ``columns``, which is a multiple of the
    lanes of a vector. ``fresh`` begins the sums at zero, else at what ``out`` holds. The arrays
    are flat and contiguous.
    """
    lane = BYTES // out.itemsize
    if count == 0:
        if fresh:
            for m in range(rows):
                out[start + m * pitch : start + m * pitch + columns] = 0
        return
    j = 0
    while j < columns:
        m = 0
        if columns - j >= _WIDE * lane:
            while m + 4 <= rows:
                _p4w(out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh)
                m += 4
            while m < rows:
                _p1w(out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh)
                m += 1
            j += _WIDE * lane
        elif columns - j >= 2 * lane:
            while m + 4 <= rows:
                _p42(out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh)
                m += 4
            while m < rows:
                _p12(out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh)
                m += 1
            j += 2 * lane
        else:
            while m + 4 <= rows:
                _p41(out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh)
                m += 4
            while m < rows:
                _p11(out, start, pitch, w, wm, wk, x, xk, m, j, w0, x0, count, fresh)
                m += 1
            j += lane


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def dots(
    out: Any, pitch: int, a: Any, am: Any, at: Any, b: Any, bn: Any, bt: Any,
    rows: int, columns: int, count: int,
) -> None:  # fmt: skip
    """``out[m*pitch + n] += sum_t a[am[m] + at[t]] . b[bn[n] + bt[t]]``.

    The dot is that of two vectors of as many elements as a register has lanes, and t runs below
    ``count``, at least 1. The arrays are flat and contiguous.
    """
    n = 0
    while n < columns:
        m = 0
        if n + _ACROSS <= columns:
            while m + 4 <= rows:
                _d4a(out, pitch, a, am, at, b, bn, bt, m, n, count)
                m += 4
            while m < rows:
                _d1a(out, pitch, a, am, at, b, bn, bt, m, n, count)
                m += 1
            n += _ACROSS
        else:
            while m + 4 <= rows:
                _d41(out, pitch, a, am, at, b, bn, bt, m, n, count)
                m += 4
            while m < rows:
                _d11(out, pitch, a, am, at, b, bn, bt, m, n, count)
                m += 1
            n += 1
