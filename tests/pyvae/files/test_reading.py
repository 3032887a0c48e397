"""Reading what was written. What is damaged is in tests/fuzz."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvae.files.reading import open_file, read_bytes, read_json, read_numbers, read_rows, says

modest = hypothesis.settings(max_examples=40)
# a carriage return alone ends a line for Python's csv module, too, within quotes or not
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def written(content, read):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(path)


@modest
@given(values, st.booleans())
def test_json_is_read_as_it_was_written(value, ascii_alone):
    assert written(json.dumps(value, ensure_ascii=ascii_alone), read_json) == value


@modest
@given(st.lists(st.lists(texts, min_size=3, max_size=3), min_size=1, max_size=6))
def test_rows_are_read_as_they_were_written(rows):
    heads = ["a", "b, c", 'd "e"']
    text = io.StringIO(newline="")
    csv.writer(text).writerows([heads, *rows])
    assert written(text.getvalue(), lambda path: list(read_rows(path))) == [heads, *rows]


@modest
@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=9))
def test_numbers_are_read_to_the_bit(rows):
    text = "".join(f"{one!r},x,{other!r}\n" for one, other in rows)
    found = written("one,text,other\n" + text, lambda path: read_numbers(path, ["other", "one"]))
    assert list(found) == ["other", "one"]
    expected = np.array([[other, one] for one, other in rows]).reshape(-1, 2).T
    assert np.array_equal([found["other"], found["one"]], expected, equal_nan=True)


def test_all_columns_are_read_if_none_is_named():
    found = written("a,b\n1,2\n3,4\n", read_numbers)
    assert {name: column.tolist() for name, column in found.items()} == {"a": [1, 3], "b": [2, 4]}


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(KeyError, match=r"'c' in file"):
        written("a,b\n1,2\n", lambda path: read_numbers(path, ["a", "c"]))


@pytest.mark.parametrize("most", [0, 3, 4, None])
def test_a_file_of_more_bytes_than_the_most_is_refused(most):
    if most is None or most >= 4:
        assert written(b"abcd", lambda path: read_bytes(path, most)) == b"abcd"
    else:
        with pytest.raises(ValueError, match=f"more than {most} bytes"):
            written(b"abcd", lambda path: read_bytes(path, most))


def test_an_ordinary_file_may_be_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"a")
    (tmp_path / "link").symlink_to("file")
    with open_file(tmp_path / "link") as file:
        assert file.read() == b"a"


@pytest.mark.parametrize(
    ("text", "known"),
    [('{"verdict": 1}', True), ('{"mine": 1}', False), ('["verdict"]', False), ("precious", False),
     ('{"verdict": ', False), (None, False)],
)  # fmt: skip
def test_a_file_of_ours_is_known_by_a_name(text, known, tmp_path):
    if text is not None:
        (tmp_path / "about.json").write_text(text)
    assert says(tmp_path / "about.json", "verdict") is known
