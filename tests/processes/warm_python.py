"""A Python for programs that start `python -m pyvae` themselves, as the R package does, and for
notebooks.

It stands in a virtual environment that sees the packages of this one. Started with `-m pyvae`, as
a notebook's kernel, or with a text that begins with `import torch`, it has that run in a process
that has imported PyTorch before (tests/processes/warm.py); with all else it is the Python that it
stands for, which R can also load.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import tempfile
import threading
import venv
from pathlib import Path
from typing import Self

from processes.warm import LONGEST, Warm

__all__ = ["WarmPython"]

# Runs without any package, in milliseconds.
ASKS = """
import json, os, socket, sys
request = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
    door.connect(sys.argv[1])
    socket.send_fds(door, [request], [0, 1, 2])
    code = int(door.recv(100))
sys.exit(code if code >= 0 else 128 - code)
"""
PROGRAM = f"""#!/bin/sh
here=$(dirname "$0")
real="$here/python{sys.version_info[0]}.{sys.version_info[1]}"
case "$1 $2" in
    "-m pyvae" | "-m ipykernel_launcher" | "-c import torch"*)
        exec "$real" -IS "$here/../asks.py" "$here/../door" "$@" ;;
    *) exec "$real" "$@" ;;
esac
"""


class WarmPython:
    """A Python in a folder of its own, and who does what it asks for; a program may ask again.

    Attributes:
        program: The Python.
        done: The arguments of each program that it had run in a warm process.
    """

    def __init__(self, warm: Warm) -> None:
        self._warm = warm
        self._place = tempfile.TemporaryDirectory()  # a socket's path must be short
        folder = Path(self._place.name)
        venv.create(folder, symlinks=True)
        (site,) = (folder / "lib").glob("python*/site-packages")
        others = [
            path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")
        ]
        added = [f"import site; site.addsitedir({path!r})\n" for path in others]
        (site / "others.pth").write_text("".join(added))
        (folder / "asks.py").write_text(ASKS)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(folder / "door"))
        self._listening.listen()
        self.program = folder / "bin" / "python"
        self.program.unlink()
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.done: list[list[str]] = []
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *given: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        self._place.cleanup()

    def _serve(self) -> None:
        asked = []
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                break
            asked.append(threading.Thread(target=self._do, args=(connection,)))
            asked[-1].start()
        for one in asked:
            one.join()

    def _do(self, connection: socket.socket) -> None:
        """Runs what is asked for; ends it if who asked has gone."""
        with connection:
            said, streams, *_ = socket.recv_fds(connection, LONGEST, 3)
            words, folder, environment = json.loads(said)
            stdin, stdout, stderr = streams
            with self._starting:
                command = self._warm.start(
                    *words, folder=folder, environment=environment, stdin=stdin, stdout=stdout,
                    stderr=stderr,
                )  # fmt: skip
            for descriptor in streams:
                os.close(descriptor)
            self.done.append(words)
            if command not in select.select([command, connection], [], [])[0]:
                command.kill()
            code = command.wait()
            with contextlib.suppress(BrokenPipeError):
                connection.send(str(code).encode())
