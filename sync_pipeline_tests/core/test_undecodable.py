"""Bytes that are no text, on their way through the program (scenario S66)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.undecodable import is_undecodable, recoded, with_escapes


@given(st.binary())
def test_s66_bytes_travel_in_a_text_and_come_back(raw: bytes) -> None:
    """A text with bytes in it is known as one, and gives the same bytes again."""
    text = raw.decode(errors="surrogateescape")

    assert text.encode(errors="surrogateescape") == raw
    try:
        raw.decode()
    except UnicodeDecodeError:
        assert is_undecodable(text)
    else:
        assert not is_undecodable(text)
    assert not is_undecodable(with_escapes(text))


@given(st.text())
def test_s66_a_shown_text_can_be_written_anywhere(text: str) -> None:
    """What is shown has no lone surrogate, whatever the text has; a sound text stays."""
    shown = with_escapes(text)

    assert shown.encode().decode() == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_s66_a_sound_text_stays_as_it_is(text: str) -> None:
    """Nothing is done to text that is one."""
    assert with_escapes(text) == text
    assert recoded(text) == text
    assert not is_undecodable(text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"B\xe9ton", r"B\xe9ton"),
        ("Бетон".encode() + b"\xff", r"Бетон\xff"),
        (b"plain", "plain"),
        (b"\xc3", r"\xc3"),
    ],
)
def test_s66_bytes_are_shown_as_escapes(raw: bytes, shown: str) -> None:
    """The bytes are seen, and so is the text around them."""
    assert with_escapes(raw.decode(errors="surrogateescape")) == shown


@pytest.mark.parametrize("value", [None, 1, b"\xe9", ["\udce9"], True])
def test_s66_only_texts_are_undecodable(value: object) -> None:
    """Other values are judged by others."""
    assert not is_undecodable(value)


@pytest.mark.parametrize(
    ("raw", "word"), [("гипс".encode(), "гипс"), (b"gips", "gips"), (b"\xe9", "\ufffd")]
)
def test_s66_a_word_of_an_ascii_command_line_is_read_as_utf_8(raw: bytes, word: str) -> None:
    """A locale that knows only ASCII hands over bytes; what is no UTF-8 has a mark."""
    assert recoded(raw.decode("ascii", errors="surrogateescape")) == word
