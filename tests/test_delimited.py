"""Tables in text files: quotation marks, delimiters, headers, encodings, and the messages about them."""

from __future__ import annotations

import csv
import gzip
import logging

import pandas as pd
import pytest
from pydantic import ValidationError

from hbt_bench.data.delimited import read_table
from hbt_bench.data.dialect import TableFormat, detect, stated_keys
from hbt_bench.data.records import read_rows
from hbt_bench.errors import DataError

#: A mark that no other mark closes, a quoted word, a mark at the end of a cell, a mark for inches.
LOG = ['"to be or not', 'who wrote "Emma"', '"Emma" was written when', 'screen of 40"', "plain"]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(path, **keys):
    return [list(row.values()) for _, row in read_table(path, TableFormat(**keys))]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 4, 4, 3, 4), (4, 0, 3, 4), (0,), (2,), (3, 0)])
@pytest.mark.parametrize("ending", ["a.tsv", "a.tab", "a.txt", "a.tsv.gz"])
def test_lines_of_a_log_are_rows(tmp_path, order, ending):
    rows = [[f"{number}", LOG[index], f"answer {number}"] for number, index in enumerate(order)]
    text = "".join("\t".join(row) + "\n" for row in [["id", "query", "answer"], *rows])
    path = write(tmp_path / ending, gzip.compress(text.encode()) if ending.endswith("gz") else text)
    assert cells(path) == rows
    assert [row.where for row in read_rows(path)] == [f"{path}:{number}" for number in range(2, len(rows) + 2)]


#: Cells with tabs, line ends, marks and commas, and plain cells.
TABLE = pd.DataFrame({"id": [1, 2, 3], "query": ['say "x"', "a\tb", "two\nlines"], "answer": ["a, b", "y", 'z"']})


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 1), slice(1, 2), slice(2, 3)])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tables_of_pandas_are_quoted(tmp_path, quoting, rows, line_end):
    table = TABLE[rows]
    text = table.to_csv(sep="\t", index=False, quoting=quoting, lineterminator=line_end)
    path = write(tmp_path / "a.tsv", text)
    assert detect(path).quoting == "csv"
    assert cells(path) == table.astype(str).values.tolist()


def test_all_texts_are_quoted(tmp_path):
    path = write(tmp_path / "a.tsv", '"id"\t"q"\t"day"\t"used"\n1\t"a"\t12:30\tTRUE\n2\t"b"\t13:00\tNA\n')
    assert cells(path) == [["1", "a", "12:30", "TRUE"], ["2", "b", "13:00", "NA"]]
    path = write(tmp_path / "b.tsv", '"id"\t"q"\t"l"\n1\t"a"\ten\n')  # a text without marks
    assert cells(path) == [["1", '"a"', "en"]]


def test_spreadsheet_quotes_commas(tmp_path):
    path = write(tmp_path / "a.txt", '\ufeffid\tq\r\n1\t"a, b"\r\n2\t"say ""x"""\r\n3\tplain\r\n')
    assert cells(path) == [["1", "a, b"], ["2", 'say "x"'], ["3", "plain"]]


@pytest.mark.parametrize(
    "rows",
    [
        ['1\t"a, b"'],  # a comma needs no marks in a log
        ['1\t"say ""x"""', '2\tscreen of 40"'],  # a program would have quoted the second row
        ['1\t"say ""x"""', '2\t"plain"'],  # a program would not have quoted the second row
    ],
)
def test_marks_are_letters_unless_all_are_explained(tmp_path, rows):
    path = write(tmp_path / "a.tsv", "id\tq\n" + "\n".join(rows))
    assert (detect(path).quoting, detect(path).in_doubt) == ("none", ("quoting",))
    assert cells(path) == [row.split("\t") for row in rows]


