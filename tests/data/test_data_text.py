"""CSV and TSV: what is read, and one clear line for everything that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.data.schema import Schema, read
from jensen.data.source import open_table


def load(tmp_path, content: str | bytes, name: str = "a.csv") -> tuple[Schema, np.ndarray]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(open_table(path))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,2\n2,3.5\n", [[1, 2], [2, 3.5]]),
        ("a,b\r\n1,2\r\n\r\n2,3", [[1, 2], [2, 3]]),
        ("\ufeffa,b\n 1 , 2\n+2,.5\n", [[1, 2], [2, 0.5]]),
        ('a, b\n"1",2e3\n2,-3E-2\n', [[1, 2000], [2, -0.03]]),
        ("0,1\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a\n1\n2", [[1], [2]]),
        ('a,b\n1,"x, y"\n2,"p\nq"\n2,x\n4,x\n', [[1, 0], [2, 1], [2, 2], [4, 2]]),
        ("a,b\ntrue,1\nFALSE,2\n", [[1, 1], [0, 2]]),
    ],
)
def test_what_is_read(tmp_path, content, rows):
    assert load(tmp_path, content)[1].tolist() == rows


def test_names_are_stripped_and_types_follow_the_values(tmp_path):
    schema, _ = load(tmp_path, "a, b,c,d,e\n1,x,true,1.5,2\n2.0,y,false,2,2\n3,x,true,7,2\n")
    assert schema.names == ("a", "b", "c", "d", "e")
    assert [c.kind for c in schema.columns] == [
        "integer", "categorical", "integer", "continuous", "constant",
    ]  # fmt: skip
    assert [c.dtype for c in schema.columns] == ["int64", "string", "bool", "double", "int64"]


def test_integers_that_turn_to_floats_far_down(tmp_path):
    _, matrix = load(tmp_path, "a\n" + "1\n2\n" * 1_100_000 + "3.5\n")
    assert matrix[-1] == 3.5


HALF = "\n".join(f"{i}.5,{i}" for i in range(9))
BAD = {
    "empty": ("", "the file is empty"),
    "blank lines": ("\n\n\n", "the file is empty"),
    "header only": ("a,b\n", "a header but no rows"),
    "header without newline": ("a,b", "a header but no rows"),
    "short row": ("a,b\n1,2\n\n3\n", "row 2 has 1 cells where the header has 2"),
    "long row": ("a,b\n1,2,3\n4,5\n", "row 1 has 3 cells where the header has 2"),
    "repeated name": ("a,b,a\n1,2,3\n", "the column name 'a' occurs more than once"),
    "repeated after strip": ("a, a\n1,2\n", "the column name 'a' occurs more than once"),
    "text": (f"a,b\n{HALF}\n1.5,x7\n", "text 'x7' in column 'b'.*row 10 of"),
    "question mark": (f"a,b\n1,?\n{HALF}\n", "text '\\?' in column 'b'.*row 1 of"),
    "half text": ("a,b\n1,2\n2,x\n", "text 'x' in column 'b'.*row 2 of"),
    "blank cell": (f"a,b\n{HALF}\n1,  \n", "text ' ' in column 'b'.*row 10 of"),
    "hexadecimal": (f"a,b\n{HALF}\n1,0x1F\n", "text '0x1F'"),
    "thousands": (f"a,b\n{HALF}\n1,1_000\n", "text '1_000'"),
    "missing": ("a,b\n1,2\n,3\nNA,\n", r"2 in column 'a' \(first at row 2\), 1 in column 'b'"),
    "missing text": ("a,b\n1,x\n2,\n3,x\n4,y\n", r"1 in column 'b' \(first at row 2\)"),
    "all missing": ("a,b\n1,\n2,\n", r"2 in column 'b' \(first at row 1\)"),
    "missing line": ("a\n1\n\n3\n", r"1 in column 'a' \(first at row 2\)"),
    "infinity": (
        "a,b\n1,2\n2,-inf\n3,1e999\n",
        r"infinite cells: 2 in column 'b' \(first at row 2\)",
    ),
    "one row": ("a,b\n1,2\n", "only one row"),
    "constant": ("a,b\n1,x\n1,x\n", "all 2 columns are constant"),
    "one constant": ("a\n1\n1\n", "the only column is constant"),
    "semicolons": ("a;b\n1;2\n", "separated by semicolons"),
    "tabs": ("a\tb\n1\t2\n", "separated by tabs"),
    "no header": ("1.5,2\n3,4\n", "no header"),
    "unnamed": (",a\n0,1\n1,2\n", "column 1 has no name.*index=False"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
    "latin-1 name": (b"a\xe9,b\n1,2\n", "not UTF-8"),
    "latin-1 cell": (b"a,b\n1,\xe9\n2,3\n", "not UTF-8"),
    "identifier": (
        "a,b\n" + "".join(f"{i},u{i}\n" for i in range(200)),
        "looks like an identifier",
    ),
    "few identifiers": ("a,b\n1,p\n2,q\n3,r\n", "only different values"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(tmp_path, case):
    content, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert "a.csv" in caught.value.where
    assert caught.value.mend


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("zz,true", "text 'zz' in column 'a', which holds numbers.*row 700001 of"),
        ("1,maybe", "text 'maybe' in column 'b', which holds true or false.*row 700001 of"),
        ("1", "row 700001 has 1 cells where the header has 2"),
    ],
)
def test_faults_after_the_first_block_are_found(tmp_path, bad, message):
    with pytest.raises(InputError, match=message):
        load(tmp_path, "a,b\n" + "1,true\n2,false\n" * 350_000 + bad + "\n3,true\n")


def test_tsv(tmp_path):
    assert load(tmp_path, "a\tb\n1\t2\n3\t4\n", "a.tsv")[1].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(InputError, match="separated by commas"):
        load(tmp_path, "a,b\n1,2\n3,4\n", "a.tsv")
