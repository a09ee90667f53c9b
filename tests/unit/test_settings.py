"""The environment: what each variable means, what holds without any, and how a bad one is named."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from deployments.dialects.fal.places import ROLES
from deployments.setting_forms import FAL_ROLES
from deployments.settings import Settings, SettingsInvalid, check_ray, has_collector, read_settings
from deployments.tenants.keys import configured_keys, demo_key
from models.options import SpeedOptions

KEY = "alice-key-0123456789"
SetVariable = Callable[[str, str], None]
VARIABLES = [f"UXO_{field.upper()}" for field in Settings.model_fields]


@pytest.fixture(autouse=True)
def set_variable(monkeypatch: pytest.MonkeyPatch) -> SetVariable:
    """Take every variable of ours out of the environment, and return a setter of one."""
    for field in Settings.model_fields:
        monkeypatch.delenv(f"UXO_{field.upper()}", raising=False)
    return monkeypatch.setenv


def test_with_nothing_set_one_machine_serves_the_tiny_models() -> None:
    """Without any variable everything is local, private and small."""
    settings = read_settings()

    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.weights, settings.device, settings.folder) == ("tiny", "cpu", Path("var"))
    assert (settings.allow_private_networks, settings.bootstrap_keys) == (False, "")
    assert (settings.output_ttl_s, settings.sync_wait_s, settings.lease_s) == (604_800, 300, 20)
    assert settings.store_url == f"sqlite:///{Path('var/uxo.db').resolve()}"
    assert (settings.base_url, settings.secret, settings.max_queued) == (None, "", 100_000)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("UXO_DATABASE_URL", "sqlite:////srv/a.db", "sqlite:////srv/a.db"),
        ("UXO_DATABASE_URL", "sqlite+aiosqlite:////srv/a.db", "sqlite+aiosqlite:////srv/a.db"),
        ("UXO_DATABASE_URL", "postgresql+asyncpg://db/uxo", "postgresql+asyncpg://db/uxo"),
        ("UXO_HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104 -- nothing is bound here
        ("UXO_PORT", "65535", 65535),
        ("UXO_ALLOW_OPEN_RAY", "true", True),
        ("UXO_WEIGHTS", "tiny", "tiny"),
        ("UXO_WEIGHTS", "/srv/flux", "/srv/flux"),
        ("UXO_DEVICE", "cuda:1", "cuda:1"),
        ("UXO_ENGINE_MODE", "throughput", "throughput"),
        ("UXO_MAX_GROUP", "8", 8),
        ("UXO_REQUEST_GB", "6.5", 6.5),
        ("UXO_COSTS", "h100_tile_model", "h100_tile_model"),
        ("UXO_WARM_SIZES", "1024x768, 512x512", "1024x768, 512x512"),
        ("UXO_ATTENTION", "flash", "flash"),
        ("UXO_PRECISION", "fp8", "fp8"),
        ("UXO_COMPILE_BLOCKS", "false", False),
        ("UXO_TEXT_DEVICE", "cpu", "cpu"),
        ("UXO_FOLDER", "/srv/uxo", Path("/srv/uxo")),
        ("UXO_ALLOW_PRIVATE_NETWORKS", "true", True),
        ("UXO_DENIED_NETWORKS", "10.42.0.0/16, fd00::/8", "10.42.0.0/16, fd00::/8"),
        ("UXO_OUTBOUND_PORTS", "443", "443"),
        ("UXO_BOOTSTRAP_KEYS", f"alice:{KEY}", f"alice:{KEY}"),
        ("UXO_DISCLOSE_AI", "true", True),
        ("UXO_SECRET", "s" * 32, "s" * 32),
        ("UXO_MAX_QUEUED", "1", 1),
        ("UXO_OUTPUT_TTL_S", "60", 60.0),
        ("UXO_TASK_TTL_S", "3600", 3600.0),
        ("UXO_SYNC_WAIT_S", "0.5", 0.5),
        ("UXO_LEASE_S", "5", 5.0),
        ("UXO_LOG_LEVEL", "debug", "debug"),
        ("UXO_METRICS_PORT", "0", 0),
        ("UXO_CORS_ORIGINS", "https://a.example, http://[::1]:8000", "https://a.example, http://[::1]:8000"),
        ("UXO_LOG_PROMPTS", "true", True),
        ("UXO_BUCKET", "my.bucket-1", "my.bucket-1"),
    ],
)
def test_every_variable_is_read(set_variable: SetVariable, variable: str, text: str, value: object) -> None:
    """Each variable sets the setting of its name."""
    set_variable(variable, text)

    settings = read_settings()

    assert getattr(settings, variable.removeprefix("UXO_").lower()) == value


@pytest.mark.parametrize(
    ("variables", "most"),
    [
        ({}, 1),
        ({"UXO_DEVICE": "cuda"}, 4),
        ({"UXO_ENGINE_MODE": "throughput"}, 4),
        ({"UXO_MAX_GROUP": "2"}, 2),
        ({"UXO_DEVICE": "cuda", "UXO_ENGINE_MODE": "throughput", "UXO_MAX_GROUP": "16"}, 16),
    ],
)
def test_how_many_pictures_share_a_call(set_variable: SetVariable, variables: dict[str, str], most: int) -> None:
    """Four do, unless another number is set; on a CPU whose pictures must not differ by a bit each has its own."""
    for variable, text in variables.items():
        set_variable(variable, text)

    assert read_settings().pictures_per_call == most


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("UXO_BUKET", "UXO_BUKET is no setting; is UXO_BUCKET meant?"),
        ("uxo_s3_endpont", "UXO_S3_ENDPONT is no setting; is UXO_S3_ENDPOINT meant?"),
        ("UXO_QQQQ", "UXO_QQQQ is no setting; the README lists all"),
    ],
)
def test_a_variable_that_nobody_reads_is_refused(set_variable: SetVariable, variable: str, words: str) -> None:
    """A misspelt name would leave a setting at its usual value without a word."""
    set_variable(variable, "x")

    with pytest.raises(SettingsInvalid, match=re.escape(words)):
        read_settings()


@pytest.mark.parametrize(
    "variable",
    ["UXO_KEY", "UXO_TEST_ANYTHING", "UXO_SERVE_SVC_SERVICE_HOST", "UXO_REDIS_PORT_6379_TCP_ADDR", "UXO_A_PORT"],
)
def test_what_belongs_to_others_is_left_alone(set_variable: SetVariable, variable: str) -> None:
    """A caller's key, what tests need, and what Kubernetes says of Services named like us are no settings."""
    set_variable(variable, "x")

    assert read_settings().port == 8000


