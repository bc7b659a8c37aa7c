"""Transformer video object segmentation, one readable file per paper."""

import os
from importlib import import_module
from typing import Any

# Threads that wait leave their core to others. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

PUBLIC = {
    "Clip": "minivos.video.clip",
    "Schedule": "minivos.nn.memory",
    "Tracker": "minivos.tracker",
    "create_model": "minivos.models",
    "explore": "minivos.viewing.explorer",
    "list_models": "minivos.models",
    "load_official": "minivos.official",
    "pick_device": "minivos.models",
    "propagate": "minivos.propagation",
    "record_attention": "minivos.nn.recording",
    "track": "minivos.propagation",
}
__all__ = list(PUBLIC)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: `python -m minivos.aot` loads no other paper."""
    if name not in PUBLIC:
        raise AttributeError(f"minivos has no {name!r}; it has {', '.join(PUBLIC)}")
    return getattr(import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *PUBLIC]
