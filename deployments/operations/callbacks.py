"""Refuses at once the addresses of a submission that will never be called, before anything is paid for or drawn.

Only what the address itself shows is judged, and no name is resolved: where a name leads can change until it is called,
and is checked then.
"""

from __future__ import annotations

from deployments.clock import utc_now
from deployments.errors import CallbackRefused, UploadAddressRefused, WebhookRefused
from deployments.operations import operation as asked
from deployments.outbound.expiry import check_upload
from deployments.outbound.rules import Rules
from deployments.outbound.urls import UnreadableUrl, read_url
from deployments.tenants.directory import TenantDirectory


class Callbacks:
    """Judges the webhooks and upload addresses of every tenant."""

    def __init__(self, rules: Rules, directory: TenantDirectory) -> None:
        """Take what holds for all, and what knows the openings of one; it is asked when the rules say no."""
        self._rules = rules
        self._directory = directory

    async def check(self, submission: asked.Submit | asked.Refuse, tenant_id: str) -> None:
        """Let a submission pass whose addresses may be called as far as they show.

        Raises:
            CallbackRefused: when one may not; its message says which, and why.
        """
        if submission.webhook is not None:
            await self._check(submission.webhook.url, tenant_id, WebhookRefused, "the webhook address")
        if isinstance(submission, asked.Submit) and submission.upload_url is not None:
            await self._check(submission.upload_url, tenant_id, UploadAddressRefused, "the upload address")
            check_upload(submission.upload_url, now=utc_now())

    async def _check(self, url: str, tenant_id: str, kind: type[CallbackRefused], name: str) -> None:
        try:
            target = read_url(url)
        except UnreadableUrl as error:
            raise kind(f"{name} {error}") from error
        if self._rules.objection(target) is None:
            return
        objection = self._rules.objection(target, await self._directory.openings_of(tenant_id))
        if objection is not None:
            raise kind(f"{name} {objection}")
