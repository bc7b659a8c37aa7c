"""What all tests share.

Each runs on one thread: small tensors gain nothing from more, and a busy machine loses much.
"""

from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from chromium import launched

    with launched() as browser:
        yield browser
