"""Downloads from a hub: all files of a model are of one revision, which is recorded and used from then on."""

import hashlib
import json
import re
import shutil
from http.server import BaseHTTPRequestHandler

import pytest

from helpers.command import rolesum
from helpers.http_server import http_server
from helpers.tiny import model_dir
from rolesum.errors import ModelError, ResourceError, UsageError
from rolesum.models.download import pull
from rolesum.models.loading import find_model, load_prompt_model
from rolesum.models.revisions import commit_of, recorded_revisions

OLD, NEW = "a" * 40, "b" * 40


class Hub:
    """What a hub keeps of owner/name: two commits, and the branches and tags that point to one of them."""

    def __init__(self):
        files = {one.name: one.read_bytes() for one in model_dir("llama").iterdir() if one.is_file()}
        newer = {**files, "generation_config.json": b'{"max_new_tokens": 7}'}
        self.commits = {OLD: files, NEW: newer}
        self.refs = {"main": OLD, "v1": OLD}
        self.fetched = []  # (commit, file)
        self.refused = set()  # files that it lists and does not give
        self.after_first_file = lambda: None

    def commit(self, revision):
        return revision if revision in self.commits else self.refs.get(revision)

    def answer(self, path):
        """Status, headers and body."""
        path = path.partition("?")[0].replace("%2F", "/")
        if found := re.fullmatch(r"/api/models/owner/name(?:/revision/(.+))?", path):
            commit = self.commit(found[1] or "main")
            return self._json({"id": "owner/name", "sha": commit}) if commit else self._absent()
        if found := re.fullmatch(r"/api/models/owner/name/tree/([^/]+)/?", path):
            commit = self.commit(found[1])
            files = self.commits[commit] if commit else {}
            entries = [
                {"type": "file", "path": name, "size": len(raw), "oid": hashlib.sha1(raw).hexdigest()}
                for name, raw in files.items()
            ]
            return self._json(entries) if commit else self._absent()
        if found := re.fullmatch(r"/owner/name/resolve/([^/]+)/(.+)", path):
            commit = self.commit(found[1])
            raw = self.commits[commit].get(found[2])
            if raw is None or found[2] in self.refused:
                return self._absent("EntryNotFound")
            etag = hashlib.sha1(raw).hexdigest()
            return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, raw
        return self._absent("RepoNotFound")

    def got(self, path):
        if found := re.fullmatch(r"/owner/name/resolve/([^/]+)/(.+)", path.partition("?")[0]):
            self.fetched.append((self.commit(found[1]), found[2]))
            if len(self.fetched) == 1:
                self.after_first_file()

    def _json(self, value):
        return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def _absent(self, code="RevisionNotFound"):
        return 404, {"X-Error-Code": code}, b""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    kept = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer(with_body=False)

        def do_GET(self):
            self._answer(with_body=True)
            kept.got(self.path)

        def _answer(self, with_body):
            status, headers, body = kept.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("ROLESUM_CACHE", str(tmp_path / "own"))
    with http_server(Handler) as url:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its attempts
        yield kept


def move_main(hub):
    hub.refs["main"] = NEW


def test_a_branch_that_moves_during_the_download_leaves_files_of_one_revision(hub):
    hub.after_first_file = lambda: move_main(hub)
    path = pull("owner/name")
    assert {commit for commit, _ in hub.fetched} == {OLD} and len(hub.fetched) > 3
    for name, raw in hub.commits[OLD].items():
        if name.endswith((".json", ".safetensors")):
            assert (path / name).read_bytes() == raw
    assert commit_of(path) == OLD and recorded_revisions() == {"owner/name": OLD}


def test_what_was_fetched_first_is_used_although_main_has_moved(hub, tmp_path):
    first = pull("owner/name")
    move_main(hub)
    assert pull("owner/name") == first
    (first / "generation_config.json").unlink()
    (first / "model.safetensors").unlink()
    assert pull("owner/name") == first  # fetched again, from the same revision
    assert {commit for commit, _ in hub.fetched} == {OLD}
    shutil.rmtree(tmp_path / "hub")
    assert commit_of(pull("owner/name")) == OLD


def test_a_revision_can_be_named_by_branch_tag_or_commit(hub):
    move_main(hub)
    assert commit_of(pull("owner/name@v1")) == OLD
    assert commit_of(pull(f"owner/name@{OLD}")) == OLD
    assert commit_of(find_model("owner/name@main")) == NEW
    hub.refs["v1"] = NEW
    assert commit_of(pull("owner/name@v1")) == OLD  # as recorded
    assert recorded_revisions() == {"owner/name@v1": OLD, "owner/name@main": NEW}
    prompt_model = load_prompt_model(f"owner/name@{OLD}")
    assert (prompt_model.name, commit_of(prompt_model.path)) == (f"owner/name@{OLD}", OLD)


def test_a_revision_that_is_not_there_is_an_error_that_names_it(hub):
    with pytest.raises(ModelError, match="no revision v9 of owner/name"):
        pull("owner/name@v9")
    with pytest.raises(UsageError, match="has one version"):
        pull("smollm2-135m@v1")


def test_a_model_that_other_tools_fetched_is_recorded_as_it_is(hub, tmp_path):
    from huggingface_hub import snapshot_download

    snapshot_download("owner/name", revision=OLD)
    move_main(hub)
    hub.fetched.clear()
    assert commit_of(pull("owner/name")) == OLD and hub.fetched == []
    assert recorded_revisions() == {"owner/name": OLD}


def test_the_list_of_models_shows_what_is_recorded(hub):
    pull("owner/name")
    done = rolesum("models")
    assert f"Revision of owner/name: {OLD}" in done.stdout.replace("\n", "")
    listed = json.loads(rolesum("models", "--json").stdout)
    assert {one["alias"]: one["revision"] for one in listed}["smollm2-135m"].startswith("sha256:b179c952")


def test_a_broken_record_is_an_error(hub, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "revisions.json").write_text('{"owner/name": "main"}', encoding="utf-8")
    with pytest.raises(ModelError, match="not a file of revisions"):
        pull("owner/name")


def test_a_download_that_fails_is_not_recorded(hub):
    hub.refused = {"model.safetensors"}
    with pytest.raises(ResourceError, match="could not fetch owner/name"):
        pull("owner/name")
    assert recorded_revisions() == {} and hub.fetched
    hub.refused = set()
    move_main(hub)
    assert commit_of(pull("owner/name")) == NEW
