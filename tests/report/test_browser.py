"""The page as a person uses it, in the system's Chromium, opened from disk."""

from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
PANELS = {"answer", "score", "seconds", "pareto", "curves", "noise", "throughput", "step_time", "lr", "sharpness"}
PANELS |= {"provenance"}
SIZES = {"light": (1280, 900), "dark": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield found
        found.close()


@pytest.fixture
def page_file(type_command, tmp_path) -> Path:
    done = type_command("-m", "batch_size=64,256", "lr=0.02,0.1", "num_seeds=2", "epochs=3", "study=seen")
    assert done.returncode == 0, done.stderr
    return tmp_path / "mlruns" / "reports" / "seen" / "index.html"


def opened(browser, page_file: Path, look: str) -> tuple[Page, list[str], list[str]]:
    width, height = SIZES[look]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if look == "dark" else "light"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    return page, said, asked


def ground(page: Page) -> int:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


@pytest.mark.slow
def test_the_page_works_from_disk_in_every_look(browser, page_file):
    for look in SIZES:
        page, said, asked = opened(browser, page_file, look)
        assert {each.get_attribute("id") for each in page.query_selector_all("section")} == {
            f"panel-{name}" for name in PANELS
        }
        assert all(page.query_selector(f"#panel-{name} .main-svg") for name in PANELS - {"answer", "provenance"})
        assert page.evaluate("document.documentElement.scrollWidth") == SIZES[look][0]
        assert page.is_visible("#panel-answer h1")
        assert (ground(page) < 150) == (look == "dark")
        page.click("#theme")
        assert (ground(page) < 150) != (look == "dark")
        check_switch(page)
        check_copy(page)
        page.emulate_media(media="print")
        assert ground(page) == 3 * 255
        assert said == []
        assert {urlparse(address).scheme for address in asked} <= {"file", "data", "blob"}
        page.context.close()


def check_switch(page: Page) -> None:
    axis = "#panel-curves .xtitle"
    assert page.text_content(axis).startswith("epochs")
    page.click("#panel-curves .switch button:has-text('steps')")
    page.wait_for_function(f"document.querySelector('{axis}').textContent.startsWith('optimizer steps')")
    assert page.get_attribute("#panel-curves .switch button:has-text('steps')", "aria-pressed") == "true"
    assert page.get_attribute("#panel-curves .switch button:has-text('epochs')", "aria-pressed") == "false"


def check_copy(page: Page) -> None:
    page.click("#panel-answer .command .copy")
    page.wait_for_selector("#toast.shown")
    assert page.evaluate("navigator.clipboard.readText()") == page.text_content("#panel-answer .command code")
    page.evaluate("navigator.clipboard.writeText('')")
    # the figure's own layer catches the pointer, so it is moved to where a point is drawn
    points = page.locator("#panel-pareto .scatterlayer .trace").last.locator("path.point")
    points.first.scroll_into_view_if_needed()
    box = points.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#panel-pareto .hoverlayer .hovertext")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.startsWith('python train.py '))")
    words = page.evaluate("navigator.clipboard.readText()").split()
    assert any(word in ("batch_size=64", "batch_size=256") for word in words)
    assert any(word in ("lr=0.02", "lr=0.1") for word in words)
