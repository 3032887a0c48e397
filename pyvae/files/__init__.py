"""Reading and writing files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyvae.exports import lazy_exports

if TYPE_CHECKING:
    from pyvae.files.arrays import read_arrays, write_arrays
    from pyvae.files.reading import UNREADABLE, read_json
    from pyvae.files.writing import output_folder, write_file

__all__ = ["UNREADABLE", "output_folder", "read_arrays", "read_json", "write_arrays", "write_file"]
__getattr__ = lazy_exports(
    __name__,
    {
        "UNREADABLE": "pyvae.files.reading",
        "output_folder": "pyvae.files.writing",
        "read_arrays": "pyvae.files.arrays",
        "read_json": "pyvae.files.reading",
        "write_arrays": "pyvae.files.arrays",
        "write_file": "pyvae.files.writing",
    },
)
