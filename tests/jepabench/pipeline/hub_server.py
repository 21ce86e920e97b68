"""A small stand-in for the Hugging Face Hub, which the Hub's own client talks to over HTTP.

It keeps repositories in memory and knows only what uploading and downloading whole folders needs:
creating a repository, committing files, listing a revision, and sending a file.
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_stand_in"


class StandIn:
    """The repositories, by "models/user/name" or "datasets/user/name".

    Attributes:
        repos: For each repository its commits, each a dictionary of contents by path.
        private: For each repository whether it is private.
    """

    def __init__(self):
        self.repos, self.private = {}, {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def files(self, repo, revision="main"):
        """Return the contents of a revision and its hash."""
        commits = self.repos[repo]
        hashes = [hashlib.sha1(f"{repo}{number}".encode()).hexdigest() for number in range(9)]
        number = len(commits) - 1 if revision == "main" else hashes.index(revision)
        return commits[number], hashes[number]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: StandIn
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        words = urlsplit(self.path).path.strip("/").split("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid user token."}, status=401)
        if words == ["api", "repos", "create"]:
            asked = json.loads(body)
            repo = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
            self.hub.repos.setdefault(repo, [])
            hidden = asked.get("private") or asked.get("visibility") == "private"
            self.hub.private.setdefault(repo, bool(hidden))
            return self._answer({"url": f"{self.hub.url}/{repo}"})
        if words == ["api", "validate-yaml"]:  # the header of a card
            return self._answer({"errors": [], "warnings": []})
        repo, action = "/".join(words[1:4]), words[4]
        if action == "preupload":
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            names = [file["path"] for file in json.loads(body)["files"]]
            return self._answer({"files": [{"path": name, **modes} for name in names]})
        assert action == "commit", self.path
        files = dict(self.hub.repos[repo][-1]) if self.hub.repos[repo] else {}
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        self.hub.repos[repo].append(files)
        url = f"{self.hub.url}/{'/'.join(words[1:4])}/commit/{self.hub.files(repo)[1]}"
        return self._answer({"commitUrl": url, "commitOid": self.hub.files(repo)[1]})

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).strip("/")
        words = path.removeprefix("api/").split("/")
        if len(words) < 4:  # the client asks about the account, or whether a repository exists
            return self._answer({"error": "Invalid user token."}, status=401)
        if words[0] not in ("models", "datasets"):  # a file of a model has no prefix
            words = ["models", *words]
        repo, action, revision, *name = "/".join(words[:3]), *words[3:]
        try:
            files, commit = self.hub.files(repo, revision)
        except (KeyError, ValueError, IndexError):
            code = "RevisionNotFound" if repo in self.hub.repos else "RepoNotFound"
            return self._answer({"error": "not found"}, status=404, **{"X-Error-Code": code})
        if action == "revision":
            siblings = [{"rfilename": item} for item in files]
            return self._answer({"id": "/".join(words[1:3]), "sha": commit, "siblings": siblings})
        if action == "tree":
            assert parse_qs(urlsplit(self.path).query)["recursive"]
            return self._answer([self._describe(item, files[item]) for item in files])
        content = files["/".join(name)]
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit}
        return self._answer(content, **headers)

    do_HEAD = do_GET

    def log_message(self, format, *args):
        """Print nothing."""

    @staticmethod
    def _describe(name, content):
        oid = hashlib.sha1(content).hexdigest()
        return {"type": "file", "path": name, "size": len(content), "oid": oid}

    def _answer(self, content, *, status=200, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
