"""Real git repositories, and real ways to reach them: paths, http with a token, ssh with a key."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from support.redis_server import free_port

ISOLATED = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
}


def git(*args: str, cwd: Path, **environ: str) -> str:
    """Run git without anybody's settings; returns its output."""
    done = subprocess.run(
        ["git", *args], cwd=cwd, env={**os.environ, **ISOLATED, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Remote:
    """A bare repository that people push to."""

    def __init__(self, directory: Path, name: str = "repo") -> None:
        self.path = directory / f"{name}.git"
        self.work = directory / f"{name}-work"
        git("init", "--quiet", "--bare", "--initial-branch=main", str(self.path), cwd=directory)
        git("config", "uploadpack.allowFilter", "true", cwd=self.path)
        git("init", "--quiet", "--initial-branch=main", str(self.work), cwd=directory)
        git("remote", "add", "origin", str(self.path), cwd=self.work)

    def commit(self, files: dict[str, str | bytes | None], *, branch: str = "main") -> str:
        """Write files (None deletes), commit, push; returns the commit."""
        if git("branch", "--list", branch, cwd=self.work):
            git("checkout", "--quiet", branch, cwd=self.work)
        elif branch != "main":
            git("checkout", "--quiet", "-b", branch, cwd=self.work)
        for name, content in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content)
        git("add", "--all", cwd=self.work)
        return self.save(branch)

    def save(self, branch: str = "main") -> str:
        """Commit what is staged, and push it."""
        git("commit", "--quiet", "--allow-empty", "-m", "change", cwd=self.work)
        git("push", "--quiet", "--force", "origin", branch, cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)

    def tag(self, name: str, *, annotated: bool = False) -> None:
        """Tag the last commit."""
        git("tag", *(["-a", "-m", name] if annotated else []), name, cwd=self.work)
        git("push", "--quiet", "origin", name, cwd=self.work)


@dataclass(frozen=True)
class GitRequest:
    """One request that reached the http server."""

    path: str
    authorization: str


class GitHTTP:
    """Repositories below a directory over http(s), by git's own backend, for who has the token."""

    def __init__(self, root: Path, *, token: str = "", tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.root = root
        self.port = port
        self.token = token
        self.tls = tls
        self.requests: list[GitRequest] = []
        self.refused_users: list[str] = []
        self.environ: dict[str, str] = {}
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Of the directory."""
        assert self._server is not None
        return f"{'https' if self.tls else 'http'}://localhost:{self._server.server_address[1]}"

    def allows(self, authorization: str) -> bool:
        """Whether the credentials will do."""
        if not self.token:
            return True
        if not authorization.startswith("Basic "):
            return False
        return base64.b64decode(authorization[6:]).decode().partition(":")[2] == self.token

    def __enter__(self) -> Self:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve(b"")

            def do_POST(self) -> None:
                self._serve(self._body())

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _serve(self, body: bytes) -> None:
                authorization = self.headers.get("Authorization", "")
                site.requests.append(GitRequest(self.path, authorization))
                if not site.allows(authorization):
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self._run_backend(body)

            def _run_backend(self, body: bytes) -> None:
                url = urlsplit(self.path)
                environ = {
                    **os.environ,
                    **ISOLATED,
                    **site.environ,
                    "GIT_PROJECT_ROOT": str(site.root),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": url.path,
                    "QUERY_STRING": url.query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                }
                done = subprocess.run(
                    ["git", "http-backend"], input=body, env=environ, capture_output=True, check=False
                )
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                status = 200
                headers = []
                for line in head.decode().splitlines():
                    name, _, value = line.partition(": ")
                    if name.lower() == "status":
                        status = int(value.split()[0])
                    else:
                        headers.append((name, value))
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def self_signed(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context for `localhost` and 127.0.0.1, and the certificate to trust."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def sshd_binary() -> str | None:
    """The ssh server, if the host has one."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class GitSSH:
    """A real sshd on a free loopback port, with keys of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.key = self._keygen("client")
        self.other_key = self._keygen("stranger")
        self._host_key = self._keygen("host")
        self.known_hosts = directory / "known hosts"
        host_public = self._host_key.with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_public}")
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: Path) -> str:
        """Of a repository on this host."""
        return f"ssh://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        binary = sshd_binary()
        assert binary is not None
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it when it is root
        authorized = self.directory / "authorized_keys"
        authorized.write_text(self.key.with_suffix(".pub").read_text())
        config = self.directory / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self._host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {authorized}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        )
        with (self.directory / "sshd.log").open("wb") as log:
            self._process = subprocess.Popen([binary, "-D", "-e", "-f", str(config)], stderr=log)
        deadline = time.monotonic() + 20
        while b"listening" not in (self.directory / "sshd.log").read_bytes():
            assert self._process.poll() is None, (self.directory / "sshd.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=10)

    def _keygen(self, name: str) -> Path:
        path = self.directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        return path
