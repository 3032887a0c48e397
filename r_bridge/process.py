"""The R process: embeds R through rpy2 and answers calls until the connection closes.

Started by `r_bridge.worker` as `python -m r_bridge.process DESCRIPTOR`.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from r_bridge.wire import ClosedError, Kept, receive, send

R_FILES = Path(__file__).parent / "R"
# A user's profile could change the numbers; what R says goes to the process's log.
R_OPTIONS = ("rpy2", "--quiet", "--no-save", "--no-restore", "--no-init-file", "--no-site-file")


def main(descriptor: int) -> None:
    """Answers requests {function, arguments, keep} with {value} or {error, call, where}."""
    connection = socket.socket(fileno=descriptor)
    try:
        import rpy2.rinterface as ri
        import rpy2.rinterface_lib.embedded as embedded

        embedded.set_initoptions(R_OPTIONS)  # type: ignore[arg-type]
        ri.initr()
        # called, not evaluated as text: R's parser refuses some characters that a path may have
        bridge = ri.StrSexpVector([str(R_FILES / "bridge.R")])
        ri.baseenv["source"](bridge, **{"keep.source": ri.BoolSexpVector([True])})
        # else R looks through every operand of a matrix product for NaN before it multiplies
        ri.evalr("options(matprod = 'blas', warn = 1)")
    except Exception as error:  # whatever keeps R from starting is the answer
        send(connection, {"error": f"{type(error).__name__}: {error}"})
        return
    send(connection, {"value": None})

    from r_bridge.conversion import from_r, to_r

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

    while True:
        try:
            request = receive(connection)
        except ClosedError:
            return
        value = None
        try:
            reply, value = answer(request)
        except TypeError as error:  # a value that the other language cannot hold
            reply = {"error": [str(error)], "call": [f"{request['function']}()"], "where": []}
        send(connection, reply)
        del reply, value  # not before everything is sent


if __name__ == "__main__":
    main(int(sys.argv[1]))
