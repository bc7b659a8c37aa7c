"""Make the animation of README: `python docs/animation.py` writes docs/explorer.webp.

A page of the attention explorer in Chromium: the cell that asks walks from one object to others, in three frames.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from screencasts import launch, screenshot

from minivos import Clip, create_model, explore
from minivos.video.datasets import samples_root

WIDTH, HEIGHT = 1200, 900  # of the page; the animation has two thirds of it
BEGIN = 0.84, 0.68  # of the frame's width and height: on object 1
WALK = ["ArrowUp"] + ["ArrowLeft"] * 5 + ["."] + ["ArrowUp"] * 2 + ["ArrowLeft"] * 3 + [","] * 2 + ["ArrowRight"] * 6
MILLISECONDS = 450  # that a picture is shown


def pictures(page: Page) -> Iterator[Image.Image]:
    """The page before and after each key."""
    for key in [None, *WALK]:
        if key:
            page.keyboard.press(key)
        page.wait_for_timeout(150)
        yield Image.fromarray(screenshot(page)).resize((WIDTH * 2 // 3, HEIGHT * 2 // 3), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the explorer of a sample clip, walk over it, and keep what Chromium shows."""
    clip = Clip.load(samples_root() / "JPEGImages" / "480p" / "many_objects")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "explorer.html"
        explore(create_model("aot_mini", weights="shipped"), clip, out=file, frames=[0, 5, 10, 15])
        page = launch(playwright).new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(file.as_uri())
        frame = page.locator("canvas").first
        size = frame.bounding_box()
        frame.click(position={"x": BEGIN[0] * size["width"], "y": BEGIN[1] * size["height"]})
        first, *others = pictures(page)
    first.save(
        Path(__file__).parent / "explorer.webp",
        save_all=True,
        append_images=others,
        duration=MILLISECONDS,
        loop=0,
        quality=60,
        method=4,
    )


if __name__ == "__main__":
    main()
