"""What an extraction tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from hcq_cli.errors import EXIT_SOME_FAILED


@dataclass(frozen=True)
class Failed:
    """A file that gave nothing, and why; `known` if that is remembered from an earlier run."""

    path: str
    error: str
    known: bool = False


@dataclass(frozen=True)
class Warned:
    """Something that went not quite right; about one expert, or the video as a whole."""

    path: str
    message: str
    expert: str | None = None


@dataclass
class ExtractReport:
    """What an extraction did.

    Args:
        videos: inputs, the failed ones included.
        extracted: decoded in this run.
        skipped: finished before.
        duplicates: given the features of another file with the same bytes.
        failed: those that gave nothing.
        warnings: what went not quite right in this run.
        states: for each expert, how many of the extracted, copied and skipped videos have each state.
        media_s: duration of what was extracted, seconds.
        seconds: of the run.
        decoders: how many videos each decoder read.
        packets: packets read.
        frames: frames decoded.
        networks_s: how long networks ran, where they have a process of their own; seconds.
    """

    videos: int = 0
    extracted: int = 0
    skipped: int = 0
    duplicates: int = 0
    failed: list[Failed] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    media_s: float = 0.0
    seconds: float = 0.0
    decoders: dict[str, int] = field(default_factory=dict)
    packets: int = 0
    frames: int = 0
    networks_s: float = 0.0

    @property
    def done(self) -> int:
        """Inputs that have been dealt with."""
        return self.extracted + self.skipped + self.duplicates + len(self.failed)

    @property
    def exit_code(self) -> int:
        """What the command ends with: 3 where some inputs failed, else 0."""
        return EXIT_SOME_FAILED if self.failed else 0
