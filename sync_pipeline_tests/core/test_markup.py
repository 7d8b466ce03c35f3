from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipeline.core.markup import html_words, xml_words


def words(text: str) -> str:
    return " ".join(html_words(text).split())


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        pytest.param("D&uuml;bel &amp; 3&frac12; mm", "Dübel & 3½ mm", id="entities"),
        pytest.param("&quot;Profi&quot; &#8211; &#x2014;", '"Profi" – —', id="numbered entities"),
        pytest.param("<p>Mörtel<br>schnell<br/>abbindend</p>", "Mörtel schnell abbindend", id="br"),
        pytest.param("<ul><li>a<li>b</ul><td>c</td><td>d</td>", "a b c d", id="lists and cells"),
        pytest.param("10 m<sup>2</sup> H<sub>2</sub>O", "10 m2 H2O", id="inside a word"),
        pytest.param('<a title="x > y" href="u">Beton</a>', "Beton", id="attributes"),
        pytest.param(
            "a<script>if (a < b) {'<p>'}</script>b<style>p{}</style>c", "a b c", id="script"
        ),
        pytest.param("a<!-- <b>no</b> -->b<!doctype html>c<?php x ?>d", "a b c d", id="comments"),
        pytest.param("a<!-- never closed <b>", "a", id="open comment"),
        pytest.param("<![CDATA[x &amp; <y>]]>z", "x &amp; <y>z", id="CDATA"),
        pytest.param("a<![if !supportLists]>b<![endif]>c", "a b c", id="conditions"),
        pytest.param("a<![A>b<![>c<![x", "a b c<![x", id="sections that nobody knows"),
        pytest.param("AT&T, R&D; 5 < 6 > 4, Ø<20", "AT&T, R&D; 5 < 6 > 4, Ø<20", id="no markup"),
        pytest.param("Bolt <M8", "Bolt <M8", id="nothing closes it"),
        pytest.param("cut <a href='x", "cut <a href='x", id="cut off in a tag"),
        pytest.param("&lt;b&gt;bold&lt;/b&gt;", "<b>bold</b>", id="escaped once more"),
        pytest.param("Bohr&shy;maschine&nbsp;1", "Bohr\u00admaschine 1", id="soft hyphen"),
    ],
)
def test_html_becomes_the_words_that_people_see(html: str, shown: str) -> None:
    assert words(html) == shown


@pytest.mark.parametrize(
    ("xml", "shown"),
    [
        pytest.param("<a><b>x</b><b>y</b></a>", "x y", id="elements"),
        pytest.param('<a name="Beton" code="C25"/>', "Beton C25", id="attributes"),
        pytest.param('<a xmlns="urn:a" xmlns:b="urn:b" b:c="x">y</a>', "x y", id="no namespaces"),
        pytest.param('<?xml version="1.0"?><!-- c --><script>x &lt; y</script>', "x < y", id="all"),
        pytest.param("<![CDATA[x & <y>]]>", "x & <y>", id="CDATA"),
    ],
)
def test_xml_becomes_its_values(xml: str, shown: str) -> None:
    assert " ".join(xml_words(xml).split()) == shown


@given(st.text() | st.text(alphabet="<>&;/!-[]ab'\"= ?", max_size=60))
def test_any_text_can_be_read_as_markup(text: str) -> None:
    html_words(text)
    xml_words(text)


@given(st.text(st.characters(exclude_characters="<&")))
def test_a_text_without_markup_stays_as_it_is(text: str) -> None:
    assert html_words(text) == text
