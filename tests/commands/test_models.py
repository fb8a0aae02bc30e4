"""`hcq models` against a server that speaks as the hub does, and what an offline machine is told."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tiny_networks

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = ["config.json", "model.safetensors", "preprocessor_config.json"]


class Hub(BaseHTTPRequestHandler):
    """One network, `some/net`, in the folder of the server; and one, `some/pickle`, that is a pickle."""

    def log_message(self, *words):
        self.server.asked.append(self.path)

    def do_GET(self):
        if self.path.startswith(f"/api/models/some/net/tree/{COMMIT}"):
            files = [(name, (self.server.folder / name).stat().st_size) for name in NAMES]
            tree = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in files]
            self.answer(json.dumps(tree).encode())
        elif self.path.startswith("/api/models/some/net"):
            self.answer(json.dumps(self.about([*NAMES, "pytorch_model.bin", "README.md"])).encode())
        elif self.path.startswith("/api/models/some/pickle"):
            self.answer(json.dumps(self.about(["pytorch_model.bin", "config.json"])).encode())
        elif self.path.startswith(f"/some/net/resolve/{COMMIT}/"):
            self.answer((self.server.folder / self.path.rsplit("/", 1)[1]).read_bytes())
        else:
            self.answer(b'{"error": "Repository not found"}', 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def about(self, names):
        siblings = [{"rfilename": name, "size": 10} for name in names]
        return {"id": "some/net", "sha": COMMIT, "cardData": {"license": "mit"}, "siblings": siblings, "tags": []}

    def answer(self, body, code=200, headers=None):
        self.send_response(code)
        etag = hashlib.sha256(body).hexdigest()
        for name, value in {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path):
    """The server, and the environment in which hcq takes it for the hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.asked = tiny_networks.save("dinov2", tmp_path), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.env = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_CACHE": str(tmp_path / "hf" / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HCQ_CACHE": str(tmp_path / "own"),
        "HF_HUB_OFFLINE": "0",
    }
    yield server
    server.shutdown()
    server.server_close()


def test_what_was_fetched_is_locked_listed_and_used_offline(hcq, hub, clips: Path, tmp_path: Path) -> None:
    fetched = hcq("models", "fetch", "some/net", "--json", env=hub.env)
    assert f"some/net@main: 3 files, {30 / 1e6:,.1f} MB" in fetched.err  # told before it begins
    done = fetched.json["models"][0]
    assert (done["commit"], done["licence"], done["revision"]) == (COMMIT, "mit", "main")
    assert sorted(os.listdir(done["folder"])) == NAMES  # no pickle was fetched
    assert not any("pytorch_model" in path for path in hub.asked)
    listed = {row["id"]: row for row in hcq("models", "list", "--json", env=hub.env).json["models"]}
    assert listed["some/net"]["commit"] == COMMIT and not listed["some/net"]["missing"]
    assert listed["facebook/dinov2-base"]["missing"] == "hcq models fetch facebook/dinov2-base"
    asked = len(hub.asked)
    run = ("extract", clips / "clip0.mp4", "--experts", "appearance=some/net", "--json", "--workers", "1")
    report = hcq(*run, env=hub.env).json
    assert report["states"]["appearance"]["tokens"] == 1
    assert len(hub.asked) == asked  # nothing behind anyone's back
    shown = hcq("features", "show", "clip0.mp4", "--json").json
    assert f"some/net@{COMMIT}" in shown["experts"]["appearance"]["identity"]


def test_pickles_unknown_names_and_no_network_are_told_apart(hcq, hub) -> None:
    pickled = hcq("models", "fetch", "some/pickle", env=hub.env, code=1)
    assert "only pickles (pytorch_model.bin)" in pickled.err and not any("resolve" in path for path in hub.asked)
    assert "the hub has no some/nothing" in hcq("models", "fetch", "some/nothing", env=hub.env, code=10).err
    assert "is no Hugging Face id" in hcq("models", "fetch", "some net", code=2).err
    offline = hcq("models", "fetch", "some/net", env={**hub.env, "HF_HUB_OFFLINE": "1"}, code=1)
    assert "HF_HUB_OFFLINE is set" in offline.err
    unreachable = {**hub.env, "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "cannot be fetched" in hcq("models", "fetch", "some/net", env=unreachable, code=1).err
    told = hcq("models", "fetch", "laptop", env=unreachable, code=1).err
    assert told.count("the hub cannot be reached") == 1 and "Traceback" not in told


def test_find_and_fit_say_the_one_command_and_what_it_brings(hcq, hub, clips: Path) -> None:
    for command in (("find", clips, "a dog"), ("fit",)):
        said = hcq(*command, "--preset", "laptop", env=hub.env, code=10).err
        for network in ("google/siglip2-base-patch16-224 (about 1.5 GB)", "laion/clap-htsat-unfused (about 0.61 GB)"):
            assert network in said
        assert "hcq models fetch laptop" in said and not hub.asked
    assert "did you mean laptop?" in hcq("fit", "--preset", "labtop", code=2).err


def test_the_preset_without_its_weights_says_what_to_run(hcq, hub, clips: Path) -> None:
    done = hcq("extract", clips, "--preset", "neural", env=hub.env, code=10)
    assert "hcq models fetch facebook/dinov2-base" in done.err
    assert not hub.asked
