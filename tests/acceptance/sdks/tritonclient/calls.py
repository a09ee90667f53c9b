"""Plays a user of NVIDIA's tritonclient over HTTP, whose one addition is a header with the key."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.http as triton
from acceptance.sdks.script import Given, play
from tritonclient.http import aio

GIVEN = Given.read()
ALICE = {"Authorization": f"Bearer {GIVEN.alice}"}
CLIENT = triton.InferenceServerClient(
    url=GIVEN.base_url.removeprefix("http://"), connection_timeout=120, network_timeout=120
)
#: What every wish here holds, unless it says otherwise: small and quick.
SMALL: dict[str, Any] = {
    "prompt": [b"a cup"],
    "seed": [5],
    "num_inference_steps": [2],
    "width": [512],
    "height": [512],
}
DATATYPES = {"image_pixels": "UINT8", "seed": "INT64", "guidance_scale": "FP32"}
WORDS = {"prompt", "negative_prompt", "output_format", "images"}


def tensor(name: str, value: Any) -> triton.InferInput:
    """Make an input."""
    if name in WORDS:
        array, datatype = np.array(value, dtype=object), "BYTES"
    else:
        datatype = DATATYPES.get(name, "INT32")
        array = np.array(value, dtype=triton.triton_to_np_dtype(datatype))
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def infer(model: str = "uso", *, headers: dict[str, str] = ALICE, outputs: Any = None, **fields: Any) -> Any:
    """Infer; without references in ``fields``, with one from the web."""
    wish = dict(SMALL)
    if "image_pixels" not in fields:
        wish["images"] = [GIVEN.references[0].encode()]
    tensors = [tensor(name, value) for name, value in (wish | fields).items() if value is not None]
    return CLIENT.infer(model, tensors, outputs=outputs, headers=headers, request_id="7")


def pictures(result: Any) -> dict[str, Any]:
    """Return a result with its pictures kept to be looked at."""
    files, head = result.as_numpy("images"), result.get_response()
    return {"id": head["id"], "seed": result.as_numpy("seed").tolist(), "pictures": GIVEN.keep(*files)}


def described() -> Any:
    """Look around."""
    return {
        "live": CLIENT.is_server_live(),
        "ready": CLIENT.is_server_ready(),
        "uso_ready": CLIENT.is_model_ready("uso"),
        "unknown_ready": CLIENT.is_model_ready("unknown"),
        "server": CLIENT.get_server_metadata(),
        "inputs": [entry["name"] for entry in CLIENT.get_model_metadata("uso")["inputs"]],
        "config": CLIENT.get_model_config("uso")["name"],
        "index": CLIENT.get_model_repository_index(headers=ALICE),
    }


def run() -> Any:
    """Ask for a picture."""
    return pictures(infer())


def again() -> Any:
    """Ask for the same again."""
    return pictures(infer())


def uno() -> Any:
    """Ask the other model, with four references, for two JPEG files."""
    references = [url.encode() for url in GIVEN.references]
    return pictures(infer("uno", images=references, num_images=[2], output_format=[b"jpeg"], width=[320], height=[192]))


def file_inside() -> Any:
    """Send a reference as the bytes of its file."""
    return pictures(infer(images=[GIVEN.picture.read_bytes()]))


def pixels_inside() -> Any:
    """Send a reference as pixels, and have pixels back."""
    outputs = [triton.InferRequestedOutput("pixels", binary_data=True)]
    result = infer(image_pixels=np.full((1, 64, 96, 3), 90), outputs=outputs).as_numpy("pixels")
    return {"shape": result.shape, "dtype": str(result.dtype), "is_a_picture": bool(result.std() > 1)}


def as_json() -> Any:
    """Have the picture in JSON."""
    outputs = [triton.InferRequestedOutput("images", binary_data=False)]
    [uri] = infer(outputs=outputs).as_numpy("images")
    return (uri if isinstance(uri, str) else uri.decode())[:22]


def not_waited_for() -> Any:
    """Go on while it is made."""
    tensors = [tensor(name, value) for name, value in (SMALL | {"images": [GIVEN.references[0].encode()]}).items()]
    return pictures_of_async(CLIENT.async_infer("uso", tensors, headers=ALICE, request_id="7"))


def pictures_of_async(pending: Any) -> dict[str, Any]:
    """Wait for a result."""
    return pictures(pending.get_result())


async def hang_up() -> Any:
    """Leave while it is made, which cancels; the asynchronous client can."""
    fields = {"prompt": [b"nobody waits for tensors"], "num_images": [4], "num_inference_steps": [50]}
    wish = SMALL | {"width": [1024], "height": [1024]} | fields
    async with aio.InferenceServerClient(url=GIVEN.base_url.removeprefix("http://")) as client:

        def call(reference: str) -> Any:
            tensors = [tensor(name, value) for name, value in (wish | {"images": [reference.encode()]}).items()]
            return client.infer("uso", tensors, headers=ALICE)

        return await GIVEN.leave_once_begun(call)


def counted() -> Any:
    """Read how much was inferred."""
    [counts] = CLIENT.get_inference_statistics("uso", headers=ALICE)["model_stats"]
    return counts["inference_stats"]["success"]["count"]


def wrong_key() -> Any:
    """Show a key that nobody has."""
    return infer(headers={"Authorization": "Bearer key-of-nobody-0123456789"})


def no_key() -> Any:
    """Show no key."""
    return infer(headers={})


def bad_field() -> Any:
    """Want more pictures than there are."""
    return infer(num_images=[9])


def no_references() -> Any:
    """Forget the references."""
    return infer(images=None)


def gone_reference() -> Any:
    """Name a picture that is not there."""
    return infer(images=[f"{GIVEN.references[0]}-gone".encode()])


def unknown_model() -> Any:
    """Ask for a model that is not there."""
    return infer("unknown")


if __name__ == "__main__":
    play(
        {
            case.__name__: case
            for case in [
                described,
                run,
                again,
                uno,
                file_inside,
                pixels_inside,
                as_json,
                not_waited_for,
                hang_up,
                counted,
                wrong_key,
                no_key,
                bad_field,
                no_references,
                gone_reference,
                unknown_model,
            ]
        }
    )
