"""The pages in headless Chromium against a real server process: pasting, choosing, reading on, runs, failures."""

import json
import re
import shutil
import tempfile

import numpy as np
import pytest
from bundle_world import PATIENCE, serving
from page_world import DOCUMENTS, LENGTH, text_of

import segue
from segue.runs.runs import RunsFolder
from segue.serving.limits import new_key
from segue.serving.pages import REPORT_HEADERS

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: `pip install playwright`")
expect = playwright.expect
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: `sudo apt install chromium`"),
]
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
NAMED_ROLES = ("button", "link", "textbox", "searchbox", "combobox", "listbox", "option", "tab", "image", "Iframe")


@pytest.fixture(scope="module")
def site(world):
    with serving(world.bundle, "--runs", str(world.runs)) as (address, _):
        yield address


@pytest.fixture(scope="module")
def chromium():
    """One browser with a profile of its own."""
    with playwright.sync_playwright() as driver, tempfile.TemporaryDirectory() as profile:
        context = driver.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=FLAGS)
        context.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        yield context
        context.close()


@pytest.fixture
def page(chromium):
    """A page that may ask nobody but its own server, and may not complain."""
    one = chromium.new_page()
    one.set_viewport_size(WIDE)
    asked, said = [], []
    one.on("request", lambda request: asked.append(request.url))
    one.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    one.on("pageerror", lambda error: said.append(str(error)))
    yield one
    own = re.compile(r"(http://127\.0\.0\.1:\d+/|data:|about:)")
    assert [url for url in asked if not own.match(url)] == []
    assert [text for text in said if "status of 40" not in text] == []
    one.close()


@pytest.fixture(scope="module")
def released(world):
    return segue.load(world.bundle)


