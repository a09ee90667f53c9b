"""The sink that keeps pictures in an S3 bucket, under names that cannot be guessed, each tenant's below a prefix.

    put ──► PUT with its digest ──► HEAD: are these bytes there? ──► no, or no answer: again, for ten minutes
    link ─► a GET that is signed anew each time, for as long as the picture may be fetched

The bucket is private; whoever has a link may read that one picture, until then. An answer of 200 is not believed:
a picture counts as placed once the bucket itself names the digest of what was sent.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self, TypeVar

import boto3
import structlog
from anyio import CapacityLimiter, to_thread
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_random_exponential

from deployments.clock import utc_now
from deployments.delivery.files import LinkUnknown
from deployments.delivery.names import expiry_of, new_name
from deployments.delivery.sink import EncodedImage, OutOfReach
from deployments.errors import NotStored
from deployments.settings import SettingsInvalid

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from deployments.settings import Settings

log = structlog.get_logger()

#: Calls to the bucket that are waited for at once.
CALLS_AT_ONCE = 16
#: Longest life of a signed link, in seconds. Source: AWS, "Authenticating requests: using query parameters", 2026-11.
MAX_LINK_S = 7 * 24 * 3600
#: Region where neither the settings nor boto3's own name one; servers that are not Amazon's mostly go by this name.
DEFAULT_REGION = "us-east-1"

#: What a bucket answers to settings that will never do, and which those are. Others may mean only that it is not
#: allowed to look for what is not there. Source: Amazon S3 API reference, "Error responses", seen 2026-11.
WRONG_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "NoSuchBucket": "UXO_BUCKET and UXO_S3_ENDPOINT",
        "InvalidBucketName": "UXO_BUCKET",
        "InvalidAccessKeyId": "AWS_ACCESS_KEY_ID",
        "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY and UXO_S3_REGION",
        "PermanentRedirect": "UXO_S3_REGION",
        "AuthorizationHeaderMalformed": "UXO_S3_REGION",
    }
)

_NO_USE = "UXO_BUCKET={!r} cannot be used: it answered {}; look at {}"
# Every object carries its own key.
_OWN_NAME = "key"

Result = TypeVar("Result")


class BucketFailed(OSError):
    """The bucket could not be used; the message says why."""


class NoCredentials(SettingsInvalid):
    """There are no credentials for the bucket, where this process runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a bucket is waited for, in seconds."""

    #: Until a connection is there.
    connect_s: float = 3.0
    #: Until the next byte of an answer.
    read_s: float = 15.0
    #: Until one try has ended, with all its calls.
    try_s: float = 30.0
    #: Until a picture that could not be placed is given up; tries come further and further apart.
    give_up_s: float = 600.0
    #: Longest pause between two tries; the actual one is drawn, so that replicas do not come back all at once.
    max_pause_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in S3 pictures are kept."""

    #: Name of the bucket.
    bucket: str
    #: How every key begins: empty, or folders that end in ``/``.
    prefix: str = ""


