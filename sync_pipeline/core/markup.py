"""The words of a text that is HTML, or of an XML document."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Final

_JOINING: Final = frozenset({"sub", "sup", "wbr"})
"""Tags in the middle of a word: ``m<sup>2</sup>`` is one."""
_UNSHOWN: Final = frozenset({"script", "style", "template"})
_CDATA: Final = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_MARKED: Final = re.compile(r"<!\[[^>]*>")
"""Conditions as word processors write them (``<![if IE]>``): to a browser they are comments. The
parser of some releases of Python ends with an error at one that it does not know."""
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


def html_words(text: str) -> str:
    """Drop tags, comments, scripts and styles, and decode entities; a tag ends a word."""
    if "<" not in text and "&" not in text:
        return text
    return _read(_HtmlReader(), text)


def xml_words(text: str) -> str:
    """Take the content of elements and the values of attributes, entities decoded.

    Names of tags and attributes, comments and namespaces are no words.
    """
    return _read(_XmlReader(), text)


def _read(reader: _Reader, text: str) -> str:
    text = _CDATA.sub(lambda match: html.escape(match[1]), text)
    text = _MARKED.sub(" ", _COMMENT.sub(" ", text))
    # Releases of Python differ on what an opening bracket is that nothing closes: here, a sign.
    closed = text.rfind(">") + 1
    reader.feed(text[:closed] + text[closed:].replace("<", "&lt;"))
    reader.close()
    return "".join(reader.parts)


class _Reader(HTMLParser):
    """Gathers what is left when markup is taken away."""

    raw_tags: frozenset[str] = frozenset({"script", "style"})
    """Tags whose content is no markup; releases of Python differ on some others."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def set_cdata_mode(self, elem: str, *, escapable: bool = False) -> None:
        del escapable
        if elem in self.raw_tags:
            super().set_cdata_mode(elem)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_decl(self, decl: str) -> None:
        del decl
        self.parts.append(" ")

    def unknown_decl(self, data: str) -> None:
        del data
        self.parts.append(" ")

    def handle_pi(self, data: str) -> None:
        del data
        self.parts.append(" ")


class _HtmlReader(_Reader):
    """What a browser would show."""

    def __init__(self) -> None:
        super().__init__()
        self._unshown: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if self._unshown is None and tag in _UNSHOWN:
            self._unshown = tag
        self._end_word(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._end_word(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unshown:
            self._unshown = None
        self._end_word(tag)

    def handle_data(self, data: str) -> None:
        if self._unshown is None:
            super().handle_data(data)

    def _end_word(self, tag: str) -> None:
        if tag not in _JOINING:
            self.parts.append(" ")


class _XmlReader(_Reader):
    """Every value of a document; no element has a meaning of its own."""

    raw_tags = frozenset()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        values = (value for name, value in attrs if value and name.partition(":")[0] != "xmlns")
        self.parts.append(f" {' '.join(values)} ")

    def handle_endtag(self, tag: str) -> None:
        del tag
        self.parts.append(" ")