def test_a_promise_that_a_device_cannot_keep_is_refused(set_variable: SetVariable) -> None:
    """What one request may take has to be there beside the weights; a device whose memory nobody counts is believed."""
    set_variable("UXO_REQUEST_GB", "6.5")
    settings = read_settings()

    settings.check_device(6_500_000_000)
    settings.check_device(None)
    with pytest.raises(SettingsInvalid, match=r"UXO_REQUEST_GB is 6.5, and the weights leave 6.4 GB of cpu"):
        settings.check_device(6_400_000_000)


@pytest.mark.parametrize(("text", "is_set"), [("", False), ("http://collector:4318", True)])
def test_a_collector_is_used_where_one_is_named(monkeypatch: pytest.MonkeyPatch, text: str, *, is_set: bool) -> None:
    """Traces are made when the variable that every program knows says where they go."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", text)

    assert has_collector() is is_set


def test_a_collector_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no address stops the start, with the name of the variable."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")

    with pytest.raises(SettingsInvalid, match="OTEL_EXPORTER_OTLP_ENDPOINT cannot be used"):
        has_collector()


def test_where_calls_may_go_is_read(set_variable: SetVariable) -> None:
    """Ranges and ports come as lists; with nothing said the web is open and no range is closed besides."""
    assert (read_settings().networks_denied, read_settings().ports_out) == ((), frozenset({80, 443, 8443}))

    set_variable("UXO_DENIED_NETWORKS", "10.42.0.0/16, fd00::/8")
    set_variable("UXO_OUTBOUND_PORTS", "443, 9000")

    assert list(map(str, read_settings().networks_denied)) == ["10.42.0.0/16", "fd00::/8"]
    assert read_settings().ports_out == {443, 9000}


def test_choices_about_speed_come_together(set_variable: SetVariable) -> None:
    """What was chosen about speed is handed on whole, and a wrong choice hears the right ones."""
    set_variable("UXO_FOLDER", "/srv/uxo")
    set_variable("UXO_PRECISION", "fp8")
    set_variable("UXO_COMPILE_BLOCKS", "true")
    set_variable("UXO_ENGINE_MODE", "throughput")

    speed = read_settings().speed
    set_variable("UXO_PRECISION", "fp4")

    assert speed == SpeedOptions(precision="fp8", compiles=True, compile_cache=Path("/srv/uxo/compiled"))
    with pytest.raises(SettingsInvalid, match=r"UXO_PRECISION='fp4' cannot be used: .*'bf16' or 'fp8'"):
        read_settings()


@pytest.mark.parametrize("folder", ["/srv/uxo", "/srv/a b"])
def test_the_database_lies_in_the_folder(set_variable: SetVariable, folder: str) -> None:
    """Moving the folder moves the embedded database with it."""
    set_variable("UXO_FOLDER", folder)

    assert read_settings().store_url == f"sqlite:///{folder}/uxo.db"


def test_a_database_of_ones_own_wins(set_variable: SetVariable) -> None:
    """A named database is used as it is, wherever the folder lies."""
    set_variable("UXO_FOLDER", "/srv/uxo")
    set_variable("UXO_DATABASE_URL", "sqlite:////mnt/shared.db?timeout=9")

    assert read_settings().store_url == "sqlite:////mnt/shared.db?timeout=9"


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        ("https://pictures.example", "https://pictures.example"),
        ("https://pictures.example/", "https://pictures.example"),
        ("http://10.0.0.1:8000/uxo/", "http://10.0.0.1:8000/uxo"),
    ],
)
def test_a_public_address_begins_links(set_variable: SetVariable, text: str, base_url: str) -> None:
    """The public address is used without its last slash, so that paths can follow."""
    set_variable("UXO_PUBLIC_URL", text)

    assert read_settings().base_url == base_url


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("UXO_PORT", "eight"),
        ("UXO_PORT", "0"),
        ("UXO_PORT", "65536"),
        ("UXO_PUBLIC_URL", "pictures.example"),
        ("UXO_PUBLIC_URL", "ftp://pictures.example"),
        ("UXO_ALLOW_PRIVATE_NETWORKS", "perhaps"),
        ("UXO_DENIED_NETWORKS", "the cluster"),
        ("UXO_DENIED_NETWORKS", "10.42.0.1/16"),
        ("UXO_OUTBOUND_PORTS", "https"),
        ("UXO_OUTBOUND_PORTS", "443,"),
        ("UXO_OUTBOUND_PORTS", "0"),
        ("UXO_OUTBOUND_PORTS", "65536"),
        ("UXO_REQUEST_GB", "0"),
        ("UXO_REQUEST_GB", "all"),
        ("UXO_COSTS", "abacus"),
        ("UXO_WARM_SIZES", "large"),
        ("UXO_WARM_SIZES", "64x64"),
        ("UXO_COSTS", "/nowhere/h100.json"),
        ("UXO_COSTS", "{}"),
        ("UXO_ATTENTION", "fast"),
        ("UXO_PRECISION", "int4"),
        ("UXO_COMPILE_BLOCKS", "somewhat"),
        ("UXO_TEXT_DEVICE", "cuda:1"),
        ("UXO_MAX_QUEUED", "0"),
        ("UXO_MAX_QUEUED", "-1"),
        ("UXO_MAX_QUEUED", "many"),
        ("UXO_OUTPUT_TTL_S", "-1"),
        ("UXO_SYNC_WAIT_S", "0"),
        ("UXO_LEASE_S", "soon"),
    ],
)
def test_a_bad_value_is_one_line_that_names_its_variable(set_variable: SetVariable, variable: str, text: str) -> None:
    """What is wrong with the environment is said in one line: which variable, which value, and why."""
    set_variable(variable, text)

    with pytest.raises(SettingsInvalid) as refusal:
        read_settings()

    assert refusal.value.message.startswith(f"{variable}={text!r} cannot be used: ")
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("text", ["sqlite://", "postgresql://user:open-sesame@db/uxo"])
def test_a_bad_database_url_is_named_and_not_shown(set_variable: SetVariable, text: str) -> None:
    """A value that may hold a password is not repeated, and no chained error repeats it either."""
    set_variable("UXO_DATABASE_URL", text)

    with pytest.raises(SettingsInvalid) as refusal:
        read_settings()

    assert refusal.value.message.startswith("UXO_DATABASE_URL cannot be used: ")
    assert "sesame" not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize("variable", VARIABLES)
def test_an_empty_variable_counts_as_unset(set_variable: SetVariable, variable: str) -> None:
    """A variable set to nothing means its default, as a deployment's template leaves it."""
    set_variable(variable, "")

    assert read_settings() == Settings()