def test_assumption_is_logged_once_and_stated(tmp_path, caplog):
    path = write(tmp_path / "a.tsv", 'q\ta\n"to be\tx\n')
    with caplog.at_level(logging.INFO):
        assert cells(path) == cells(path) == [['"to be', "x"]]
        assert cells(path, quoting="none") == [['"to be', "x"]]
    assert caplog.messages == [
        f"{path}: a quotation mark is a letter, and each line a row; set `quoting: csv` if cells are quoted"
    ]
    assert stated_keys(path) == {"quoting": "none"}
    assert stated_keys(write(tmp_path / "b.tsv", "q\ta\nx\ty\n")) == {}
    assert stated_keys(path, TableFormat(header=("a", "b"))) == {"quoting": "none", "header": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "text", "delimiter"),
    [
        ("a.csv", 'id;q\n1;"a; b"\n2;c, d\n', ";"),
        ("a.csv", "id\tq\n1\ta, b\n2\tc\n", "\t"),
        ("a.csv", "id|q\n1|a\n2|c\n", "|"),
        ("a.tsv", 'id,q\n1,"a, b"\n2,c\n', ","),
        ("a.txt", "id;q\n1;a\n2;c\n", ";"),
    ],
)
def test_other_delimiters_are_found(tmp_path, name, text, delimiter):
    path = write(tmp_path / name, text)
    assert detect(path).delimiter == delimiter
    assert [row[0] for row in cells(path)] == ["1", "2"]
    assert all(len(row) == 2 for row in cells(path))
    assert stated_keys(path)["delimiter"] == {"\t": "tab"}.get(delimiter, delimiter)


@pytest.mark.parametrize("text", ["q; a\nx\ny\n", "text\none; two\nthree; four; five\n"])
def test_single_column_stays_single(tmp_path, text):
    assert [len(row) for row in cells(write(tmp_path / "a.csv", text))] == [1, 1]


def test_header_names_the_columns(tmp_path):
    path = write(tmp_path / "queries.tsv", '7\twhat is "x"\n8\twho\n')
    rows = list(read_table(path, TableFormat(header=("id", "query"))))
    assert rows == [(1, {"id": "7", "query": 'what is "x"'}), (2, {"id": "8", "query": "who"})]


def test_line_ends_marks_of_order_and_null(tmp_path):
    expected = [["1", "a"], ["2", None]]
    for content in ("id\tq\n1\ta\n\n2\t\\N", "\ufeffid\tq\r\n1\ta\r\n2\t\\N\r\n", "id\tq\r1\ta\r2\t\\N\r"):
        assert cells(write(tmp_path / "a.tsv", content)) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'q,a\nx,y\n"open,y\nz,y\n', "a.csv:3: not CSV: a quotation mark opens a cell that does not end"),
        ("a.csv", 'q,a\n"x, y",z\n"two\nlines",z\n"open,y\nsay "hi",y\n', "a.csv:5: not CSV: a quotation mark opens"),
        ("a.csv", 'q,"open,a\n', "a.csv:1: not CSV: a quotation mark opens"),
        ("a.csv", 'q,a,b\n"o,y,z\nx,y,z\nx",y,z\n', "a.csv: the lines 2 to 4 would be one row"),
        ("a.csv", "q,a\nx\n", "a.csv:2: 1 cells, but the header has 2: quote the text, or set `delimiter`"),
        ("a.tsv", "q\ta\nx\n", "a.tsv:2: 1 cells, but the header has 2: write each row on a line"),
        ("a.tsv", 'q\ta\n"x\ty\nz\n', "a.tsv:3: 1 cells, but the header has 2, and quotation marks do not explain it"),
        # most of the joined lines are rows of their own
        ("a.tsv", 'q\ta\tb\n1\t"x\ty\n2\tz\n3\tx"\ty\n', "a.tsv:3: 2 cells, but the header has 3, and quotation"),
        ("a.tsv", "q\tq\nx\ty\n", "a.tsv:1: the column 'q' is repeated; if this line is a row"),
        ("a.tsv", "q\ta\nx\0\ty\n", "a.tsv:2: bytes of zero"),
        ("a.tsv", "q\ta\nx\ty\n".encode("utf-16"), "a.tsv:1: bytes of zero or a mark of UTF-16"),
        ("a.tsv", "q\ta\nx\tÜ\n".encode("cp1252"), "a.tsv:2: byte 3 of the line is not UTF-8.*iconv -f WINDOWS-1252"),
    ],
)
def test_doubtful_table_is_refused(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=rf"/{message}"):
        list(read_table(path))


