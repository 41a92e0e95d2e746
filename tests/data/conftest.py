"""A server of files, and a folder of two classes."""

import http.server
import threading

import pytest


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The standard library's server of a folder, without its log."""

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def serve():
    """`serve(folder)`: the address at which a server on this machine hands out the files of `folder`."""
    servers = {}

    def start(folder):
        if folder not in servers:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=str(folder)))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            servers[folder] = server
        return f"http://127.0.0.1:{servers[folder].server_port}"

    yield start
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture
def root(tmp_path):
    """Two classes, three training and two test images of 6 x 4 each, named so that their order can be seen."""
    from standins import write_image

    for part, count in (("train", 3), ("test", 2)):
        for value, name in ((10, "ant"), (200, "bee")):
            for number in range(count):
                write_image(tmp_path / "photos" / part / name / f"{number}.png", (6, 4), value + number)
    return tmp_path / "photos"
