"""Transformer video object segmentation, one readable file per paper."""

from minivos.models import create_model, list_models
from minivos.nn.attention import record_attention
from minivos.nn.network import Schedule
from minivos.tracker import Tracker, propagate, track
from minivos.video.clip import Clip

__all__ = ["Clip", "Schedule", "Tracker", "create_model", "list_models", "propagate", "record_attention", "track"]
