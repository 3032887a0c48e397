"""The page in a real browser: clicks, keys, widths, print, and without JavaScript."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from recorded.ported import Classifier, Program, rewrite
from shown.shown_networks import chain
from torch import nn

from comparisons.ports import compare_programs
from comparisons.report.html import page_environment
from comparisons.report.network.render import NetworkView
from comparisons.report.ports.page import write_page

pytestmark = pytest.mark.slow

WIDTHS = (1280, 390)
LONG = "a_module_whose_name_goes_on_and_on_without_a_place_to_break_it"


TWO = """{% from "network.html.j2" import draw with context %}
<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,">
{% for view in views %}{{ draw(view) }}{% endfor %}<script>{{ script }}</script>"""


class Deep(nn.Module):
    """A network of 200 stages that keep what they get, but for numbers below 0."""

    def __init__(self, slope=0.9):
        super().__init__()
        layers = [nn.Linear(64, 5)]
        for at in range(100):
            layers += [nn.LeakyReLU(slope if at == 60 else 0.9), nn.Hardtanh(-9, 9)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.reshape(len(x), -1))


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Pages of a small network and of a large one, by name."""
    made = {}
    networks = {
        "small": (Classifier, lambda: Classifier(eps=1e-3)),
        "deep": (Deep, lambda: Deep(0.8)),
        "equal": (Classifier, Classifier),
    }
    for name, pair in networks.items():
        folder = tmp_path_factory.mktemp(name)
        for side, make in zip(("python", "r"), pair, strict=True):
            Program(network=make, steps=1).record(folder / side)
        if name == "small":
            rewrite(folder / "r", lambda name: name.replace("hidden", LONG))
        found = compare_programs(folder / "python", folder / "r")
        made[name] = folder / "report.html"
        write_page(found, made[name], "pyvae compare python r --report")
    made["two"] = tmp_path_factory.mktemp("two") / "report.html"
    views = [NetworkView(chain(5, first), f"n{first}") for first in (1, 3)]
    made["two"].write_text(page_environment().from_string(TWO).render(views=views))
    return made


@pytest.fixture
def opened(browser, pages):
    """Opens a page; in the end there must have been no error, and nothing loaded from elsewhere."""
    contexts, complaints = [], []

    def open_page(name: str, width: int = 1280, **about):
        context = browser.new_context(viewport={"width": width, "height": 800}, **about)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("request", lambda request: complaints.append(request.url) if
                request.url.startswith(("http", "ws")) else None)  # fmt: skip
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def shown(page) -> list[str]:
    """The stages whose numbers are seen."""
    return [part.get_attribute("id") for part in page.locator(".stage").all() if part.is_visible()]


def first_box(page):
    return page.locator("a.box.s-first")


@pytest.mark.parametrize("width", WIDTHS)
def test_at_first_the_stage_is_shown_where_the_two_part(opened, width):
    page = opened("small", width)
    assert first_box(page).count() == 1
    assert "norm batch_norm2d" in first_box(page).inner_text().replace("\n", " ")
    (part,) = shown(page)
    assert first_box(page).get_attribute("href") == f"#{part}"
    words = page.locator(".stage:visible").inner_text()
    assert "They part first here: step 1, norm (batch_norm2d), forward." in words
    assert "eps = 0.001 where it is 1e-05" in words
    folded = page.locator(".stage:visible details").first  # its further differences
    assert not folded.locator(".sides").is_visible()
    folded.locator("summary").click()
    assert folded.locator(".sides").is_visible()
    assert folded.locator("svg.map").first.is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_click_shows_both_sides_numbers_the_histogram_and_the_map(opened, width):
    page = opened("small", width)
    box = page.locator("a.box", has_text="second")
    box.click()
    (part,) = shown(page)
    assert box.get_attribute("href") == f"#{part}"
    assert page.url.endswith(f"#{part}")
    assert box.get_attribute("aria-current") == "true"
    assert page.locator("[aria-current]").count() == 1
    seen = page.locator(".stage:visible")
    assert seen.locator("h4").inner_text() == "second (conv2d)"
    assert seen.locator("svg.histogram rect").count() > 3
    assert seen.locator("svg.map image").count() >= 2
    names = seen.locator(".sides").first.locator("th[scope=row]").all_inner_texts()
    assert [Path(name).name for name in names] == ["python", "r"]
    heading = seen.locator("h4").bounding_box()
    assert 0 <= heading["y"] <= 800  # on a phone, too, it is where one looks


def test_the_keyboard_alone_does(opened):
    page = opened("small")
    first_box(page).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator(".stage:visible h4").inner_text() == "act (relu)"
    assert page.evaluate("document.activeElement.tagName") == "H4"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    for key, number in (("Home", 0), ("ArrowUp", 0), ("End", -1), ("ArrowDown", -1)):
        page.keyboard.press(key)
        href = page.locator("a.box").nth(number).get_attribute("href")
        assert page.evaluate("document.activeElement.getAttribute('href')") == href
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.className").startswith("box")


