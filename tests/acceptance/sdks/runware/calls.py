"""Plays a user of the runware package (0.5), which speaks over a WebSocket and takes the service's address as it is."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import Any

from acceptance.sdks.script import Given, content_of, play
from runware import IImageInference, ISafety, Runware

UNO = "bytedance:uno@1"
GIVEN = Given.read()
ADDRESS = f"ws{GIVEN.base_url.removeprefix('http')}/v1"
#: What every wish here holds, unless it says otherwise: small and quick.
SMALL: dict[str, Any] = {
    "model": UNO,
    "positivePrompt": "a cup",
    "seed": 5,
    "steps": 2,
    "width": 512,
    "height": 512,
    "outputFormat": "PNG",
}


def wish(**fields: Any) -> IImageInference:
    """Return a request, with one reference unless there are other inputs."""
    return IImageInference(**SMALL | {"inputs": {"referenceImages": GIVEN.references[:1]}} | fields)


def shown(images: Any) -> dict[str, Any]:
    """Return what is known of images whose files are on the web, with those files kept to be looked at."""
    seeds, costs = [image.seed for image in images], [image.cost for image in images]
    return {
        "uuids": [image.imageUUID for image in images],
        "seeds": seeds,
        "costs": costs,
        "unsafe": [image.NSFWContent for image in images],
        "pictures": GIVEN.fetch(*(image.imageURL for image in images)),
    }


class User:
    """A user with a connection."""

    def __init__(self) -> None:
        self.client = Runware(api_key=GIVEN.alice, url=ADDRESS)
        self.stranger = Runware(api_key=GIVEN.bob, url=ADDRESS)

    async def connect(self) -> Any:
        """Log in."""
        await self.client.connect()
        await self.stranger.connect()

    async def run(self) -> Any:
        """Ask for a picture."""
        return shown(await self.client.imageInference(wish()))

    async def again(self) -> Any:
        """Ask for the same again, at the same time as for another."""
        same, _ = await asyncio.gather(
            self.client.imageInference(wish()), self.client.imageInference(wish(positivePrompt="a hat"))
        )
        return shown(same)

    async def four_references(self) -> Any:
        """Give all references that the model can use, want three pictures, their cost and a check."""
        asked = wish(
            inputs={"referenceImages": GIVEN.references},
            numberResults=3,
            width=320,
            height=208,
            outputFormat="WEBP",
            includeCost=True,
            safety=ISafety(checkContent=True),
        )
        return shown(await self.client.imageInference(asked))

    async def asynchronous(self) -> Any:
        """Go on while they are made, and ask for them."""
        asked = wish(deliveryMethod="async", numberResults=2, taskUUID=str(uuid.uuid4()))
        acknowledged = await self.client.imageInference(asked)
        images = await self.client.getResponse(acknowledged.taskUUID, numberResults=2)
        return {"is_acknowledged": acknowledged.taskUUID == asked.taskUUID} | shown(images)

    async def inline(self) -> Any:
        """Want the picture inside the answer, as base64."""
        [image] = await self.client.imageInference(wish(outputType="base64Data"))
        return {"url": image.imageURL, "pictures": GIVEN.keep(base64.b64decode(image.imageBase64Data, validate=True))}

    async def data_uri(self) -> Any:
        """Want it as a data URI."""
        [image] = await self.client.imageInference(wish(outputType="dataURI"))
        return {"pictures": GIVEN.keep(content_of(image.imageDataURI))}

    async def upload(self) -> Any:
        """Upload a file, and use it by its UUID."""
        uploaded = await self.client.uploadImage(str(GIVEN.picture))
        images = await self.client.imageInference(wish(inputs={"referenceImages": [uploaded.imageUUID]}))
        is_what_was_sent = content_of(uploaded.imageURL) == GIVEN.picture.read_bytes()
        return shown(images) | {"is_what_was_sent": is_what_was_sent}

    async def store_media(self) -> Any:
        """Store a file in the newer way, and use it by its UUID."""
        stored = await self.client.uploadMedia(str(GIVEN.picture))
        return shown(await self.client.imageInference(wish(inputs={"referenceImages": [stored.mediaUUID]})))

    async def local_file(self) -> Any:
        """Name a file on this machine, which the package sends along."""
        return shown(await self.client.imageInference(wish(inputs={"referenceImages": [str(GIVEN.picture)]})))

    async def webhook(self) -> Any:
        """Leave an address instead of waiting, with something in its query that must come back as it is."""
        address = f"{GIVEN.receiver}/runware?secret=a%2Fb"
        acknowledged = await self.client.imageInference(
            wish(deliveryMethod="async", webhookURL=address, numberResults=2)
        )
        return {"task": acknowledged.taskUUID}

    async def sent_to_us(self) -> Any:
        """Have the file sent to a place of one's own."""
        asked = wish(uploadEndpoint=f"{GIVEN.receiver}/put?signature=a%2Fb")
        return shown(await self.client.imageInference(asked))

    async def details(self) -> Any:
        """Ask what a task was."""
        asked = wish(taskUUID=str(uuid.uuid4()))
        await self.client.imageInference(asked)
        told = await self.client.getTaskDetails(asked.taskUUID)
        return {"is_the_task": told.taskUUID == asked.taskUUID, "prompt": told.request[0].positivePrompt}

    async def used_twice(self) -> Any:
        """Use a task's id a second time."""
        task = str(uuid.uuid4())
        await self.client.imageInference(wish(taskUUID=task))
        return await self.client.imageInference(wish(taskUUID=task))

    async def wrong_key(self) -> Any:
        """Show a key that nobody has."""
        nobody = Runware(api_key="key-of-nobody-0123456789", url=ADDRESS)
        try:
            await nobody.connect()
            return shown(await nobody.imageInference(wish()))
        finally:
            await nobody.disconnect()

    async def foreign_task(self) -> Any:
        """Ask, as another tenant, for a task."""
        acknowledged = await self.client.imageInference(wish(deliveryMethod="async"))
        return shown(await self.stranger.getResponse(acknowledged.taskUUID))

    async def foreign_upload(self) -> Any:
        """Use, as another tenant, what was uploaded."""
        uploaded = await self.client.uploadImage(str(GIVEN.picture))
        return shown(await self.stranger.imageInference(wish(inputs={"referenceImages": [uploaded.imageUUID]})))

    async def bad_field(self) -> Any:
        """Want more steps than there are."""
        return shown(await self.client.imageInference(wish(steps=99)))

    async def unknown_field(self) -> Any:
        """Send a field that nobody knows."""
        return shown(await self.client.imageInference(wish(extraArgs={"sparkle": True})))

    async def gone_reference(self) -> Any:
        """Name a picture that is not there."""
        gone = GIVEN.references[0] + "-gone"
        return shown(await self.client.imageInference(wish(inputs={"referenceImages": [gone]})))

    async def unknown_model(self) -> Any:
        """Ask for a model that is not there."""
        return shown(await self.client.imageInference(wish(model="runware:100@1")))

    async def disconnect(self) -> Any:
        """Log out."""
        await self.client.disconnect()
        await self.stranger.disconnect()


if __name__ == "__main__":
    user = User()
    play(
        {
            case.__name__: case
            for case in [
                user.connect,
                user.run,
                user.again,
                user.four_references,
                user.asynchronous,
                user.inline,
                user.data_uri,
                user.upload,
                user.store_media,
                user.local_file,
                user.webhook,
                user.sent_to_us,
                user.details,
                user.used_twice,
                user.wrong_key,
                user.foreign_task,
                user.foreign_upload,
                user.bad_field,
                user.unknown_field,
                user.gone_reference,
                user.unknown_model,
                user.disconnect,
            ]
        }
    )
