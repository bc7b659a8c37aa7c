"""Encoders of frames and of masks: features at several scales, finest first.

The tiny encoder learns from scratch on a laptop. The others are timm's, cut where video networks
cut them.
"""

from __future__ import annotations

import logging
from itertools import pairwise

import timm
import torch
import torch.nn.functional as F
from einops import rearrange
from timm.layers import FrozenBatchNormAct2d, freeze_batch_norm_2d
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from minivos.errors import InputError


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm around a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
        )
        nn.init.zeros_(self.body[-1].weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """x + body(x), rectified."""
        return (x + self.body(x)).relu()


class TinyEncoder(nn.Module):
    """A small residual network that a laptop can train from scratch: (B, 3, H, W) -> features at
    strides 2, 4 and 8.
    """

    strides = (2, 4, 8)
    channels = (16, 48, 96)
    blocks = (1, 2, 2)  # residual blocks per stage

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(below, width, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(8, width),
                nn.ReLU(),
                *(ResidualBlock(width) for _ in range(blocks)),
            )
            for below, width, blocks in zip(
                (3, *self.channels), self.channels, self.blocks, strict=False
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of normalised images, finest first."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def early(self) -> list[nn.Module]:
        """No part: it learns from scratch."""
        return []

    def load_imagenet(self) -> None:
        """Raises InputError: nobody has trained it on ImageNet."""
        raise InputError(
            "The tiny encoder has no ImageNet weights: use weights='mini', None or a path."
        )


class FoldedConv(nn.Conv2d):
    """A convolution that does the work of the frozen batch norm after it: the norm's scale goes
    into the kernel.

    The same function, gradients included, with half of the passes over the features.
    """

    norm: tuple[nn.Module]  # in a tuple, for it belongs to the network around

    def forward(self, x: Tensor) -> Tensor:
        """norm(conv(x))."""
        (norm,) = self.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        return self._conv_forward(
            x, self.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        )


class FoldedNorm(FrozenBatchNorm2d):
    """A frozen batch norm whose convolution has done its work."""

    def forward(self, x: Tensor) -> Tensor:
        """x."""
        return x


class FoldedNormAct(FrozenBatchNormAct2d):
    """The same for a norm with an activation, which remains."""

    def forward(self, x: Tensor) -> Tensor:
        """act(x)."""
        return self.act(x)


def freeze_batch_norm(network: nn.Module) -> nn.Module:
    """The network with every batch norm frozen (statistics, scale and shift are buffers) and
    folded.

    Every norm must stand right after its convolution, as in timm's networks.
    """
    network = freeze_batch_norm_2d(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            conv = module
        elif isinstance(module, FrozenBatchNorm2d | FrozenBatchNormAct2d):
            assert conv.out_channels == module.num_features, f"{module} does not follow {conv}"
            conv.__class__, conv.norm = FoldedConv, (module,)
            module.__class__ = (
                FoldedNorm if isinstance(module, FrozenBatchNorm2d) else FoldedNormAct
            )
    return network


class TimmEncoder(nn.Module):
    """A timm network cut into the parts that end at `strides`; subclasses say where.

    Batch norms are frozen: statistics, scales and shifts are buffers and never change.
    """

    strides = (4, 8, 16)
    timm_name: str
    timm_settings: dict = {}
    channels: tuple[int, ...]  # of the features, finest first

    def __init__(self) -> None:
        super().__init__()
        self.body = freeze_batch_norm(self.cut(self._make(pretrained=False)))

    def cut(self, body: nn.Module) -> nn.Module:
        """Remove what the features do not need."""
        return body

    def early(self) -> list[nn.Module]:
        """The parts up to stride 4, which AOT does not train."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of normalised images, finest first."""
        return self.features(
            x.to(memory_format=torch.channels_last)
        )  # in which convolutions are faster

    def features(self, x: Tensor) -> list[Tensor]:
        """What `forward` returns."""
        raise NotImplementedError

    def load_imagenet(self) -> None:
        """Load timm's pretrained weights. Raises InputError when they cannot be downloaded."""
        logging.getLogger("huggingface_hub").setLevel(
            logging.ERROR
        )  # not a warning for each try: the error tells
        try:
            pretrained = freeze_batch_norm(self.cut(self._make(pretrained=True)))
        except Exception as error:  # the download fails in many ways
            raise InputError(
                f"The pretrained weights of {self.timm_name} could not be fetched ({type(error).__name__}: {error}). "
                "Connect to the internet once, or use random weights (weights=None) or a weights file."
            ) from error
        self.body.load_state_dict(pretrained.state_dict())

    def _make(self, pretrained: bool) -> nn.Module:
        return timm.create_model(
            self.timm_name, pretrained=pretrained, num_classes=0, **self.timm_settings
        )


class MobileNetV2(TimmEncoder):
    """MobileNet-V2 at stride 16: features of 24, 32, 96 channels, and the last 1280, which share
    the grid of the 96.
    """

    timm_name, timm_settings = "mobilenetv2_100", {"output_stride": 16}
    channels = (24, 32, 96, 1280)

    def early(self) -> list[nn.Module]:
        """Stem and the first two stages."""
        return [self.body.conv_stem, *self.body.blocks[:2]]

    def features(self, x: Tensor) -> list[Tensor]:
        """At strides 4, 8 and 16."""
        features, x = [], self.body.bn1(self.body.conv_stem(x))
        for number, stage in enumerate(self.body.blocks):
            x = stage(x)
            if number in (1, 2, 4):
                features.append(x)
        return [*features, self.body.bn2(self.body.conv_head(x))]


class ResNet50(TimmEncoder):
    """ResNet-50 without its last stage: features of 256, 512 and 1024 channels."""

    timm_name = "resnet50"
    channels = (256, 512, 1024)

    def cut(self, body: nn.Module) -> nn.Module:
        """Drop the last stage."""
        body.layer4 = nn.Identity()
        return body

    def early(self) -> list[nn.Module]:
        """Stem and first stage."""
        return [self.body.conv1, self.body.layer1]

    def features(self, x: Tensor) -> list[Tensor]:
        """At strides 4, 8 and 16."""
        fine = self.body.layer1(
            self.body.maxpool(self.body.act1(self.body.bn1(self.body.conv1(x))))
        )
        middle = self.body.layer2(fine)
        return [fine, middle, self.body.layer3(middle)]


class ResNet101(ResNet50):
    """ResNet-101 at stride 16: features of 256, 512 and 1024 channels, and the last 2048, which
    share their grid.
    """

    timm_name, timm_settings = "resnet101", {"output_stride": 16}
    channels = (256, 512, 1024, 2048)

    def cut(self, body: nn.Module) -> nn.Module:
        """Keep all stages."""
        return body

    def features(self, x: Tensor) -> list[Tensor]:
        """At strides 4, 8, 16 and 16."""
        features = super().features(x)
        return [*features, self.body.layer4(features[-1])]


class MaskResNet18(TimmEncoder):
    """ResNet-18 without its last stage, for masks: (B, 1, H, W) in [0, 1] -> (B, 256, H/16, W/16).

    ImageNet's weights of its first convolution are summed over the colours.
    """

    timm_name, timm_settings = "resnet18", {"in_chans": 1}
    channels = (256,)

    def cut(self, body: nn.Module) -> nn.Module:
        """Drop the last stage."""
        body.layer4 = nn.Identity()
        return body

    def early(self) -> list[nn.Module]:
        """No part: all of it is trained."""
        return []

    def features(self, x: Tensor) -> list[Tensor]:
        """A list of one, as that of image encoders ends with the deepest."""
        return [self.body.forward_features(x)]


class TinyMaskEncoder(nn.Module):
    """Three strided convolutions for masks: (B, 1, H, W) in [0, 1] -> (B, 32, H/8, W/8)."""

    channels = (32,)

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 8, 16, 32)
        self.layers = nn.ModuleList(
            nn.Conv2d(below, width, 3, stride=2, padding=1) for below, width in pairwise(widths)
        )

    def start_by_copying(self) -> None:
        """Initialise so that the first channel is the mask, blurred and shrunk."""
        with torch.no_grad():
            for layer in self.layers:
                layer.weight[0] = 0
                layer.weight[0, 0] = 1 / 9
                layer.bias[0] = 0

    def forward(self, masks: Tensor) -> list[Tensor]:
        """Features of masks: a list of one, as that of image encoders ends with the deepest."""
        for layer in self.layers:
            masks = layer(masks).relu()
        return [masks]


class PadThenShift(SwinTransformerBlock):
    """timm's Swin block, but a grid is padded to whole windows before it is shifted, as in the
    published code.

    timm pads afterwards, which moves the padding between the cells that the shift has wrapped
    around.
    """

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        below, beside = (
            -side % window for side, window in zip((height, width), self.window_size, strict=True)
        )
        return super()._attn(F.pad(x, (0, 0, 0, beside, 0, below)))[:, :height, :width]


class SwinEncoder(TimmEncoder):
    """The first stages of timm's Swin, one for each of `channels`, with blocks of ours; a layer
    norm on each output.
    """

    block: type[SwinTransformerBlock]

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)

    def cut(self, body: nn.Module) -> nn.Module:
        """Drop later stages and the final norm."""
        body.layers, body.norm = body.layers[: len(self.channels)], nn.Identity()
        for stage in body.layers:
            for block in stage.blocks:
                block.__class__ = self.block
        return body

    def features(self, x: Tensor) -> list[Tensor]:
        """Of each stage, finest first, before its cells are merged for the next: (B, C_i, H_i,
        W_i).
        """
        features, x = [], self.body.patch_embed(x)
        for stage, norm in zip(self.body.layers, self.norms, strict=True):
            x = stage(x)
            features.append(rearrange(norm(x), "b h w c -> b c h w"))
        return features


class SwinB(SwinEncoder):
    """Swin-B without its last stage: features of 128, 256 and 512 channels at strides 4, 8 and
    16.
    """

    timm_name = "swin_base_patch4_window7_224.ms_in22k"
    timm_settings = {"strict_img_size": False, "always_partition": True, "drop_path_rate": 0.3}
    channels = (128, 256, 512)
    block = PadThenShift

    def early(self) -> list[nn.Module]:
        """Patch embedding and first stage."""
        return [self.body.patch_embed, self.body.layers[0]]


ENCODERS = {
    "tiny": TinyEncoder,
    "mobilenet_v2": MobileNetV2,
    "resnet50": ResNet50,
    "resnet101": ResNet101,
    "swin_b": SwinB,
}
MASK_ENCODERS = {
    "tiny": TinyMaskEncoder,
    "resnet50": MaskResNet18,
}  # that go with an image encoder: alike strides