def test_settings_do_not_change() -> None:
    """Settings are read once; nobody alters them on the way."""
    settings = read_settings()

    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # that it is refused is the test


def test_configured_keys_are_the_tenants(tmp_path: Path) -> None:
    """With keys configured, those are all there are, and no demo key is made."""
    keys = configured_keys(f"alice:{KEY}", tmp_path)

    assert keys == {"alice": (KEY,)}
    assert list(tmp_path.iterdir()) == []


def test_without_keys_there_is_a_demo_tenant(tmp_path: Path) -> None:
    """With no keys configured, the demo tenant's key is made once and kept in the folder."""
    keys = configured_keys("", tmp_path)

    assert keys == {"demo": (demo_key(tmp_path),)}


def test_there_may_be_nobody_at_first(tmp_path: Path) -> None:
    """With the keys given as none there is no tenant, and nothing is written."""
    keys = configured_keys("none", tmp_path)

    assert keys == {}
    assert list(tmp_path.iterdir()) == []


def test_bad_keys_name_their_variable_and_no_key(tmp_path: Path) -> None:
    """Keys that cannot be read are refused by the variable's name and their place, and none is shown."""
    with pytest.raises(SettingsInvalid, match="UXO_BOOTSTRAP_KEYS cannot be used: entry 2") as refusal:
        configured_keys(f"alice:{KEY},secret-without-tenant", tmp_path)

    assert KEY not in refusal.value.message
    assert "secret" not in refusal.value.message


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Where no demo key can be kept, the folder's variable is named with the system's reason."""
    (tmp_path / "file").touch()

    with pytest.raises(SettingsInvalid, match=r"UXO_FOLDER='.*/file/var' cannot be used: Not a directory"):
        configured_keys("", tmp_path / "file" / "var")


def test_aliases_name_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator gives a model further names; blanks around them do not count."""
    monkeypatch.setenv("UXO_MODEL_ALIASES", "luma:uni@1=uso, other:name@2 = uno")

    assert dict(read_settings().aliases) == {"luma:uni@1": "uso", "other:name@2": "uno"}


