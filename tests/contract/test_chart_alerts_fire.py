"""Each alert fires when it should and is silent when it should be: promtool plays series to it.

Times are minutes; each scenario says what must fire at which minute, and everything else must be silent then.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import charts
from support.processes import run
from support.tools import need

ALERTS = charts.CHART / "files" / "alerts.yaml"
DAY = 1440
NOW = 100 * DAY * 60  # promtool's clock begins at 0: certificates lie around here

OPERATOR, INJECTOR = "mtls_tunnel_operator", "mtls_tunnel_injector"
TUNNEL = 'namespace="shop", name="db"'
POD = 'namespace="shop", pod="db-0"'
LEAF = f'{POD}, role="leaf", name="tls.crt"'
DOMAIN = 'domain="default"'
# What is scraped of an installation where nothing is wrong.
WELL = {
    f'{OPERATOR}_build_info{{version="0"}}': "1x999999",
    f"{OPERATOR}_leader": "1x999999",
    f'{INJECTOR}_build_info{{version="0"}}': "1x999999",
}


@dataclass(frozen=True)
class Story:
    """`series` beside what is well (None takes one away), and the alert at `minute`: name, labels, summary."""

    series: dict[str, str | None]
    minute: int
    fires: tuple[str, str, str] | None = None


def steady(value: float) -> str:
    return f"{value:.0f}x{2 * DAY}"


STORIES = {
    "all is well": Story(
        {
            f"{OPERATOR}_tunnel_ready{{{TUNNEL}}}": steady(1),
            f'{OPERATOR}_pods{{{TUNNEL}, state="selected"}}': steady(3),
            f'{OPERATOR}_pods{{{TUNNEL}, state="injected"}}': steady(3),
            f'{OPERATOR}_pods{{{TUNNEL}, state="updated"}}': steady(3),
            f"{OPERATOR}_certificate_renewal_failures{{{TUNNEL}}}": steady(0),
            f'{OPERATOR}_certificate_not_after_seconds{{{TUNNEL}, role="server", account=""}}': steady(NOW),
            f'{OPERATOR}_ca_not_after_seconds{{domain="default"}}': steady(NOW),
            f'{OPERATOR}_rotation_phase_since_seconds{{domain="default"}}': steady(0),
            f'{OPERATOR}_rotation_phase{{domain="default", phase="Stable"}}': steady(1),
            f"{INJECTOR}_certificate_not_after_seconds": steady(NOW),
            f"{INJECTOR}_cache_age_seconds": steady(30),
            f'{INJECTOR}_injection_total{{result="injected"}}': f"0+9x{2 * DAY}",
            f'{INJECTOR}_admission_seconds_bucket{{le="0.005"}}': f"0+9x{2 * DAY}",
            f'{INJECTOR}_admission_seconds_bucket{{le="+Inf"}}': f"0+9x{2 * DAY}",
            f'mtlsd_certificate_not_after_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(NOW),
            f'mtlsd_certificate_not_before_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(0),
            f'mtlsd_reloads_total{{{POD}, result="ok"}}': f"0+1x{2 * DAY}",
            f'mtlsd_reloads_total{{{POD}, result="failed"}}': steady(2),
            f'mtlsd_acl_decisions_total{{{POD}, result="deny"}}': steady(7),
            f'mtlsd_acl_decisions_total{{{POD}, result="allow"}}': f"0+99x{2 * DAY}",
            f'mtlsd_handshake_failures_total{{{POD}, reason="not_yet_valid"}}': steady(7),
        },
        2 * DAY,
    ),
    "no operator": Story(
        {f'{OPERATOR}_build_info{{version="0"}}': None},
        6,
        ("MtlsTunnelOperatorDown", "", "No operator of mtls-tunnel is being scraped."),
    ),
    "no operator for a moment": Story({f'{OPERATOR}_build_info{{version="0"}}': "_x3 1x99"}, 6),
    "no leader": Story(
        {f"{OPERATOR}_leader": steady(0)},
        3,
        ("MtlsTunnelOperatorHasNoLeader", "", "No replica of the operator is the active one."),
    ),
    "no injector": Story(
        {f'{INJECTOR}_build_info{{version="0"}}': None},
        3,
        ("MtlsTunnelInjectorDown", "", "No injector of mtls-tunnel is being scraped."),
    ),
    "errors without end": Story(
        {f'{OPERATOR}_reconcile_errors_total{{kind="tunnel"}}': "0+2x99"},
        60,
        ("MtlsTunnelReconcileErrors", 'kind="tunnel"', "The operator keeps failing at tunnel."),
    ),
    "a tunnel that is not ready": Story(
        {f"{OPERATOR}_tunnel_ready{{{TUNNEL}}}": steady(0)},
        16,
        ("MtlsTunnelNotReady", TUNNEL, "MtlsTunnel shop/db is not ready."),
    ),
    "a tunnel of which nothing is known": Story({f"{OPERATOR}_tunnel_ready{{{TUNNEL}}}": steady(-1)}, 60),
    "renewal failed three times": Story(
        {f"{OPERATOR}_certificate_renewal_failures{{{TUNNEL}}}": steady(3)},
        1,
        (
            "MtlsTunnelRenewalFailing",
            TUNNEL,
            "A certificate of MtlsTunnel shop/db could not be renewed 3 times in a row.",
        ),
    ),
    "renewal failed twice": Story({f"{OPERATOR}_certificate_renewal_failures{{{TUNNEL}}}": steady(2)}, 60),
    "a leaf has expired": Story(
        {f'{OPERATOR}_certificate_not_after_seconds{{{TUNNEL}, role="server", account=""}}': steady(600)},
        12,
        (
            "MtlsTunnelCertificateExpired",
            f'{TUNNEL}, role="server"',
            "The server certificate of MtlsTunnel shop/db has expired.",
        ),
    ),
    "a CA ends in 29 days": Story(
        {f'{OPERATOR}_ca_not_after_seconds{{domain="default"}}': steady(29 * DAY * 60 + 3600)},
        60,
        ("MtlsTunnelCAExpiresSoon", DOMAIN, "The CA of trust domain default expires in 29d 0h 0m 0s."),
    ),
    "a rotation that stands still": Story(
        {
            f'{OPERATOR}_rotation_phase_since_seconds{{domain="default"}}': steady(0),
            f'{OPERATOR}_rotation_phase{{domain="default", phase="Stable"}}': steady(0),
            f'{OPERATOR}_rotation_phase{{domain="default", phase="Issuing"}}': steady(1),
        },
        DAY + 1,
        (
            "MtlsTunnelRotationStuck",
            DOMAIN,
            "The CA rotation of trust domain default has been in one phase for 1d 0h 1m 0s.",
        ),
    ),
    "a pod without a sidecar": Story(
        {
            f'{OPERATOR}_pods{{{TUNNEL}, state="selected"}}': steady(3),
            f'{OPERATOR}_pods{{{TUNNEL}, state="injected"}}': steady(2),
        },
        11,
        ("MtlsTunnelPodsNotInjected", TUNNEL, "1 pods that MtlsTunnel shop/db selects have no sidecar."),
    ),
    "a pod with an old sidecar": Story(
        {
            f'{OPERATOR}_pods{{{TUNNEL}, state="selected"}}': steady(3),
            f'{OPERATOR}_pods{{{TUNNEL}, state="injected"}}': steady(3),
            f'{OPERATOR}_pods{{{TUNNEL}, state="updated"}}': steady(2),
        },
        DAY + 1,
        ("MtlsTunnelPodsOutdated", TUNNEL, "1 pods of MtlsTunnel shop/db carry an old sidecar."),
    ),
    "slow answers": Story(
        {
            f'{INJECTOR}_admission_seconds_bucket{{le="1.0"}}': "0+50x99",
            f'{INJECTOR}_admission_seconds_bucket{{le="2.5"}}': "0+100x99",
            f'{INJECTOR}_admission_seconds_bucket{{le="+Inf"}}': "0+100x99",
        },
        20,
        ("MtlsTunnelInjectorSlow", "", "The slowest hundredth of admission answers takes 2.47s."),
    ),
    "denied pods": Story(
        {f'{INJECTOR}_injection_total{{result="denied"}}': "0+1x99"},
        20,
        ("MtlsTunnelInjectorErrors", 'result="denied"', "The injector answers with denied."),
    ),
    "an injector that hears nothing": Story(
        {f"{INJECTOR}_cache_age_seconds": steady(301)},
        6,
        ("MtlsTunnelInjectorStale", "", "An injector has not heard from the API server for 5m 1s."),
    ),
    "a serving certificate ends in 6 days": Story(
        {f"{INJECTOR}_certificate_not_after_seconds": steady(6 * DAY * 60 + 3600)},
        60,
        (
            "MtlsTunnelWebhookCertificateExpiresSoon",
            "",
            "The serving certificate of the webhook expires in 6d 0h 0m 0s.",
        ),
    ),
    "no serving certificate yet": Story({f"{INJECTOR}_certificate_not_after_seconds": steady(0)}, 120),
    "a sidecar's leaf has less than a sixth left": Story(
        {
            f'mtlsd_certificate_not_after_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(3600),
            f'mtlsd_certificate_not_before_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(0),
        },
        51,
        (
            "MtlsTunnelSidecarCertificateExpiresSoon",
            LEAF,
            "The certificate in pod shop/db-0 expires in 9m 0s: less than a sixth of its life.",
        ),
    ),
    "a sidecar's leaf has more than a sixth left": Story(
        {
            f'mtlsd_certificate_not_after_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(3600),
            f'mtlsd_certificate_not_before_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(0),
        },
        49,
    ),
    "a reload that failed": Story(
        {f'mtlsd_reloads_total{{{POD}, result="failed"}}': "0x9 1x9"},
        15,
        (
            "MtlsTunnelSidecarReloadFailing",
            f'{POD}, result="failed"',
            "The sidecar of pod shop/db-0 does not take its new files.",
        ),
    ),
    "a stranger who insists": Story(
        {f'mtlsd_acl_decisions_total{{{POD}, result="deny"}}': "0+30x99"},
        20,
        ("MtlsTunnelDeniedConnections", POD, "Pod shop/db-0 denies 500m connections a second."),
    ),
    "a certificate from the future": Story(
        {
            f'mtlsd_certificate_not_after_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(NOW),
            f'mtlsd_certificate_not_before_seconds{{{POD}, role="leaf", name="tls.crt"}}': steady(7200),
        },
        60,
        ("MtlsTunnelClocksDisagree", LEAF, "Certificates seem to come from the future at pod shop/db-0."),
    ),
}


def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def judged(story: Story, folder: Path) -> str:
    """What promtool has against *story*; "" if it came out so."""
    short = {"groups": [{"name": "all", "rules": [_short(rule) for rule in rules().values()]}]}
    (folder / "rules.yaml").write_text(yaml.safe_dump(short), encoding="utf-8")
    series = [{"series": name, "values": values} for name, values in (WELL | story.series).items() if values]
    checks = [
        {"alertname": name, "eval_time": f"{story.minute}m", "exp_alerts": _expected(story, rule)}
        for name, rule in rules().items()
    ]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": checks}
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    done = run([need("promtool", "prometheus"), "test", "rules", folder / "test.yaml"])
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _short(rule: dict[str, Any]) -> dict[str, Any]:
    """promtool compares all annotations; the description is long, and says what to do."""
    return {**rule, "annotations": {"summary": rule["annotations"]["summary"]}}


def _expected(story: Story, rule: dict[str, Any]) -> list[dict[str, Any]]:
    if story.fires is None or story.fires[0] != rule["alert"]:
        return []
    labels = dict(re.findall(r'(\w+)="([^"]*)"', story.fires[1]))
    return [{"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": {"summary": story.fires[2]}}]


@pytest.mark.parametrize("title", STORIES)
def test_exactly_the_expected_alerts_fire(title: str, tmp_path: Path) -> None:
    assert judged(STORIES[title], tmp_path) == ""


def test_every_alert_has_a_story_in_which_it_fires() -> None:
    assert sorted({story.fires[0] for story in STORIES.values() if story.fires}) == sorted(rules())


def test_promtool_finds_no_fault_in_the_file() -> None:
    done = run([need("promtool", "prometheus"), "check", "rules", "--lint-fatal", str(ALERTS)])
    assert done.returncode == 0, done.stderr


def test_the_judge_can_refuse(tmp_path: Path) -> None:
    wrong = Story({f"{OPERATOR}_leader": steady(0)}, 3, ("MtlsTunnelOperatorHasNoLeader", "", "Something else."))
    assert "Something else." in judged(wrong, tmp_path)
    assert "MtlsTunnelOperatorHasNoLeader" in judged(Story(wrong.series, 3), tmp_path)
