"""Plays a user of the openai package, who names the service's address and model and adds what AIML adds."""

from __future__ import annotations

import base64
from typing import Any

import openai
from acceptance.sdks.script import Given, content_of, play

USO = "bytedance/uso"
GIVEN = Given.read()
ALICE = openai.OpenAI(api_key=GIVEN.alice, base_url=f"{GIVEN.base_url}/v1", max_retries=0)
#: What every wish here adds to OpenAI's own fields, unless it says otherwise: small and quick.
SMALL: dict[str, Any] = {"seed": 5, "num_inference_steps": 2}


def generate(client: openai.OpenAI = ALICE, *, more: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Generate as OpenAI's users do."""
    extra = SMALL | {"image_urls": GIVEN.references[:1]} | (more or {})
    asked = {"model": USO, "prompt": "a cup", "size": "512x512"} | fields
    return client.images.generate(**asked, extra_body=extra)


def pictures(answer: Any) -> dict[str, Any]:
    """Return an answer with its pictures kept to be looked at."""
    told: dict[str, Any] = answer.model_dump()
    return told | {"pictures": GIVEN.fetch(*(image.url for image in answer.data))}


def run() -> Any:
    """Ask for a picture."""
    return pictures(generate())


def again() -> Any:
    """Ask for the same again."""
    return pictures(generate())


def three_references() -> Any:
    """Give all references that the model documents, and want two pictures in AIML's own words."""
    more = {"image_urls": GIVEN.references[:3], "image_size": {"width": 320, "height": 200}, "output_format": "jpeg"}
    return pictures(generate(size=openai.omit, n=2, more=more))


def inline() -> Any:
    """Want the picture inside the answer, in OpenAI's way."""
    [image] = generate(response_format="b64_json").data
    return {"url": image.url, "pictures": GIVEN.keep(base64.b64decode(image.b64_json, validate=True))}


def sync_mode() -> Any:
    """Want the picture inside the answer, in AIML's way."""
    [image] = generate(more={"sync_mode": True}).data
    in_uri, naked = content_of(image.url), base64.b64decode(image.b64_json, validate=True)
    return {"is_the_same": in_uri == naked, "pictures": GIVEN.keep(in_uri)}


def data_uri() -> Any:
    """Send a reference inside the call, for this dialect has no uploads."""
    uri = "data:image/png;base64," + base64.b64encode(GIVEN.picture.read_bytes()).decode()
    return pictures(generate(more={"image_urls": [uri]}))


async def asynchronous() -> Any:
    """Do it with the asynchronous client, and look at the status."""
    client = openai.AsyncOpenAI(api_key=GIVEN.alice, base_url=f"{GIVEN.base_url}/v1", max_retries=0)
    raw = await client.images.with_raw_response.generate(
        model=USO, prompt="a cup", size="512x512", extra_body=SMALL | {"image_urls": GIVEN.references[:1]}
    )
    return pictures(raw.parse()) | {"status": raw.http_response.status_code}


def wrong_key() -> Any:
    """Show a key that nobody has."""
    return generate(ALICE.with_options(api_key="key-of-nobody-0123456789"))


def bad_field() -> Any:
    """Want more pictures than there are."""
    return generate(n=9)


def no_references() -> Any:
    """Forget the references."""
    return generate(more={"image_urls": None})


def gone_reference() -> Any:
    """Name a picture that is not there."""
    return generate(more={"image_urls": [GIVEN.references[0] + "-gone"]})


def unknown_model() -> Any:
    """Ask for a model that is not there."""
    return generate(model="dall-e-3")


def unknown_path() -> Any:
    """Use another part of OpenAI's API."""
    return ALICE.models.list()


async def hang_up() -> Any:
    """Leave while it is made, which cancels."""
    async with openai.AsyncOpenAI(api_key=GIVEN.alice, base_url=f"{GIVEN.base_url}/v1", max_retries=0) as client:

        def call(reference: str) -> Any:
            more = SMALL | {"image_urls": [reference], "num_inference_steps": 50}
            wish = {"model": USO, "prompt": "nobody waits for this", "size": "1024x1024", "n": 4}
            return client.images.generate(**wish, extra_body=more)

        return await GIVEN.leave_once_begun(call)


if __name__ == "__main__":
    play(
        {
            case.__name__: case
            for case in [
                run,
                again,
                three_references,
                inline,
                sync_mode,
                data_uri,
                asynchronous,
                wrong_key,
                bad_field,
                no_references,
                gone_reference,
                unknown_model,
                unknown_path,
                hang_up,
            ]
        }
    )
