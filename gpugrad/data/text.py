"""Text as numbers: characters or bytes, and the stretches of them that a model learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpugrad.array import Array
from gpugrad.data.arrays import DataError, fingerprint
from gpugrad.data.files import read_text
from gpugrad.device import Device

HELD_OUT = 10
"""The last 1 / HELD_OUT of a text is not trained on."""


class Alphabet:
    """Which token has which number: the characters of a text, or all 256 bytes.

    Parameters
    ----------
    characters : str, optional
        In the order of their numbers; bytes of UTF-8 if not given.

    Examples
    --------
    >>> from gpugrad.data import Alphabet
    >>> letters = Alphabet.of("banana")
    >>> letters.characters, letters.encode("ban").tolist()
    ('abn', [1, 0, 2])
    >>> letters.decode([1, 0, 2])
    'ban'
    """

    def __init__(self, characters: str | None = None) -> None:
        self.characters = characters
        self._codes = None if characters is None else _codes(characters)

    @classmethod
    def of(cls, text: str) -> Alphabet:
        """The characters that come up in a text, in the order of Unicode."""
        return cls("".join(map(chr, np.unique(_codes(text)))))

    def __len__(self) -> int:
        return 256 if self.characters is None else len(self.characters)

    def encode(self, text: str, source: str = "the text") -> NDArray[np.int32]:
        """The tokens of a text.

        Parameters
        ----------
        text : str
            The text. Bytes that came in a string as Python's ``surrogateescape`` holds them, as
            arguments of a command do, are those bytes.
        source : str
            What the errors call it.

        Raises
        ------
        DataError
            For a character that has no number.
        """
        if self._codes is None:
            try:
                raw = text.encode(errors="surrogateescape")
            except UnicodeEncodeError as error:
                at = error.start
                raise DataError(
                    f"character {at} of {source} is {text[at]!r}, half of a pair, which UTF-8 "
                    "has no bytes for"
                ) from None
            return np.frombuffer(raw, np.uint8).astype(np.int32)
        codes = _codes(text)
        found = np.searchsorted(self._codes, codes)
        known = self._codes[np.minimum(found, len(self._codes) - 1)] == codes
        if not known.all():
            at = int(np.argmin(known))
            raise DataError(
                f"character {at} of {source} is {text[at]!r}, which is none of the "
                f"{len(self)} characters that the model knows"
            )
        return found.astype(np.int32)

    def decode(self, tokens: Any) -> str:
        """The text of tokens; bytes that are no UTF-8 become the replacement character."""
        numbers = np.asarray(tokens, np.int64)
        if self._codes is None:
            return bytes(numbers.astype(np.uint8)).decode(errors="replace")
        return "".join(map(chr, self._codes[numbers]))


def _codes(text: str) -> NDArray[np.uint32]:
    """The characters' numbers in Unicode."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


class Stretches:
    """Every stretch of a text as a record: ``context`` tokens, and for each the one after it.

    Parameters
    ----------
    tokens : array of int
        The text. As an `Array` it stays where it is, and stretches are taken there.
    context : int
        Tokens in a record.
    every : int
        Where the next record begins: 1 gives all, ``context`` such as do not overlap.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.data import Stretches
    >>> x, y = Stretches(np.arange(10, 17), 3).take(np.array([0, 2]))
    >>> x.tolist(), y.tolist()
    ([[10, 11, 12], [12, 13, 14]], [[11, 12, 13], [13, 14, 15]])
    """

    def __init__(self, tokens: Any, context: int, every: int = 1) -> None:
        if len(tokens) <= context:
            raise DataError(
                f"a text of {len(tokens)} tokens gives no stretch of {context} and the one after"
            )
        self.tokens = tokens
        self.context = context
        self.every = every
        self._within: Any = np.arange(context + 1)
        if self.device is not None:
            self._within = Array(self._within, device=self.device)

    def __len__(self) -> int:
        return (len(self.tokens) - self.context - 1) // self.every + 1

    @property
    def device(self) -> Device | None:
        """Where the tokens are, if they are an `Array`."""
        return self.tokens.device if isinstance(self.tokens, Array) else None

    def take(self, rows: Any) -> tuple[Any, ...]:
        both = self.tokens[rows[:, None] * self.every + self._within]
        return both[:, :-1], both[:, 1:]

    def fingerprint(self) -> list[str]:
        """What tells these records from others."""
        return [fingerprint(self.tokens), f"context {self.context}", f"every {self.every}"]


class Text(NamedTuple):
    """A text as tokens.

    Attributes
    ----------
    alphabet : Alphabet
        What the numbers mean.
    train, held_out : array of int
        Its beginning, and its last tenth.
    source : str
        What errors call it.
    """

    alphabet: Alphabet
    train: NDArray[np.int32]
    held_out: NDArray[np.int32]
    source: str = "the text"


def load_text(path: str | Path | None = None, *, unit: str = "characters") -> Text:
    """Read a text file, or the documentation that comes with Python.

    Parameters
    ----------
    path : str or Path, optional
        A file, in UTF-8 if characters are learnt; by default the topics of ``help()``,
        `pydoc_data.topics`.
    unit : {"characters", "bytes"}
        What a token is.

    Raises
    ------
    DataError
        For a file that is empty, or not UTF-8 though characters are learnt: with the place.
    OSError
        For one that cannot be read.

    Examples
    --------
    >>> from gpugrad.data import load_text
    >>> text = load_text()
    >>> text.alphabet.decode(text.train[:20])
    'The "assert" stateme'
    """
    if unit not in ("characters", "bytes"):
        raise ValueError(f"load_text: unit={unit!r} is neither 'characters' nor 'bytes'")
    if path is not None and unit == "bytes":
        alphabet, tokens = Alphabet(), _bytes_of(Path(path))
    else:
        text = _standard() if path is None else read_text(path, "a text to learn from")
        alphabet = Alphabet() if unit == "bytes" else Alphabet.of(text)
        tokens = alphabet.encode(text)
    end = len(tokens) - len(tokens) // HELD_OUT
    source = "the text" if path is None else str(path)
    return Text(alphabet, tokens[:end], tokens[end:], source)


def _bytes_of(path: Path) -> NDArray[np.int32]:
    """All of a file, whatever it is."""
    found = np.frombuffer(path.read_bytes(), np.uint8).astype(np.int32)
    if not len(found):
        raise DataError(f"{path} is empty: a text to learn from is needed")
    return found


def _standard() -> str:
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))
