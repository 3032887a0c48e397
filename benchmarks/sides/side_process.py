"""A side in a process of its own: waits until it is told to do some steps, and says how long each
of them took.

Started by `benchmarks.sides.child` as `python -m benchmarks.sides.side_process JSON`. What it hears
and says are lines: it says `ready PID ...` (the processes that do the work), hears `CASE STEPS`,
says `took MILLISECONDS ...`; when it hears no more it ends. `plain_loop.R` speaks the same.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack

import torch

from benchmarks.given.case import Case
from benchmarks.sides.sides import open_side
from pyvae.errors import UserError


def main(side: str, cases: dict[str, dict], folder: str, threads: int) -> None:
    # whatever prints must not come between the answers
    with os.fdopen(os.dup(1), "w", buffering=1) as answers, ExitStack() as close:
        os.dup2(2, 1)
        torch.set_num_threads(threads)
        chosen = {name: Case(**case) for name, case in cases.items()}
        steps, processes = open_side(side, chosen, folder, threads, close)
        print("ready", *processes, file=answers)
        for line in sys.stdin:
            name, count = line.split()
            took = []
            for _ in range(int(count)):
                began = time.perf_counter()
                next(steps[name])
                took.append((time.perf_counter() - began) * 1000)
            print("took", *took, file=answers)


if __name__ == "__main__":
    try:
        main(**json.loads(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
