"""NumPy's names that are not here, each with what answers in its place."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

_WRITES = "it writes into an array, which the tape may need: "
_HOST = "it works on the host: call NumPy's, then gpugrad.numpy.asarray(result)"
_TEXT = "it makes text: use repr(x) or str(x), or NumPy's function on x.numpy()"
_FILES = "files are NumPy's: use its function, with x.numpy() to save and asarray(...) to load"
_DATES = "dates have no gradient and no place on a GPU: use NumPy's on the host"
_MEMORY = "how an array lies in memory is left to the operations: use asarray or x.copy()"
_ABOUT = "it is about NumPy itself: use NumPy's"
_KINDS = "elements are numbers of 1 to 16 bytes that a GPU has too: bool, int, uint, float, complex"

ABSENT: dict[str, str] = {
    # What writes in place
    "copyto": _WRITES + "dst = where(mask, src, dst)",
    "fill_diagonal": _WRITES + "x * (1 - eye(n)) + diag(v), or where(eye(n, dtype=bool), v, x)",
    "place": _WRITES + "x = where(mask, values, x)",
    "put": _WRITES + "x[i] = v on a constant, or where(mask, values, x)",
    "put_along_axis": _WRITES + "where(arange(n) == indices, values, x)",
    "putmask": _WRITES + "x = where(mask, values, x)",
    # Files
    **dict.fromkeys(
        (
            *("fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "memmap", "save"),
            *("savetxt", "savez", "savez_compressed"),
        ),
        _FILES,
    ),
    # Text
    **dict.fromkeys(
        (
            *("array2string", "array_repr", "array_str", "base_repr", "binary_repr"),
            *("format_float_positional", "format_float_scientific"),
        ),
        _TEXT,
    ),
    # Dates
    **dict.fromkeys(
        (
            *(
                "busday_count",
                "busday_offset",
                "busdaycalendar",
                "datetime64",
                "datetime_as_string",
            ),
            *("datetime_data", "is_busday", "isnat", "timedelta64"),
        ),
        _DATES,
    ),
    # Memory and iteration on the host
    **dict.fromkeys(("asfortranarray", "isfortran", "require"), _MEMORY),
    **dict.fromkeys(
        ("may_share_memory", "shares_memory"), "an Array's memory is its own business: x.copy()"
    ),
    **dict.fromkeys(
        ("broadcast", "flatiter", "ndenumerate", "nditer", "nested_iters"),
        "elements are not visited one by one: use broadcast_arrays, ndindex(x.shape) or vmap",
    ),
    **dict.fromkeys(("frombuffer", "fromiter", "fromstring"), _HOST),
    "common_type": "result_type(*arrays, float16)",
    "min_scalar_type": "it looks at a value, which takes a wait for the device: use result_type",
    "asarray_chkfinite": "a check of the values would wait for the device: gg.debug(nans=True)",
    "frompyfunc": "an element is not a Python object here: use vectorize or gg.primitive",
    # Kinds of elements and of arrays
    **dict.fromkeys(
        (
            *("bytes_", "character", "flexible", "object_", "str_", "void"),
            *("clongdouble", "complex256", "float128", "longdouble"),
        ),
        _KINDS,
    ),
    **dict.fromkeys(
        ("asmatrix", "bmat", "matrix"), "matrices are 2-D arrays: asarray, block, and @ to multiply"
    ),
    **dict.fromkeys(("rec", "recarray", "record"), "fields are arrays of their own: use a dict"),
    **dict.fromkeys(("char", "strings"), "strings have no gradient: use NumPy's on the host"),
    "ma": "masked arrays: keep a mask beside the array, and where(mask, x, 0)",
    # Other rooms of NumPy
    "emath": "functions that turn complex by value: sqrt(x + 0j) and others of a complex array",
    "poly1d": "a class over coefficients: polyval, polyadd, polymul, polyder, polyint, roots",
    "polynomial": "other bases: polyval, polyfit, vander; or numpy.polynomial on the host",
    "spacing": "copysign(nextafter(abs(x), inf) - abs(x), x)",
    **dict.fromkeys(
        (
            *("core", "ctypeslib", "exceptions", "f2py", "get_include", "getbufsize", "geterrcall"),
            *("info", "setbufsize", "seterrcall", "show_config", "show_runtime", "test"),
            *("sctypeDict", "testing", "typing", "__version__"),
        ),
        _ABOUT,
    ),
    # Names that NumPy itself has dropped
    "alltrue": "all",
    "asscalar": "x.item()",
    "bool8": "bool",
    "cumproduct": "cumprod",
    "in1d": "isin",
    "msort": "sort(x, axis=0)",
    "product": "prod",
    "sometrue": "any",
    "trapz": "trapezoid",
}
"""What to use, or why there is nothing, by NumPy's name."""


_LAID_OUT = "how an array lies in memory is left to the operations: x.numpy() is NumPy's array"

ATTRIBUTES = {
    "at": "where(mask, values, x), which is a new array",
    "base": _LAID_OUT,
    "byteswap": _HOST,
    "cpu": "x.to('cpu')",
    "ctypes": _LAID_OUT,
    "cuda": "x.to('cuda')",
    "data": "x.detach(), which shares the memory, or x.numpy().data",
    "dump": "numpy.save(file, x.numpy())",
    "dumps": "pickle.dumps(x)",
    "flags": _LAID_OUT,
    "fill": "x[...] = value on a constant, or full_like(x, value)",
    "get": "x.numpy()",
    "getfield": _HOST,
    "itemset": ABSENT["put"],
    "partition": _WRITES + "x = partition(x, kth) of gpugrad.numpy",
    "ptp": "ptp(x) of gpugrad.numpy",
    "put": ABSENT["put"],
    "resize": "resize(x, shape) of gpugrad.numpy",
    "set": "x[...] = values on a constant, or asarray(values, device=x.device) of gpugrad.numpy",
    "setfield": _HOST,
    "setflags": _LAID_OUT,
    "sort": _WRITES + "x = sort(x) of gpugrad.numpy",
    "strides": _LAID_OUT,
    "tobytes": "x.numpy().tobytes()",
    "tofile": "x.numpy().tofile(file)",
    "view": "x.astype(dtype) to convert, x.reshape(shape), or x.numpy().view(dtype) for the bits",
}
"""What to use, or why there is nothing, by the name in arrays of NumPy, CuPy, PyTorch and JAX."""

_CUPYS = {"asnumpy": "x.numpy()", "get_fft_plan": "CuPy keeps the plans of gpugrad.numpy.fft too"}
"""The same for names that only CuPy has."""


def instead(name: str) -> str | None:
    """What answers in place of one of NumPy's names, as the end of an error message."""
    room, _, short = name.rpartition(".")
    return ABSENT.get("emath" if room == "numpy.emath" else short, _CUPYS.get(short))


def meant(name: str, names: Sequence[str]) -> str:
    """What may have been meant by a name that is neither here nor in NumPy, to end a message."""
    try:
        getattr(np, name)
    except AttributeError as error:
        if "`np." in str(error):  # NumPy had it and says what to write
            return f": {str(error).rpartition(chr(10) + 'The aliases')[0] or error}"
    near = get_close_matches(name, [n for n in names if abs(len(n) - len(name)) < 3], 3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
