"""Image and video Swin: against timm's, against each other, and what windows, shifts and padding let through."""

import pytest
import timm
import torch
from torch import nn

from minivos.errors import InputError
from minivos.nn.swin import (
    SWINS,
    SwinMini,
    VideoSwin,
    from_windows,
    in_windows,
    who_may_look,
    window_attention,
)


def seeded_image(kind=SwinMini) -> nn.Module:
    """An image Swin whose position bias matters."""
    torch.manual_seed(0)
    image = kind().eval()
    for name, weight in image.named_parameters():
        if "relative_position" in name:
            nn.init.normal_(weight)
    return image


def farthest(ours, wanted) -> float:
    return max((a - b).abs().max().item() for a, b in zip(ours, wanted, strict=True))


@torch.no_grad()
def test_where_windows_fit_it_is_timm_s_swin():
    image = seeded_image(SWINS["tiny"])
    plain = timm.create_model(SWINS["tiny"].timm_name, num_classes=0).eval()
    plain.load_state_dict(image.body.state_dict(), strict=False)
    frame = torch.randn(1, 3, 224, 224)
    stages = plain.forward_intermediates(frame, intermediates_only=True, norm=False)
    wanted = [norm(stage.movedim(1, -1)).movedim(-1, 1) for norm, stage in zip(image.norms, stages, strict=True)]
    assert farthest(image(frame), wanted) < 1e-5


@pytest.mark.parametrize("size", [(32, 32), (48, 80), (16, 112)])
@torch.no_grad()
def test_one_frame_without_masks_gives_the_image_features(size):
    image, frame = seeded_image(), torch.randn(2, 3, *size)
    video = VideoSwin(image, frames=4).eval()
    assert farthest([part[:, :, 0] for part in video(frame[:, None])], image(frame)) < 1e-5


@pytest.mark.parametrize("times", [2, 4, 5, 7])
@torch.no_grad()
def test_the_same_frame_again_and_again_gives_the_image_features_in_each(times):
    image, frame = seeded_image(), torch.randn(1, 3, 48, 80)
    video = VideoSwin(image, frames=4).eval()
    repeated = video(frame[:, None].expand(-1, times, -1, -1, -1))
    assert farthest(repeated, [part[:, :, None] for part in image(frame)]) < 1e-5


