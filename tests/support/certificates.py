"""A small certificate authority made with openssl for one test run: certificates for servers and clients. Never trusted elsewhere."""

import os
import pathlib
import subprocess

from support.processes import give_away


class Authority:
    """Makes keys and certificates in a folder; every path is a string."""

    def __init__(self, folder, name="holdfast test authority"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate = str(self.folder / "authority.pem")
        self._key = str(self.folder / "authority.key")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                      "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate)

    def issue(self, name, alternatives=""):
        """(certificate, key) for a common name and alternative names such as `DNS:localhost,IP:127.0.0.1`."""
        stem = self.folder / name
        request, key, certificate, extra = (f"{stem}.{suffix}" for suffix in ("csr", "key", "pem", "ext"))
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        pathlib.Path(extra).write_text(f"subjectAltName={alternatives}\n" if alternatives else "\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", "30",
                      "-extfile", extra, "-out", certificate)
        os.chmod(key, 0o600)
        return certificate, key

    def issue_to_server(self, server, name="localhost", alternatives="DNS:localhost,IP:127.0.0.1"):
        """Puts a certificate, its key and this authority into a PostgreSQL server's data directory and switches TLS on."""
        certificate, key = self.issue(f"{name}-server", alternatives)
        for source, target in ((certificate, "server.crt"), (key, "server.key"), (self.certificate, "root.crt")):
            path = server.data / target
            path.write_bytes(pathlib.Path(source).read_bytes())
            path.chmod(0o600)
        give_away(server.data)
        server.set(ssl="on", ssl_ca_file="'root.crt'")

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"openssl {words[0]}: {done.stderr}"
