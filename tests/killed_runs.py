"""Ends runs by SIGKILL at random moments, resumes them, and compares every byte that they leave.

    python tests/killed_runs.py --kills 50 --seed 1

Each kill hits the process of the command (forked, see processes/warm.py) at a random moment between
the beginning of its work and its end: in a step, in R, while it writes a checkpoint (there is one
after every step), in the figures. `--resume` then brings it to its end, and all that it leaves is
compared with what the same command leaves undisturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from processes.warm import Command, Warm

PYVAE = Path(sys.executable).with_name("pyvae")
SMALL = ("--data", "digits", "--batch-size", "10", "--latent-dim", "4", "--threads", "1")
R = ("compare", *SMALL, "--engine", "base-r", "--steps", "5", "--probe", "none")
PYTORCH = ("train", "conv", *SMALL, "--steps", "15")
CASES = {
    ("pytorch", "vae"): (*PYTORCH, "--objective", "vae"),
    ("pytorch", "emae"): (*PYTORCH, "--objective", "emae", "--rng", "torch"),
    ("base-r", "vae"): (*R, "--objective", "vae"),
    ("base-r", "emae"): (*R, "--objective", "emae", "--rng", "seeded"),
}
NOT_HELD = {"run.json"}  # when it began, and where


@dataclass(frozen=True)
class Kill:
    """What became of one.

    Attributes:
        engine, objective: What ran.
        after: Seconds after the beginning of its work.
        step: The last checkpoint's; 0 if there was none, None after the last step.
        said: What the resumed command said of it.
        differs: The files that are others than those of the run that nobody disturbed.
    """

    engine: str
    objective: str
    after: float
    step: int | None
    said: str
    differs: Sequence[str]

    def __str__(self) -> str:
        at = "after the last step" if self.step is None else f"at checkpoint {self.step}"
        words = "identical" if not self.differs else f"differs: {', '.join(self.differs)}"
        return (
            f"{self.engine:8} {self.objective:5} {self.after:5.2f} s, {at:20} {words}; {self.said}"
        )


def started(warm: Warm, arguments: Sequence[str], folder: Path) -> Command:
    """The command, in a folder, with a checkpoint after every step."""
    environment = os.environ | {"PYVAE_CHECKPOINT_SECONDS": "0", "PYTHONUNBUFFERED": "1"}
    return warm.start(PYVAE, *arguments, folder=folder, environment=environment)


def finished(process: Command) -> str:
    """What it says until its end, which has to be a good one."""
    said = "".join(process.communicate())
    assert process.returncode == 0, said
    return said


def until_it_works(process: Command, out: Path) -> float:
    """Waits until a run has begun, and tells when."""
    while not (out / "run.json").exists():
        if process.poll() is not None:
            raise AssertionError(f"it did not begin: {process.communicate()}")
        time.sleep(0.005)
    return time.monotonic()


def left(out: Path) -> dict[str, bytes]:
    """All that a command left, by name."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in NOT_HELD
    }


def undisturbed(
    warm: Warm, arguments: Sequence[str], folder: Path
) -> tuple[dict[str, bytes], float]:
    """What a command leaves, and how long its work takes."""
    process = started(warm, [*arguments, "--out", "whole"], folder)
    began = until_it_works(process, folder / "whole")
    finished(process)
    return left(folder / "whole"), time.monotonic() - began


def last_checkpoint(out: Path) -> int | None:
    """The step of the newest checkpoint; 0 if there is none yet, None if its run is complete."""
    complete = {p.parent for p in out.rglob("trace.json") if '"complete": true' in p.read_text()}
    found = [path for path in out.rglob("checkpoint-*.json") if path.parent not in complete]
    if found:
        return max(int(path.stem.rpartition("-")[2]) for path in found)
    return None if complete else 0


def killed(
    warm: Warm,
    case: tuple[str, str],
    whole: dict[str, bytes],
    seconds: float,
    folder: Path,
    rng: random.Random,
) -> Kill | None:
    """One kill, and what came of it; None if the command had ended before."""
    out = folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    process = started(warm, [*CASES[case], "--out", "killed"], folder)
    began = until_it_works(process, out)
    with suppress(subprocess.TimeoutExpired):  # else it has ended before
        process.wait(rng.uniform(0, seconds))
    return _resumed(warm, process, case, whole, began, folder)


def killed_at(
    warm: Warm, step: int, case: tuple[str, str], whole: dict[str, bytes], folder: Path
) -> Kill | None:
    """A kill as soon as a checkpoint of a step is there, and what came of it; None if the command
    had ended before."""
    out = folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    process = started(warm, [*CASES[case], "--out", "killed"], folder)
    began = until_it_works(process, out)
    while process.poll() is None and (last_checkpoint(out) or 0) < step:
        time.sleep(0.001)
    return _resumed(warm, process, case, whole, began, folder)


def _resumed(
    warm: Warm,
    process: Command,
    case: tuple[str, str],
    whole: dict[str, bytes],
    began: float,
    folder: Path,
) -> Kill | None:
    """Kills a command, and brings its run to its end."""
    out = folder / "killed"
    process.kill()
    process.communicate()
    after = time.monotonic() - began
    if process.returncode != -signal.SIGKILL:
        return None
    step = last_checkpoint(out)
    said = finished(started(warm, [CASES[case][0], "--resume", "killed"], folder))
    found = left(out)
    differs = [name for name in {**whole, **found} if whole.get(name) != found.get(name)]
    goes_on = re.findall(r"going on after step \d+|all \d+ steps were done before", said)
    return Kill(*case, after, step, ", ".join(goes_on) or "from the beginning", differs)


def kill_often(
    warm: Warm,
    kills: int,
    seed: int,
    folder: Path,
    cases: Sequence[tuple[str, str]] = tuple(CASES),
) -> list[Kill]:
    """So many kills, over all cases in turn, each said as it is done."""
    rng = random.Random(seed)
    references = {}
    done: list[Kill] = []
    while len(done) < kills:
        case = cases[len(done) % len(cases)]
        if case not in references:
            place = folder / "-".join(case)
            place.mkdir(parents=True)
            references[case] = (*undisturbed(warm, CASES[case], place), place)
        kill = killed(warm, case, *references[case], rng)
        if kill is not None:
            done.append(kill)
            print(f"{len(done):3} {kill}", flush=True)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, closing(Warm()) as warm:
        done = kill_often(warm, given.kills, given.seed, Path(folder))
    same = sum(not kill.differs for kill in done)
    print(f"{same} of {len(done)} identical")
    return 0 if same == len(done) else 1


if __name__ == "__main__":
    sys.exit(main())
