"""What moves, by a pretrained video network: one token a clip, of the length and the rate it was trained on.

- VideoMAE (Tong et al., NeurIPS 2022): 16 frames, every fourth of 30 a second; the mean over all tokens.
- TimeSformer (Bertasius et al., ICML 2021): 8 frames, every 32nd of 30 a second; the class token.
- V-JEPA 2 (Assran et al., 2025): 64 frames, 4 a second; the mean over all tokens of the encoder.

How many frames a clip has is in the configuration, how far they lie apart is not: that is `VIDEO_FORMATS`. A clip is
laid on times, not on numbers of frames, so a video of any rate shows the network the speed it knows. Clips are spread
evenly over a piece; a video shorter than a clip is held at its last frame.

Letters: n clips, T frames of a clip, dim the width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from experts.base import Clip, Sampling, State
from experts.neural.expert import HubExpert, NetworkExpert, PreparedInputs
from experts.neural.network import Reader, quiet_transformers
from experts.neural.preprocessing import as_images, even_windows, processor_settings, side_for, window_middles
from experts.neural.weights import Weights, locate_kind

if TYPE_CHECKING:
    import torch

ROUNDING_S = 0.002
"""Frame times are rounded; a frame counts as shown from this much earlier on."""


def read_mean(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Clips -> [n, dim], the mean over all tokens."""
    states: torch.Tensor = model(**inputs).last_hidden_state
    return states.mean(1)


