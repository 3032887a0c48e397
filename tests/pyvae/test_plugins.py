"""What other packages add, as it is when one of them is broken."""

from __future__ import annotations

import pytest

from pyvae import plugins
from pyvae.errors import UserError
from pyvae.plugins import names, open_plugin, open_plugins

pytestmark = pytest.mark.slow

MODULE = """
def commands(app):
    raise RuntimeError("half\\nwritten")

def checks():
    return ["no Check"]

def plain():
    # declares nothing
    from pyvae.engines.pytorch import PyTorchEngine

    class Plain:
        name = "plain"

        def __init__(self):
            self._engine = PyTorchEngine("cpu")

        def __getattr__(self, name):
            return getattr(self._engine, name)

    return Plain()
"""
ENTRIES = """
[pyvae.commands]
mine = stranger:commands
gone = nowhere:commands
[pyvae.doctor]
mine = stranger:checks
[pyvae.engines]
mine = stranger:Absent
plain = stranger:plain
[pyvae.generators]
r = nowhere:Generator
"""


@pytest.fixture
def stranger(pyvae, tmp_path):
    """Runs pyvae where a package is installed of which most is broken."""
    about = tmp_path / "site" / "stranger-2.5.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 2.5\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "site" / "stranger.py").write_text(MODULE)
    return lambda *arguments: pyvae(*arguments, PYTHONPATH=str(tmp_path / "site"))


GONE = (
    "pyvae: plug-in 'gone' of stranger 2.5 (pyvae.commands: nowhere:commands) is broken "
    "(ModuleNotFoundError: No module named 'nowhere'). Update or uninstall that package."
)
COMMAND = (
    "pyvae: plug-in 'mine' of stranger 2.5 (pyvae.commands: stranger:commands) is broken "
    "(RuntimeError: half written). Update or uninstall that package."
)
CHECK = (
    "pyvae: plug-in 'mine' of stranger 2.5 (pyvae.doctor: stranger:checks) is broken "
    "(TypeError: it did not return a list of pyvae.checks.Check). Update or uninstall that package."
)
RUN = ("--data", "digits", "--batch-size", "8", "--latent-dim", "2", "--steps", "1", "--out", "o")


@pytest.mark.parametrize(
    ("arguments", "said", "more"),
    [
        (("recipes",), "conv: convolutional VAE", []),
        (("doctor",), "ok  Python", [CHECK]),
        (("train", "conv", *RUN), "written: o", []),
    ],
)
def test_a_broken_plug_in_is_a_line_and_the_rest_works(stranger, arguments, said, more):
    done = stranger(*arguments)
    assert done.returncode == (0 if arguments != ("doctor",) else done.returncode)
    assert said in done.stdout
    assert done.stderr.splitlines() == [GONE, COMMAND, *more]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trace", "--engine", "mine", *RUN), "(pyvae.engines: stranger:Absent) is broken"),
        (
            ("train", "conv", "--rng", "r", *RUN),
            "stranger 2.5 both have 'r' in pyvae.generators. Uninstall one of them.",
        ),
    ],
)
def test_a_broken_plug_in_that_is_asked_for_is_an_error(stranger, arguments, said):
    done = stranger(*arguments)
    assert done.returncode == 2
    line = done.stderr.splitlines()[2]
    assert said in line
    assert len(done.stderr.splitlines()) == 3


def test_an_engine_of_another_package_that_declares_nothing_is_compared(stranger):
    done = stranger("compare", "--engine", "plain", "--objective", "vae", *RUN)
    assert done.stderr.splitlines() == [GONE, COMMAND]
    assert "PyTorch against plain" in done.stdout
    assert done.stdout.endswith("verdict: agree\n")
    assert done.returncode == 0


class Entry:
    """An entry point of a package."""

    group, value, dist = "g", "m:o", None

    def __init__(self, name, error=None):
        self.name, self.error = name, error

    def load(self):
        if self.error is not None:
            raise self.error
        return self.name


@pytest.fixture
def installed(monkeypatch):
    def install(*entries):
        def entry_points(group, name=None):
            return [entry for entry in entries if name in (None, entry.name)]

        monkeypatch.setattr(plugins.metadata, "entry_points", entry_points)

    return install


@pytest.mark.parametrize("error", [ImportError("x"), SystemExit(3), SyntaxError("y")], ids=repr)
def test_whatever_a_plug_in_raises_is_an_error_of_the_user(installed, capsys, error):
    installed(Entry("b", error), Entry("c"), Entry("a"))
    assert names("g") == ["a", "b", "c"]
    assert list(open_plugins("g", str.upper)) == ["A", "C"]
    said = f"plug-in 'b' of an unknown package (g: m:o) is broken ({type(error).__name__}: {error})"
    assert said in capsys.readouterr().err
    with pytest.raises(UserError, match="'b' of an unknown package"):
        open_plugin("g", "b", str.upper)


def test_what_a_plug_in_says_of_the_user_stays_as_it_is(installed):
    installed(Entry("a", UserError("no R")))
    with pytest.raises(UserError, match=r"^no R$"):
        open_plugin("g", "a", str.upper)


def test_two_of_one_name_are_named(installed):
    installed(Entry("a"), Entry("a"))
    with pytest.raises(UserError, match=r"both have 'a' in g\. Uninstall one of them\."):
        open_plugin("g", "a", str.upper)
