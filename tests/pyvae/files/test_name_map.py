"""A map of names: what is read, and what is said of one that cannot be."""

from __future__ import annotations

import re

import pytest

from pyvae.errors import UserError
from pyvae.files.name_map import read_name_map

BAD = {
    "gone": (None, "there is no map '{path}'"),
    "no column": (b"from,b\nfc,dense\n", "map '{path}' has no column a"),
    "neither": (b"from,to\nfc,dense\n", "map '{path}' has no column a and no column b"),
    "empty": (b"", "map '{path}' cannot be read: names.csv is empty"),
    "a picture": (b"\x89PNG", "map '{path}' cannot be read: it is not text in UTF-8"),
    "uneven": (b"a,b\nx\n", "map '{path}' cannot be read: names.csv has a row of 1 cells for 2"),
}


def test_columns_may_stand_in_any_order_beside_others(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("b,note,a\nfc,x,dense\n")
    assert read_name_map(path) == [("dense", "fc")]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_map_is_a_line_without_words_of_python(tmp_path, name):
    content, said = BAD[name]
    path = tmp_path / "names.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(said.format(path=path))) as raised:
        read_name_map(path)
    assert str(raised.value).endswith("such as the names.csv that pyvae compare writes.")
    assert not re.search(r"Errno|codec|not in list", str(raised.value))