def read_class_token(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Clips -> [n, dim], the class token."""
    states: torch.Tensor = model(**inputs).last_hidden_state
    return states[:, 0]


def read_encoder_mean(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Clips -> [n, dim], the mean over all tokens of V-JEPA 2's encoder; its predictor is not run."""
    states: torch.Tensor = model(**inputs, skip_predictor=True).last_hidden_state
    return states.mean(1)


@dataclass(frozen=True)
class VideoFormat:
    """How a kind of network takes clips.

    Args:
        frames_per_second: the rate of the frames of a clip.
        length_field: where its configuration says how many frames a clip has.
        usual_length: how many, where the configuration leaves that at its default.
        reader: takes the vectors out.
        argument: what the network calls its pixels.
        usual_side: longer side of its pictures, pixels, where nothing in the folder says.
        spread: whether the frames of a clip lie evenly over a piece that is shorter than it; else the last is held.
    """

    frames_per_second: float
    length_field: str
    usual_length: int
    reader: Reader
    argument: str = "pixel_values"
    usual_side: int = 224
    spread: bool = False


VIDEO_FORMATS = {
    "videomae": VideoFormat(30 / 4, "num_frames", 16, read_mean),
    "timesformer": VideoFormat(30 / 32, "num_frames", 8, read_class_token),
    "vjepa2": VideoFormat(
        4.0, "frames_per_clip", 64, read_encoder_mean, argument="pixel_values_videos", usual_side=256
    ),
}
"""By `model_type`."""


def motion(source: str) -> NetworkExpert:
    """The expert for a folder or id.

    Raises:
        WeightsError: the weights are not there, or are of a kind that is not known.
    """
    return HubMotion(source, locate_kind(source, "motion", VIDEO_FORMATS, "VideoMAE, TimeSformer or V-JEPA 2"))


class HubMotion(HubExpert):
    """Expert for motion, by a network of transformers.

    Args:
        source: as a person gave it.
        found: its weights.
        how: it takes clips; default: as its kind does.
    """

    name = "motion"
    paced = True

    def __init__(self, source: str, found: Weights, how: VideoFormat | None = None) -> None:
        self._format = how or VIDEO_FORMATS[found.model_type]
        self._length = int(found.config.get(self._format.length_field, self._format.usual_length))
        self.window_s = self._length / self._format.frames_per_second
        runs = f", {self._length} frames every {self.window_s:.1f} s"
        # One clip a pass: with all its frames it is as large as sixteen pictures and more.
        super().__init__(source, found, reader=self._format.reader, rows_at_once=1, runs=runs)
        self._settings = processor_settings(found)
        # Of a piece shorter than a clip the frames lie closer together; four times: down to a quarter of a clip.
        rate = self._format.frames_per_second * (4 if self._format.spread else 1)
        self.sampling = Sampling(rate, max_side=side_for(self._settings))
        self.about = f"sees movement as {found.model_type} does, in clips of {self.window_s:.1f} s"
        self._processor: Any = None

    def width(self, config: Any) -> int:
        """See `HubExpert.width`."""
        return int(config.hidden_size)

    def load_preprocessor(self) -> None:
        """Set up the image processor with the settings of the folder."""
        # VideoMAE's for all three kinds: resize, crop, rescale, normalise. V-JEPA 2's own needs torchvision.
        import transformers

        fields = ["size", "crop_size", "resample", "do_resize", "do_center_crop", "do_rescale", "rescale_factor"]
        fields += ["do_normalize", "image_mean", "image_std"]
        side = self._format.usual_side
        given: dict[str, Any] = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
        given |= {field: self._settings[field] for field in fields if self._settings.get(field) is not None}
        if "height" in given["size"] and "crop_size" not in self._settings:
            given["do_center_crop"] = False  # all of the picture, brought to the size
        with quiet_transformers():
            if self._found.model_type == "vivit":  # which brings colours to -1..1, and then normalises them
                self._processor = transformers.VivitImageProcessor(**given, offset=self._settings.get("offset", True))
            else:
                self._processor = transformers.VideoMAEImageProcessor(**given)

    def preprocess(self, clip: Clip) -> PreparedInputs | State:
        """A row a clip of the network's length."""
        frames = clip.seen(self.sampling)
        if isinstance(frames, State):
            return frames
        window_s, step_s = self.window_s, 1 / self._format.frames_per_second
        # To the end of what the last frame shows (as long as frames usually do), but not to the end of a sound that
        # goes on without a picture.
        gaps = np.diff(frames.times)
        usual_s = float(np.median(gaps)) if len(gaps) else 0.0
        shown_s = float(frames.times[-1]) - clip.start_s + max(usual_s, step_s)
        end_s = min(max(clip.end_s, float(frames.times[-1])), clip.start_s + shown_s)
        if self._format.spread:
            window_s = min(window_s, end_s - clip.start_s)
            step_s = window_s / self._length
        starts = even_windows(end_s - clip.start_s, window_s, step_s)
        shown = chosen_frames(frames.times, clip.start_s + starts, self._length, step_s)
        prepared = self._prepared(frames.images, shown)
        middles = window_middles(starts, window_s, clip.start_s, end_s)
        return PreparedInputs({self._format.argument: prepared}, middles)

    def _prepared(self, images: NDArray[np.uint8], shown: NDArray[np.int64]) -> NDArray[np.float32]:
        """Pixels of each clip, [n, T, 3, height, width]."""
        # Clips overlap and hold frames: each frame is prepared once, however many clips show it.
        used, places = np.unique(shown, return_inverse=True)
        pixels = self._processor(as_images(images[used]), return_tensors="np")["pixel_values"]
        each: NDArray[np.float32] = np.asarray(pixels, np.float32).reshape(len(used), *pixels.shape[-3:])
        return each[places.reshape(shown.shape)]


def chosen_frames(
    times: NDArray[np.float32], starts_s: NDArray[np.float64], length: int, step_s: float
) -> NDArray[np.int64]:
    """Which frame is on the screen at each of the moments of a clip.

    Args:
        times: [f] rising, seconds.
        starts_s: [n] where clips begin, seconds of the video.
        length: T, frames of a clip.
        step_s: from one to the next, seconds.

    Returns:
        int64 [n, T], numbers of frames.
    """
    moments = starts_s[:, None] + np.arange(length) * step_s
    at = np.searchsorted(times.astype(np.float64), moments + ROUNDING_S, "right") - 1
    return np.clip(at, 0, len(times) - 1).astype(np.int64)