def test_hosts_of_fal_have_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator gives fal's hosts further names, in any case; every role that is known is one of the dialect's."""
    monkeypatch.setenv("UXO_FAL_HOSTS", "Images.Example.org=rest, q.example.org = queue")

    assert dict(read_settings().hosts_of_fal) == {"images.example.org": "rest", "q.example.org": "queue"}
    assert set(FAL_ROLES) == set(ROLES)


@pytest.mark.parametrize("text", ["a.org", "a.org=files", "=run", "a.org:80=run", "a b=run", "https://a.org=run"])
def test_a_host_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What is no host name, or stands for nothing of fal's, is one clear line."""
    monkeypatch.setenv("UXO_FAL_HOSTS", text)

    with pytest.raises(SettingsInvalid, match=r"UXO_FAL_HOSTS.*a role of run, queue, rest, cdn"):
        read_settings()


@pytest.mark.parametrize("text", ["luma:uni@1", "=uso", "a=dall-e", "a=uso,b", "a=uso=uno"])
def test_an_alias_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What is no name, or leads to no model, is one clear line."""
    monkeypatch.setenv("UXO_MODEL_ALIASES", text)

    with pytest.raises(SettingsInvalid, match=r"UXO_MODEL_ALIASES.*with a model of uno, uso"):
        read_settings()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("UXO_BUCKET_PREFIX", "uxo/"),
        ("UXO_S3_ENDPOINT", "https://s3.example"),
        ("UXO_S3_REGION", "eu-1"),
        ("UXO_S3_ADDRESSING", "path"),
    ],
)
def test_half_a_bucket_is_refused(set_variable: SetVariable, variable: str, text: str) -> None:
    """What says where a bucket is, without a bucket, is a mistake that is named; with one it is read."""
    set_variable(variable, text)

    with pytest.raises(SettingsInvalid, match=f"{variable} is set, but UXO_BUCKET is not"):
        read_settings()

    set_variable("UXO_BUCKET", "pictures")
    assert str(getattr(read_settings(), variable.removeprefix("UXO_").lower())).rstrip("/") == text.rstrip("/")


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("UXO_SAFETY_LABELS", "porn, hentai", "porn, hentai"),
        ("UXO_SAFETY_THRESHOLD", "0.9", 0.9),
        ("UXO_SAFETY_RULE", "always", "always"),
        ("UXO_SAFETY_FAILURE", "open", "open"),
    ],
)
def test_half_a_safety_checker_is_refused(set_variable: SetVariable, variable: str, text: str, value: object) -> None:
    """What says how pictures are judged, without a judge, is a mistake that is named; with one it is read."""
    set_variable(variable, text)

    with pytest.raises(SettingsInvalid, match=f"{variable} is set, but UXO_SAFETY_MODEL is not"):
        read_settings()

    set_variable("UXO_SAFETY_MODEL", "/srv/classifier")
    assert getattr(read_settings(), variable.removeprefix("UXO_").lower()) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("UXO_SAFETY_LABELS", " , "),
        ("UXO_SAFETY_THRESHOLD", "0"),
        ("UXO_SAFETY_THRESHOLD", "1.1"),
        ("UXO_SAFETY_THRESHOLD", "nan"),
        ("UXO_SAFETY_RULE", "never"),
        ("UXO_SAFETY_FAILURE", "ajar"),
    ],
)
def test_a_safety_checker_has_sensible_bounds(set_variable: SetVariable, variable: str, text: str) -> None:
    """No label, a probability that is none, and an unknown word are refused by the variable's name."""
    set_variable("UXO_SAFETY_MODEL", "/srv/classifier")
    set_variable(variable, text)

    with pytest.raises(SettingsInvalid, match=f"{variable}='.*' cannot be used"):
        read_settings()


