"""A decoded frame -> RGB pixels as a player shows them: upright, square, in the colours of a common screen (BT.709).

libswscale converts and shrinks in one call. What it refuses or leaves alone is done around it: matrices that it does
not know, mirrors, and the two curves of HDR, PQ and HLG (ITU-R BT.2100), which look pale or dark where they are taken
for the curve of a common film.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter
from numpy.typing import NDArray

from hcq_cli.media.decoder import CannotConvertError, upright_size

UNSPECIFIED = 2
"""No matrix is named: libswscale takes BT.601, as FFmpeg always has."""
CONVERTED = {0, 1, UNSPECIFIED, 4, 5, 6, 7, 9}
"""Numbers of matrices (ITU-T H.273) that libswscale converts; of others it refuses the frame."""
BT2020, BT2020_CONSTANT = 9, 10
CHROMA_DERIVED = {12, 13}
BY_PRIMARIES: dict[int, int] = {ColorPrimaries.BT709: 1, ColorPrimaries.BT2020: BT2020}
RANGES = {0, 1, 2}
WHITE_NITS = 203.0
"""What a white page has in HDR (ITU-R BT.2408); all that is brighter is a highlight."""
KNEE = 0.75
"""From here on, as a share of white, highlights are pressed together instead of cut off."""
SCREEN_GAMMA = 2.4
"""Of the screen that films are made for (ITU-R BT.1886)."""
TO_BT709 = {
    ColorPrimaries.BT2020: (
        (1.66049, -0.58764, -0.07285),
        (-0.12455, 1.13290, -0.00835),
        (-0.01815, -0.10058, 1.11873),
    ),
    ColorPrimaries.SMPTE432: ((1.22494, -0.22494, 0.0), (-0.04206, 1.04206, 0.0), (-0.01964, -0.07864, 1.09827)),
}
"""Linear RGB of these primaries into that of BT.709 (SMPTE RP 177); of others it is taken as it is."""


def _unnamed(kinds: type[SideData], value: int) -> Any:
    """A kind of side data that PyAV (18.1) has no name for, as the EXIF of a camera and the views of a spatial film.

    Where a frame has any of those it would give none at all, the display matrix neither, but raise a ValueError.
    """
    kind: Any = object.__new__(kinds)
    kind._name_, kind._value_ = f"UNNAMED_{value}", value
    return kind


SideData._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


@dataclass
class PyAVPicture:
    """A frame as FFmpeg decoded it; see `Picture`.

    Args:
        frame: av.VideoFrame, of a matrix that `mend_tags` has seen.
        time_s: seconds.
        duration_s: seconds; 0 if unknown.
        pixel_aspect: width of a pixel over its height.
        reformatters: one a size, kept for the whole file (they hold libswscale's tables).
    """

    frame: Any
    time_s: float
    duration_s: float
    pixel_aspect: Fraction | None
    reformatters: dict[int, VideoReformatter]

    @property
    def is_hdr(self) -> bool:
        """Whether it has one of the two curves of HDR."""
        return self.frame.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)

    @property
    def is_mirrored(self) -> bool:
        """Whether it is not only to be turned."""
        a, b, c, d = display_matrix(self.frame)
        return a * d - b * c < 0

    def rgb(self, max_side: int) -> NDArray[np.uint8]:
        """See `Picture.rgb`."""
        frame = self.frame
        width, height = upright_size(frame.width, frame.height, self.pixel_aspect, max_side)
        reformatter = self.reformatters.setdefault(max_side, VideoReformatter())
        pixels = "rgb48le" if self.is_hdr else "rgb24"
        try:
            # AREA takes the mean of the pixels that fall together; where single ones are picked, thin lines come and
            # go.
            converted = reformatter.reformat(frame, width, height, pixels, interpolation="AREA", threads=1)
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, MemoryError):
                raise
            raise CannotConvertError(str(getattr(error, "strerror", None) or error)) from error
        small: NDArray[Any] = converted.to_ndarray()
        if self.is_hdr:
            small = tone_mapped(small, frame.color_trc, frame.color_primaries)
        return np.ascontiguousarray(upright(small, display_matrix(frame)))


def mend_tags(frame: Any) -> str | None:
    """Have a frame that names a matrix or a range that cannot be converted taken as players take it.

    Returns:
        what was wrong, for people; None if nothing was.
    """
    matrix = frame.colorspace
    if frame.color_range not in RANGES:
        frame.color_range = 0
    if matrix in CONVERTED:
        return None
    if matrix == BT2020_CONSTANT:
        frame.colorspace = BT2020
    else:
        primaries = frame.color_primaries if matrix in CHROMA_DERIVED else UNSPECIFIED
        frame.colorspace = BY_PRIMARIES.get(primaries, UNSPECIFIED)
    taken = {1: "BT.709", BT2020: "BT.2020"}.get(frame.colorspace, "BT.601")
    return f"its colours are said to be of matrix {matrix} of H.273, which is not converted: taken as {taken}"


def display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """How the picture is turned and mirrored: a, b, c, d of x' = ax + cy, y' = bx + dy; (1, 0, 0, 1) if it is not."""
    data = frame.side_data.get(SideData.DISPLAYMATRIX)
    if data is None:
        return (1, 0, 0, 1)
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), "=i4").tolist()
    return (a, b, c, d)


def upright(image: NDArray[Any], matrix: tuple[int, int, int, int]) -> NDArray[Any]:
    """The picture [height, width, 3] as it is to be shown: one of eight ways, the nearest to its display matrix."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, across, down = image.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def tone_mapped(image: NDArray[np.uint16], curve: int, primaries: int) -> NDArray[np.uint8]:
    """HDR as a common screen shows it: white stays white, highlights are pressed together below it.

    Args:
        image: [height, width, 3], RGB of the curve and the primaries.
        curve: PQ or HLG, FFmpeg's number.
        primaries: FFmpeg's number.

    Returns:
        uint8 [height, width, 3], RGB of BT.709.
    """
    light = np.take(_light(curve), image)  # linear, 1 is white
    if primaries in TO_BT709:
        light = light @ np.array(TO_BT709[ColorPrimaries(primaries)], np.float32).T
    light = np.maximum(light, 0)
    # The three of a pixel by the same factor: so it keeps its colour.
    most = light.max(axis=2, keepdims=True)
    over = np.maximum(most - KNEE, 0)
    light *= np.where(over > 0, KNEE + (1 - KNEE) * -np.expm1(-over / (1 - KNEE)), most) / np.maximum(most, 1e-6)
    mapped: NDArray[np.uint8] = np.rint(255 * np.minimum(light, 1) ** (1 / SCREEN_GAMMA)).astype(np.uint8)
    return mapped


@cache
def _light(curve: int) -> NDArray[np.float32]:
    """float32 [65536], the light of a sample of 16 bits on the screen, over that of white (ITU-R BT.2100)."""
    sample = np.arange(65536) / 65535
    if curve == ColorTrc.SMPTE2084:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = sample ** (1 / m2)
        nits = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(sample <= 0.5, sample**2 / 3, (np.exp((sample - c) / a) + b) / 12)
        # A screen of 1000 nits has a gamma of 1.2. It belongs to the luminance; colour by colour is how zimg, and so
        # most programs, do it.
        nits = 1000 * scene**1.2
    return (nits / WHITE_NITS).astype(np.float32)
