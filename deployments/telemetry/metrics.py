"""Every metric there is: its name, what it means, and what its values are told apart by.

No label is a tenant, an id, an address or a text of a caller's: each has as many values as there are dialects, models,
kinds of sink, HTTP statuses or powers of two. docs/operating.md lists them, and a test holds it against this file.
"""

from __future__ import annotations

from deployments.telemetry.instruments import Counter, Gauge, Histogram, Instrument

#: Seconds of what takes from milliseconds to minutes: calls, deliveries, whole tasks.
_LONG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
#: Seconds of what happens between two looks at a GPU.
_SHORT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

HTTP_REQUESTS = Counter(
    name="uxo_http_requests_total",
    help="Calls that were answered, by dialect, route and HTTP status; of WebSockets the opening (101) and parts of "
    "frames.",
    labels=("dialect", "operation", "status"),
)
HTTP_SECONDS = Histogram(
    name="uxo_http_request_seconds",
    help="Seconds from a call's arrival to the beginning of its answer; synchronous ones wait for their pictures.",
    labels=("dialect", "operation"),
    buckets=_LONG_S,
)
QUEUE_TASKS = Gauge(
    name="uxo_queue_tasks",
    help="Tasks that wait, in the whole cluster; the class is low, usual or high, by the weight of their tenants.",
    labels=("model", "tenant_class"),
    merged="livemax",
)
QUEUE_AGE = Gauge(
    name="uxo_queue_age_seconds",
    help="Seconds since the oldest waiting task was accepted; 0 where none waits.",
    labels=("model", "tenant_class"),
    merged="livemax",
)
QUEUE_LIMIT = Gauge(
    name="uxo_queue_limit_tasks",
    help="Waiting tasks from which on every submission is refused: UXO_MAX_QUEUED.",
    merged="livemax",
)
QUEUE_UNITS = Gauge(
    name="uxo_queue_work_units",
    help="Work that waits; a unit is a denoising step of a 1024x1024 picture without references.",
    labels=("model",),
    merged="livemax",
)
RUNNING_TASKS = Gauge(
    name="uxo_running_tasks",
    help="Tasks that some replica has claimed, in the whole cluster.",
    labels=("model",),
    merged="livemax",
)
CLAIM_DELAY = Histogram(
    name="uxo_claim_delay_seconds",
    help="Seconds from a task's accept to its claim; a task that is claimed again counts again.",
    labels=("model",),
    buckets=_LONG_S,
)
GROUP_SIZE = Histogram(
    name="uxo_group_size",
    help="Samples that took a denoising step together.",
    labels=("model",),
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 32),
)
STEP_SECONDS = Histogram(
    name="uxo_step_seconds",
    help="Seconds of one denoising step; the shape is the power of two that a sequence's tokens fit in, with x2 where "
    "a negative prompt doubles the rows.",
    labels=("model", "shape"),
    buckets=_SHORT_S,
)
STEP_GAP = Histogram(
    name="uxo_step_gap_seconds",
    help="Seconds between two denoising steps while samples waited for the next: decoding, preparing, and overhead.",
    buckets=_SHORT_S,
)
ENCODINGS = Counter(
    name="uxo_encodings_total",
    help="Prompts (text), references (reference) and styles (style) that a replica needed encoded; a hit was "
    "remembered, a miss was made.",
    labels=("kind", "outcome"),
)
RESIDENT_SAMPLES = Gauge(
    name="uxo_resident_samples",
    help="Samples that are prepared and have steps to take, on this node.",
    merged="livesum",
)
RESIDENT_BYTES = Gauge(
    name="uxo_resident_bytes",
    help="Estimated bytes of device memory that resident requests take, on this node.",
    merged="livesum",
)
SHARED_DIFFERENCE = Gauge(
    name="uxo_shared_call_difference",
    help="By how much latents, which are of the order of 1, may differ where pictures share a call: the most that was "
    "seen in rehearsing it at the start; 0 in exact mode, where only equal ones share.",
    merged="livemax",
)
DECODE_SECONDS = Histogram(
    name="uxo_decode_seconds",
    help="Seconds of turning one denoised sample into a picture.",
    buckets=_SHORT_S,
)
DELIVERY_SECONDS = Histogram(
    name="uxo_delivery_seconds",
    help="Seconds of putting one picture into a sink, or sending it to its tenant's address (upload).",
    labels=("sink",),
    buckets=_LONG_S,
)
DELIVERIES = Counter(
    name="uxo_deliveries_total",
    help="Pictures that were put into a sink or sent to their tenant's address, and how that ended: placed or failed.",
    labels=("sink", "outcome"),
)
WEBHOOKS = Counter(
    name="uxo_webhooks_total",
    help="Tries of webhooks: delivered, waiting (to be tried again), silent (nothing to tell) or dead (given up).",
    labels=("outcome",),
)
WEBHOOKS_WAITING = Gauge(
    name="uxo_webhooks_waiting",
    help="Webhooks that are still to be delivered, in the whole cluster.",
    merged="livemax",
)
WEBHOOK_AGE = Gauge(
    name="uxo_webhook_age_seconds",
    help="Seconds that the oldest waiting webhook has waited, since its task's end or its replay; 0 for none.",
    merged="livemax",
)
TASKS_ENDED = Counter(
    name="uxo_tasks_ended_total",
    help="Tasks that ended: succeeded, cancelled, or the kind of their fault, such as engine_failed or quarantined.",
    labels=("model", "outcome"),
)
TASK_SECONDS = Histogram(
    name="uxo_task_seconds",
    help="Seconds from a task's accept to its end; of tasks that succeeded.",
    labels=("model",),
    buckets=_LONG_S,
)
WORK_UNITS = Counter(
    name="uxo_work_units_total",
    help="Work of the tasks that succeeded, in work units.",
    labels=("model",),
)
RESCUED = Counter(
    name="uxo_rescued_total",
    help="Tasks whose lease ended: queued again (requeued), or given up after their last attempt (quarantined).",
    labels=("move",),
)
LEASES_LOST = Counter(
    name="uxo_leases_lost_total",
    help="Tasks that a replica worked on when it found that its lease had ended; cancelled ones do not count.",
)
REPLICA_UP = Gauge(
    name="uxo_replica_up",
    help="Replicas on this node whose loops run, by each model that they hold.",
    labels=("model",),
    merged="livesum",
)
REPLICAS_WANTED = Gauge(
    name="uxo_replicas_wanted",
    help="Replicas that there are to be of each model, as Ray Serve has it: a fixed number, or as what waits needs.",
    labels=("model",),
    merged="livemax",
)
ROUNDS_FAILED = Counter(
    name="uxo_rounds_failed_total",
    help="Rounds that failed and are done again, of housekeepers (rescue, sweep, erase, forget, count, webhooks, "
    "staff) or replicas (claim, step, beat, look).",
    labels=("round",),
)
ROUND_ENDED = Gauge(
    name="uxo_round_ended_timestamp_seconds",
    help="When such a round last ended well, in seconds since 1970, or the first began; a replica's may wait for work.",
    labels=("round",),
    merged="livemax",
)
DATABASE_ERRORS = Counter(
    name="uxo_database_errors_total",
    help="Statements and transactions that failed because the database could not be reached or stayed locked.",
)
BUILD = Gauge(
    name="uxo_build_info",
    help="1, with the version of this server.",
    labels=("version",),
    merged="livemax",
)

