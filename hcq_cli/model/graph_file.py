"""A file of ONNX graphs whose large tensors lie in that very file, and how onnxruntime opens it: no torch.

weights   uint8, the graphs' large tensors one after another; the first thing in the file, because a graph says where
          in it each of them lies. They are mapped: only what is used is read
others    graphs and whatever else, as the format has it (model/exported_text_encoder.py, exported_video_encoder.py)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcq_cli.codes.container import FIRST_SECTION, Container
from hcq_cli.errors import DamagedError, HcqError

if TYPE_CHECKING:
    from hcq_cli.model.graph_steps import GraphSteps


class GraphFile(Container):
    """An open file of graphs.

    Args:
        path, format_name, remedy, digest: as `Container`.
        what: is in it, for messages: "text side".

    Raises:
        NotFoundError: no such file.
        DamagedError: damaged, foreign, of a newer version, or of another digest.
    """

    def __init__(self, path: Path, format_name: str, remedy: str, *, what: str, digest: str = "") -> None:
        super().__init__(path, format_name, remedy, digest)
        self.what, weights = what, self.sections.get("weights")
        if weights is None or weights.offset != FIRST_SECTION:
            raise DamagedError(f"{path}: its weights lie elsewhere", remedy)

    def section(self, name: str) -> bytes:
        """The bytes of a section. Raises DamagedError."""
        body: bytes = self.read(name, "|u1").tobytes()
        return body

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Around the opening of its graphs; every byte of the weights is checked meanwhile.

        Raises:
            DamagedError: a byte is another.
            HcqError: onnxruntime cannot run it.
            ReplacedError: another file has taken its place meanwhile.
        """
        # While onnxruntime is being imported: checksums need no lock of the interpreter.
        with ThreadPoolExecutor(1) as pool:
            checked = pool.submit(self.check, "weights")
            try:
                yield
            except HcqError:
                raise
            except Exception as error:  # the libraries raise classes of their own
                self.need_in_place()
                raise HcqError(f"{self.path}: its {self.what} cannot be run ({error})", self.remedy) from error
            finally:
                checked.result()  # damage is the better explanation of whatever else went wrong
        # onnxruntime opens the weights by their name: that must still be the name of the file the graph came from.
        self.need_in_place()

    def session(self, graph: bytes, *, lasting: bool, threads: int) -> Any:
        """The `onnxruntime.InferenceSession` of one of its graphs.

        Args:
            graph: ONNX, optimised when it was exported.
            lasting: whether it will be run many times: it is faster then, the first time a little slower.
            threads: cores to use.
        """
        from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

        options = SessionOptions()
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL  # done when it was exported
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that wait would take the cores of whatever runs beside.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # only hcq_cli.console prints
        folder = str(self.path.resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        if not lasting:  # weights brought into another order would be read whole, and copied
            options.add_session_config_entry("session.disable_prepacking", "1")
        return InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def take_steps(self, steps: GraphSteps, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """What a graph's steps give, by NumPy. Raises HcqError where they make no sense."""
        try:
            return steps.run(given, self._bytes, self.release)
        except Exception as error:  # whatever NumPy finds in shapes that do not fit
            raise HcqError(f"{self.path}: its {self.what} cannot be run ({error})", self.remedy) from error
