"""A listing says the same in every format, exactly, and nothing in it is obeyed."""

import csv
import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import click
import pyarrow.parquet as pq
import pytest

from quantkeep.cli.formats import show, table
from quantkeep.cli.formats.csv import harmless
from quantkeep.cli.listing import Listing, integer, real, text
from quantkeep.columns import Column, Kind

COLUMNS = (
    text("name"),
    integer("count"),
    real("rate"),
    *(
        Column(name=kind.value, kind=kind, nullable=True)
        for kind in (Kind.DECIMAL, Kind.BOOLEAN, Kind.TIMESTAMP, Kind.DATE, Kind.BINARY)
    ),
    Column(name="document", kind=Kind.DOCUMENT, nullable=True),
)
FULL = (
    "한글, \"quoted\"", 2**53 + 1, 0.1 + 0.2, "-0.10", True, 1_737_100_800_000_001, "2025-01-17",
    b"\x00\xff", '{"a":[9007199254740993,{"$float":"nan"},1.5]}',
)  # fmt: skip
EMPTY = (None,) * len(COLUMNS)


def listing(*rows, columns=COLUMNS, **more):
    return Listing(title="Things", columns=columns, rows=iter(rows), **more)


def written(what, form, capsys):
    show(what, form, None)
    return capsys.readouterr().out


def test_json_is_one_array_whose_numbers_every_reader_holds(capsys):
    full, empty = json.loads(written(listing(FULL, EMPTY), "json", capsys))
    assert full == {
        "name": '한글, "quoted"',
        "count": "9007199254740993",
        "rate": 0.1 + 0.2,
        "decimal": "-0.10",
        "boolean": True,
        "timestamp": "2025-01-17T08:00:00.000001Z",
        "date": "2025-01-17",
        "binary": "00ff",
        "document": {"a": ["9007199254740993", {"$float": "nan"}, 1.5]},
    }
    assert set(empty.values()) == {None}


@pytest.mark.parametrize(
    ("number", "said"),
    [(2**53, 2**53), (-(2**53), -(2**53)), (2**53 + 1, str(2**53 + 1)), (-(2**63), str(-(2**63)))],
)
def test_json_integers_beyond_a_double_are_text(number, said, capsys):
    assert json.loads(written(listing((number,), columns=(integer("n"),)), "json", capsys)) == [
        {"n": said}
    ]


@pytest.mark.parametrize(
    ("number", "said"),
    [(float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (-0.0, -0.0)],
)
def test_json_has_no_words_that_json_does_not_have(number, said, capsys):
    (row,) = json.loads(written(listing((number,), columns=(real("x"),)), "json", capsys))
    assert repr(row["x"]) == repr(said)


def test_no_rows_are_an_empty_array_and_a_header_alone(capsys):
    assert json.loads(written(listing(), "json", capsys)) == []
    assert written(listing(columns=COLUMNS[:2]), "csv", capsys) == "name,count\n"
    assert written(listing(), "table", capsys) == "Things: none\n"


def test_csv_comes_back_as_it_went_out(capsys):
    header, full, empty = csv.reader(StringIO(written(listing(FULL, EMPTY), "csv", capsys)))
    assert header == [column.name for column in COLUMNS]
    assert full == [
        '한글, "quoted"', "9007199254740993", "0.30000000000000004", "-0.10", "true",
        "2025-01-17T08:00:00.000001Z", "2025-01-17", "00ff", FULL[-1],
    ]  # fmt: skip
    assert set(empty) == {""}


FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1", "-1+cmd", "@SUM(1)", "\t=1", "\r=1", "\n=1", "-", "=",
]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
def test_csv_text_is_never_a_formula(formula, capsys):
    shown = written(listing((formula,), columns=(text("note"),)), "csv", capsys)
    assert [*csv.reader(StringIO(shown, newline=""))][1] == ["'" + formula]


def test_csv_tells_null_from_empty_text(capsys):
    rows = [("", None), (None, "")]
    shown = written(listing(*rows, columns=(text("a"), text("b"))), "csv", capsys)
    assert shown == 'a,b\n"",\n,""\n'