#: All of them, in the order of the documentation.
METRICS: tuple[Instrument, ...] = (
    HTTP_REQUESTS,
    HTTP_SECONDS,
    QUEUE_TASKS,
    QUEUE_AGE,
    QUEUE_LIMIT,
    QUEUE_UNITS,
    RUNNING_TASKS,
    CLAIM_DELAY,
    GROUP_SIZE,
    STEP_SECONDS,
    STEP_GAP,
    ENCODINGS,
    RESIDENT_SAMPLES,
    RESIDENT_BYTES,
    SHARED_DIFFERENCE,
    DECODE_SECONDS,
    DELIVERY_SECONDS,
    DELIVERIES,
    WEBHOOKS,
    WEBHOOKS_WAITING,
    WEBHOOK_AGE,
    TASKS_ENDED,
    TASK_SECONDS,
    WORK_UNITS,
    RESCUED,
    LEASES_LOST,
    REPLICA_UP,
    REPLICAS_WANTED,
    ROUNDS_FAILED,
    ROUND_ENDED,
    DATABASE_ERRORS,
    BUILD,
)

#: Counted from the start, so that none of them is told from some, and the first one is seen to be one more.
FROM_ZERO: tuple[Counter, ...] = (LEASES_LOST, DATABASE_ERRORS)

#: The classes of tenants: of less weight than 1, of this usual weight, and of more.
TENANT_CLASSES = ("low", "usual", "high")


def shape_label(tokens: int, *, rows: int) -> str:
    """Name a shape by the power of two that its tokens fit in, so that there are few.

    Args:
        tokens: of one row: style, text, target and references.
        rows: that each sample takes of a call.
    """
    bound = 1 << (tokens - 1).bit_length()
    return f"{bound}x{rows}" if rows > 1 else str(bound)
