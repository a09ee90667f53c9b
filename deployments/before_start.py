"""What is looked at before anything is started: a mistake is one sentence then, and not a replica that never comes up.

    grace ──► Ray's token ──► keys ──► bucket ──► database       the first that will not do is named, with what would

Ray Serve composes an application before it touches the one that runs. What is refused here is therefore refused as a
whole, and what runs goes on. Weights are no part of it: they lie where replicas are, and nowhere else.
"""

from __future__ import annotations

import structlog

from deployments.database.reached import DatabaseAway, NotLetIn, check_database, usable
from deployments.delivery.bucket import BucketFailed, BucketSink, NoCredentials
from deployments.delivery.sink import open_sinks
from deployments.serve_config import Arguments, ServeConfigInvalid
from deployments.settings import Settings, SettingsInvalid, check_ray
from deployments.tenants.keys import configured_keys, server_secret

log = structlog.get_logger()


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
    _check_own(settings)
    open_sinks(settings)


def _check_own(settings: Settings) -> None:
    if settings.bootstrap_keys:  # without any, one is made where it is needed, and not by looking
        configured_keys(settings.bootstrap_keys, settings.folder)
    if settings.secret:
        server_secret(settings.secret, settings.folder)
    usable(settings.store_url)


async def look_around(settings: Settings) -> None:
    """Return if there is all that the settings name.

    Raises:
        SettingsInvalid: naming a setting that cannot be used.
        DatabaseAway: when the database cannot be reached.
        NotMigrated: when its tables are older than this version; says which command brings them up to date.
    """
    _check_own(settings)
    await _look_at(_bucket_of(settings), name=settings.bucket)
    await check_database(settings.store_url)


async def look_from_afar(settings: Settings) -> None:
    """Return unless no machine could work with the settings; what may be this one's alone, or pass, is only logged.

    The machine that composes an application draws nothing: it may have no keys of the bucket, and no way to it. A
    database that is away is waited for by ingresses and replicas, and a deploy that is refused takes away the scaling
    of what runs.

    Raises:
        SettingsInvalid: naming a setting that cannot be used.
        NotLetIn: when the database refuses the login, or is not there.
        NotMigrated: when its tables are older than this version; says which command brings them up to date.
    """
    check_ray(settings)
    _check_own(settings)
    await _glance_at_bucket(settings)
    try:
        await check_database(settings.store_url)
    except NotLetIn:
        raise
    except DatabaseAway as error:
        log.warning("database_not_reached", reason=error.message)


async def _glance_at_bucket(settings: Settings) -> None:
    try:
        bucket = _bucket_of(settings)
    except NoCredentials as error:
        log.warning("bucket_not_reached", bucket=settings.bucket, reason=error.message)
        return
    try:
        await _look_at(bucket, name=settings.bucket)
    except SettingsInvalid as error:
        log.warning("bucket_not_usable", bucket=settings.bucket, reason=error.message)


def _bucket_of(settings: Settings) -> BucketSink | None:
    """Open every sink, and return that of the bucket if there is one."""
    bucket = open_sinks(settings).get("bucket")
    return bucket if isinstance(bucket, BucketSink) else None


async def _look_at(bucket: BucketSink | None, *, name: str) -> None:
    if bucket is None:
        return
    try:
        await bucket.check()
    except BucketFailed as error:  # not everyone who starts something may reach it, and replicas wait for it
        log.warning("bucket_not_reached", bucket=name, reason=str(error))
