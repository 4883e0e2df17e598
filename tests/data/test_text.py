"""Text as numbers: characters, bytes, stretches; files that are no text."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.data import Alphabet, DataError, Stretches, load_text


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_a_file_comes_back(unit, tmp_path):
    written = "Grüße, Ωmega — 𝄞\n" * 7
    (tmp_path / "a.txt").write_text(written, encoding="utf-8")
    text = load_text(tmp_path / "a.txt", unit=unit)
    count = len(written) if unit == "characters" else len(written.encode())
    assert (len(text.train), len(text.held_out)) == (count - count // 10, count // 10)
    together = np.concatenate([text.train, text.held_out])
    assert text.alphabet.decode(together) == written
    assert together.max() < len(text.alphabet)
    assert len(text.alphabet) == (len(set(written)) if unit == "characters" else 256)


def test_the_documentation_of_python():
    from pydoc_data.topics import topics

    text = load_text()
    end = "".join(topics[name] for name in sorted(topics))[-len(text.held_out) :]
    assert text.alphabet.decode(text.held_out) == end
    assert len(text.train) / len(text.held_out) == pytest.approx(9, rel=1e-3)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"one\ntwo \xff\n", r"not text in UTF-8: byte 8 \(line 2\) is 0xff"),
        ("naïve".encode("utf-16"), r"byte 0 \(line 1\)"),
    ],
)
def test_what_is_no_text(raw, said, tmp_path):
    (tmp_path / "a.txt").write_bytes(raw)
    with pytest.raises(DataError, match=said):
        load_text(tmp_path / "a.txt")


def test_the_bytes_of_any_file(tmp_path):
    raw = "naïve\n".encode("latin1") * 10
    (tmp_path / "a.txt").write_bytes(raw)
    text = load_text(tmp_path / "a.txt", unit="bytes")
    assert bytes(np.concatenate([text.train, text.held_out]).astype(np.uint8)) == raw
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(DataError, match=r"a.txt is empty: a text to learn from is needed"):
        load_text(tmp_path / "a.txt", unit="bytes")


def test_unknown_characters_and_units():
    with pytest.raises(DataError, match="character 1 of the text is 'z', which is none of the 2"):
        Alphabet("ab").encode("az")
    with pytest.raises(DataError, match="character 0 of the prompt is 'z'"):
        Alphabet("ab").encode("z", "the prompt")
    with pytest.raises(ValueError, match="unit='words'"):
        load_text(unit="words")


def test_bytes_that_are_no_utf8():
    # As the arguments of a command hold them.
    assert Alphabet().encode("h\udcffi").tolist() == [104, 0xFF, 105]
    with pytest.raises(DataError, match=r"character 1 of the text is '\\ud800', half of a pair"):
        Alphabet().encode("a\ud800")


def test_bytes_that_end_within_a_character():
    assert Alphabet().decode([72, 105, 0xC3]) == "Hi\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("every", [1, 3, 4])
def test_stretches(every, device):
    tokens = np.arange(100, 121, dtype=np.int32)
    for held in (tokens, gg.Array(tokens, device=device)):
        data = Stretches(held, 4, every)
        rows = np.arange(len(data))
        x, y = data.take(rows if data.device is None else gg.Array(rows, device=device))
        starts = np.arange(0, 21 - 4, every)
        np.testing.assert_array_equal(
            np.asarray(x if data.device is None else x.numpy()), 100 + starts[:, None] + np.r_[:4]
        )
        np.testing.assert_array_equal(
            np.asarray(y if data.device is None else y.numpy()), 101 + starts[:, None] + np.r_[:4]
        )


def test_too_short_for_a_stretch():
    with pytest.raises(DataError, match="4 tokens gives no stretch of 4"):
        Stretches(np.arange(4), 4)
