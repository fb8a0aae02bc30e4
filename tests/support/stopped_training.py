"""A training that is interrupted after an epoch."""

from __future__ import annotations

from hcq_cli.training.progress import EpochReport, TrainingObserver


class Stop(Exception):
    pass


class StopAfter(TrainingObserver):
    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def on_epoch_end(self, report: EpochReport) -> None:
        if report.epoch == self.last:
            raise Stop
