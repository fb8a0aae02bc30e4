"""A line of metrics.jsonl, and an observer that need not care."""

from __future__ import annotations

from hcq_cli.training.progress import EpochReport, StepReport, TrainingObserver


def test_the_ratio_is_that_of_validation_where_there_is_one() -> None:
    report = EpochReport(1, 0.5, 2.0, 90.0, 16, batch_R1=30.0, batch_dense_R1=40.0)
    assert report.ratio == 75.0 and report.to_dict()["quantized_to_dense"] == 75.0
    validation = {"t2v": {"R1": 10.0}, "dense": {"t2v": {"R1": 50.0}}}
    assert EpochReport(1, 0.5, 2.0, None, None, 30.0, 40.0, validation).ratio == 20.0
    assert EpochReport(1, 0.5, 2.0, None, None, batch_R1=0.0, batch_dense_R1=0.0).ratio == 0.0


def test_an_observer_is_told_and_does_nothing() -> None:
    observer = TrainingObserver()
    observer.note("a")
    observer.warning("b")
    observer.on_step_end(StepReport(1, 2, 3, 4, 0.5, 6.0))
    observer.on_epoch_end(EpochReport(1, 0.5, 2.0, None, None, 1.0, 2.0))
