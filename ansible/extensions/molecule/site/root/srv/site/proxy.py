"""A proxy that knows one host, packages.example: /files/ are those of /srv/packages, /simple/ is an index of them."""

import http.server
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

PACKAGES = Path("/srv/packages")


class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        kind, _, name = url.path.strip("/").partition("/")
        if url.hostname != "packages.example" or kind not in {"files", "simple"}:
            self.send_error(502, "no such host")
        elif kind == "simple":
            files = [file.name for file in PACKAGES.iterdir() if project(file.name) == name]
            self.answer("".join(f'<a href="/files/{file}">{file}</a>\n' for file in files).encode(), "text/html")
        elif (PACKAGES / name).is_file():
            self.answer((PACKAGES / name).read_bytes(), "application/octet-stream")
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815 - http.server looks for this name

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, _format, *_args):
        print(self.command, self.path, flush=True)


def project(file):
    name = re.split(r"-\d", file, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Proxy).serve_forever()
