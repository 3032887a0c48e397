"""Traces come from anywhere: what stands in them is shown, on a page, in a figure, on a terminal,
and never obeyed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from recorded.ported import Classifier, Program, rewrite

from comparisons.ports import compare_programs
from comparisons.report.network.render import SCRIPT
from comparisons.report.ports.lines import lines
from comparisons.report.ports.page import write_page
from pyvae.cli.main import main
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.errors import printable
from pyvae.model.run import Run
from pyvae.recipes import get_recipe
from pyvae.trace.trace import Trace
from pyvae.training.loop import train

pytestmark = pytest.mark.slow

EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \"'` &amp; | a\nverdict: agree\n"
    "\x1b]0;title\x07\x1b[31m\u202e {{ 7 * 7 }} {% raw %} [red]c[/] $\\undefined_{$ ü\\"
)
ELEMENTS = {  # of which a page consists
    "html", "head", "meta", "title", "link", "style", "body", "header", "section", "h1", "h2", "h3",
    "p", "span", "div", "table", "tr", "th", "td", "strong", "code", "figure", "figcaption", "img",
    "dl", "dt", "dd", "footer", "b", "br", "script", "h4", "i", "em", "small", "a", "ol",
    "ul", "li", "svg", "path", "rect", "text", "image", "details", "summary",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "rel", "href", "class", "data-label", "title", "src",
    "alt", "http-equiv", "id", "value", "style", "tabindex", "scope", "colspan", "role",
    "aria-hidden", "aria-label", "data-selected", "width", "height", "viewbox", "d", "x", "y",
    "text-anchor", "preserveaspectratio",
}  # fmt: skip


PLACE = re.compile(r"#n\d+-\d+")  # of the page itself


class Elements(HTMLParser):
    """The elements of a page, their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.is_script = False
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.pictures: list[str] = []
        self.scripts: list[str] = []
        self.styles: set[str] = set()
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.pictures += [value for name, value in attributes if name in ("src", "href")]
        self.styles |= {value for name, value in attributes if name == "style"}
        self.scripts += [""] if tag == "script" else []
        self.is_script = tag == "script"

    def handle_endtag(self, tag):
        self.is_script = False

    def handle_data(self, data):
        if self.is_script:
            self.scripts[-1] += data
        else:
            self.words += data

    def check(self) -> None:
        """Nothing of others is an element, an attribute, an address or a script."""
        assert self.found <= ELEMENTS
        assert self.attributes <= ATTRIBUTES
        assert all(one.startswith("data:") or PLACE.fullmatch(one) for one in self.pictures)
        assert self.scripts == [SCRIPT]
        assert all(re.fullmatch(r"padding-left: [\d.]+rem", one) for one in self.styles)


@pytest.fixture(scope="module")
def run(digits):
    """A short run of a small network, kept in memory. Read only."""
    mlp = get_recipe("mlp")
    short = {"batch_size": 12, "latent_dim": 3, "steps": 2, "dtype": "float64"}
    return train(Run(mlp, mlp.settings(**short), digits), PyTorchEngine("cpu"))