class BucketSink:
    """Keeps pictures as objects of one bucket."""

    def __init__(
        self,
        client: S3Client,
        place: Place,
        *,
        ttl_s: float,
        patience: Patience | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Take what calls S3, where pictures go, and how long they can be fetched, in seconds."""
        self._client = client
        self._place = place
        self._ttl_s = ttl_s
        self._patience = patience or Patience()
        self._clock = clock
        self._turns = CapacityLimiter(CALLS_AT_ONCE)

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Use the bucket of the settings, with credentials from boto3's own chain.

        Raises:
            NoCredentials: when there are none.
            SettingsInvalid: when there is a half of them.
        """
        patience = Patience()
        session = _with_credentials()
        client = session.client(
            "s3",
            endpoint_url=str(settings.s3_endpoint).rstrip("/") if settings.s3_endpoint else None,
            region_name=settings.s3_region or session.region_name or DEFAULT_REGION,
            config=s3_config(patience, addressing=settings.s3_addressing),
        )
        place = Place(bucket=settings.bucket, prefix=settings.bucket_prefix)
        return cls(client, place, ttl_s=settings.output_ttl_s, patience=patience)

    async def check(self) -> None:
        """Ask for an object that is not there: what refuses it tells a wrong setting from trouble that may pass.

        Raises:
            SettingsInvalid: when there is no such bucket, or it does not know the credentials.
            BucketFailed: when it does not answer.
        """
        try:
            await self._call(partial(self._get, f"{self._folder_of('')}nothing"))
        except BucketFailed as error:
            code = _code_of(error.__cause__)
            if code in WRONG_SETTINGS:
                raise SettingsInvalid(_NO_USE.format(self._place.bucket, code, WRONG_SETTINGS[code])) from None
            if not code:
                raise

    async def put(self, name: str, image: EncodedImage, *, tenant_id: str = "", lifetime_s: float | None = None) -> str:
        """Place a picture and return its key, once the bucket has said which bytes it holds.

        What fails is tried again for ``Patience.give_up_s``, always under the same key, so that nothing is left behind.

        Raises:
            NotStored: when it could not be placed in that time; drawn anew it would fare no better.
            ValueError: when the name holds more than letters, digits and ``-``.
        """
        lives_s = self._ttl_s if lifetime_s is None else min(lifetime_s, self._ttl_s)
        key = self._folder_of(tenant_id) + new_name(name, image.extension, expiry_s=self._now_s() + lives_s)
        trying = AsyncRetrying(
            retry=retry_if_exception_type(BucketFailed),
            stop=stop_after_delay(self._patience.give_up_s),
            wait=wait_random_exponential(multiplier=0.5, max=self._patience.max_pause_s),
            before_sleep=partial(_log_failure, name),
            reraise=True,
        )
        try:
            await trying(self._call, partial(self._put_and_check, key, image))
        except BucketFailed as error:
            raise NotStored from error
        return key

    def link(self, value: str, *, base_url: str) -> str:  # noqa: ARG002 -- the protocol's argument
        """Sign a GET of a picture, for the rest of its time or the seven days that S3 allows."""
        expiry_s = expiry_of(value.rpartition("/")[2]) or 0
        left_s = max(1, min(expiry_s - int(self._now_s()), MAX_LINK_S))
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._place.bucket, "Key": value}, ExpiresIn=left_s
        )

    def value_of(self, link: str, *, base_url: str, tenant_id: str) -> str | None:
        """Return the key behind a link, if it leads to a picture of this tenant.

        Its signature is not looked at: the tenant may read its own, and nobody guesses a name.
        """
        address = link.partition("?")[0]
        key = self._folder_of(tenant_id) + address.rpartition("/")[2]
        is_name = expiry_of(key.rpartition("/")[2]) is not None
        return key if is_name and self.link(key, base_url=base_url).partition("?")[0] == address else None

    async def read(self, value: str) -> bytes:
        """Return the bytes of a picture.

        Raises:
            BucketFailed: when the bucket does not answer.
            LinkUnknown: when there is none such, or its time is over.
        """
        if (expiry_of(value.rpartition("/")[2]) or 0) <= self._now_s():
            raise LinkUnknown
        try:
            return await self._call(partial(self._get, value))
        except BucketFailed as error:
            if _status_of(error.__cause__) == HTTPStatus.NOT_FOUND:
                raise LinkUnknown from error
            raise

    async def remove(self, value: str) -> None:
        """Delete a picture; that it is gone already is no error, and what is no key of a picture leads to none.

        Raises:
            BucketFailed: when the bucket does not answer.
            OutOfReach: when the key is below another prefix than this sink's.
        """
        folder, _, name = value.rpartition("/")
        if expiry_of(name) is not None:
            if not folder.startswith(f"{self._place.prefix}tenant-"):
                raise OutOfReach("it lies below another UXO_BUCKET_PREFIX")
            await self._call(lambda: self._client.delete_object(Bucket=self._place.bucket, Key=value))

    def _folder_of(self, tenant_id: str) -> str:
        # Not the bare id, which may be "..", and then some clients would leave the folder.
        return f"{self._place.prefix}tenant-{tenant_id}/"

    def _now_s(self) -> float:
        return self._clock().timestamp()

    async def _call(self, work: Callable[[], Result]) -> Result:
        """Run what calls the bucket on another thread, and wait for as long as one try may last."""
        try:
            async with asyncio.timeout(self._patience.try_s):
                # Left to itself when its time is over: an answer of a byte a second would hold a turn for minutes.
                return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._turns)
        except BucketFailed:
            raise
        except (BotoCoreError, ClientError, OSError, ValueError) as error:  # a value: an answer that is none
            raise BucketFailed(_reason_of(error)) from error

    def _put_and_check(self, key: str, image: EncodedImage) -> None:
        digest = hashlib.md5(image.content, usedforsecurity=False)  # the one that S3 itself compares and answers
        self._client.put_object(
            Bucket=self._place.bucket,
            Key=key,
            Body=image.content,
            ContentType=image.content_type,
            ContentMD5=base64.b64encode(digest.digest()).decode("ascii"),
            Metadata={_OWN_NAME: key},
        )
        found = self._client.head_object(Bucket=self._place.bucket, Key=key)
        _check_name(found["Metadata"], key)
        if (found["ETag"].strip('"'), found["ContentLength"]) == (digest.hexdigest(), len(image.content)):
            return
        # Where a bucket encrypts with a key of its own, the ETag is no MD5; then only the bytes can tell.
        if self._get(key) != image.content:
            raise BucketFailed("it holds other bytes than were sent")

    def _get(self, key: str) -> bytes:
        found = self._client.get_object(Bucket=self._place.bucket, Key=key)
        _check_name(found["Metadata"], key)
        return found["Body"].read()


