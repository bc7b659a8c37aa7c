"""Tests run on one thread each: small tensors gain nothing from more, and a busy machine loses much."""

import torch

torch.set_num_threads(1)
