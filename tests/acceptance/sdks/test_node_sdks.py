"""The providers' own Node packages, unmodified, get their pictures from this service.

A script per package does what its users do, see node/, and these tests read what came of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from acceptance.sdks.letterbox import Letterbox
from acceptance.sdks.node_told import installed_node, play_node
from acceptance.sdks.script import Given
from acceptance.sdks.told import Told, wait_until_cancelled
from running_service import ALICE, BOB, Served, client_of

#: The first of these tests may wait for the service's start and for a whole script.
pytestmark = pytest.mark.timeout(600)

SQUARE = ("PNG", (512, 512))
OWN_SIZE = (320, 250)


@pytest.fixture(scope="session", autouse=True)
def node() -> str:
    """Look for Node before the service is started."""
    return installed_node()


@pytest.fixture(scope="module")
def given(
    service: Served,
    references: list[str],
    picture: Path,
    letterbox: Letterbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Given:
    """Return what the scripts work with."""
    return Given(
        base_url=service.base_url,
        alice=ALICE,
        bob=BOB,
        references=references,
        picture=picture,
        receiver=letterbox.base_url,
        folder=tmp_path_factory.mktemp("node"),
    )


@pytest.fixture(scope="module")
def wavespeed(given: Given) -> Told:
    """Return what came of wavespeed."""
    return play_node("wavespeed", given)


@pytest.fixture(scope="module", params=["proxy", "middleware"])
def way(request: pytest.FixtureRequest) -> str:
    """Return how fal's package is pointed at the service."""
    return str(request.param)


@pytest.fixture(scope="module")
def fal(given: Given, way: str) -> Told:
    """Return what came of @fal-ai/client."""
    return play_node("fal", given, way=way)


@pytest.fixture(scope="module")
def openai(given: Given) -> Told:
    """Return what came of openai."""
    return play_node("openai", given)


@pytest.fixture(scope="module")
def runware(given: Given) -> Told:
    """Return what came of @runware/sdk-js."""
    return play_node("runware", given)


def prints(told: Told, case: str) -> list[str]:
    """Return what tells a case's pictures from others, short enough to be shown when a test fails."""
    return [hashlib.sha256(content).hexdigest()[:16] for content in told.pictures(case)]


@pytest.mark.parametrize("case", ["uno", "fourReferences", "sync", "inline", "uploaded", "uso"])
def test_wavespeed_gives_a_picture(wavespeed: Told, case: str) -> None:
    """However it is asked for, the picture has the wanted size and format; USO has one of each there."""
    assert wavespeed.seen(case) == [("JPEG", (1024, 1024)) if case == "uso" else SQUARE]


@pytest.mark.parametrize("case", ["again", "sync", "inline", "uploaded"])
def test_wavespeed_repeats_itself(wavespeed: Told, case: str) -> None:
    """The same seed gives the same bytes, in any mode, and from an upload of what the address has."""
    assert prints(wavespeed, case) == prints(wavespeed, "uno")


def test_wavespeed_counts_seeds_up(wavespeed: Told) -> None:
    """The second of two pictures is the one that the next seed gives."""
    first, second = prints(wavespeed, "pair")

    assert [second] == prints(wavespeed, "uno")
    assert first != second


def test_wavespeed_webhook_is_signed(wavespeed: Told, service: Served, letterbox: Letterbox) -> None:
    """The webhook goes to its address byte for byte, and its signature fits the account's secret."""
    with client_of(service) as client:
        secret = client.get("/api/v3/webhook/secret").raise_for_status().json()["data"]["secret"]

    [arrived] = letterbox.until(1, "/wavespeed?secret=a%2Fb")

    stamp = f"{arrived.headers['webhook-id']}.{arrived.headers['webhook-timestamp']}.".encode()
    signature = hmac.new(secret.removeprefix("whsec_").encode(), stamp + arrived.body, "sha256").hexdigest()
    assert arrived.headers["webhook-signature"] == f"v3,{signature}"
    assert json.loads(arrived.body)["id"] == wavespeed.answer("webhook")


def test_wavespeed_wait_ends_when_the_task_is_deleted(wavespeed: Told, service: Served) -> None:
    """Whoever waits for a task that is deleted learns of it, and nobody works on it any longer."""
    cancelled = wavespeed.answer("cancelled")

    assert cancelled["status"] == 200
    assert "HTTP 404" in cancelled["waited"]["says"]
    wait_until_cancelled(service, "wavespeed", task_id=cancelled["id"])


def test_wavespeed_failure_names_its_cause(wavespeed: Told) -> None:
    """The package shows which reference was at fault."""
    assert wavespeed.answer("failed") == {
        "outputs": None,
        "status": "failed",
        "says": "Prediction failed: reference 2 answered 404",
    }


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("badInput", 'HTTP 400: {"code": 400, "message": "num_images must be between 1 and 4"}'),
        ("wrongKey", 'HTTP 401: {"code": 401'),
        ("foreign", 'HTTP 404: {"code": 404'),
    ],
)
def test_wavespeed_refusals(wavespeed: Told, case: str, says: str) -> None:
    """The package shows status and words of what was refused."""
    assert says in wavespeed.raised(case).says


