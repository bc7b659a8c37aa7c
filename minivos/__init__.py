"""Transformer video object segmentation, one readable file per paper."""

from minivos.models import create_model, list_models
from minivos.nn.attention import record_attention
from minivos.nn.network import Schedule
from minivos.official import load_official
from minivos.tracker import Tracker, propagate, track
from minivos.video.clip import Clip

__all__ = [
    "Clip",
    "Schedule",
    "Tracker",
    "create_model",
    "list_models",
    "load_official",
    "propagate",
    "record_attention",
    "track",
]
