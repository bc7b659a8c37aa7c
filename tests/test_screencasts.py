"""The films of the tours: what is written can be played, picture after picture, for as long as asked."""

import runpy
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
SCRIPT = Path(__file__).parents[1] / "docs" / "screencasts.py"


def test_a_film_shows_each_picture_for_its_seconds(tmp_path):
    script = runpy.run_path(str(SCRIPT))
    shown = [
        (np.full((script["HEIGHT"], script["WIDTH"], 3), grey, np.uint8), seconds)
        for grey, seconds in ((40, 1), (200, 2))
    ]
    assert script["film"](iter(shown), tmp_path / "film.webm") == 3
    with av.open(str(tmp_path / "film.webm")) as film:
        greys = [frame.to_ndarray(format="rgb24").mean() for frame in film.decode(video=0)]
    assert len(greys) == 3 * script["RATE"]
    expected = [40] * script["RATE"] + [200] * 2 * script["RATE"]
    assert np.abs(np.subtract(greys, expected)).max() < 4