@pytest.mark.parametrize("plain", ["BTC-USD", "a=b", "", "'quoted", " =1"])
def test_csv_text_that_is_no_formula_is_left_alone(plain):
    assert harmless(plain) == plain


def test_csv_numbers_are_left_alone(capsys):
    columns = (integer("i"), real("r"), Column(name="d", kind=Kind.DECIMAL))
    shown = written(listing((-1, float("-inf"), "-0.5"), columns=columns), "csv", capsys)
    assert shown == "i,r,d\n-1,-inf,-0.5\n"


def test_parquet_has_the_types(tmp_path):
    show(listing(FULL, EMPTY), None, tmp_path / "x.parquet")
    full, empty = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert full["timestamp"] == datetime(2025, 1, 17, 8, 0, 0, 1, tzinfo=UTC)
    assert full["decimal"] == Decimal("-0.1")
    assert full["count"] == 2**53 + 1
    assert full["binary"] == b"\x00\xff"
    assert set(empty.values()) == {None}


def test_parquet_of_nothing_has_the_types_too(tmp_path):
    show(listing(), "parquet", tmp_path / "x")
    assert pq.read_schema(tmp_path / "x").names == [column.name for column in COLUMNS]


def test_parquet_on_a_terminal_is_refused():
    with pytest.raises(click.UsageError, match="--output FILE"):
        show(listing(), "parquet", None)


def test_a_table_shows_what_a_terminal_would_obey_as_text(capsys):
    evil = "\x1b]0;title\x07 \x1b[31mred\x9b1m\r\n[bold]x[/bold] :smile: \u202egnp"
    shown = written(listing((evil,), columns=(text("note"),)), "table", capsys)
    assert not set("\x1b\x07\x9b\r\u202e") & set(shown)
    assert r"\x1b[31mred" in shown
    assert "[bold]x[/bold] :smile:" in shown


def test_a_table_leaves_out_columns_without_values(capsys):
    shown = written(
        listing(("a", None, 1.5), columns=COLUMNS[:3], shown=("rate", "count", "x")),
        "table",
        capsys,
    )
    assert "rate" in shown
    assert "count" not in shown
    assert "name" not in shown


def test_a_table_in_a_pipe_is_as_wide_as_it_needs():
    out = StringIO()
    table.write(listing(*[("x" * 70,) * 4], columns=tuple(map(text, "abcd"))), out)
    assert max(map(len, out.getvalue().splitlines())) > 280
    assert out.getvalue().count("x" * 70) == 4


def test_only_the_columns_asked_for_in_that_order(capsys):
    narrow = listing(FULL).narrowed(("rate", "name"))
    assert [*json.loads(written(narrow, "json", capsys))[0]] == ["rate", "name"]
    assert json.loads(written(listing(FULL).narrowed(("date",)), "json", capsys)) == [
        {"date": "2025-01-17"}
    ]
    with pytest.raises(click.BadParameter, match="no column 'x'; there are name, count"):
        listing(FULL).narrowed(("x",))


@pytest.mark.parametrize("name", ["x.json", "x.csv", "x.parquet", "x.txt"])
def test_a_file_appears_whole_or_not_at_all(name, tmp_path):
    def rows():
        yield FULL
        raise RuntimeError("the engine died")

    file = tmp_path / name
    file.write_text("before")
    with pytest.raises(RuntimeError):
        show(Listing(title="Things", columns=COLUMNS, rows=rows()), None, file)
    assert file.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_the_ending_of_a_file_says_its_format(tmp_path):
    for name in ("x.json", "x.csv", "x.txt"):
        show(listing(FULL), None, tmp_path / name)
    assert json.loads((tmp_path / "x.json").read_text())
    assert (tmp_path / "x.csv").read_text().startswith("name,count")
    assert "Things" in (tmp_path / "x.txt").read_text()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    show(listing((1,), columns=(integer("n"),)), None, pipe)
    assert os.read(reader, 100) == b"n\n1\n"
    os.close(reader)
