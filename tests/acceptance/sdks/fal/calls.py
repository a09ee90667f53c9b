"""Plays a user of fal-client: its addresses come from the two variables that it reads, uploads from its constants."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import fal_client
from acceptance.sdks.script import Given, content_of, play

USO = "fal-ai/uso"
GIVEN = Given.read()
ALICE = fal_client.SyncClient(key=GIVEN.alice)
BOB = fal_client.SyncClient(key=GIVEN.bob)
#: What every wish here holds, unless it says otherwise: small and quick.
SMALL: dict[str, Any] = {"prompt": "a cup", "seed": 5, "num_inference_steps": 2, "image_size": "square"}


def wish(**fields: Any) -> dict[str, Any]:
    """Return arguments with one reference."""
    return SMALL | {"input_image_urls": GIVEN.references[:1]} | fields


def pictures(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with its pictures kept to be looked at."""
    return result | {"pictures": GIVEN.fetch(*(image["url"] for image in result["images"]))}


def run() -> Any:
    """Wait on the run endpoint."""
    return pictures(ALICE.run(USO, wish()))


def again() -> Any:
    """Ask for the same again, through the queue."""
    return pictures(ALICE.subscribe(USO, wish()))


def three_references() -> Any:
    """Give all references that the model documents, and want a size of one's own."""
    size = {"width": 320, "height": 200}
    return pictures(ALICE.run(USO, wish(input_image_urls=GIVEN.references[:3], image_size=size, output_format="jpeg")))


def subscribe() -> Any:
    """Follow the queue, with logs, and want two pictures."""
    seen: list[Any] = []
    result = ALICE.subscribe(USO, wish(num_images=2), with_logs=True, on_queue_update=seen.append)
    steps = [{"status": type(status).__name__} | dataclasses.asdict(status) for status in seen]
    return pictures(result) | {"seen": steps}


async def asynchronous() -> Any:
    """Do it with the asynchronous client."""
    client = fal_client.AsyncClient(key=GIVEN.alice)
    return pictures(await client.subscribe(USO, wish(seed=6)))


def inline() -> Any:
    """Want the picture inside the answer."""
    [image] = ALICE.run(USO, wish(sync_mode=True))["images"]
    return {"begins": image["url"][:22], "pictures": GIVEN.keep(content_of(image["url"]))}


def uploaded(repository: fal_client.client.UploadRepositoryId) -> Callable[[], Any]:
    """Return a case that uploads a file, and uses it as a reference."""

    def upload() -> Any:
        url = ALICE.upload_file(GIVEN.picture, repository=repository, fallback_repository=repository)
        result = ALICE.run(USO, wish(input_image_urls=[url]))
        return pictures(result) | {"url": url, "is_what_was_sent": content_of(url) == GIVEN.picture.read_bytes()}

    return upload


def webhook() -> Any:
    """Leave an address instead of waiting, with something in its query that must come back as it is."""
    handle = ALICE.submit(USO, wish(), webhook_url=f"{GIVEN.receiver}/fal?secret={quote('a/b', safe='')}")
    return {"request_id": handle.request_id, "result": handle.get()}


def webhook_of_a_failure() -> Any:
    """Leave an address for a wish that cannot be."""
    handle = ALICE.submit(USO, wish(num_images=9), webhook_url=f"{GIVEN.receiver}/fal-failure")
    return {"request_id": handle.request_id}


def cancel() -> Any:
    """Cancel what would take long, and ask what came of it."""
    handle = ALICE.submit(USO, wish(num_inference_steps=50, num_images=4, image_size="square_hd"))
    handle.cancel()
    for status in handle.iter_events():
        last = status
    try:
        handle.get()
    except fal_client.FalClientHTTPError as error:
        return dataclasses.asdict(last) | {"result": error.status_code, "type": error.error_type}
    return {"result": 200}


def cancel_too_late() -> Any:
    """Cancel what has ended."""
    handle = ALICE.submit(USO, wish())
    handle.get()
    handle.cancel()


def wrong_key() -> Any:
    """Show a key that nobody has."""
    return fal_client.SyncClient(key="key-of-nobody-0123456789").run(USO, wish())


def foreign_request() -> Any:
    """Ask, as another tenant, for a request's state."""
    return repr(BOB.status(USO, ALICE.submit(USO, wish()).request_id))


def foreign_result() -> Any:
    """Ask, as another tenant, for a result."""
    handle = ALICE.submit(USO, wish())
    handle.get()
    return BOB.result(USO, handle.request_id)


def foreign_cancel() -> Any:
    """Cancel, as another tenant."""
    return BOB.cancel(USO, ALICE.submit(USO, wish()).request_id)


def bad_field() -> Any:
    """Want more pictures than there are."""
    return ALICE.run(USO, wish(num_images=9))


def bad_field_in_the_queue() -> Any:
    """Want it by the queue."""
    return ALICE.subscribe(USO, wish(num_images=9))


def no_references() -> Any:
    """Forget the references."""
    return ALICE.run(USO, {"prompt": "a cup"})


def gone_reference() -> Any:
    """Name a picture that is not there."""
    return ALICE.run(USO, wish(input_image_urls=[GIVEN.references[0] + "-gone"]))


def unknown_application() -> Any:
    """Ask for a model that is not there."""
    return ALICE.run("fal-ai/unknown", wish())


if __name__ == "__main__":
    front = os.environ["FAL_RUN_HOST"].partition("/")[0]  # noqa: TID251 -- an SDK's variable, and not ours
    fal_client.client.REST_URL = f"https://{front}/fal/rest"
    fal_client.client.CDN_URL = f"https://{front}/fal/cdn"
    play(
        {
            case.__name__: case
            for case in [
                run,
                again,
                three_references,
                subscribe,
                asynchronous,
                inline,
                webhook,
                webhook_of_a_failure,
                cancel,
                cancel_too_late,
                wrong_key,
                foreign_request,
                foreign_result,
                foreign_cancel,
                bad_field,
                bad_field_in_the_queue,
                no_references,
                gone_reference,
                unknown_application,
            ]
        }
        | {"upload_to_cdn": uploaded("fal_v3"), "upload_to_storage": uploaded("fal")}
    )
