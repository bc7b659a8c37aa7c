"""A film that plays: which picture is shown, and how fast."""

import io

import numpy as np
import pytest
from PIL import Image

from minivos.errors import InputError
from minivos.viewing.player import Player

FRAMES = np.stack([np.full((20, 30, 3), 40 * t, np.uint8) for t in range(5)])
LABELS = np.stack([np.where(np.indices((20, 30))[1] // 6 == t, 1, 0) for t in range(5)]).astype(np.uint8)


def shown(player: Player) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(player.picture.value))).astype(int)


def test_the_slider_chooses_the_frame():
    player = Player(FRAMES, fps=10, at=2)
    assert abs(shown(player) - 80).max() < 4 and player.play.interval == 100
    player.slider.value = 4
    assert abs(shown(player) - 160).max() < 4


def test_labels_are_drawn_on_their_frame():
    player = Player(FRAMES, LABELS)
    for t in range(5):
        player.slider.value = t
        red, _, blue = np.moveaxis(shown(player), -1, 0)
        middle = [int((red - blue)[10, 6 * part + 3]) for part in range(5)]
        assert np.argmax(middle) == t and middle[t] > 40  # object 1 is orange


def test_a_large_film_is_drawn_as_large_as_the_screen_shows_it():
    large = np.zeros((1, 1080, 1920, 3), np.uint8)
    large[:, 540:] = 200
    player = Player(large, np.zeros((1, 1080, 1920), np.uint8))
    assert shown(player).shape == (540, 960, 3) and shown(player)[269:271, 480].mean(-1).round(-1).tolist() == [0, 200]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Player(FRAMES, LABELS[:4]), "labels of shape"),
        (lambda: Player(FRAMES, at=5), "frame 5 of 5"),
        (lambda: Player(FRAMES[:0]), "frame 0 of 0"),
        (lambda: Player(FRAMES, fps=0), "0 per second"),
        (lambda: Player(FRAMES / 255), "float64"),
    ],
)
def test_what_cannot_be_played_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
