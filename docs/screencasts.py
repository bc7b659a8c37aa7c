"""Film the guided tour of each paper in the explorer: `python docs/screencasts.py` fills out/screencasts/.

One silent film for each small network, as WebM: every stop of its tour with its words, as Chromium shows it.
"""

import argparse
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from browser import find_chromium
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from minivos import Clip, create_model, explore
from minivos.video.datasets import samples_root

NETWORKS = "aot_mini", "sst_mini", "sitvos_mini", "hst_mini"
WIDTH, HEIGHT = 1200, 900  # pixels
RATE = 5  # pictures a second
WORDS_A_SECOND = 6  # a stop is read in a hurry; pause the film to look longer
LEAST = 5  # seconds for a stop


def pictures(page: Page) -> Iterator[tuple[np.ndarray, float]]:
    """What the page shows, (H, W, 3), and for how many seconds: its beginning, then stop after stop of the tour."""
    yield screenshot(page), 2
    page.locator(".actions [data-do=tour]").click()
    further = page.locator(".tour [data-do=next]")
    while True:
        page.wait_for_timeout(600)  # until it has scrolled
        words = len(page.locator(".tour").inner_text().split())
        yield screenshot(page), max(LEAST, words / WORDS_A_SECOND)
        if further.is_disabled():
            return
        further.click()


def launch(playwright: Playwright) -> Browser:
    """A Chromium. SystemExit where none is installed."""
    if path := find_chromium():
        return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    raise SystemExit("there is no Chromium; install one, it has to show the pages")


def screenshot(page: Page) -> np.ndarray:
    """The page as RGB, (H, W, 3)."""
    return np.array(Image.open(BytesIO(page.screenshot())).convert("RGB"))


def film(shown: Iterator[tuple[np.ndarray, float]], path: Path) -> float:
    """Write pictures as VP9 in WebM; gives the seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libvpx-vp9", RATE, {"crf": "36", "b": "0", "deadline": "realtime", "cpu-used": "6"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        number = 0
        for picture, seconds in shown:
            for _ in range(round(seconds * RATE)):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, number = number, number + 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return number / RATE


def main(folder: Path) -> None:
    """Film all tours."""
    folder.mkdir(parents=True, exist_ok=True)
    clip = Clip.load(samples_root() / "JPEGImages" / "480p" / "plain")
    with tempfile.TemporaryDirectory() as pages, sync_playwright() as playwright:
        browser = launch(playwright)
        for name in NETWORKS:
            file = Path(pages) / f"{name}.html"
            explore(create_model(name, weights="shipped"), clip, out=file, frames=[0, 5, 10], heads="mean")
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(file.as_uri())
            path = folder / f"{name.removesuffix('_mini')}.webm"
            seconds = film(pictures(page), path)
            print(f"{path}: {seconds:.0f} seconds, {path.stat().st_size / 1e6:.2f} MB")
            page.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("out/screencasts"), help="out/screencasts if not given"
    )
    main(parser.parse_args().folder)
