"""The R process: embeds R through rpy2 and answers calls until the connection closes.

Started by `r_bridge.process.client` as `python -m r_bridge.process.server DESCRIPTOR FOLDER`; the
folder is for R's temporary files alone.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import sys
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

from r_bridge import R_FILES
from r_bridge.process.wire import ClosedError, Kept, frame, receive, send

# A user's profile could change the numbers; what R says goes to the process's log.
R_OPTIONS = ("rpy2", "--quiet", "--no-save", "--no-restore", "--no-init-file", "--no-site-file")
GRACE = 1.0  # seconds to end by itself once Python is gone


def main(descriptor: int, folder: str) -> None:
    """Answers requests {function, arguments, keep} with {value} or {error, call, where}."""
    connection = socket.socket(fileno=descriptor)
    Thread(target=_end_without_python, args=(descriptor, folder), daemon=True).start()
    try:
        import rpy2.situation

        # asked of an Rscript at once; initr() asks another for it and all other variables
        rpy2.situation.r_ld_library_path_from_subprocess = lambda r_home: ""
        import rpy2.rinterface as ri
        import rpy2.rinterface_lib.embedded as embedded

        embedded.set_initoptions(R_OPTIONS)  # type: ignore[arg-type]
        ri.initr()
        # called, not evaluated as text: R's parser refuses some characters that a path may have
        bridge = ri.StrSexpVector([str(R_FILES / "bridge.R")])
        ri.baseenv["source"](bridge, **{"keep.source": ri.BoolSexpVector([True])})
        # else R looks through every operand of a matrix product for NaN before it multiplies
        ri.evalr("options(matprod = 'blas', warn = 1)")
        respond = _responder(connection)
    except Exception as error:  # whatever keeps R from starting is the answer
        send(connection, {"error": f"{type(error).__name__}: {error}"})
        return
    send(connection, {"value": None})
    try:
        while True:
            respond(receive(connection))
    except (ClosedError, OSError):  # Python has ended, or was killed and cannot tidy up
        shutil.rmtree(folder, ignore_errors=True)
    except MemoryError as error:  # the rest of the request is not read: nothing can follow
        sys.exit(_no_memory(error))


def _responder(connection: socket.socket) -> Callable[[dict[str, Any]], None]:
    """Answers one request."""
    import rpy2.rinterface as ri

    from r_bridge.process.conversion import from_r, to_r

    bridge_call = ri.globalenv["bridge_call"]
    kept: dict[str, Any] = {}

    def answer(request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """The reply, and the R object whose memory it may still be using."""
        arguments = to_r(request["arguments"], kept)
        result = bridge_call(ri.StrSexpVector([request["function"]]), arguments)
        names = list(result.names)
        if "error" in names:
            return from_r(result), None
        value = result[names.index("value")]
        if request["keep"]:
            kept[request["keep"]] = value
            return {"value": Kept(request["keep"])}, None
        return {"value": from_r(value, copy=False)}, value

    def respond(request: dict[str, Any]) -> None:
        try:
            reply, _in_use = answer(request)  # held until everything is sent
            parts = frame(reply)
        except Exception as error:  # such as a value that the other language cannot hold
            said = str(error) or type(error).__name__
            if isinstance(error, MemoryError):
                said = _no_memory(error)
            parts = frame({"error": [said], "call": [f"{request['function']}()"], "where": []})
        for part in parts:
            connection.sendall(part)

    return respond


def _no_memory(error: MemoryError) -> str:
    return ": ".join(words for words in ("out of memory", str(error)) if words)


def _end_without_python(descriptor: int, folder: str) -> None:
    """Ends this process once the other side has closed the connection, as a killed Python does,
    too: an idle R ends by itself, a busy one is ended."""
    closed = select.poll()
    closed.register(descriptor, 0)  # hang-ups alone
    closed.poll()
    time.sleep(GRACE)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
