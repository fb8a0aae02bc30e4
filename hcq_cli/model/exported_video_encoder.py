"""The video side of a model in one file, run with onnxruntime: features become codes without torch.

weights    the networks' large tensors (model/graph_file.py)
graph      ONNX, optimised when it was exported: of expert number e, in the model's order, float32 features{e}
           [B, T_e, dim_e], float32 times{e} [B, T_e] and bool mask{e} [B, T_e], as `datasets.batches.VideoBatch` has
           them -> float32 levels and turned [B, L+1, D], uint8 codes [B, S]
codebooks  float32 [S, K, d]
scale      float32 [S]

It lies beside the checkpoint's files and follows from them: whoever needs it makes it (model/video_side.py), and it
is made anew where it is damaged or of another model. What it computes is what a collection is encoded with on every
CPU, also where torch is at hand, so that codes do not tell which of the two made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from hcq_cli.cores import cores
from hcq_cli.datasets.batches import VideoBatch, padded_to, with_experts
from hcq_cli.errors import HcqError
from hcq_cli.headers import Count, Digest, between, decode
from hcq_cli.model.config import ModelConfig
from hcq_cli.model.graph_file import GraphFile

if TYPE_CHECKING:
    from hcq_cli.model.checkpoint import CheckpointHeader

FORMAT = "hcq-video-encoder"
REMEDY = "hcq encode makes it anew"
PARTS = ("features", "times", "mask")


@dataclass(frozen=True)
class VideoEncoderHeader:
    """What the file of an exported video encoder says of itself.

    Args:
        model_hash: of the model it belongs to.
        codebooks, codewords, chunk: S, K and d.
        nearness: see `model.video_model.VideoModel`.
        pads: whether its network wants all experts' tokens padded to the most that there can be.
        export: which export made it; of another one it is made anew.
    """

    model_hash: Digest
    codebooks: Count
    codewords: Count
    chunk: Count
    nearness: Annotated[float, between(-1.1, 1.1)] | None
    pads: bool = False
    export: int = 1


class ExportedVideoEncoder:
    """The video side of a checkpoint's model, without torch; see `VideoModel`.

    Args:
        path: of the file.
        model: what the checkpoint says of itself.
        folder: the checkpoint.
        threads: cores to use; None for all.

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, or of a newer version.
        HcqError: of another model or export, or onnxruntime cannot run it.
    """

    def __init__(
        self, path: Path, model: CheckpointHeader, folder: Path | None = None, threads: int | None = None
    ) -> None:
        file = GraphFile(path, FORMAT, REMEDY, what="video side")
        header = decode(VideoEncoderHeader, file.meta, path, REMEDY)
        if (header.model_hash, header.export) != (model.hash, VideoEncoderHeader.export):
            raise HcqError(f"{path}: is of another model", REMEDY)
        self.hash, self.folder, self.config, self.nearness = model.hash, folder, model.config, header.nearness
        self.codebooks = file.read("codebooks", "<f4", (header.codewords, header.chunk))
        self.scale = file.read("scale", "<f4")
        with file.opening():
            self._session = file.session(file.section("graph"), lasting=True, threads=threads or cores())
        self._path, self._pads = path, header.pads
        self._inputs = {given.name for given in self._session.get_inputs()}

    def encode_videos(self, batch: VideoBatch) -> NDArray[np.float32]:
        """See `VideoModel`."""
        levels: NDArray[np.float32] = self._run("levels", batch)
        return levels

    def encode_video_queries(self, batch: VideoBatch) -> NDArray[np.float32]:
        """See `VideoModel`."""
        turned: NDArray[np.float32] = self._run("turned", batch)
        return turned

    def encode_codes(self, batch: VideoBatch) -> NDArray[np.uint8]:
        """See `VideoModel`."""
        codes: NDArray[np.uint8] = self._run("codes", batch)
        return codes

    def _run(self, wanted: str, batch: VideoBatch) -> Any:
        from onnxruntime import RunOptions

        options = RunOptions()
        options.only_execute_path_to_fetches = True
        given = graph_inputs(batch, self.config, self._pads)
        try:
            # A network may have no use for some of them, times for example: then they are no inputs of the graph.
            return self._session.run([wanted], {name: given[name] for name in self._inputs}, options)[0]
        except Exception as error:  # onnxruntime raises classes of its own
            raise HcqError(f"{self._path}: its video side cannot be run ({error})", REMEDY) from error


def graph_inputs(batch: VideoBatch, config: ModelConfig, pads: bool) -> dict[str, NDArray[Any]]:
    """A batch as the graph takes it, in the order in which it was traced. Raises HcqError for other widths."""
    whole = with_experts(batch, {name: expert.dim for name, expert in config.experts.items()})
    whole = padded_to(whole, config.video.max_tokens) if pads else whole
    by_part: tuple[dict[str, NDArray[Any]], ...] = ({**whole.features}, {**whole.times}, {**whole.mask})
    return {
        f"{part}{number}": arrays[name]
        for part, arrays in zip(PARTS, by_part, strict=True)
        for number, name in enumerate(config.experts)
    }
