"""The pictures of the report in docs/images, taken with Chromium: `make screenshots`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

from tests.browser import chromium, open_report

#: Name, width, height, theme, and the element at the top of the picture.
PICTURES = (
    ("report-light", 1280, 900, "light", None),
    ("report-dark", 1280, 900, "dark", "closer"),
    ("report-languages", 1280, 900, "light", "languages"),
    ("report-phone", 412, 915, "light", None),
    ("report-phone-dark", 412, 915, "dark", "languages"),
)
#: XQuAD-R, and the model that is not the lexical one.
CHOOSE = """
const done = arguments[0];
for (const [id, wanted] of [["collection", "xquad-r"], ["model", "MiniLM"]]) {
  const select = document.getElementById(id);
  const option = [...select.options].find((one) => one.text.includes(wanted));
  if (option) { select.value = option.value; select.dispatchEvent(new Event("change")); }
}
setTimeout(done, 1500);
"""


def take(page: Path, output: Path) -> None:
    """Take every picture of a report, of 128 colours, which a page hardly has."""
    output.mkdir(parents=True, exist_ok=True)
    for name, width, height, theme, top in PICTURES:
        with chromium() as driver:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            feature = {"name": "prefers-color-scheme", "value": theme}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            open_report(driver, page)
            driver.execute_async_script(CHOOSE)
            if top:
                driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", top)
            path = output / f"{name}.png"
            path.write_bytes(driver.get_screenshot_as_png())
        with Image.open(path) as image:
            image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
        sys.stdout.write(f"{path}  {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    take(arguments.page, arguments.output)
