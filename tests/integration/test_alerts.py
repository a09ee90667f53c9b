"""Every alert of the chart, judged by promtool: what it fires at, and what leaves it silent."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from helm_chart import RELEASE
from monitoring import alert_groups, alerts, program

from deployments.errors import FaultKind
from deployments.tasks.task import TaskState

ROOT = Path(__file__).parents[2]
#: Series by what follows their names, in promtool's notation, one value a minute.
Series = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What an alert is tried with."""

    #: Each makes it fire.
    fires: tuple[Series, ...]
    #: None does.
    silent: tuple[Series, ...]
    #: When that is asked.
    minute: int = 50


def series(name: str, values: str, **labels: str) -> Series:
    """Return one series of the chart's own namespace."""
    told = ", ".join(f'{label}="{value}"' for label, value in {"namespace": "pictures", **labels}.items())
    return {f"{name}{{{told}}}": values}


def calls(*, ok: int, failed: int) -> Series:
    """Return so many calls a minute."""
    return {
        **series("uxo_http_requests_total", f"0+{ok}x90", dialect="fal", status="200"),
        **series("uxo_http_requests_total", f"0+{failed}x90", dialect="fal", status="503"),
    }


def ended(by_outcome: Mapping[FaultKind | TaskState, int]) -> Series:
    """Return so many ends of tasks a minute."""
    each = (
        series("uxo_tasks_ended_total", f"0+{count}x90", model="uno", outcome=str(outcome))
        for outcome, count in by_outcome.items()
    )
    return {name: values for one in each for name, values in one.items()}


def delivered(*, placed: int, failed: int) -> Series:
    """Return so many pictures a minute."""
    return {
        **series("uxo_deliveries_total", f"0+{placed}x90", sink="bucket", outcome="placed"),
        **series("uxo_deliveries_total", f"0+{failed}x90", sink="bucket", outcome="failed"),
    }


def steps(*, last_hour_s: int) -> Series:
    """Return a day of steps of a second, then an hour of steps that take so long; sixty a minute in both."""
    labels = {"model": "uno", "shape": "8192"}
    return {
        **series("uxo_step_seconds_sum", f"0+60x1500 90000+{60 * last_hour_s}x60", **labels),
        **series("uxo_step_seconds_count", "0+60x1500 90000+60x60", **labels),
    }


def claimed(*, soon: int, late: int) -> Series:
    """Return so many claims a minute, of tasks that waited for a minute at most and for five."""
    counts = {"60": soon, "120": soon, "300": soon + late, "+Inf": soon + late}
    each = (
        series("uxo_claim_delay_seconds_bucket", f"0+{count}x90", model="uno", le=bound)
        for bound, count in counts.items()
    )
    return {name: values for one in each for name, values in one.items()}


def queue_of_four(pod: str) -> Series:
    """Return a queue of four tasks that may hold six, as one pod's housekeeper sees it."""
    return {
        **series("uxo_queue_tasks", "4x90", model="uno", tenant_class="usual", pod=pod),
        **series("uxo_queue_limit_tasks", "6x90", pod=pod),
    }


def ended_well(values: str, **labels: str) -> Series:
    """Return when a housekeeper last ended a round."""
    return series("uxo_round_ended_timestamp_seconds", values, round="rescue", **labels)


def pod(name: str, *, release: str = RELEASE, is_ready: bool = True) -> Series:
    """Return a pod of a cluster of KubeRay's, as kube-state-metrics tells of it."""
    named = f"{release}-x7kqp-{name}"
    return {
        **series("kube_pod_status_ready", f"{int(is_ready)}x90", pod=named, condition="true"),
        **series("kube_pod_status_ready", f"{int(not is_ready)}x90", pod=named, condition="false"),
    }


def volume(claim: str, *, left: int) -> Series:
    """Return a volume of 100 bytes."""
    return {
        **series("kubelet_volume_stats_available_bytes", f"{left}x90", persistentvolumeclaim=claim),
        **series("kubelet_volume_stats_capacity_bytes", "100x90", persistentvolumeclaim=claim),
    }