@pytest.mark.parametrize("case", ["polling", "streaming", "inline", "queue"])
def test_fal_gives_a_picture(fal: Told, case: str) -> None:
    """By polling, by the event stream, at once or by the queue's own calls, the picture is the same."""
    assert fal.seen(case) == [SQUARE]
    assert prints(fal, case) == prints(fal, "polling")


@pytest.mark.parametrize("case", ["polling", "streaming"])
def test_fal_tells_how_it_goes(fal: Told, case: str) -> None:
    """A subscriber hears of the end last, and gets the request's id and the seed."""
    answer = fal.answer(case)

    assert answer["seen"][-1] == "COMPLETED"
    assert set(answer["seen"][:-1]) <= {"IN_QUEUE", "IN_PROGRESS"}
    assert answer["seed"] == 7
    assert answer["requestId"]
    assert [answer["images"][0][side] for side in ("width", "height")] == [512, 512]


def test_fal_has_sizes_of_ones_own(fal: Told) -> None:
    """Every picture has exactly the wanted sides, and the second is the one of the next seed."""
    assert fal.seen("pair") == [("PNG", OWN_SIZE)] * 2
    assert prints(fal, "pair")[1:] == prints(fal, "second")


def test_fal_run_waits(fal: Told) -> None:
    """The run endpoint answers with the picture."""
    assert fal.seen("run") == [("JPEG", (512, 512))]
    assert fal.answer("run")["requestId"]


def test_fal_uploads(fal: Told) -> None:
    """A blob that was uploaded, or that the package found in the input, counts like the address of its bytes."""
    assert prints(fal, "uploaded") == prints(fal, "polling") * 2


def test_fal_queue_and_webhook(fal: Told, way: str, letterbox: Letterbox) -> None:
    """The queue's calls speak of one request, and so does the webhook."""
    answer = fal.answer("queue")

    [arrived] = letterbox.until(1, f"/fal-{way}?secret=a%2Fb")

    event = json.loads(arrived.body)
    assert answer["early"]["status"] in {"IN_QUEUE", "IN_PROGRESS"}
    assert answer["last"]["status"] == "COMPLETED"
    assert {answer["early"]["request_id"], event["request_id"]} == {answer["requestId"]}
    assert (event["status"], event["payload"]["seed"]) == ("OK", 7)


def test_fal_cancel(fal: Told) -> None:
    """A cancelled request is completed, with 499 for a result, and cannot be cancelled again."""
    answer = fal.answer("cancelled")
    statuses = [answer[call]["has"]["status"] for call in ("early", "result", "again")]

    assert statuses == [400, 499, 400]
    assert (answer["last"]["status"], answer["last"]["error_type"]) == ("COMPLETED", "client_cancelled")
    assert answer["again"]["has"]["body"] == {"status": "ALREADY_COMPLETED"}


def test_fal_cancels_what_took_too_long(fal: Told) -> None:
    """The package's own time-out cancels the request here as well."""
    answer = fal.answer("impatient")

    assert "timed out" in answer["waited"]["says"]
    assert answer["last"]["error_type"] == "client_cancelled"


@pytest.mark.parametrize(
    ("case", "name", "kind"),
    [
        ("badInput", "num_images", "less_than_equal"),
        ("badRun", "num_images", "less_than_equal"),
        ("missing", "input_image_urls", "file_download_error"),
    ],
)
def test_fal_field_errors(fal: Told, case: str, name: str, kind: str) -> None:
    """The package's own error for bad input names the field."""
    raised = fal.raised(case)
    [problem] = raised.has["body"]["detail"]

    assert (raised.name, raised.has["status"]) == ("ValidationError", 422)
    assert (problem["loc"], problem["type"]) == (["body", name], kind)


def test_fal_strangers(fal: Told) -> None:
    """A wrong key is a 401, and another tenant's request a 404 to whatever is asked of it."""
    assert fal.raised("wrongKey").has["status"] == 401
    assert [call["has"]["status"] for call in fal.answer("foreign")] == [404, 404, 404]


@pytest.mark.parametrize("case", ["uso", "again", "inline", "uploaded"])
def test_openai_gives_a_picture(openai: Told, case: str) -> None:
    """By address, as base64, as a data URI, from references sent along: the same seed gives the same picture."""
    assert set(openai.seen(case)) == {SQUARE}
    assert set(prints(openai, case)) == set(prints(openai, "uso"))


def test_openai_sizes_and_counts(openai: Told) -> None:
    """AIML's own size and OpenAI's count are both heard."""
    assert openai.seen("custom") == [("JPEG", OWN_SIZE)]
    assert prints(openai, "pair")[1:] == prints(openai, "uso")


def test_openai_answer_is_the_union(openai: Told) -> None:
    """The package hands on AIML's status and further members."""
    answer = openai.answer("uso")

    assert (answer["status"], answer["seed"]) == (201, 7)
    assert answer["images"] == answer["data"]
    assert answer["created"] > 1_700_000_000


