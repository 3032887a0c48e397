"""The report page."""

from __future__ import annotations

import base64
import copy
import io
import re
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from comparisons.report.html import write_report
from comparisons.report.network.render import SCRIPT
from comparisons.steps.compare import compare_steps
from comparisons.steps.comparison import compare_whole_runs
from comparisons.steps.pair import Pair
from pyvae.engines.pytorch import PyTorchEngine
from pyvae.model.run import Run
from pyvae.training.loop import train

pytestmark = pytest.mark.slow

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a browser would load and show; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.boxes: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        addresses = [given[name] for name in ("src", "href") if name in given]
        self.addresses += [one for one in addresses if not one.startswith("#n")]
        assert not any(name.startswith("on") for name in given)
        if given.get("class", "").startswith("box "):
            self.boxes.append(given["class"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


class Wrong(PyTorchEngine):
    """PyTorch whose encoder's first dropout forgets 1/(1 - p)."""

    name = "wrong"

    def start(self, *arguments) -> None:
        super().start(*arguments)
        self.network.encoder.dropout1.forward = lambda x, keep: x if keep is None else x * keep


@pytest.fixture(scope="module")
def made(request):
    """Comparisons of PyTorch with itself and with a wrong port; pages do not need R."""
    conv, digits = request.getfixturevalue("conv"), request.getfixturevalue("digits")

    def compare(reference, objective="vae", **changes):
        small = {"batch_size": 12, "latent_dim": 5, "steps": 2, "dtype": "float64"}
        run = Run(conv, conv.settings(objective=objective, **small | changes), digits)
        pair = Pair(run, PyTorchEngine("cpu"), reference)
        a, b = (train(run, engine) for engine in pair.engines)
        (seen,) = compare_steps(pair, last=1, resync=False, inspect={1})
        comparison = compare_whole_runs(a, b)
        return replace(comparison, stages=seen.agreements, divergence=seen.divergence)

    other = PyTorchEngine("cpu")
    other.name = "other"
    return {
        "agree": compare(other),
        "disagree": compare(Wrong("cpu")),
        "emae": compare(other, "emae"),
    }


def page(comparisons, tmp_path, command="pyvae compare") -> tuple[str, Page]:
    write_report(comparisons, tmp_path / "report.html", command)
    text = (tmp_path / "report.html").read_text()
    return text, Page(text)


@pytest.fixture(scope="module")
def drawn(made, tmp_path_factory):
    """A page with its pictures."""
    return page([made["agree"], made["emae"]], tmp_path_factory.mktemp("drawn"))


def test_the_page_needs_nothing_from_outside(drawn):
    text, seen = drawn
    assert seen.addresses
    assert all(address.startswith("data:") for address in seen.addresses)
    for foreign in ("http:", "https:", "@import", "url("):
        assert foreign not in text
    assert re.findall("<script>(.*?)</script>", text, re.DOTALL) == [SCRIPT]


def test_its_pictures_can_be_opened(drawn):
    text, seen = drawn
    pictures = [a for a in seen.addresses if a.startswith("data:image/png;base64,")]
    assert len(pictures) == 2 + 2 * (3 + 2)
    assert "<image " not in text  # nothing differs
    for address in pictures:
        picture = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
        assert np.asarray(picture.convert("L")).std() > 5


def test_it_says_verdict_settings_and_versions(made, tmp_path, undrawn):
    _, seen = page([made["agree"]], tmp_path, "pyvae compare --steps 2")
    assert "Is pytorch faithful to other?" in seen.text
    assert "disagree" not in seen.text
    for words in (
        "digits, 1797 images",
        "2 steps of 12 images",
        "float64",
        "pyvae compare --steps 2",
        made["agree"].under_test.environment["torch"],
        "BCE + KL, summed over pixels",
    ):
        assert words in seen.text


def test_it_says_where_two_part(made, tmp_path, undrawn):
    _, seen = page([made["disagree"]], tmp_path)
    assert "They part first at step 1, encoder.dropout1, forward." in seen.text
    assert "It looks like this: wrong: 1/(1 - p) missing." in seen.text
    assert "], counted from 0: pytorch " in seen.text
    assert "They part first here: step 1, encoder.dropout1, forward." in seen.text
    assert seen.boxes.count("box s-first") == 1
    at = seen.boxes.index("box s-first")
    assert set(seen.boxes[:at]) == {"box s-equal"}
    assert "box s-equal" not in seen.boxes[at:]


def test_the_difference_is_drawn_where_the_two_part(made, tmp_path, undrawn):
    text, _ = page([made["disagree"]], tmp_path)
    assert text.count('class="histogram"') == text.count('class="sides"') > 3
    assert text.count('class="map"') > 3


def test_text_of_others_is_escaped(made, tmp_path, undrawn):
    evil = "<script>alert(1)</script>\"'&"
    trace = replace(
        made["disagree"].reference,
        engine=evil,
        data=made["disagree"].reference.data | {"name": evil},
        environment={evil: evil},
    )
    comparison = replace(made["disagree"], reference=trace, under_test=replace(trace, engine="a"),
                         note=evil)  # fmt: skip
    comparison = replace(comparison, divergence=replace(comparison.divergence, words=(evil,)))
    text, seen = page([comparison], tmp_path, evil)
    assert text.count("<script") == 1
    assert evil in seen.text


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_name_of_any_length_and_script_breaks_and_warns_of_nothing(made, tmp_path):
    name = "\u65e5\u672c\u8a9e" * 90
    reference = replace(made["agree"].reference, engine=name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, seen = page([compare_whole_runs(made["agree"].under_test, reference)], tmp_path)
    assert name in seen.text
    style = text[text.index("<style>") : text.index("</style>")]
    assert "overflow-wrap: anywhere" in re.search(r"\nbody \{([^}]*)\}", style)[1]
    assert style.count("{") == style.count("}")


def test_a_run_that_went_astray_has_a_page_too(made, tmp_path, undrawn):
    astray = copy.deepcopy(made["agree"].reference)
    astray.losses[1:] = np.nan
    comparison = compare_whole_runs(made["agree"].under_test, astray)
    _, seen = page([comparison], tmp_path)
    assert "nan" in seen.text.lower()


def test_without_stages_the_page_has_no_network(made, tmp_path, undrawn):
    comparison = compare_whole_runs(made["agree"].under_test, made["agree"].reference)
    _, seen = page([comparison], tmp_path)
    assert "Layer by layer" not in seen.text
    assert seen.boxes == []


@pytest.mark.filterwarnings("error")
def test_a_page_of_runs_whose_every_bit_is_equal_says_so(made, tmp_path, undrawn):
    agree = made["agree"]
    comparison = replace(
        compare_whole_runs(agree.under_test, agree.reference, exact=True),
        stages=[replace(stage, rtol=0.0) for stage in agree.stages],
    )
    assert comparison.agrees
    _, seen = page([comparison], tmp_path)
    assert "none: every bit has to be equal" in seen.text
    assert set(seen.boxes) == {"box s-equal"}


def test_exactly_a_page_shows_the_bits_that_differ(made, tmp_path, undrawn):
    agree = made["agree"]
    losses = agree.reference.losses.copy()
    losses[1, 0] = np.nextafter(losses[1, 0], np.inf)
    comparison = compare_whole_runs(
        agree.under_test, replace(agree.reference, losses=losses), exact=True
    )
    assert not comparison.agrees
    _, seen = page([comparison], tmp_path)
    assert "disagree" in seen.text
    assert re.search(r"[12]\.\de-16 0\.0e\+00", seen.text)  # needed, allowed


@pytest.mark.parametrize(
    ("rng", "words"),
    [
        ("injected", "both engines get the same draws"),
        ("torch", "both draw with LibTorch's generator from the same seed"),
        ("r", "R's own generator, from the same seed on both sides"),
    ],
)
def test_it_says_where_chance_came_from(made, tmp_path, undrawn, rng, words):
    agree = made["agree"]
    settings = replace(agree.under_test.settings, rng=rng)
    comparison = replace(agree, under_test=replace(agree.under_test, settings=settings))
    _, seen = page([comparison], tmp_path)
    assert words in seen.text
    assert "every bit has to be equal" not in seen.text
