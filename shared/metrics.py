"""Prometheus metrics; every name starts with `kgw_`, and no label holds what a payload or a secret says (I9)."""

from prometheus_client import Counter, Gauge, Histogram

DELIVERIES = Counter(
    "kgw_deliveries_total", "Requests at the listener, by provider and outcome", ["provider", "outcome"]
)
REJECTIONS_LEFT_OUT = Counter(
    "kgw_rejections_left_out_total", "Refused requests of which no result was published, by cause", ["cause"]
)
INGEST = Histogram(
    "kgw_ingest_duration_seconds",
    "From the last byte of the body to the answer",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
RUNS = Counter("kgw_runs_total", "Ended runs, by outcome", ["outcome"])
ACTIONS = Counter("kgw_actions_total", "Ended actions, by execution type and outcome", ["type", "outcome"])
RETRIES = Counter("kgw_action_retries_total", "Actions sent through a delay queue, by cause", ["cause"])
KOMODO_REQUESTS = Counter(
    "kgw_komodo_requests_total", "Calls to Komodo Core, by operation and status code", ["op", "code"]
)
DEAD = Counter("kgw_dead_letters_total", "Messages given up, by queue", ["queue"])
PUSH_TO_FIRST_CALL = Histogram(
    "kgw_push_to_first_call_seconds",
    "From the receipt of a delivery to the first call to Komodo for it",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
SPOOL_EVENTS = Gauge("kgw_spool_events", "Events in the ingress's spool that wait for the broker")
SPOOL_BYTES = Gauge("kgw_spool_bytes", "Bytes of these events")
SPOOLED = Counter("kgw_spooled_total", "Events put into the spool because the broker could not take them")
RELAYED = Counter("kgw_relayed_total", "Events taken from the spool to the broker")
SPOOL_SET_ASIDE = Counter("kgw_spool_set_aside_total", "Spooled events given up, for a person")