@pytest.mark.parametrize(
    ("case", "name", "has"),
    [
        ("badInput", "BadRequestError", {"status": 400, "param": "n"}),
        ("badModel", "BadRequestError", {"status": 400, "param": "model"}),
        ("missing", "BadRequestError", {"status": 400, "param": "image_urls"}),
        ("streamed", "BadRequestError", {"status": 400, "param": "stream"}),
        ("wrongKey", "AuthenticationError", {"status": 401, "code": "invalid_api_key"}),
        ("otherPath", "NotFoundError", {"status": 404}),
    ],
)
def test_openai_refusals(openai: Told, case: str, name: str, has: dict[str, Any]) -> None:
    """The package sorts a refusal into its class, and shows our words and not that there are none."""
    raised = openai.raised(case)

    assert raised.name == name
    assert {key: raised.has[key] for key in has} == has
    assert "no body" not in raised.says


def test_openai_hanging_up_cancels(openai: Told, service: Served) -> None:
    """A caller who is gone is not worked for."""
    assert openai.answer("cancelled")["error"] == "APIUserAbortError"
    wait_until_cancelled(service, "aiml", noted="a wish that is cancelled")


@pytest.mark.parametrize("case", ["uso", "again", "seedImage", "inline", "uploaded"])
def test_runware_gives_a_picture(runware: Told, case: str) -> None:
    """By address or inline, from references of every kind: the same seed gives the same picture."""
    assert set(runware.seen(case)) == {SQUARE}
    assert set(prints(runware, case)) == set(prints(runware, "uso"))


def test_runware_sizes_and_formats(runware: Told) -> None:
    """Either model draws in any format and size."""
    assert runware.seen("uno") == [("WEBP", (512, 512))]
    assert runware.seen("custom") == [("JPEG", OWN_SIZE)]


def test_runware_result_tells_seed_and_cost(runware: Told) -> None:
    """A result says what it was drawn with and what it cost."""
    [result] = runware.answer("uso")["results"]

    assert (result["status"], result["seed"]) == ("success", 7)
    assert result["cost"] > 0


@pytest.mark.parametrize("case", ["pair", "polled"])
def test_runware_several_results(runware: Told, case: str) -> None:
    """All results of a task arrive, waited for or asked for, and the second has the next seed."""
    assert runware.seen(case) == [SQUARE] * 2
    assert prints(runware, case)[1:] == prints(runware, "uso")


def test_runware_reports_what_arrives(runware: Told) -> None:
    """Results add up to what was wanted, without an error beside them; an asynchronous task is acknowledged first."""
    pair, polled = runware.answer("pair"), runware.answer("polled")

    assert sum(part["count"] for part in pair["parts"]) == 2
    assert not any("error" in part for part in pair["parts"])
    assert polled["acknowledged"] == [{"taskType": "imageInference", "taskUUID": polled["taskUUID"]}]
    assert polled["seen"][-1] == "success"


def test_runware_webhook(runware: Told, letterbox: Letterbox) -> None:
    """The result goes to the webhook's address byte for byte."""
    [arrived] = letterbox.until(1, "/runware-js?secret=a%2Fb")

    [result] = json.loads(arrived.body)["data"]
    assert (result["taskUUID"], result["status"]) == (runware.answer("webhook"), "success")


def test_runware_upload_endpoint(runware: Told, letterbox: Letterbox) -> None:
    """The file goes to the endpoint as it is, and the usual result comes as well."""
    [arrived] = letterbox.until(1, "/bucket?signature=a%2Fb")

    assert arrived.line.startswith("PUT ")
    assert arrived.headers["content-type"] == "image/png"
    assert [arrived.body] == runware.pictures("delivered") == runware.pictures("uso")


def test_runware_task_details(runware: Told) -> None:
    """A task can be looked up: what was sent and what came of it."""
    details = runware.answer("details")

    assert details["request"][0]["positivePrompt"] == "a harbour"
    assert details["response"]["data"][0]["status"] == "success"


@pytest.mark.parametrize(
    ("case", "code", "parameter"),
    [
        ("badInput", "valueTooLarge", "steps"),
        ("unknownField", "unsupportedParameter", "sharpness"),
        ("missing", "downloadFailed", "referenceImages"),
        ("usedTwice", "conflictTaskUUID", "taskUUID"),
        ("wrongKey", "invalidApiKey", "apiKey"),
    ],
)
def test_runware_refusals(runware: Told, case: str, code: str, parameter: str) -> None:
    """The package raises what was refused, at once and with its code."""
    error = runware.raised(case).has["error"]

    assert (error["code"], error["parameter"]) == (code, parameter)


def test_runware_strangers(runware: Told) -> None:
    """Another tenant's task is not found, and another tenant's upload is no reference."""
    answer = runware.answer("foreign")
    codes = [answer[call]["has"]["error"]["code"] for call in ("read", "used")]

    assert codes == ["taskFailedOrNotFound", "downloadFailed"]


def test_the_same_wish_gives_the_same_picture_in_every_language(fal: Told, openai: Told, runware: Told) -> None:
    """Three packages that ask for the same get the same bytes."""
    assert prints(fal, "polling") == prints(openai, "uso") == prints(runware, "uso")
