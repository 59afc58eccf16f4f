"""What a server answers is told as it was; archives and web addresses are read like files."""

from __future__ import annotations

import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmcli.data import schema
from mmcli.errors import DataError
from mmcli.media import addresses
from mmcli.media import files as media
from mmcli.modalities.image import Config, Image
from mmcli.options.columns import Roles
from mmcli.tables.reading import open_table
from tests.conftest import draw, write_csv

PICTURE = "/my%20pics/a.png"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    picture: bytes
    asked: list[str]
    hold: threading.Event


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        codes = {"/forbidden.png": 403, "/gone.png": 410, "/broken.png": 500, "/busy.png": 503, "/private.png": 401}
        if self.path == "/silent.png":
            self.server.hold.wait(10)
            return
        if self.path == "/moved.png":
            self.send_response(302)
            self.send_header("Location", PICTURE)
            self.end_headers()
            return
        known = self.path in {PICTURE, "/noname", "/cut.png", "/%E5%9B%BE.png", "/a.png?key=1"}
        code = codes.get(self.path, 200 if known else 404)
        self.send_response(code)
        body = self.server.picture if code == 200 else b"no"
        self.send_header("Content-Length", str(len(body) * (2 if self.path == "/cut.png" else 1)))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    draw("round", "red").save(tmp_path / "a.png")
    server = Server(("127.0.0.1", 0), Answers)
    server.picture, server.asked, server.hold = (tmp_path / "a.png").read_bytes(), [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.hold.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def at(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def rejected(address: str) -> str:
    encoded = Image.fit(Config(size=8), []).transform([address])
    assert not encoded.column.present[0]
    return encoded.rejects[0].reason


@pytest.mark.parametrize("path", [PICTURE, "/my pics/a.png", "/noname", "/moved.png", "/图.png", "/a.png?key=1"])
def test_web_addresses_are_read_like_files(server: Server, tmp_path: Path, path: str) -> None:
    modality = Image.fit(Config(size=8), [])
    far, near = modality.transform([at(server, path)]), modality.transform([str(tmp_path / "a.png")])
    assert not far.rejects
    assert far.column.values.equal(near.column.values)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/none.png", "answered 404 Not Found"),
        ("/gone.png", "answered 410 Gone"),
        ("/forbidden.png", "answered 403 Forbidden"),
        ("/private.png", "answered 401 Unauthorized"),
        ("/broken.png", "answered 500 Internal Server Error"),
        ("/busy.png", "answered 503 Service Unavailable"),
        ("/cut.png", "the answer broke off after"),
    ],
)
def test_what_a_server_answers_is_told_with_its_address(server: Server, path: str, says: str) -> None:
    reason = rejected(at(server, path))
    assert says in reason
    assert at(server, path) in reason


def test_a_refused_connection_and_one_without_an_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    assert rejected(f"http://127.0.0.1:{port}/a.png") == f"http://127.0.0.1:{port}/a.png: the connection was refused"
    monkeypatch.setitem(addresses._waiting, "seconds", 0.2)
    assert rejected(at(server, "/silent.png")) == f"{at(server, '/silent.png')} did not answer in 0.2 s"


def test_a_file_that_is_too_large_is_not_read_to_its_end(server: Server) -> None:
    assert addresses.fetch(at(server, PICTURE), 10) == server.picture[:11]


def test_a_column_of_addresses_that_answer_nothing_says_what_they_answered(server: Server, tmp_path: Path) -> None:
    def infer(path: str) -> schema.Schema:
        rows = [[f"{at(server, path)}?{row}" if "?" in path else at(server, path), "ab"[row % 2]] for row in range(6)]
        rows = [[cell.replace(".png", f".png?{row}"), label] for row, (cell, label) in enumerate(rows)]
        return schema.infer(open_table(write_csv(tmp_path / "t.csv", ["photo", "label"], rows)), Roles(inputs=("photo",)))

    with pytest.raises(DataError, match=r"none of the first 3 addresses can be read; .*a\.png\?0 answered 404 Not Found"):
        infer("/nowhere/a.png")
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    rows = [[f"http://127.0.0.1:{port}/{row}.png", "ab"[row % 2]] for row in range(6)]
    with pytest.raises(DataError, match=rf"127\.0\.0\.1:{port}/0\.png: the connection was refused\n.*--ignore photo"):
        schema.infer(open_table(write_csv(tmp_path / "t.csv", ["photo", "label"], rows)), Roles())


def test_addresses_without_a_suffix_are_not_fetched_unasked_but_told(server: Server, tmp_path: Path) -> None:
    rows = [[f"{at(server, '/noname')}?{row}", "ab"[row % 2]] for row in range(6)]
    table = open_table(write_csv(tmp_path / "t.csv", ["link", "label"], rows))
    found = schema.infer(table, Roles())
    assert not server.asked
    assert [item.modality for item in found.columns] == ["text"]
    assert any("column 'link' holds addresses, taken as words (--type link=image" in line for line in found.announcements)


def test_a_stamp_of_a_web_address_is_asked_for_without_its_bytes(server: Server) -> None:
    assert media.stamp(at(server, PICTURE)) == [str(len(server.picture)), '"one"']
    assert media.stamps([at(server, PICTURE), None, at(server, "/none.png")])[1:] == [None, None]
    assert {line.split()[0] for line in server.asked} == {"HEAD"}


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for address in ("s3://bucket/a.png", "zip://a.png::https://host.invalid/a.zip"):
        assert "pip install 'mmcli[remote]'" in rejected(address)
        assert address in rejected(address)
    rows = [[f"s3://bucket/{row}.png", "ab"[row % 2]] for row in range(6)]
    with pytest.raises(DataError, match=r"the first: s3://bucket/0\.png: a package is missing .*mmcli\[remote\]"):
        schema.infer(open_table(write_csv(tmp_path / "t.csv", ["photo", "label"], rows)), Roles())


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("zip://b.png::a.zip", "there is no such file"),
        ("zip://a.png::none.zip", "there is no such file"),
        ("zip://a.png::t.txt", "not a zip file"),
        ("nosuchscheme://a.png", "nosuchscheme"),
    ],
)
def test_archives_that_lack_a_file_or_are_none(tmp_path: Path, cell: str, says: str) -> None:
    (tmp_path / "t.txt").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"not a picture")
    assert says in rejected(media.resolve(cell, str(tmp_path))).lower()
    assert "not an image" in rejected(media.resolve("zip://a.png::a.zip", str(tmp_path)))
