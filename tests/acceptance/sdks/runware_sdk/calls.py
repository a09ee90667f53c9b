"""Plays a user of the runware-sdk package (1.8), once over REST and once over a WebSocket."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from acceptance.sdks.script import Given, content_of, play
from runware import Runware

UNO = "bytedance:uno@1"
GIVEN = Given.read()
TRANSPORTS = ["rest", "websocket"]
#: What every wish here holds, unless it says otherwise: small and quick.
SMALL: dict[str, Any] = {
    "taskType": "imageInference",
    "model": UNO,
    "positivePrompt": "a cup",
    "seed": 5,
    "steps": 2,
    "width": 512,
    "height": 512,
    "outputFormat": "PNG",
}


def wish(**fields: Any) -> dict[str, Any]:
    """Return a task, with one reference unless there are other inputs."""
    return SMALL | {"inputs": {"referenceImages": GIVEN.references[:1]}} | fields


def client(key: str, transport: str) -> Any:
    """Make a client whose addresses are its own arguments."""
    http = f"{GIVEN.base_url}/v1"
    # Without repeats: none of these errors goes away, and a repeat that is not needed shall not hide one that is.
    return Runware(
        api_key=key,
        transport=transport,
        http_base_url=http,
        ws_base_url=f"ws{http[4:]}",
        max_retries=0,
        poll_timeout=60_000,
    )


def shown(images: Any) -> dict[str, Any]:
    """Return what is known of images whose files are on the web, with those files kept to be looked at."""
    return {"images": images, "pictures": GIVEN.fetch(*(image["imageURL"] for image in images))}


class User:
    """A user of one transport."""

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.client = client(GIVEN.alice, transport)
        self.stranger = client(GIVEN.bob, transport)

    async def connect(self) -> Any:
        """Log in."""
        await self.client.connect()
        await self.stranger.connect()

    async def run(self) -> Any:
        """Ask for a picture, as the package does by itself: asynchronously, and by asking again."""
        return shown(await self.client.run(wish()))

    async def again(self) -> Any:
        """Ask for the same again, and wait on the connection."""
        return shown(await self.client.run(wish(deliveryMethod="sync")))

    async def four_references(self) -> Any:
        """Give all references that the model can use, want three pictures and their cost."""
        asked = wish(
            inputs={"referenceImages": GIVEN.references},
            numberResults=3,
            width=320,
            height=208,
            outputFormat="WEBP",
            includeCost=True,
            deliveryMethod="sync",
        )
        return shown(await self.client.run(asked))

    async def inline(self) -> Any:
        """Want the picture inside the answer, as base64."""
        [image] = await self.client.run(wish(outputType="base64Data", deliveryMethod="sync"))
        naked = base64.b64decode(image["imageBase64Data"], validate=True)
        return {"members": sorted(image), "pictures": GIVEN.keep(naked)}

    async def upload(self) -> Any:
        """Store a file, use it by its UUID, and delete it."""
        media = base64.b64encode(GIVEN.picture.read_bytes()).decode()
        [stored] = await self.client.media_storage({"operation": "upload", "media": media})
        references = {"referenceImages": [stored["mediaUUID"]]}
        images = await self.client.run(wish(inputs=references, deliveryMethod="sync"))
        is_what_was_sent = content_of(stored["mediaURL"]) == GIVEN.picture.read_bytes()
        [gone] = await self.client.media_storage({"operation": "delete", "media": stored["mediaUUID"]})
        return shown(images) | {"is_what_was_sent": is_what_was_sent, "deleted": gone["operation"]}

    async def image_upload(self) -> Any:
        """Upload in the older way."""
        uri = "data:image/png;base64," + base64.b64encode(GIVEN.picture.read_bytes()).decode()
        [uploaded] = await self.client.image_upload({"image": uri})
        references = {"seedImage": uploaded["imageUUID"]}
        return shown(await self.client.run(wish(inputs=references, deliveryMethod="sync")))

    async def webhook(self) -> Any:
        """Leave an address, and wait nevertheless."""
        task, address = str(uuid.uuid4()), f"{GIVEN.receiver}/runware-sdk-{self.transport}"
        images = await self.client.run(wish(taskUUID=task, webhookURL=address, deliveryMethod="sync"))
        return {"images": images}

    async def details(self) -> Any:
        """Ask what a task was, and for its results once more."""
        task = str(uuid.uuid4())
        images = await self.client.run(wish(taskUUID=task, deliveryMethod="sync"))
        [told] = await self.client.get_task_details({"taskUUID": task})
        repeated = await self.client.get_response({"taskUUID": task})
        return {
            "prompt": told["request"][0]["positivePrompt"],
            "images": images,
            "told": told["response"]["data"],
            "repeated": repeated,
        }

    async def account(self) -> Any:
        """Ask what is left."""
        [account] = await self.client.account_management({"operation": "getDetails"})
        return account["balance"]

    async def used_twice(self) -> Any:
        """Use a task's id a second time."""
        task = str(uuid.uuid4())
        await self.client.run(wish(taskUUID=task, deliveryMethod="sync"))
        return await self.client.run(wish(taskUUID=task, deliveryMethod="sync"))

    async def wrong_key(self) -> Any:
        """Show a key that nobody has."""
        nobody = client("key-of-nobody-0123456789", self.transport)
        try:
            return await nobody.run(wish())
        finally:
            await nobody.close()

    async def foreign_task(self) -> Any:
        """Ask, as another tenant, for a task."""
        task = str(uuid.uuid4())
        await self.client.run(wish(taskUUID=task, deliveryMethod="sync"))
        return await self.stranger.get_response({"taskUUID": task})

    async def bad_field(self) -> Any:
        """Want more steps than there are."""
        return await self.client.run(wish(steps=99))

    async def unknown_field(self) -> Any:
        """Send a field that nobody knows."""
        return await self.client.run(wish(sparkle=True))

    async def no_prompt(self) -> Any:
        """Forget the prompt."""
        return await self.client.run(wish(positivePrompt=None))

    async def gone_reference(self) -> Any:
        """Name a picture that is not there."""
        return await self.client.run(wish(inputs={"referenceImages": [GIVEN.references[0] + "-gone"]}))

    async def unknown_model(self) -> Any:
        """Ask for a model that is not there."""
        return await self.client.run(wish(model="runware:100@1"))

    async def close(self) -> Any:
        """Log out."""
        await self.client.close()
        await self.stranger.close()


if __name__ == "__main__":
    play(
        {
            f"{user.transport}_{case.__name__}": case
            for user in map(User, TRANSPORTS)
            for case in [
                user.connect,
                user.run,
                user.again,
                user.four_references,
                user.inline,
                user.upload,
                user.image_upload,
                user.webhook,
                user.details,
                user.account,
                user.used_twice,
                user.wrong_key,
                user.foreign_task,
                user.bad_field,
                user.unknown_field,
                user.no_prompt,
                user.gone_reference,
                user.unknown_model,
                user.close,
            ]
        }
    )
