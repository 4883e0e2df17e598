"""Loops that helpers take parts of, without Python's lock (the GIL).

The caller enters compiled code once. There it writes a job on its stack, the loop with the values
of its arguments, offers it to helpers that wait in compiled code too, takes parts as they do, and
takes the offer back from those that have not come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files
from types import FunctionType
from typing import Any

import numba
from gpugrad.kernels.cpu.words import (
    BYTES,
    INT,
    WORD,
    acquire,
    look,
    number,
    pause,
    put,
    release,
    swap,
    swap_if,
    word_at,
)
from llvmlite import ir
from numba import types
from numba.core import cgutils, compiler
from numba.core.callconv import excinfo_ptr_t
from numba.core.targetconfig import ConfigStack
from numba.extending import intrinsic

_int = types.int64

# A job's words, behind which its arguments stand: the function that runs a part; the first item
# that nobody has taken, and how many there are; the least of a part; how many threads may share;
# and the error of a part, as Numba's functions return it.
_RUN, _NEXT, _ITEMS, _LEAST, _SHARES, _CODE, _ERROR = range(7)
_ARGUMENTS = 7

# A pool's words: the number of helpers, and the addresses of C functions. Behind them are the
# helpers' own, a block each so that no two share a line of a cache.
COUNT, ACQUIRE, RELEASE, CORE = range(4)
BLOCK = 16

# A helper's words: the job that it is offered, or a state; the caller's job, and its core until the
# helper has been told, else -1; whether the helper waits or is about to; and the locks that it and
# its caller wait for.
_JOB, _OWNER, FROM, _ASLEEP, WAKE, ENDED = range(6)
_FREE, _CLAIMED, _BUSY, _AWAITED, _DONE = range(5)
_STATES = 5

_SPINS = 2000
"""Looks, with pauses, before a thread sleeps: some 50 us, as long as it takes to wake one."""

_jit = numba.njit(error_model="numpy", cache=True)

# ------------------------------------------------------------------------------ a job


@_jit
def _word(address: int, at: int) -> int:
    return address + 8 * at


@_jit
def _work(job: int) -> None:
    """Take parts until none is left.

    They get smaller, since helpers come later and nobody should wait for the last: guided
    self-scheduling (Polychronopoulos and Kuck, 1987).
    """
    items, least = look(_word(job, _ITEMS)), look(_word(job, _LEAST))
    shares = look(_word(job, _SHARES))
    while True:
        start = look(_word(job, _NEXT))
        if start >= items:
            return
        stop = min(items, start + max(least, (items - start) // shares))
        if swap_if(_word(job, _NEXT), start, stop):
            _part(job, start, stop)


@intrinsic
def _part(context: Any, job: Any, start: Any, stop: Any) -> Any:
    """Run a part of a job by the function that it names."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [BYTES, WORD, WORD]).as_pointer()
        run = builder.inttoptr(builder.load(word_at(builder, args[0], _RUN)), kind)
        builder.call(run, [builder.inttoptr(args[0], BYTES), *args[1:]])
        return context.get_dummy_value()

    return types.void(_int, _int, _int), code


@intrinsic
def _check(context: Any, job: Any) -> Any:
    """Fail as a part did, if one did."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        failed, error = (builder.load(word_at(builder, args[0], at)) for at in (_CODE, _ERROR))
        convention, place = context.call_conv, builder.inttoptr(error, excinfo_ptr_t)
        status = convention._get_return_status(builder, builder.trunc(failed, INT), place)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(_int), code


def _packing(body: Callable[..., None]) -> Any:
    """What writes a job of this loop, on the stack of the function that calls it."""

    @intrinsic
    def pack(context: Any, version: Any, items: Any, least: Any, shares: Any, args: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            values = cgutils.unpack_tuple(builder, given[4], len(args))
            fields = ir.LiteralStructType([WORD] * _ARGUMENTS + [v.type for v in values])
            job = cgutils.alloca_once(builder, fields)
            run = _runner(context, builder.module, fields, body, tuple(args))
            zero = ir.Constant(WORD, 0)
            words = [builder.ptrtoint(run, WORD), zero, *given[1:4], zero, zero]
            for at, value in enumerate(words + values):
                builder.store(value, cgutils.gep_inbounds(builder, job, 0, at))
            return builder.ptrtoint(job, WORD)

        return _int(_int, _int, _int, _int, args), code

    return pack


def _runner(context: Any, module: Any, fields: Any, body: Any, kinds: tuple[Any, ...]) -> Any:
    """A function in the module that runs a part of a job: the loop, with the job's arguments."""
    name = module.get_unique_name("gpugrad.part")
    run = ir.Function(module, ir.FunctionType(ir.VoidType(), [BYTES, WORD, WORD]), name)
    run.linkage = "internal"
    builder = ir.IRBuilder(run.append_basic_block("entry"))
    job = builder.bitcast(run.args[0], fields.as_pointer())

    def field(at: int) -> Any:
        return cgutils.gep_inbounds(builder, job, 0, at)

    args = [builder.load(field(at)) for at in range(_ARGUMENTS, len(fields.elements))]
    loop = _compiled_within(context, body, (_int, _int, *kinds))
    inner = [*run.args[1:], *args]
    status, _ = context.call_internal_no_propagate(builder, loop.fndesc, loop.signature, inner)
    with cgutils.if_unlikely(builder, status.is_error):
        old, code = ir.Constant(WORD, 0), builder.sext(status.code, WORD)
        first = builder.cmpxchg(field(_CODE), old, code, "seq_cst", "seq_cst")
        with builder.if_then(builder.extract_value(first, 1)):
            builder.store(builder.ptrtoint(status.excinfoptr, WORD), field(_ERROR))
        builder.store_atomic(builder.load(field(_ITEMS)), field(_NEXT), "seq_cst", 8)
    builder.ret_void()
    return run


