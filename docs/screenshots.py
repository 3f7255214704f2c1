"""Take the pictures of the report in docs/images with Chromium; `make screenshots` runs this script."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.browser import chromium, open_report


@dataclass(frozen=True)
class Picture:
    """A picture: its size, the theme, the id of the element at the top, the selected model, or words of a question."""

    name: str
    width: int = 1280
    height: int = 900
    theme: str = "light"
    top: str = ""
    model: str = "MiniLM"
    question: str = ""


#: Pictures of the published results.
PUBLISHED = (
    Picture("report-light"),
    Picture("report-dark", theme="dark", top="picked", height=760),
    Picture("report-languages", height=630, top="languages"),
    Picture("report-phone", width=412, height=915),
    Picture("report-phone-dark", width=412, height=655, theme="dark", top="languages"),
)
#: Pictures of a sweep over alpha: the curve.
SWEEP = (
    Picture("report-alpha", top="alpha-figure", height=640),
    Picture("report-alpha-phone", width=412, height=915, theme="dark", top="alpha-figure"),
)
#: Pictures with texts are of the embedded facts: worst questions, with texts from right to left.
WORST = (
    Picture("report-worst", top="worst", height=760, theme="dark", model="e5"),
    Picture("report-worst-phone", width=412, height=915, top="worst", model="e5"),
)
#: The page of the questions in a site.
QUESTIONS = (Picture("report-questions", width=1440, height=1300, question="Bolivia"),)
#: Searches a question and opens the first that is found.
SEARCH = """
const [words, done] = arguments;
const find = document.getElementById("find");
find.value = words;
find.dispatchEvent(new Event("input"));
document.querySelector("#list tbody a").click();
setTimeout(done, 1500);
"""
#: Selects XQuAD-R, if it is there, and a model.
CHOOSE = """
const [model, done] = arguments;
for (const [id, text] of [["collection", "xquad-r"], ["model", model]]) {
  const select = document.getElementById(id);
  if (!select) { continue; }
  const option = [...select.options].find((candidate) => candidate.text.includes(text));
  if (option) { select.value = option.value; select.dispatchEvent(new Event("change")); }
}
setTimeout(done, 1500);
"""


def take(page: Path, pictures: tuple[Picture, ...], output: Path) -> None:
    """Take pictures of a report, reduced to 256 colours, which only changes the edges of letters."""
    output.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        with chromium() as driver:
            metrics = {
                "width": picture.width,
                "height": picture.height,
                "deviceScaleFactor": 1,
                "mobile": picture.width < 600,
            }
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            feature = {"name": "prefers-color-scheme", "value": picture.theme}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            open_report(driver, page)
            if picture.question:
                driver.execute_async_script(SEARCH, picture.question)
            else:
                driver.execute_async_script(CHOOSE, picture.model)
            if picture.top:
                driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", picture.top)
            path = output / f"{picture.name}.png"
            path.write_bytes(driver.get_screenshot_as_png())
        with Image.open(path) as image:
            image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
                path, optimize=True
            )
        sys.stdout.write(f"{path}  {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    sets = {"published": PUBLISHED, "sweep": SWEEP, "worst": WORST, "questions": QUESTIONS}
    parser.add_argument("--pictures", choices=sets, default="published", help="the pictures that the page is for")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    take(arguments.page, sets[arguments.pictures], arguments.output)
