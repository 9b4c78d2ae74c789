"""
Results: what the service publishes about deliveries, runs, stages and actions, as CloudEvents 1.0 in structured JSON.

They are thin: ids, states, reasons and names, never a payload, a log with secrets, or a file. Inside one stream (a run, or a delivery before it has
one) `sequence` counts up from 1 without holes.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.event import Frozen

SOURCE = "/komodo-global-webhook"
TYPE_PREFIX = "komodo.webhook."
CONTENT_TYPE = "application/cloudevents+json"


class ResultType(StrEnum):
    """Every result there is; the value is also its routing key."""

    DELIVERY_ACCEPTED = "delivery.accepted"
    DELIVERY_REJECTED = "delivery.rejected"
    DELIVERY_UNMATCHED = "delivery.unmatched"
    DELIVERY_DUPLICATE = "delivery.duplicate"
    RUN_STARTED = "run.started"
    RUN_SUCCEEDED = "run.succeeded"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    STAGE_STARTED = "stage.started"
    STAGE_FINISHED = "stage.finished"
    ACTION_QUEUED = "action.queued"
    ACTION_STARTED = "action.started"
    ACTION_RETRYING = "action.retrying"
    ACTION_SUCCEEDED = "action.succeeded"
    ACTION_UNCHANGED = "action.unchanged"
    ACTION_FAILED = "action.failed"
    ACTION_SKIPPED = "action.skipped"
    ACTION_SUPERSEDED = "action.superseded"
    ACTION_TIMED_OUT = "action.timed_out"
    ACTION_CANCELLED = "action.cancelled"


ENDS_RUN = frozenset({ResultType.RUN_SUCCEEDED, ResultType.RUN_FAILED, ResultType.RUN_CANCELLED})
ENDS_DELIVERY = frozenset({ResultType.DELIVERY_REJECTED, ResultType.DELIVERY_UNMATCHED, ResultType.DELIVERY_DUPLICATE})


class Result(Frozen):
    """
    One result. `stream` is the run's id, or the delivery's where no run is concerned.

    A refused request has a stream to itself, with an id that was made for it: an id that an unproven sender names must not speak for a delivery.
    """

    id: str
    type: ResultType
    stream: str
    sequence: int
    time: datetime
    delivery_id: str
    run_id: str | None = None
    data: dict[str, Any]

    def to_cloudevent(self) -> dict[str, Any]:
        """
        The structured form. `sequence` is the CloudEvents extension of that name: a string that sorts as its number does.
        """
        event = {
            "specversion": "1.0",
            "id": self.id,
            "source": SOURCE,
            "type": TYPE_PREFIX + self.type,
            "subject": self.stream,
            "time": self.time.isoformat(timespec="microseconds"),
            "datacontenttype": "application/json",
            "sequence": f"{self.sequence:010d}",
            "deliveryid": self.delivery_id,
            "data": self.data,
        }
        if self.run_id is not None:
            event["runid"] = self.run_id
        return event

    @classmethod
    def from_cloudevent(cls, event: dict[str, Any]) -> Result:
        """Read what `to_cloudevent` wrote; raises `KeyError` or `ValueError` for anything else."""
        return cls(
            id=event["id"],
            type=ResultType(event["type"].removeprefix(TYPE_PREFIX)),
            stream=event["subject"],
            sequence=int(event["sequence"]),
            time=event["time"],
            delivery_id=event["deliveryid"],
            run_id=event.get("runid"),
            data=event["data"],
        )
