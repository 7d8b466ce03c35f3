"""Tables on a terminal that show texts as they are."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text


def printable(text: str) -> Text:
    """A text without anything that a terminal would obey, line breaks excepted."""
    return Text(
        "".join(
            character if character.isprintable() or character == "\n" else "\ufffd"
            for character in text
        )
    )


def new_table(*headers: str) -> Table:
    """Columns; a leading ``+`` marks numbers, which align right and never wrap."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for header in headers:
        is_number = header.startswith("+")
        table.add_column(
            header.removeprefix("+"),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="fold",
        )
    return table


def add_row(table: Table, *cells: object) -> None:
    """Add a row; whole numbers with separators, fractions with one digit."""
    table.add_row(*(printable(_cell(cell)) for cell in cells))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