def test_an_address_leads_to_a_stage(opened, pages):
    page = opened("small")
    href = page.locator("a.box", has_text="pool").get_attribute("href")
    page.goto(pages["small"].as_uri() + href)
    assert shown(page) == [href[1:]]
    page.goto(pages["small"].as_uri() + "#nothing")
    assert len(shown(page)) == 1


def test_each_of_several_networks_shows_a_stage_of_its_own(opened):
    page = opened("two")
    assert shown(page) == ["n1-2", "n3-4"]
    page.locator("a.box[href='#n3-1']").click()
    assert shown(page) == ["n1-2", "n3-1"]
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert shown(page) == ["n1-2", "n3-2"]


# Clicks on the first boxes, and tells which stages were shown and what was wider than it is seen.
WIDER = """async () => {
  const shown = new Set(), wider = [];
  for (const box of [...document.querySelectorAll("a.box")].slice(0, 20)) {
    box.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
    await new Promise(requestAnimationFrame);
    for (const stage of document.querySelectorAll(".stage")) {
      if (stage.offsetParent) shown.add(stage.id);
    }
    for (const part of ["html", ".parts-of-it", ".picture"]) {
      const there = document.querySelector(part);
      if (there.scrollWidth > there.clientWidth) wider.push([box.textContent, part]);
    }
  }
  return [[...shown], wider];
}"""


@pytest.mark.parametrize(
    ("name", "widths"), [("deep", [320]), ("small", [390, 1280]), ("equal", [390])]
)
def test_nothing_is_wider_than_the_window(opened, name, widths):
    page = opened(name, widths[0])
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        shown, wider = page.evaluate(WIDER)
        assert len(shown) == min(20, page.locator("a.box").count())
        assert wider == []


def test_without_javascript_every_stage_has_its_table(opened):
    page = opened("small", java_script_enabled=False)
    boxes = page.locator("a.box").count()
    assert len(shown(page)) == boxes > 10
    tables = page.locator(".stage .entries")
    assert tables.count() >= boxes - 2
    assert all(table.is_visible() for table in tables.all())
    box = page.locator("a.box", has_text="second")
    box.click()
    target = page.locator(box.get_attribute("href"))
    assert target.locator("h4").inner_text() == "second (conv2d)"
    assert abs(target.bounding_box()["y"]) < 40


def test_printed_it_has_the_picture_the_first_difference_and_the_tables(opened, tmp_path):
    page = opened("small")
    page.locator("a.box", has_text="pool").click()
    page.emulate_media(media="print")
    assert page.locator(".boxes").is_visible()
    headings = page.locator(".stage:visible h4").all_inner_texts()
    assert [heading.split()[0] for heading in headings] == ["norm", "pool"]
    overflow = page.locator(".parts-of-it").evaluate("e => getComputedStyle(e).overflowY")
    assert overflow == "visible"  # else print would cut off what is out of sight
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 12


def test_a_network_of_200_stages_is_small_and_shows_what_is_around_the_first_difference(
    opened, pages
):
    assert pages["deep"].stat().st_size < 600_000
    page = opened("deep", 390)
    assert page.locator("li:has(> .box)").count() <= 48
    assert first_box(page).inner_text().split()[0] == "layers.121"
    groups = page.locator(".box.group").all_inner_texts()
    assert "earlier stages" in groups[0]
    assert "later stages" in groups[1]
    assert "forward" in page.locator(".picture").inner_text()


def contrast(page, selector: str) -> list[float]:
    """The contrast of text and what it stands on, of all elements."""
    return page.evaluate(
        """selector => {
          const light = c => { c = c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 :
            ((v + .055) / 1.055) ** 2.4); return .2126 * c[0] + .7152 * c[1] + .0722 * c[2]; };
          const numbers = c => (c.match(/[\\d.]+/g) || []).map(Number);
          const ground = e => { for (; e; e = e.parentElement) {
            const c = numbers(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
          return [...document.querySelectorAll(selector)].filter(e => e.innerText.trim()).map(e => {
            const two = [light(numbers(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
            return (Math.max(...two) + .05) / (Math.min(...two) + .05); });
        }""",
        selector,
    )


def test_all_text_can_be_read_and_no_state_is_told_by_its_colour_alone(opened):
    page = opened("small")
    everything = "p, h1, h2, h3, h4, h5, th, td, span, small, i, b, em, dt, dd, li, figcaption"
    found = contrast(page, everything)
    assert len(found) > 200
    assert min(found) >= 4.5
    marks = page.locator(".legend .mark").all_inner_texts()
    assert len(marks) == len(set(marks)) >= 3
    said = page.locator("a.box.s-first .sr").inner_text()
    assert "forward: the first difference" in said