@torch.no_grad()
def test_frames_and_masks_matter():
    image = seeded_image()
    video, frames, mask = VideoSwin(image, frames=2).eval(), torch.randn(1, 3, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    mask[:, 1, 8:20, 8:20] = 1
    plain = video(frames)
    other = frames.clone()
    other[:, 2] = 0
    assert (video(other)[-1][:, :, 0] - plain[-1][:, :, 0]).abs().max() > 1e-3  # news travels through two blocks
    for masks in ((mask, None), (None, mask)):
        assert (video(frames, *masks)[0] - plain[0]).abs().max() > 1e-3


def test_windows_are_boxes_and_come_back():
    x = torch.randn(2, 4, 6, 8, 3)
    windows = in_windows(x, (2, 3, 4))
    assert windows.shape == (2, 8, 24, 3)
    assert torch.equal(windows[0, 0], x[0, :2, :3, :4].flatten(0, 2))
    assert torch.equal(from_windows(windows, (2, 3, 4), (4, 6, 8)), x)


def by_definition(x, attention, table, sides, shifted):
    """Each cell looks at the cells of its own shifted box that are inside the video, one by one."""
    grid = x.shape[1:4]
    window = [min(sides[0], grid[0]), *sides[1:]]
    shift = [w // 2 if shifted and side > w else 0 for side, w in zip(grid, window, strict=True)]
    cells = list(torch.cartesian_prod(*(torch.arange(side) for side in grid)).tolist())
    box = {tuple(c): tuple((i - by) // w for i, by, w in zip(c, shift, window, strict=True)) for c in cells}
    q, k, v = attention.qkv(x[0]).unflatten(-1, (3, attention.num_heads, -1)).unbind(3)
    out = torch.zeros_like(v)
    for p in map(tuple, cells):
        seen = [r for r in map(tuple, cells) if box[r] == box[p]]
        where = [[a - b + side - 1 for a, b, side in zip(p, r, sides, strict=True)] for r in seen]
        bias = torch.stack([table[(t * (2 * sides[1] - 1) + y) * (2 * sides[2] - 1) + x_] for t, y, x_ in where])
        keys, values = (torch.stack([part[r] for r in seen]) for part in (k, v))
        scores = (keys * q[p]).sum(-1) * q.shape[-1] ** -0.5 + bias  # (seen, heads)
        out[p] = (scores.softmax(dim=0)[..., None] * values).sum(dim=0)
    return attention.proj(out.flatten(-2))[None]


@pytest.mark.parametrize("grid", [(3, 5, 6), (1, 4, 4), (2, 2, 9)])
@pytest.mark.parametrize("shifted", [False, True])
@torch.no_grad()
def test_windows_shifts_and_padding_equal_a_loop_over_cells(grid, shifted):
    torch.manual_seed(0)
    attention = timm.models.swin_transformer.WindowAttention(8, num_heads=2, window_size=4).eval()
    x, sides = torch.randn(1, *grid, 8), (2, 4, 4)
    table = torch.randn((2 * 2 - 1) * (2 * 4 - 1) ** 2, 2)
    answer = window_attention(x, attention, table, sides, shifted)
    assert torch.allclose(answer, by_definition(x, attention, table, sides, shifted), atol=1e-5)


def test_where_nothing_is_shifted_or_padded_all_of_a_window_may_look():
    assert who_may_look((2, 4, 4), (1, 2, 2), (0, 0, 0)) is None
    assert who_may_look((2, 4, 4), (2, 4, 4), (1, 2, 2)).float().mean() == 1 / 8


@torch.no_grad()
def test_windows_run_in_the_fused_kernel_with_and_without_a_mask():
    class Kernels(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.append(func)
            return func(*args, **(kwargs or {}))

    attention = timm.models.swin_transformer.WindowAttention(8, num_heads=2, window_size=4).eval()
    table = torch.randn((2 * 2 - 1) * (2 * 4 - 1) ** 2, 2)
    for shifted in (False, True):
        called = []
        with Kernels():
            window_attention(torch.randn(2, 2, 8, 8, 8), attention, table, (2, 4, 4), shifted)
        assert torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default in called


@torch.no_grad()
def test_a_frame_finds_the_masks_of_the_one_before_and_old_ones_go():
    image = SwinMini().eval()
    video = VideoSwin(image, frames=4).eval()

    def see(times: int) -> int:
        before = who_may_look.cache_info().misses
        image(torch.rand(1, 3, 48, 80))
        video(torch.rand(1, times, 3, 48, 80))
        return who_may_look.cache_info().misses - before

    assert see(times=3) > 0 == see(times=3)
    for times in range(4, 10):
        see(times)
    assert who_may_look.cache_info().currsize <= 16 and see(times=3) > 0


def test_features_of_each_stage():
    for kind, width in (("mini", 16), ("tiny", 96)):
        image = SWINS[kind]()
        with torch.inference_mode():
            shapes = [tuple(part.shape[1:]) for part in image.eval()(torch.rand(1, 3, 64, 96))]
        assert shapes == [(width * 2**i, 64 // s, 96 // s) for i, s in enumerate(image.strides)]


def test_imagenet_weights_are_made_for_the_same_windows_and_channels():
    for kind in set(SWINS.values()) - {SwinMini}:
        with torch.device("meta"):
            image = kind()
        trained = timm.get_pretrained_cfg(kind.timm_name)
        window = image.body.layers[0].blocks[0].attn.window_size[0]
        assert trained.tag == "ms_in22k_ft_in1k" and trained.input_size[1] == 32 * window  # 7 for 224, 12 for 384
        assert image.channels == tuple(stage.blocks[0].attn.dim for stage in image.body.layers)


def test_pretrained_weights_are_fetched_under_that_name(monkeypatch):
    asked, make = [], timm.create_model

    def fetch(name: str, pretrained: bool, **settings: object) -> nn.Module:
        asked.append((name, pretrained))
        body = make(name, pretrained=False, **settings)
        body.patch_embed.proj.weight.data.fill_(0.5)
        return body

    image = SWINS["tiny"]()
    monkeypatch.setattr(timm, "create_model", fetch)
    image.load_imagenet()
    assert asked == [("swin_tiny_patch4_window7_224.ms_in22k_ft_in1k", True)]
    assert (image.body.patch_embed.proj.weight == 0.5).all()


@pytest.mark.parametrize(
    ("frames", "masks", "message"),
    [
        ((1, 0, 3, 32, 32), None, "got frames of shape .* T >= 1"),
        ((1, 2, 3, 40, 32), None, "multiples of 16: pad them"),
        ((1, 3, 32, 32), None, "expected"),
        ((1, 2, 4, 32, 32), None, "expected"),
        ((1, 2, 3, 32, 32), (1, 1, 32, 32), "got masks of shape"),
        ((1, 2, 3, 32, 32), (1, 2, 16, 16), "got masks of shape"),
    ],
)
def test_videos_and_masks_that_do_not_fit_are_refused(frames, masks, message):
    video = VideoSwin(SwinMini(), frames=2)
    for place in ("target", "others"):
        with pytest.raises(InputError, match=message):
            video(torch.zeros(frames), **({} if masks is None else {place: torch.zeros(masks)}))


def test_there_are_no_imagenet_weights_of_the_mini_swin():
    with pytest.raises(InputError, match="no ImageNet weights"):
        SwinMini().load_imagenet()