def test_stated_convention_is_not_doubted(tmp_path):
    path = write(tmp_path / "a.csv", 'q,a,b\n"o,y,z\nx,y,z\nx",y,z\n')
    assert [len(row) for row in cells(path, quoting="none")] == [3, 3, 3]
    assert cells(path, quoting="csv") == [["o,y,z\nx,y,z\nx", "y", "z"]]


def test_long_cells_do_not_hide_a_delimiter(tmp_path):
    long = "x" * 200_000
    assert cells(write(tmp_path / "a.csv", f"id;q\n1;{long}\n")) == [["1", long]]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"delimiter": "ab"}, "a delimiter is a single character"),
        ({"delimiter": '"'}, "a delimiter is a single character"),
        ({"delimiter": ["a"]}, "a delimiter is a single character"),
        ({"header": ("a", "a")}, "two columns have the same name"),
        ({"quoting": "all"}, "'none' or 'csv'"),
    ],
)
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        TableFormat(**keys)
    assert TableFormat(delimiter="tab").delimiter == TableFormat(delimiter=r"\t").delimiter == "\t"


# Delimiters


@pytest.mark.parametrize(
    ("name", "text", "delimiter", "where"),
    [
        ("a.csv", "id;query, short;answer\n1;x, y;z\n2;u;v\n", ";", [2, 3]),  # the names and texts have commas
        ("a.csv", "sep=;\nid;query, short;answer\n1;x, y;z\n2;u;v\n", ";", [3, 4]),  # as Excel writes it
        ("a.csv", '"sep=;"\r\nid;"query, short";answer\r\n1;x, y;z\r\n2;u;v\r\n', ";", [3, 4]),
        ("a.csv", 'SEP=,\nid,"query, short",answer\n1,"x, y",z\n2,u,v\n', ",", [3, 4]),
        ("a.tsv", "sep=\t\nid\tquery, short\tanswer\n1\tx, y\tz\n2\tu\tv\n", "\t", [3, 4]),
    ],
)
def test_delimiter_is_inferred_or_stated_by_the_file(tmp_path, name, text, delimiter, where):
    path = write(tmp_path / name, text)
    assert detect(path).delimiter == delimiter
    assert [number for number, _ in read_table(path)] == where
    assert [row for _, row in read_table(path)] == [
        {"id": "1", "query, short": "x, y", "answer": "z"},
        {"id": "2", "query, short": "u", "answer": "v"},
    ]


def test_two_delimiters_that_fit_are_refused(tmp_path):
    path = write(tmp_path / "a.csv", "id;query, short;answer\n1;x, y;z\n2;u,;v\n")
    with pytest.raises(DataError, match=r"a\.csv:1: both ',' and ';' give rows of equal length: set `delimiter`"):
        detect(path)
    assert cells(path, delimiter=";") == [["1", "x, y", "z"], ["2", "u,", "v"]]
    write(path, 'id,"query; short",answer\n1,"x; y",z\n')  # only quoted cells have semicolons
    assert detect(path).delimiter == ","


def test_lines_after_the_stated_delimiter_keep_their_numbers(tmp_path):
    path = write(tmp_path / "a.csv", 'sep=;\nid;query\n1;"x\ny"\n2\n')
    with pytest.raises(DataError, match=r"a\.csv:5: 1 cells, but the header has 2"):
        list(read_table(path))
    write(path, 'sep=;\nid;query\n1;"x\n')
    with pytest.raises(DataError, match=r"a\.csv:3: not CSV: a quotation mark opens a cell"):
        list(read_table(path))
