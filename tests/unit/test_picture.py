"""The reference picture: read, cut out, framed, described."""

import numpy as np
import pytest
import torch
from PIL import Image

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture import load
from dreamcraft3d.picture.caption import Captioner, caption, descriptor
from dreamcraft3d.picture.framing import FRONT_FILL, FramedPicture, frame
from dreamcraft3d.picture.load import load_picture
from dreamcraft3d.picture.matting import cut_out


def disc(size=128, radius=30.0, centre=(60.0, 70.0), width=1.0):
    """Exact-looking coverage (size, size) of a disc, its edge ``width`` pixels soft."""
    y, x = np.mgrid[:size, :size] + 0.5
    return np.clip((radius - np.hypot(y - centre[0], x - centre[1])) / width + 0.5, 0, 1).astype(np.float32)


def over(alpha, colour, background):
    """An opaque RGBA picture in 8 bits of one colour over a background."""
    rgb = alpha[..., None] * np.float32(colour) + (1 - alpha[..., None]) * np.float32(background)
    return torch.from_numpy(np.dstack([np.round(rgb * 255) / 255, np.ones_like(alpha)])).float()


def overlap(rgba, alpha):
    found, truth = rgba[..., 3].numpy() > 0.5, alpha > 0.5
    return (found & truth).sum() / (found | truth).sum()


# Reading


