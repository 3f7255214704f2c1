"""The pictures of the report in docs/images, taken with Chromium from the published results.

    python docs/screenshots.py report.html --output docs/images
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Name, width, height, theme, and the element at the top of the picture.
PICTURES = (
    ("report-light", 1280, 900, "light", None),
    ("report-dark", 1280, 900, "dark", None),
    ("report-languages", 1280, 900, "light", "languages"),
    ("report-phone", 412, 915, "light", None),
    ("report-phone-dark", 412, 915, "dark", "languages"),
)


def chromium(folder: str, *options: str) -> Any:
    """Chromium without a window, without network services, with a profile of its own."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    wanted = ChromeOptions()
    wanted.binary_location = str(shutil.which("chromium"))
    for option in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder}",
        *options,
    ):
        wanted.add_argument(option)
    wanted.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Chrome(options=wanted, service=Service(str(shutil.which("chromedriver"))))


def take(page: Path, output: Path) -> None:
    """Take every picture of a report."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    output.mkdir(parents=True, exist_ok=True)
    for name, width, height, theme, top in PICTURES:
        with tempfile.TemporaryDirectory() as profile:
            driver = chromium(profile, "--hide-scrollbars")
            try:
                metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                feature = {"name": "prefers-color-scheme", "value": theme}
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
                driver.get(page.resolve().as_uri())
                WebDriverWait(driver, 30).until(lambda one: one.execute_script("return document.documentElement.dataset.ready"))
                if top:
                    driver.execute_script("arguments[0].scrollIntoView()", driver.find_element(By.ID, top))
                path = output / f"{name}.png"
                path.write_bytes(driver.get_screenshot_as_png())
                compress(path)
                sys.stdout.write(f"{path}  {path.stat().st_size:,} bytes\n")
            finally:
                driver.quit()


def compress(path: Path) -> None:
    """Fewer colours, where Pillow is there: a page has few."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    take(arguments.page, arguments.output)