def _with_credentials() -> boto3.session.Session:
    try:
        session = boto3.session.Session()
        found = session.get_credentials()
    except BotoCoreError as error:  # a half of them, or a profile that there is not
        raise SettingsInvalid(f"UXO_BUCKET is set, but its credentials cannot be used: {error}") from error
    if found is None:
        raise NoCredentials(
            "UXO_BUCKET is set, but there are no credentials for it; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give them in another way that boto3 knows"
        )
    return session


def _check_name(metadata: Mapping[str, str], key: str) -> None:
    # A picture's double has the same digest: without this, an old answer about it would be taken for this one's.
    if metadata.get(_OWN_NAME) != key:
        raise BucketFailed("it answered about another object")


def s3_config(patience: Patience, *, addressing: Literal["auto", "path", "virtual"]) -> Config:
    """Return how S3 is spoken to.

    Args:
        patience: for one call.
        addressing: ``path``, ``virtual`` or ``auto``.
    """
    return Config(
        signature_version="s3v4",
        # Signed with the digest of the body, over TLS too: a store that checks signatures checks the bytes.
        s3={"addressing_style": addressing, "payload_signing_enabled": True},
        # Beside the MD5 that goes with every picture, newer digests are for stores that ask for them; old ones refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        retries={"total_max_attempts": 1, "mode": "standard"},  # it is the sink that tries again
        max_pool_connections=CALLS_AT_ONCE,
    )


def _log_failure(name: str, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("picture_not_placed", picture=name, tries=state.attempt_number, reason=str(error))


def _reason_of(error: Exception) -> str:
    """Say what went wrong without what was sent."""
    match error:
        case ClientError(response={"Error": {"Code": code}}):
            return f"it answered {code}"
        case TimeoutError():
            return "it did not answer in time"
    return f"it could not be reached: {type(error).__name__}"


def _code_of(error: BaseException | None) -> str:
    """Return what S3 called an error; nothing where it was no answer of S3's."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _status_of(error: BaseException | None) -> int | None:
    return error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else None
