"""The report in a browser: short before anything is opened, and links and paper reach what is closed."""

import shutil
from pathlib import Path

import pytest

from segue.comparison.record import read_record
from segue.reports import report_content
from segue.reports.render import render_html

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: `pip install playwright`")
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: `sudo apt install chromium`"),
]
SAMPLE = Path(__file__).with_name("sample_triage.json")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(report_content(read_record(SAMPLE))), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def page(chromium, request):
    """A page that may request nothing and complain of nothing, with and without JavaScript."""
    context = chromium.new_context(java_script_enabled=request.param, viewport={"width": 1280, "height": 900})
    one = context.new_page()
    problems = []
    one.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    one.on("pageerror", lambda error: problems.append(str(error)))
    one.on("request", lambda request: None if request.url.startswith("file:") else problems.append(request.url))
    yield one
    context.close()
    assert problems == []


def test_the_first_part_is_two_and_a_half_thousand_pixels_high_at_most(page, address):
    page.goto(address)
    top = page.locator(".details").bounding_box()["y"]
    assert 1000 < top <= 2500
    assert page.locator("details[open]").count() == 0


@pytest.mark.parametrize("anchor", ["gates", "table-files", "plot-curves"])
def test_a_link_into_a_closed_part_opens_it(page, address, anchor):
    page.goto(f"{address}#{anchor}")
    playwright.expect(page.locator(f"#{anchor}")).to_be_visible()
    assert page.locator("details[open]").count() == 1


def test_the_link_below_the_overview_opens_the_table_of_all_options(page, address):
    page.goto(address)
    page.get_by_role("link").first.click()
    playwright.expect(page.locator("#table-metrics")).to_be_visible()


def test_paper_holds_what_is_closed_on_the_screen(page, address):
    page.goto(address)
    page.emulate_media(media="print")
    assert page.locator("#table-machine").bounding_box()["height"] > 50
