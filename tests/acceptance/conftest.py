"""One running service for all acceptance tests, and pictures served over HTTP for it to fetch."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from PIL import Image
from running_service import ALICE, BOB, Service, free_port, uxo_run, wait_for


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return the service as ``uxo run`` runs it, with two tenants, reachable and ready."""
    folder = tmp_path_factory.mktemp("service")
    port, metrics_port = free_port(), free_port()
    settings = {
        "UXO_PORT": str(port),
        "UXO_METRICS_PORT": str(metrics_port),
        "UXO_BOOTSTRAP_KEYS": f"alice:{ALICE},bob:{BOB}",
        "UXO_ALLOW_PRIVATE_NETWORKS": "true",
    }
    with uxo_run(folder, **settings) as (process, lines):
        wait_for(lines, "serving at")
        yield Service(
            base_url=f"http://127.0.0.1:{port}",
            folder=folder,
            process=psutil.Process(process.pid),
            metrics_port=metrics_port,
        )


@pytest.fixture(scope="session")
def service(laptop: Service) -> Service:
    """Return the service that is tested; the providers' packages have another one."""
    return laptop


@pytest.fixture(scope="session")
def gallery() -> Iterator[Callable[[bytes], str]]:
    """Return a function that publishes bytes on a local web server, which takes webhooks too, and returns their URL."""
    published: dict[str, bytes] = {}

    class Gallery(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = published.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gallery)

    def publish(content: bytes) -> str:
        path = f"/{len(published)}.png"
        published[path] = content
        return f"http://127.0.0.1:{server.server_port}{path}"

    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield publish
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def references(gallery: Callable[[bytes], str]) -> list[str]:
    """Return the URLs of four unlike pictures."""
    return [gallery(png(colour, size)) for colour, size in zip(COLOURS, SIZES, strict=True)]


COLOURS = [(200, 40, 40), (40, 160, 60), (50, 70, 200), (230, 200, 80)]
SIZES = [(300, 300), (640, 360), (200, 400), (512, 384)]


def png(colour: tuple[int, int, int], size: tuple[int, int]) -> bytes:
    """Return a picture of one colour with a dark half."""
    image = Image.new("RGB", size, colour)
    image.paste((20, 20, 30), (0, 0, size[0] // 2, size[1]))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