def quadrants(mode="RGB"):
    """8 x 16: red at the top left, otherwise black."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:4, :8, 0] = 255
    return Image.fromarray(pixels).convert(mode)


def test_a_picture_stands_upright_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    quadrants().save(tmp_path / "turned.png", exif=exif)
    rgba = load_picture(tmp_path / "turned.png")
    assert rgba.shape == (16, 8, 4)
    assert torch.equal(rgba[2, 6], torch.tensor([1.0, 0, 0, 1]))
    assert torch.equal(rgba[2, 1], torch.tensor([0.0, 0, 0, 1]))


@pytest.mark.parametrize(("mode", "name"), [("RGB", "a.png"), ("P", "a.gif"), ("CMYK", "a.tif"), ("RGBA", "a.webp")])
def test_every_kind_of_colour_is_read_as_rgb(mode, name, tmp_path):
    quadrants(mode).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    rgba = load_picture(tmp_path / name)
    assert rgba.shape == (8, 16, 4)
    assert rgba.dtype == torch.float32
    assert torch.allclose(rgba[1, 1], torch.tensor([1.0, 0, 0, 1]), atol=0.02)
    assert torch.allclose(rgba[6, 12], torch.tensor([0.0, 0, 0, 1]), atol=0.02)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (np.full((4, 4), 0.25 * 255, np.uint8), "grey.png"),
        (np.full((4, 4), 0.25 * 65535, np.uint16), "grey16.png"),
        (np.full((4, 4), 0.25, np.float32), "float.tif"),
    ],
)
def test_grey_of_any_depth_has_the_same_brightness(pixels, name, tmp_path):
    Image.fromarray(pixels).save(tmp_path / name)
    assert torch.allclose(load_picture(tmp_path / name)[..., :3], torch.tensor(0.25), atol=1 / 255)


def test_transparency_of_a_palette_is_kept(tmp_path):
    picture = quadrants("P")
    picture.save(tmp_path / "a.png", transparency=picture.getpixel((12, 6)))
    alpha = load_picture(tmp_path / "a.png")[..., 3]
    assert alpha[1, 1] == 1
    assert alpha[6, 12] == 0


def test_a_large_picture_is_reduced_in_proportion(tmp_path):
    Image.new("RGB", (3000, 1500), "red").save(tmp_path / "large.png")
    assert load_picture(tmp_path / "large.png").shape == (load.MAX_SIDE // 2, load.MAX_SIDE, 4)


def test_a_decompression_bomb_is_refused_unread(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    Image.new("1", (9_000, 9_000)).save(tmp_path / "small_bomb.png")
    for name in ("bomb.png", "small_bomb.png"):
        with pytest.raises(UserError, match="million pixels"):
            load_picture(tmp_path / name)


def test_what_is_no_picture_is_refused_with_its_mend(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "program.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n")
    quadrants().resize((200, 200)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    for name, sentence in (
        ("missing.png", "There is no file"),
        (".", "is a folder"),
        ("empty.png", "is an empty file"),
        ("text.png", "not a picture of a known kind"),
        ("program.png", "not a picture of a known kind"),
        ("cut.png", "is broken"),
        ("clear.png", "transparent all over"),
    ):
        with pytest.raises(UserError, match=sentence) as error:
            load_picture(tmp_path / name)
        assert error.value.hint


# Cutting out


def test_an_object_is_cut_from_grey():
    alpha = disc()
    rgba = cut_out(over(alpha, (0.8, 0.2, 0.1), (0.5, 0.5, 0.5)))
    assert overlap(rgba, alpha) > 0.99
    assert np.abs(rgba[..., 3].numpy() - alpha).max() < 0.02  # the soft edge too
    covered = rgba[..., 3] > 0
    assert (rgba[..., :3][covered] - torch.tensor([0.8, 0.2, 0.1])).abs().max() < 0.02  # no grey in its colour


def test_an_object_is_cut_from_a_gradient():
    y = np.linspace(0, 1, 128, dtype=np.float32)[:, None, None]
    background = np.broadcast_to((0.4 + 0.4 * y) * np.float32([1, 0.95, 0.9]), (128, 128, 3))
    alpha = disc()
    assert overlap(cut_out(over(alpha, (0.1, 0.5, 0.2), background)), alpha) > 0.98


def test_an_object_may_stand_on_the_lower_border():
    alpha = disc(centre=(110.0, 64.0))
    rgba = cut_out(over(alpha, (0.2, 0.2, 0.6), (0.9, 0.9, 0.9)))
    assert overlap(rgba, alpha) > 0.98


def test_an_object_is_cut_from_clutter():
    noise = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32) * 0.5 + 0.5
    background = np.asarray(
        Image.fromarray((noise * 255).astype(np.uint8)).resize((128, 128), Image.Resampling.BICUBIC), np.float32
    )
    alpha = disc(centre=(64.0, 64.0))
    assert overlap(cut_out(over(alpha, (0.1, 0.1, 0.3), background / 255)), alpha) > 0.95


def test_transparency_given_is_kept_as_it_is():
    rgba = over(disc(), (0.8, 0.2, 0.1), (0.5, 0.5, 0.5))
    rgba[..., 3] = torch.from_numpy(disc(radius=12, width=6))
    assert torch.equal(cut_out(rgba), rgba)


def test_an_opening_is_background_and_an_eye_is_not():
    ring = disc(radius=45, centre=(64, 64)) - disc(radius=25, centre=(64, 64))
    through = over(ring, (0.2, 0.3, 0.7), (1.0, 1.0, 1.0))
    assert overlap(cut_out(through), ring) > 0.98
    eye = disc(radius=45, centre=(64, 64)) - disc(radius=2.4, centre=(50, 50))
    assert overlap(cut_out(over(eye, (0.2, 0.3, 0.7), (1.0, 1.0, 1.0))), disc(radius=45, centre=(64, 64))) > 0.995


def test_specks_are_dropped():
    alpha = np.maximum(disc(), disc(radius=2.5, centre=(120, 8)))
    rgba = cut_out(over(alpha, (0.8, 0.2, 0.1), (0.5, 0.5, 0.5)))
    assert rgba[110:, :20, 3].max() == 0


@pytest.mark.parametrize(
    "picture", [torch.full((64, 64, 4), 1.0), torch.cat([torch.zeros(64, 64, 3), torch.full((64, 64, 1), 0.3)], -1)]
)
def test_where_nothing_stands_out_it_is_said(picture):
    with pytest.raises(UserError, match="No object stands out"):
        cut_out(picture)


# Framing


def box(mask):
    rows, columns = (np.flatnonzero((mask[..., 0].numpy() > 0.5).any(axis=a)) for a in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@pytest.mark.parametrize("size", [128, 512])
@pytest.mark.parametrize("extent", [(10, 42, 20, 101), (0, 90, 3, 20), (30, 36, 50, 62), (0, 128, 0, 160)])
def test_the_larger_side_fills_its_share_and_the_object_is_centred(size, extent):
    top, bottom, left, right = extent
    rgba = torch.zeros(128, 160, 4)
    rgba[top:bottom, left:right] = torch.tensor([0.3, 0.6, 0.9, 1])
    picture = frame(rgba, size)
    assert picture.rgb.shape == (size, size, 3)
    assert picture.mask.shape == (size, size, 1)
    y0, y1, x0, x1 = box(picture.mask)
    assert abs(max(y1 - y0, x1 - x0) - FRONT_FILL * size) <= 1.5
    assert abs(y0 + y1 - size) <= 1
    assert abs(x0 + x1 - size) <= 1
    area = picture.mask.sum().item() / (FRONT_FILL * size) ** 2
    shape = (bottom - top) * (right - left) / max(bottom - top, right - left) ** 2
    assert area == pytest.approx(shape, rel=0.05)


def test_the_colours_of_transparent_pixels_never_show():
    alpha = torch.from_numpy(disc())[..., None]
    black_outside = torch.cat([torch.where(alpha > 0, 1.0, 0.0).expand(-1, -1, 3), alpha], dim=-1)
    for size in (48, 128, 300):
        picture = frame(black_outside, size)
        assert picture.rgb.min() > 0.999  # a white disc on white: no dark fringe


def test_a_framed_picture_is_on_white():
    picture = frame(torch.from_numpy(np.dstack([np.zeros((128, 128, 3), np.float32), disc()])), 128)
    assert torch.allclose(picture.rgb, 1 - picture.mask.expand(-1, -1, 3), atol=1e-5)


def test_framing_again_moves_the_outline_by_less_than_a_pixel():
    first = frame(torch.from_numpy(np.dstack([np.full((128, 128, 3), 0.4, np.float32), disc(radius=39.7)])), 128)
    again = frame(torch.cat([torch.full((128, 128, 3), 0.4), first.mask], dim=-1), 128)
    outline = np.pi * FRONT_FILL * 128
    assert (again.mask - first.mask).abs().sum() < outline


def test_a_picture_without_anything_opaque_cannot_be_framed():
    with pytest.raises(UserError, match="almost transparent"):
        frame(torch.full((8, 8, 4), 0.4), 64)


# Describing


def shapes():
    """A disc, a bar and a cross, framed, with their names."""
    bar, cross = np.zeros((2, 128, 128), np.float32)
    bar[60:68, 20:108] = 1
    cross[60:68, 20:108] = cross[20:108, 60:68] = 1
    masks = {"disc": disc(radius=40, centre=(64, 64)), "bar": bar, "cross": cross}
    return {
        name: frame(torch.from_numpy(np.dstack([np.full((128, 128, 3), 0.5, np.float32), m])), 128)
        for name, m in masks.items()
    }


def test_a_known_shape_in_another_colour_is_named_in_that_colour():
    pictures = shapes()
    captioner = Captioner.fit(torch.stack([descriptor(p) for p in pictures.values()]), list(pictures), 2)
    for name, picture in pictures.items():
        red = torch.tensor([0.78, 0.18, 0.16]) * picture.mask + 1 - picture.mask
        assert captioner.caption(FramedPicture(red, picture.mask)) == f"a red {name}"


def test_an_index_survives_saving(tmp_path):
    pictures = shapes()
    Captioner.fit(torch.stack([descriptor(p) for p in pictures.values()]), list(pictures), 2).save(tmp_path)
    assert [Captioner.load(tmp_path).noun(p) for p in pictures.values()] == list(pictures)


def test_a_missing_index_is_said(tmp_path):
    with pytest.raises(UserError, match="no caption index"):
        Captioner.load(tmp_path)


def test_the_descriptor_does_not_depend_on_the_pictures_size():
    rgba = torch.from_numpy(np.dstack([np.full((128, 128, 3), 0.4, np.float32), disc(radius=40)]))
    small, large = descriptor(frame(rgba, 128)), descriptor(frame(rgba, 512))
    assert (small - large).norm() < 0.1 * large.norm()


def test_the_shipped_index_answers_with_colours_and_a_noun():
    green = torch.tensor([0.35, 0.63, 0.29])
    mask = shapes()["disc"].mask
    assert caption(FramedPicture(green * mask + 1 - mask, mask)).startswith("a green ")
