"""The certificates of a cluster: one authority, and an identity for each component.

With openssl's command line and not a library, so that the cluster starts from a bare Python.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DAYS = "3650"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign,digitalSignature\n"
LEAF = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n"


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """The authority of a cluster, made new in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        self.certificate = folder / "ca.crt"
        self._key = folder / "ca.key"
        self._request("ca", "/CN=tidegate-test", AUTHORITY)

    def issue(self, file: str, name: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Identity:
        """A certificate for a name: of a client in groups, and of a server if it has hosts."""
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={name}"
        extensions = LEAF + (f"subjectAltName={','.join(hosts)}\n" if hosts else "")
        return self._request(file, subject, extensions, "-CA", str(self.certificate), "-CAkey", str(self._key))

    def key_pair(self, file: str) -> tuple[Path, Path]:
        """A private key and its public half, for signing tokens."""
        private, public = self.folder / f"{file}.key", self.folder / f"{file}.pub"
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private))
        _openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
        return private, public

    def kubeconfig(self, path: Path, identity: Identity, server: str) -> Path:
        """A kubeconfig that needs no other file (JSON is YAML)."""
        user = {
            "client-certificate-data": _encoded(identity.certificate),
            "client-key-data": _encoded(identity.key),
        }
        cluster = {"server": server, "certificate-authority-data": _encoded(self.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tidegate", "cluster": cluster}],
            "users": [{"name": "tidegate", "user": user}],
            "contexts": [{"name": "tidegate", "context": {"cluster": "tidegate", "user": "tidegate"}}],
            "current-context": "tidegate",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2))
        return path

    def _request(self, file: str, subject: str, extensions: str, *signer: str) -> Identity:
        made = Identity(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        config = self.folder / f"{file}.cnf"
        config.write_text(
            "[req]\ndistinguished_name=subject\nx509_extensions=extensions\n[subject]\n"
            f"[extensions]\nsubjectKeyIdentifier=hash\n{extensions}"
        )
        output = ("-out", str(made.certificate), "-keyout", str(made.key))
        request = ("req", "-x509", "-config", str(config), "-days", DAYS, "-subj", subject)
        _openssl(*request, *CURVE, *signer, *output)
        return made


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
