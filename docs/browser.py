"""The browser that takes pictures of pages."""

import shutil


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    names = "chromium", "chromium-browser", "google-chrome"
    return next(filter(None, map(shutil.which, names)), None)