#: Why tasks fail without their callers' doing.
OURS = {FaultKind.ENGINE_FAILED, FaultKind.QUARANTINED}
BUILD = series("uxo_build_info", "1x90", version="1.2.3")
WAITING = series("uxo_queue_tasks", "3x90", model="uno", tenant_class="usual")
#: Prometheus was away around a quarter of an hour before minute 50.
GAP = "_x11"
CASES: dict[str, Case] = {
    "UxoMetricsMissing": Case(fires=({}, {"uxo_build_info{namespace='others'}": "1x90"}), silent=(BUILD,)),
    "UxoNoHousekeeper": Case(fires=(BUILD,), silent=(BUILD | WAITING,)),
    "UxoHeadMissing": Case(
        fires=(
            pod("gpu-worker-abcde"),
            pod("gpu-worker-abcde") | pod("head-abcde", is_ready=False),
            # Another release's.
            pod("gpu-worker-abcde") | pod("head", release="other"),
        ),
        silent=(
            pod("gpu-worker-abcde") | pod("head"),
            # As older operators name it; beside it the head of the cluster that comes, or goes.
            pod("gpu-worker-abcde") | pod("head-abcde") | pod("head-fghij", is_ready=False),
            # Nobody says anything of pods.
            BUILD,
        ),
    ),
    "UxoHousekeeperLate": Case(
        fires=(ended_well("0x90"), ended_well("0+60x30 1800x60")),
        silent=(
            ended_well("0+60x90"),
            # One of two does it.
            ended_well("0x90", pod="one") | ended_well("0+60x90", pod="other"),
            # A replica that has nothing to do.
            series("uxo_round_ended_timestamp_seconds", "0x90", round="step"),
        ),
    ),
    "UxoRoundsFail": Case(
        fires=(series("uxo_rounds_failed_total", "0+1x90", round="sweep"),),
        silent=(
            series("uxo_rounds_failed_total", "0x90", round="sweep"),
            # The database was away for a moment.
            series("uxo_rounds_failed_total", "0x40 60x50", round="rescue"),
        ),
    ),
    "UxoNoReplica": Case(
        fires=(WAITING, WAITING | series("uxo_replica_up", "1x90", model="uso")),
        silent=(
            WAITING | series("uxo_replica_up", "1x90", model="uno"),
            # Scaled to zero.
            series("uxo_queue_tasks", "0x90", model="uno", tenant_class="usual"),
        ),
    ),
    "UxoQueueOld": Case(
        fires=(series("uxo_queue_age_seconds", "301x90", model="uno", tenant_class="low"),),
        silent=(series("uxo_queue_age_seconds", "299x90", model="uno", tenant_class="low"),),
    ),
    "UxoClaimsLate": Case(
        fires=(claimed(soon=90, late=10),),
        silent=(
            claimed(soon=97, late=3),
            # Nothing is claimed: UxoNoReplica and UxoQueueOld are for that.
            claimed(soon=0, late=0),
        ),
    ),
    "UxoQueueFull": Case(
        fires=(WAITING | series("uxo_queue_limit_tasks", "3x90"),),
        silent=(
            WAITING | series("uxo_queue_limit_tasks", "4x90"),
            # Two housekeepers say the same.
            queue_of_four("one") | queue_of_four("other"),
        ),
    ),
    "UxoCallsFail": Case(
        fires=(calls(ok=97, failed=3),),
        silent=(
            calls(ok=99, failed=1),
            calls(ok=0, failed=0),
            # One of the forty calls in ten minutes.
            calls(ok=4, failed=0) | series("uxo_http_requests_total", "0x42 1x47", dialect="fal", status="503"),
        ),
    ),
    "UxoTasksFail": Case(
        fires=(
            ended({TaskState.SUCCEEDED: 8, FaultKind.ENGINE_FAILED: 2}),
            ended({FaultKind.ENGINE_FAILED: 1}),
            ended({FaultKind.QUARANTINED: 1}),
        ),
        silent=(
            ended({TaskState.SUCCEEDED: 99, FaultKind.ENGINE_FAILED: 1}),
            ended({TaskState.SUCCEEDED: 1, TaskState.CANCELLED: 9}),
            ended(dict.fromkeys(set(FaultKind) - OURS, 9)),
        ),
    ),
    "UxoQuarantine": Case(
        fires=(
            series("uxo_rescued_total", "_x40 1x50", move="quarantined"),
            series("uxo_rescued_total", "1x40 2x50", move="quarantined"),
        ),
        silent=(
            series("uxo_rescued_total", "1x90", move="quarantined"),
            series("uxo_rescued_total", "0+1x90", move="requeued"),
            series("uxo_rescued_total", f"5x24 {GAP} 5x54", move="quarantined"),
        ),
    ),
    "UxoLeasesLost": Case(
        fires=(series("uxo_leases_lost_total", "_x40 3x50"), series("uxo_leases_lost_total", "5x40 8x50")),
        silent=(
            series("uxo_leases_lost_total", "_x40 2x50"),
            series("uxo_leases_lost_total", "5x40 7x50"),
            series("uxo_leases_lost_total", f"5x24 {GAP} 5x54"),
        ),
    ),
    "UxoStepsSlow": Case(fires=(steps(last_hour_s=3),), silent=(steps(last_hour_s=1),), minute=1555),
    "UxoDeliveriesFail": Case(
        fires=(delivered(placed=8, failed=2),), silent=(delivered(placed=99, failed=1), delivered(placed=0, failed=0))
    ),
    "UxoWebhooksStuck": Case(
        fires=(series("uxo_webhook_age_seconds", "14401x90"),), silent=(series("uxo_webhook_age_seconds", "14399x90"),)
    ),
    "UxoDatabaseErrors": Case(
        fires=(series("uxo_database_errors_total", "0+6x90"),), silent=(series("uxo_database_errors_total", "0+1x90"),)
    ),
    "UxoFolderFull": Case(
        fires=(volume("drawing-folder", left=9),),
        silent=(volume("drawing-folder", left=11), volume("somebody-else", left=1)),
    ),
    "UxoBudgetsSpent": Case(
        fires=(series("uxo_http_requests_total", "0+1x90", dialect="fal", status="402"),),
        silent=(series("uxo_http_requests_total", "0+1x90", dialect="fal", status="401"),),
    ),
}