@pytest.fixture
def pair(run, tmp_path):
    """Two traces on disk, the second one with the changes that are given."""

    def make(**changes) -> tuple[Path, Path]:
        for name, trace in (("a", run), ("b", replace(run, **changes))):
            (tmp_path / name).mkdir(exist_ok=True)
            trace.save(tmp_path / name)
        return tmp_path / "a", tmp_path / "b"

    return make


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def no_control_characters(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_nothing_in_a_trace_becomes_an_element_of_the_page_or_reaches_the_terminal(
    run, pair, command, undrawn, tmp_path
):
    losses = run.losses.copy()
    losses[1] *= 1 + 1e-9
    data = dict.fromkeys(("name", "source", EVIL), EVIL) | {"images": 7}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    replace(run, data=data).save(tmp_path / "a")
    environment = {EVIL: EVIL, "threads": EVIL, "torch": EVIL}
    replace(run, engine=EVIL, data=data, environment=environment, losses=losses).save(
        tmp_path / "b"
    )
    code, out, err = command("compare", "a", "b", "--report", "--out", f"o {EVIL[26:60]}")
    assert (code, err) == (1, "")
    (report,) = tmp_path.glob("o*/report.html")
    page = Elements(report.read_text())
    page.check()
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in page.words
    assert "{{ 7 * 7 }} {% raw %} [red]c[/]" in page.words
    assert "\u202e" not in report.read_text()  # it would turn the rest of the title around
    assert no_control_characters(out)
    verdicts = [line for line in out.splitlines() if line.startswith("verdict")]
    assert verdicts == ["verdict: disagree"]
    assert "{{ 7 * 7 }} {% raw %} [red]c[/]" in out
    about = json.loads((report.parent / "comparison.json").read_text())
    assert about["data"] == printable(EVIL)
    for table in report.parent.glob("*.csv"):
        assert all(line.isprintable() for line in table.read_text().split("\n"))


def test_no_name_of_a_recorded_program_becomes_an_element_of_the_page(undrawn, tmp_path):
    for name, network in (("a", Classifier), ("b", lambda: Classifier(eps=1e-3, skip=False))):
        Program(network=network, steps=1).record(tmp_path / name)
        about = {"engine": EVIL, "program": EVIL, "language": EVIL, "environment": {EVIL: EVIL}}
        path = tmp_path / name / "trace.json"
        trace = json.loads(path.read_text()) | about
        for stage in trace["networks"][0]:
            stage["options"] |= {"evil": EVIL}
            stage["layer"] += EVIL if stage["layer"] == "dropout" else ""
        path.write_text(json.dumps(trace))
    rewrite(tmp_path / "b", lambda name: f"{name}{EVIL[:60]}" if "o" in name else name)
    found = compare_programs(tmp_path / "a", tmp_path / "b")
    assert found.first is not None
    write_page(found, tmp_path / "report.html", f"pyvae compare '{EVIL}'")
    text = (tmp_path / "report.html").read_text()
    page = Elements(text)
    page.check()
    assert "<script>alert(1)</script>" in page.words
    assert "\u202e" not in text
    assert all(line.isprintable() for line in map(printable, lines(found)))


def test_figures_show_any_name_as_it_is(run, pair, command, recwarn):
    _, b = pair(engine=EVIL, data=run.data | {"name": EVIL})
    code, out, err = command("figures", b)
    assert code == 0
    assert err.startswith("pyvae: latents and reconstructions are not drawn: the run's data, ")
    assert err.count("\n") == 1
    assert no_control_characters(out + err)
    assert (b / "loss_history.png").is_file()


@pytest.mark.parametrize("name", ["recipe", "data", "environment"])
def test_an_error_that_tells_what_a_trace_holds_is_a_line(pair, command, undrawn, name):
    value = {"recipe": EVIL, "data": {"name": EVIL}, "environment": {}}[name]
    a, b = pair(**{name: value})
    code, out, err = command("compare", a, b, "--out", "out")
    assert code == (0 if name == "environment" else 2)
    assert no_control_characters(out + err)
    assert err.count("\n") == (0 if name == "environment" else 1)


def spoil(folder: Path, file: str, change) -> None:
    """Changes the arrays of a trace, as a program with a mistake would have written them."""
    path = folder / file
    arrays = {
        k: np.asarray(v, order="C") for k, v in change(safetensors.numpy.load_file(path)).items()
    }
    safetensors.numpy.save_file(arrays, path)
    about = json.loads((folder / "trace.json").read_text())
    del about["sha256"]
    (folder / "trace.json").write_text(json.dumps(about))


PARAMETERS, LATENTS = "parameters.safetensors", "latents.safetensors"
SPOILED = [
    (PARAMETERS, lambda found: {}),
    (PARAMETERS, lambda found: {"a": np.ones(3)}),
    (PARAMETERS, lambda found: {name: value[:1] for name, value in found.items()}),
    (PARAMETERS, lambda found: {name: value.astype(np.int8) for name, value in found.items()}),
    (PARAMETERS, lambda found: found | {"encoder.fc1.bias": np.float64(3)}),
    (PARAMETERS, lambda found: found | {EVIL: np.ones(3)}),
    (LATENTS, lambda found: {}),
    (LATENTS, lambda found: {"training": found["training"]}),
    (LATENTS, lambda found: {"evaluation": found["evaluation"], "samples": found["samples"]}),
    (LATENTS, lambda found: found | {"training": np.ones(3)}),
    (LATENTS, lambda found: found | {"training": np.ones((12, 4))}),
    (LATENTS, lambda found: found | {"training": np.ones((0, 3))}),
    (LATENTS, lambda found: found | {"training": np.ones((12, 3), np.int64)}),
    (LATENTS, lambda found: found | {"samples": np.ones((16, 100))}),
    (LATENTS, lambda found: found | {"samples": np.ones(784)}),
    (LATENTS, lambda found: found | {"samples": np.ones((2, 784))}),
    (LATENTS, lambda found: found | {"samples": np.full((16, 784), np.nan)}),
    (LATENTS, lambda found: found | {EVIL: np.ones((12, 3))}),
]


@pytest.mark.parametrize(("file", "change"), SPOILED)
def test_arrays_that_do_not_fit_end_in_no_traceback(pair, command, undrawn, file, change):
    a, b = pair()
    spoil(b, file, change)
    commands = [("figures", b)]
    if file == PARAMETERS:
        commands.append(("sample", b, "--out", "x.png", "-n", "2"))
    commands.append(("compare", a, b, "--out", "out"))
    for arguments in commands:
        code, out, err = command(*arguments)
        assert code in (0, 1, 2)
        # a picture of what disagrees, or that cannot be drawn, may have a line of its own
        drawn = code == 1 or (arguments[0] == "figures" and code == 0)
        assert err.count("\n") == (code == 2) or (drawn and err.count("\n") == 1), err
        assert no_control_characters(out + err)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"objective": "beta"}},
        {"settings": {"hyper": {"clusters": 10**9}}},
        {"settings": {"latent_dim": 10_000}},
        {"settings": {"batch_size": 2**62}},
        {"settings": {"dtype": "float32"}},
        {"recipe": "conv"},
        {"recipe": "clustering"},
        {"recipe": "clustering", "settings": {"hyper": {"clusters": 10**9}}},
        {"recipe": "nothing"},
        {"environment": {"threads": "10" * 30}},
        {"probes": [1, 2]},
        {"probes": [10**15]},
    ],
    ids=str,
)
def test_settings_that_do_not_fit_end_in_no_traceback(pair, command, undrawn, change):
    a, b = pair()
    path = b / "trace.json"
    about = json.loads(path.read_text())
    path.write_text(
        json.dumps(about | change | {"settings": about["settings"] | change.get("settings", {})})
    )
    for arguments in (
        ("figures", b),
        ("sample", b, "--out", "x.png", "-n", "2"),
        ("compare", a, b, "--out", "out"),
        ("trace", "--like", b, "--follow", a, "--data", "digits", "--steps", "0", "--out", "t"),
    ):
        code, out, err = command(*arguments)
        assert code in (0, 1, 2)
        not_drawn = arguments[0] == "figures" and " are not drawn: " in err
        assert err.count("\n") == (code == 2 or not_drawn), err
        assert no_control_characters(out + err)


def test_names_of_others_are_lines_from_where_they_are_read(run, pair):
    _, b = pair(engine=EVIL, data=run.data | {"name": EVIL}, environment={EVIL: EVIL})
    loaded = Trace.load(b)
    shown = printable(EVIL)
    assert shown.isprintable()
    assert (loaded.engine, loaded.data["name"]) == (shown, shown)
    assert loaded.environment == {shown: shown}
    loaded.save(b)
    assert Trace.load(b).engine == shown  # and stay so


def test_the_report_says_what_was_found_where_no_picture_can_be_drawn(
    pair, command, undrawn, monkeypatch, tmp_path
):
    def broken(figure):
        raise RuntimeError("no font\nat all")

    monkeypatch.setattr("comparisons.report.html.picture", broken)
    code, _, err = command("compare", *pair(), "--report", "--out", "out")
    assert code == 0
    line = "pyvae: the report is without pictures (RuntimeError: no font at all)\n"
    assert err == line
    assert "<figure>" not in (tmp_path / "out" / "report.html").read_text()
