"""Fuzzes one reader with atheris (coverage-guided, https://github.com/google/atheris): whatever the
file, it has to return a value or raise a UserError of one line, within the memory it may take.

    pip install atheris
    python tests/fuzz/fuzz.py READER [--seconds 600] [--corpus DIR] [--mib 2000]

An input that does anything else is kept as crash-... in the corpus' folder, and ends the run with
exit code 77.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTRUMENTED = [
    "pyvae", "comparisons", "fuzz", "json", "zipfile", "csv", "numpy.lib", "safetensors",
]  # fmt: skip


def tokens(whole: bytes) -> set[str]:
    """Words and numbers of a file, and some that readers stumble over, as libFuzzer wants them."""
    found = re.findall(rb"[A-Za-z_]{3,}|[-+]?[0-9.]+(?:e[-+]?[0-9]+)?", whole)
    odd = [
        b"null", b"true", b"NaN", b"1e400", b"-1", b"0", b"99999999999999999999", b"[", b"{", b"}",
        b"]", b'"', b",", b"\n", b"\\ud800", b"\xef\xbb\xbf", b"\0", b"\xff\xff\xff\xff", b"1_0",
    ]  # fmt: skip
    return {"".join(f"\\x{byte:02x}" for byte in token) for token in {*found[:300], *odd} if token}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("reader")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="kept there (default: in a temporary folder)")
    parser.add_argument("--mib", type=int, default=2000, help="of memory of the whole process")
    asked = parser.parse_args()

    import atheris
    import torch  # noqa: F401 (before anything is instrumented)

    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.readers import READERS
        from pyvae.errors import UserError, printable

    if asked.reader not in READERS:
        sys.exit(f"{asked.reader}: unknown reader: expected one of {', '.join(READERS)}")
    reader = READERS[asked.reader]
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as place:
        folder = Path(place) / "files"
        folder.mkdir()
        path = reader.make(folder)
        corpus = asked.corpus or Path(place) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes()
        (corpus / "seed").write_bytes(whole)
        (corpus / "seed-cut").write_bytes(whole[: len(whole) * 2 // 3])
        words = Path(place) / "words"
        words.write_text("".join(f'"{token}"\n' for token in tokens(whole)))
        reader.read(folder)
        tracemalloc.start()

        def taken() -> int:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                reader.read(folder)
            except UserError as error:
                if len(str(error).splitlines()) != 1 or printable(str(error)) != str(error):
                    raise
            return tracemalloc.get_traced_memory()[1] - before

        def one(data: bytes) -> None:
            path.write_bytes(data)
            allowed = reader.allowed(len(data))
            # twice: a table of the interpreter's own that grows is not the file's
            if taken() > allowed and (again := taken()) > allowed:
                raise MemoryError(f"{again} bytes for a file of {len(data)}")

        atheris.Setup(
            [
                sys.argv[0],
                str(corpus),
                f"-max_total_time={asked.seconds}",
                f"-rss_limit_mb={asked.mib}",
                f"-max_len={4 * len(whole) + 4096}",
                f"-dict={words}",
                "-timeout=30",
                "-print_final_stats=1",
                f"-artifact_prefix={corpus}/",
            ],
            one,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
