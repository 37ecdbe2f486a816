"""Take the picture of a report that the README and the site show.

``python docs/picture.py runs/demo`` writes ``docs/assets/report.png``. Needs Chromium and playwright (extra ``dev``).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "assets" / "report.png"
WIDTH, HEIGHT = 1180, 900


def main(run: Path) -> None:
    """Open the report of a run and save its first screen."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto((run / "report.html").resolve().as_uri())
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"wrote {PICTURE}, {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