def _compiled_within(context: Any, body: Any, kinds: tuple[Any, ...]) -> Any:
    """A function compiled into the library that is being made, with the same options.

    In a library of its own it would be optimised twice.
    """
    flags = ConfigStack().top().copy()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    library = context.active_code_library
    return compiler.compile_internal(
        context.typing_context, context, library, body, kinds, None, flags, {}
    )


# ------------------------------------------------------------------------------ loops


def _version() -> int:
    """Of this module and what it calls: loops that Numba keeps on disk hold the same protocol."""
    folder = files("gpugrad.kernels") / "cpu"
    text = "".join((folder / name).read_text() for name in ("shared.py", "words.py"))
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def _driver(version: int) -> Any:
    def driver(pool: int, items: int, least: int, shares: int, *args: Any) -> None:
        job = _pack(version, items, least, shares, args)  # type: ignore[name-defined]  # noqa: F821
        offered = shares > 1 and _offer(pool, job, shares - 1)
        _work(job)
        if offered:
            _finish(pool, job)
        _check(job)

    return driver


def loop(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Compile a function of ``(start, stop, *args)`` for `threads.run`.

    Numba's dispatcher that results has the function's name and file, by which it is kept on disk,
    but ``(pool, items, least, shares, *args)`` for parameters.
    """

    def make(body: Callable[..., None]) -> Any:
        template = _driver(_VERSION)
        code = template.__code__.replace(
            co_filename=body.__code__.co_filename,
            co_firstlineno=body.__code__.co_firstlineno,
            co_name=body.__name__,
        )
        names = {**globals(), "__name__": body.__module__, "_pack": _packing(body)}
        driver = FunctionType(code, names, body.__name__, None, template.__closure__)
        driver.__qualname__, driver.__doc__ = body.__qualname__, body.__doc__
        return numba.njit(nogil=True, **options)(driver)

    return make


_VERSION = _version()

# ------------------------------------------------------------------------------ helpers


@_jit
def _wake(pool: int, helper: int) -> None:
    if look(_word(helper, _ASLEEP)) and swap(_word(helper, _ASLEEP), 0):
        release(look(_word(pool, RELEASE)), look(_word(helper, WAKE)))


@_jit
def _core(pool: int) -> int:
    function = look(_word(pool, CORE))
    return number(function) if function else -1


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def rouse(pool: int, most: int) -> None:
    """Wake helpers that wait, the first ones, for a job that is about to come."""
    core = _core(pool)
    for k in range(min(most, look(_word(pool, COUNT)))):
        helper = _word(pool, BLOCK * (k + 1))
        if look(helper) == _FREE:
            put(_word(helper, FROM), core)
            _wake(pool, helper)


@_jit
def _offer(pool: int, job: int, most: int) -> bool:
    """Offer a job to so many helpers that are free, at most; whether to any."""
    offered, core = 0, _core(pool)
    for k in range(look(_word(pool, COUNT))):
        helper = _word(pool, BLOCK * (k + 1))
        if look(helper) == _FREE and swap_if(helper, _FREE, _CLAIMED):
            put(_word(helper, _OWNER), job)
            put(_word(helper, FROM), core)
            put(helper, job)
            _wake(pool, helper)
            offered += 1
            if offered == most:
                break
    return offered > 0


@_jit
def _finish(pool: int, job: int) -> None:
    """Take back the job from helpers that have not begun, and wait for the others."""
    for k in range(look(_word(pool, COUNT))):
        helper = _word(pool, BLOCK * (k + 1))
        if look(_word(helper, _OWNER)) == job:
            if not swap_if(helper, job, _CLAIMED):
                _await(pool, helper)
            put(_word(helper, _OWNER), 0)  # before another caller may claim it
            put(helper, _FREE)


@_jit
def _await(pool: int, helper: int) -> None:
    """Wait until a helper is done."""
    for _ in range(_SPINS):
        if look(helper) == _DONE:
            return
        pause()
    if swap_if(helper, _BUSY, _AWAITED):
        acquire(look(_word(pool, ACQUIRE)), look(_word(helper, ENDED)))


@numba.njit(nogil=True, cache=True)  # type: ignore[misc, unused-ignore]
def serve(pool: int, helper: int, stays: int) -> int:
    """Work on jobs; return the caller's core if this thread is on it, unless it is ``stays``.

    It looks as soon as it is woken: it would wait for the job in its caller's time.
    """
    while True:
        core: int = look(_word(helper, FROM))
        if core not in (-1, stays) and core == _core(pool):
            return core
        for _ in range(_SPINS):
            if look(helper) >= _STATES:
                break
            pause()
        job = look(helper)
        if job < _STATES:
            _sleep(pool, helper)
            continue
        stays = -1
        if swap_if(helper, job, _BUSY):
            put(_word(helper, FROM), -1)
            _work(job)
            if swap(helper, _DONE) == _AWAITED:
                release(look(_word(pool, RELEASE)), look(_word(helper, ENDED)))


@_jit
def _sleep(pool: int, helper: int) -> None:
    """Wait for a caller, unless one has come."""
    put(_word(helper, _ASLEEP), 1)
    if look(helper) >= _STATES and swap(_word(helper, _ASLEEP), 0):
        return
    acquire(look(_word(pool, ACQUIRE)), look(_word(helper, WAKE)))