def texts(page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


class Held:
    """Keeps the requests of a pattern waiting, until the first is let go."""

    def __init__(self, page, pattern: str) -> None:
        self.page, self.routes = page, []
        page.route(pattern, self._keep)

    def _keep(self, route) -> None:
        self.routes.append(route)

    def let_go(self) -> None:
        while not self.routes:  # the page may not have asked yet
            self.page.wait_for_timeout(20)
        self.routes[0].continue_()


def paste(page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Control+Enter")
    page.wait_for_selector(".answer")


def open_document(page, number: int) -> None:
    """Choose a document as one does without a mouse."""
    page.wait_for_selector("#documents option")
    page.focus("#contains")
    page.keyboard.type(f"Volume {number}")
    expect(page.locator("#documents option")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer")


def runs_page(page, site: str, view: str, **choices: str) -> None:
    chosen = "&".join(f"{name}={value}" for name, value in {"view": view, "run": "first", **choices}.items())
    page.goto(f"{site}/page/runs.html#{chosen}")
    page.wait_for_selector("#view[aria-labelledby]:not([aria-busy])")


def test_a_pasted_text_is_answered_as_python_answers_it_and_the_report_opens(page, site, released):
    beginning = "\n\n".join(text_of(3).split("\n\n")[:4])
    page.goto(site)
    paste(page, beginning)
    expected = released.next(text=beginning, k=5)
    assert texts(page, ".answers .prose") == [passage.text for passage in expected]
    assert texts(page, ".answers .source") == [f"{one.title} position {one.position}" for one in expected]
    assert texts(page, "#thread li .prose") == beginning.split("\n\n")
    assert page.locator("#map svg").is_visible()
    assert {"encode", "predict", "search"} <= set(texts(page, "#time dt"))
    page.click("text=Runs")
    page.click("role=tab[name=Report]")
    assert page.frame_locator("iframe").locator("h1").inner_text() == "Volumes"


def test_nothing_can_be_typed_before_the_page_can_answer_it(page, site):
    held = Held(page, "**/v1/info")
    page.goto(site)
    for field in ("#text", "#contains", "#documents", "#beginning button[type=submit]"):
        expect(page.locator(field)).to_be_disabled()
    held.let_go()
    paste(page, "A text that is typed as soon as the page allows it to be typed.")


def test_a_text_is_never_markup(page, site):
    page.goto(site)
    paste(page, "<img src=x onerror=alert(1)> is what some people write, and <b>this</b> is a text of theirs.")
    assert page.locator("#thread img, #thread b").count() == 0
    assert "<img src=x" in page.inner_text("#thread")


def test_a_dropped_file_is_read(page, site):
    page.goto(site)
    page.wait_for_selector("#documents option")
    page.evaluate("""text => {
        const carried = new DataTransfer();
        carried.items.add(new File([text], "beginning.txt", { type: "text/plain" }));
        document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: carried }));
    }""", text_of(2))  # fmt: skip
    page.wait_for_selector(".answer")
    assert len(texts(page, "#thread li")) == LENGTH


def test_a_document_is_chosen_and_read_on_by_keyboard_and_the_truth_is_marked(page, site, released):
    page.goto(site)
    open_document(page, 7)
    for upto in (3, 4):  # the first question reads as much as the bundle's context
        ids = [f"volume/7 №7#{place}" for place in range(upto)]
        found = [passage.id for passage in released.next(ids=ids, k=50)]
        place = found.index(f"volume/7 №7#{upto}") + 1 if f"volume/7 №7#{upto}" in found else None
        expect(page.locator("#position")).to_contain_text(f"{upto} of {LENGTH} passages read")
        assert texts(page, "#thread .number") == [str(place) for place in range(LENGTH)]
        expect(page.locator("#announced")).to_contain_text(f"place {place}." if place else "answered in")
        page.wait_for_selector(".next:not([aria-busy])")
        assert text_of(7).split("\n\n")[upto] in texts(page, ".answer.true .prose")
        assert page.locator("li.following .prose").inner_text() == text_of(7).split("\n\n")[upto]
        page.keyboard.press("ArrowDown")  # the list of passages has the focus
    expect(page).to_have_url(re.compile("read=5"))


def served_recall(released) -> float:
    """Return the R@5 that the bundle's card states for what is served."""
    (row,) = [row for row in released.bundle.gates["rows"] if row["name"] == released.bundle.contract["option"]]
    return row["metrics"]["R@5"]["value"]


@pytest.mark.parametrize(("five", "said"), [(0.31, "may not be among the first five"),
                                            (0.93, "is probably among the first five"),
                                            (None, "No confidence is shown")])  # fmt: skip
def test_it_shows_its_confidence(page, site, released, five, said):
    def surely(route):
        response = route.fetch()
        sure = None if five is None else {"R@1": 0.2, "R@5": five}
        route.fulfill(response=response, body=json.dumps(response.json() | {"confidence": sure}))

    page.route("**/v1/next", surely)
    page.goto(site)
    open_document(page, 9)
    assert said in page.inner_text("#confidence")
    usual = served_recall(released)
    assert five is None or f"among the first five for {usual:.0%}".replace("%", " %") in page.inner_text("#confidence")
    assert five is None or f"{five:.0%}".replace("%", " %") in page.inner_text("#confidence")


def test_an_example_of_the_bundle_is_one_click_away_and_was_not_trained_on(page, site, world, released):
    page.goto(site)
    page.wait_for_selector("#examples li")
    split = json.loads((world.runs / "first" / "split.json").read_text())["folds"][0]
    bank = released.bundle.bank
    titles = dict(zip(bank.document_ids, bank.document_titles, strict=True))
    shown = [text.split(",")[0] for text in texts(page, "#examples button")]
    assert 2 <= len(shown) <= 3
    assert set(shown) <= {titles[name] for name in split["validation"]}
    page.click("#examples button >> nth=0")
    page.wait_for_selector(".answer")
    assert page.inner_text("#thread h2") == shown[0]


def test_differences_open_with_the_winner_against_copying(page, site, world):
    record = RunsFolder(world.runs).run("first").record
    for view in ("differences", "failures"):  # what was chosen on another tab is not compared with itself
        runs_page(page, site, view)
        if view == "failures":
            page.click("role=tab[name=Differences]")
            page.wait_for_selector("#view[aria-labelledby=tab-differences]:not([aria-busy])")
        first, second = page.locator("select").nth(1).input_value(), page.locator("select").nth(3).input_value()
        assert first != second
        assert "copy-last" in (first, second)
        assert record.winner in (first, second)
    runs_page(page, site, "differences", entry=record.winner)
    chosen = [page.locator("select").nth(place).input_value() for place in (1, 3)]
    assert chosen[0] == record.winner != chosen[1]


def test_the_card_tells_the_gates(page, site, released):
    page.goto(site)
    page.wait_for_selector(".gates li")
    gates = released.bundle.gates["gates"]
    expected = [f"{gate['outcome'].replace('-', ' ')} {gate['name']}" for gate in gates]
    assert [text[: len(start)] for text, start in zip(texts(page, ".gates li"), expected, strict=True)] == expected


def test_the_worst_windows_come_first_with_what_was_answered_instead(page, site, world):
    run = RunsFolder(world.runs).run("first")
    answered = run._read("copy-last")
    runs_page(page, site, "failures", entry="copy-last")
    worst = sorted(answered.ranks.tolist(), reverse=True)[:20]
    assert [int(text) for text in texts(page, ".windows .ranks")] == worst
    page.focus(".windows summary")
    page.keyboard.press("Enter")
    page.wait_for_selector(".inside .true")
    number = max(range(len(answered)), key=lambda one: (answered.ranks[one], -answered.targets[one]))
    rows = [*answered.context[number], answered.targets[number], *answered.rankings[number, :5]]
    assert texts(page, ".inside .prose") == run.bank.texts(np.array(rows, dtype=np.int64))
    assert all(texts(page, ".inside .reasons"))


def test_two_entries_differ_window_by_window(page, site, world):
    run = RunsFolder(world.runs).run("first")
    first, second = (run._read(name).ranks.tolist() for name in ("bm25", "copy-last"))
    gained = sum(a > 5 >= b for a, b in zip(first, second, strict=True))
    runs_page(page, site, "differences", entry="bm25", second="second", second_entry="copy-last", side="only-second")
    assert f"only the second found it{gained}" in page.inner_text(".filter").replace("\n", "")
    pairs = sorted(
        ((a, b) for a, b in zip(first, second, strict=True) if a > 5 >= b), key=lambda p: 1 / p[0] - 1 / p[1]
    )
    assert texts(page, ".windows .ranks") == [f"{a}→{b}" for a, b in pairs][:20]
    assert page.locator(".scatter circle").count() == len(first)


def test_a_view_that_comes_late_does_not_cover_the_one_chosen_after_it(page, site):
    held = Held(page, "**/runs/windows?*")
    page.goto(f"{site}/page/runs.html#view=failures&run=first")
    page.wait_for_selector("#view[aria-busy]", state="attached")
    page.click("role=tab[name=Report]")
    page.wait_for_selector("#view:not([aria-busy]) iframe")
    with page.expect_response("**/runs/windows?*"):
        held.let_go()
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    assert page.locator("#view iframe").count() == 1
    assert page.locator("#view .windows").count() == 0


def test_a_tab_is_no_button_before_the_page_can_answer_it(page, site):
    held = Held(page, "**/page/runs.js")
    page.goto(f"{site}/page/runs.html", wait_until="commit")
    expect(page.locator("#tab-report")).to_be_disabled()
    held.let_go()
    page.click("role=tab[name=Report]")
    page.wait_for_selector("#view iframe")


def test_a_run_that_cannot_be_read_is_named_beside_the_others(page, world, tmp_path):
    shutil.copytree(world.runs, tmp_path / "runs")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "triage.json").write_text("{")
    with serving(world.bundle, "--runs", str(tmp_path / "runs")) as (address, _):
        runs_page(page, address, "compare")
        assert "broken" in page.inner_text("#trouble:not([hidden])")
        assert page.locator("#view table").count() > 0


def test_everything_that_can_be_used_has_a_name_and_fits_a_phone_in_the_dark(page, site):
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(NARROW)
    page.goto(site)
    open_document(page, 5)
    require_fits(page)
    for view in ("compare", "report", "failures", "differences"):
        runs_page(page, site, view)
        require_fits(page)


def require_fits(page) -> None:
    """Nothing is wider than the screen, and nothing that can be used is nameless."""
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], page.url
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    nameless = [node for node in nodes if not node["ignored"] and node["role"]["value"] in NAMED_ROLES
                and not node.get("name", {}).get("value")]  # fmt: skip
    assert nameless == [], page.url


def test_a_server_with_keys_asks_for_one_and_without_runs_says_how_to_show_them(page, world, tmp_path):
    key = new_key(tmp_path / "keys")
    with serving(world.bundle, "--keys", str(tmp_path / "keys")) as (address, _):
        page.goto(address)
        for given in ("segue_wrong", key):
            page.fill("#key", given)
            page.click("dialog button")
            if given != key:
                expect(page.locator("dialog")).to_contain_text("not accepted")
        expect(page.locator("#documents option")).to_have_count(DOCUMENTS)
        page.click("text=Runs")
        page.wait_for_selector("#trouble:not([hidden])")
        assert "segue serve BUNDLE --runs FOLDER" in page.inner_text("#trouble")


def test_a_report_of_somebody_else_runs_no_script_but_ours(chromium, world):
    """The policy that the server sends is enough, without the one inside the page."""
    text = (world.runs / "first" / "report.html").read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    evil = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    text = text.replace("</body>", evil)
    page, answered = chromium.new_page(), []

    def answer(route) -> None:
        answered.append(route.request.url)
        route.fulfill(body=text, headers={**REPORT_HEADERS, "content-type": "text/html"})

    page.route("**/*", answer)
    page.goto("http://127.0.0.1:9/report")
    head = page.locator("thead th:visible").first
    head.click()
    expect(head).to_have_attribute("aria-sort", "descending")  # the script that sorts tables runs
    assert page.title() == page.locator("h1").inner_text()
    assert answered == ["http://127.0.0.1:9/report"]
    page.close()
