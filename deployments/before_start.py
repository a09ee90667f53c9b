"""What is looked at before anything is started: a mistake is one sentence then, and not a replica that never comes up.

    keys ──► grace ──► bucket ──► database          the first that will not do is named, with what would

Ray Serve composes an application before it touches the one that runs. What is refused here is therefore refused as a
whole, and what runs goes on. Weights are no part of it: they lie where replicas are, and nowhere else.
"""

from __future__ import annotations

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from deployments.database.reached import DatabaseAway, check_database, usable
from deployments.delivery.bucket import BucketFailed, BucketSink
from deployments.delivery.sink import open_sinks
from deployments.serve_config import Arguments, ServeConfigInvalid
from deployments.settings import Settings
from deployments.tenants.keys import configured_keys, server_secret

log = structlog.get_logger()

#: Seconds for which a database that is away is asked again: longer than a server takes to restart, and short of the
#: minute after which whoever deploys wants to know.
PATIENCE_S = 30.0


def check_grace(arguments: Arguments, settings: Settings, *, is_needed: bool = False) -> None:
    """Refuse a grace that is over before the calls are that an ingress holds: an update would cut them off.

    Args:
        arguments: of the application.
        settings: for how long a call is held.
        is_needed: whether an update must cut off no call, also where the file does not say how long the grace is; a
            machine of one's own, which is stopped by Ctrl-C, has a short one.

    Raises:
        ServeConfigInvalid: naming both numbers.
    """
    is_meant = is_needed or "grace_s" in arguments.model_fields_set
    if is_meant and arguments.grace_s <= settings.sync_wait_s:
        raise ServeConfigInvalid(
            f"args.grace_s is {arguments.grace_s:g}, and calls are held for UXO_SYNC_WAIT_S={settings.sync_wait_s:g}"
            " seconds, so that an update would cut them off; make grace_s longer than that"
        )


def check_set_up(settings: Settings) -> None:
    """Refuse keys, a secret, a bucket or a database that are set up by half; asks nobody.

    Raises:
        SettingsInvalid: naming a setting that cannot be used.
    """
    if settings.bootstrap_keys:  # without any, one is made where it is needed, and not by looking
        configured_keys(settings.bootstrap_keys, settings.folder)
    if settings.secret:
        server_secret(settings.secret, settings.folder)
    open_sinks(settings)
    usable(settings.store_url)


async def look_around(settings: Settings, *, patience_s: float = 0.0) -> None:
    """Return if there is all that the settings name.

    Args:
        settings: what to look at.
        patience_s: seconds for which a database that is away is asked again.

    Raises:
        SettingsInvalid: naming a setting that cannot be used.
        DatabaseAway: when the database cannot be reached.
        NotMigrated: when its tables are older than this version; says which command brings them up to date.
    """
    check_set_up(settings)
    if settings.bucket:
        await _look_at_bucket(settings)
    asking = AsyncRetrying(
        retry=retry_if_exception_type(DatabaseAway),
        stop=stop_after_delay(patience_s),
        wait=wait_fixed(1.0),
        reraise=True,
    )
    await asking(check_database, settings.store_url)


async def _look_at_bucket(settings: Settings) -> None:
    try:
        await BucketSink.open(settings).check()
    except BucketFailed as error:  # not everyone who starts something may reach it, and replicas wait for it
        log.warning("bucket_not_reached", bucket=settings.bucket, reason=str(error))