def elsewhere(told: Series) -> Series:
    """Return the same in another release's namespace."""
    return {name.replace('"pictures"', '"others"'): values for name, values in told.items()}


def tried(name: str, case: Case) -> Iterator[tuple[bool, Series]]:
    """Yield whether an alert is to fire, and at what; at what another release has it does not."""
    silent = case.silent if name == "UxoMetricsMissing" else (*case.silent, *map(elsewhere, case.fires))
    yield from ((True, told) for told in case.fires)
    yield from ((False, told) for told in silent)


def as_promtool_has_it(name: str, told: Series, *, minute: int, fires: bool) -> dict[str, Any]:
    """Return one test: whether this alert fires at that minute."""
    return {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in told.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


def test_every_alert_fires_when_it_must_and_never_else(tmp_path: Path) -> None:
    """Promtool has each alert fire at what it is for, and stay silent at what is close to that."""
    promtool = program("promtool")
    tests = [
        as_promtool_has_it(name, told, minute=case.minute, fires=fires)
        for name, case in CASES.items()
        for fires, told in tried(name, case)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": alert_groups()}))
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))

    checked = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )
    judged = subprocess.run(
        [promtool, "test", "rules", tmp_path / "tests.yaml"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_every_alert_is_tried() -> None:
    """There is no alert without a case that it fires at and one that it does not."""
    assert set(CASES) == set(alerts())
    assert all(case.fires and case.silent for case in CASES.values())


def test_every_alert_leads_to_its_page() -> None:
    """The link of each alert is that of a section in the runbook, and the runbook has no section for another."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = {f"docs/operations.md#{name.lower()}" for name in re.findall(r"^#+ (Uxo\w+)$", text, re.MULTILINE)}

    assert sections == {rule["annotations"]["runbook_url"] for rule in alerts().values()}


def test_every_page_answers_whoever_was_woken() -> None:
    """The section of each alert says in this order what it means, where to look, what to do and when it is over."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n### ") if part.startswith("Uxo")}

    answered = {name: re.findall(r"^- \*\*(\w+)\*\*: \S", part, re.MULTILINE) for name, part in sections.items()}

    assert answered == {name: ["Means", "Look", "Do", "Over"] for name in alerts()}