def test_no_preview_escapes_the_safety_checker(set_variable: SetVariable) -> None:
    """Where every picture has to be looked at, previews, which are not, are refused."""
    set_variable("UXO_SAFETY_MODEL", "/srv/classifier")
    set_variable("UXO_SAFETY_RULE", "always")
    set_variable("UXO_PREVIEW_EVERY", "7")

    with pytest.raises(SettingsInvalid, match="UXO_SAFETY_RULE=always and UXO_PREVIEW_EVERY are both set"):
        read_settings()


@pytest.mark.parametrize("mode", ["", "exact"])
def test_what_is_compiled_is_not_exact(set_variable: SetVariable, mode: str) -> None:
    """Compiled blocks are refused where a picture's bytes must not hang on what came before it."""
    set_variable("UXO_COMPILE_BLOCKS", "true")
    set_variable("UXO_ENGINE_MODE", mode)

    with pytest.raises(SettingsInvalid, match="UXO_COMPILE_BLOCKS=true cannot be used with UXO_ENGINE_MODE='exact'"):
        read_settings()


@pytest.mark.parametrize("prefix", ["uxo", "/uxo/", "../", "a//", "a b/", "./"])
def test_a_prefix_is_folders(set_variable: SetVariable, prefix: str) -> None:
    """A prefix that is no plain folders is refused: clients would disagree about where it leads."""
    set_variable("UXO_BUCKET", "pictures")
    set_variable("UXO_BUCKET_PREFIX", prefix)

    with pytest.raises(SettingsInvalid, match="UXO_BUCKET_PREFIX"):
        read_settings()


@pytest.mark.parametrize("mode", ["disabled", ""])
def test_an_open_ray_is_refused(set_variable: SetVariable, mode: str) -> None:
    """Where Ray asks nobody for a token, the variable is named with what may stand there, and the way to allow it."""
    set_variable("RAY_AUTH_MODE", mode)

    with pytest.raises(
        SettingsInvalid, match=f"RAY_AUTH_MODE='{mode}' .*RAY_AUTH_MODE=token .*UXO_ALLOW_OPEN_RAY=true"
    ):
        check_ray(Settings())


def test_a_ray_that_was_never_told_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable Ray asks nobody either."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)

    with pytest.raises(SettingsInvalid, match="RAY_AUTH_MODE='disabled'"):
        check_ray(Settings())


@pytest.mark.parametrize(("mode", "allows"), [("token", False), ("Token", False), ("disabled", True)])
def test_a_ray_that_is_shut_or_ones_own_will_do(set_variable: SetVariable, mode: str, *, allows: bool) -> None:
    """With a token nothing else is asked, and without it only whether that is meant."""
    set_variable("RAY_AUTH_MODE", mode)

    check_ray(Settings(allow_open_ray=allows))
