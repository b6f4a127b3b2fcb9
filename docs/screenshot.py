"""A picture of a reading room (needs Chromium): `python docs/screenshot.py PATH/TO/index.html OUT.png`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1320, "height": 640})
    page.goto(f"file://{Path(sys.argv[1]).resolve()}#view=guidance")
    page.wait_for_selector("body[data-ready=true]")
    page.screenshot(path=sys.argv[2])
    browser.close()
