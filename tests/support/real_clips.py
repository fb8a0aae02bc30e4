"""Frames of real clips, decoded by PyAV alone, as an expert asks for them."""

from __future__ import annotations

import av
import cv2
import numpy as np

from experts.base import Clip, Frames


def first_frames(path, sampling, most_s=4.0):
    """Frames of the first seconds at the rate and size asked for."""
    images, times = [], []
    with av.open(str(path)) as media:
        for frame in media.decode(video=0):
            if frame.time > most_s:
                break
            if len(times) > frame.time * sampling.frames_per_second:
                continue
            image = frame.to_ndarray(format="rgb24")
            scale = min(1.0, sampling.max_side / max(image.shape[:2]))
            size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
            images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
            times.append(frame.time)
    return Frames(np.stack(images), np.array(times, np.float32))


def tokens_of(expert, path, most_s):
    frames = first_frames(path, expert.sampling, most_s)
    return expert.extract(Clip(0, most_s, True, False, {expert.sampling: frames}))
