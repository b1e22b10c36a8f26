"""Container images without a container engine: some files, and how to start them.

The archive that comes out is an OCI image layout and what `docker save` writes, at once, so that containerd, kind, Docker
and Podman all take it. The same files give the same digest.
"""

import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BEGINNING = "1970-01-01T00:00:00Z"


class Image:
    """An image of one layer. Paths in it are absolute."""

    def __init__(self, name):
        self.name = name
        self.entries = {}  # path without the leading slash: (TarInfo, content)

    def folder(self, path, mode=0o755):
        self._add(path, tarfile.DIRTYPE, mode)
        return self

    def text(self, path, content, mode=0o644):
        self._add(path, tarfile.REGTYPE, mode, content.encode())
        return self

    def file(self, path, source, mode=None):
        with open(source, "rb") as stream:
            content = stream.read()
        self._add(path, tarfile.REGTYPE, mode or os.stat(source).st_mode & 0o755, content)
        return self

    def tree(self, path, source, without=(), follow=False):
        """A folder with all that is in it but for the names in `without`. Links stay links, or with `follow` become what
        they lead to."""
        self.folder(path)
        for found in sorted(os.scandir(source), key=lambda entry: entry.name):
            inner = f"{path}/{found.name}"
            if found.name in without:
                continue
            if found.is_symlink() and not follow:
                self._add(inner, tarfile.SYMTYPE, 0o777, link=os.readlink(found.path))
            elif found.is_dir():
                self.tree(inner, found.path, without, follow)
            elif os.path.exists(found.path):
                self.file(inner, found.path)
        return self

    def program(self, path, source):
        """A program of this machine, with the shared libraries that it loads, each where the loader looks for it."""
        self.file(path, source, 0o755)
        listed = subprocess.run(["ldd", source], capture_output=True, text=True, check=False).stdout
        if "not found" in listed:
            sys.exit(f"{source} misses libraries:\n{listed}")
        for library in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", listed, re.MULTILINE):
            self.file(library, os.path.realpath(library), 0o755)
        return self

    def write(self, folder, **config):
        """Writes `<last part of the name>.tar`. `config` is the image's, as the OCI specification names its members."""
        layer = self._layer()
        packed = gzip.compress(layer, 1, mtime=0)
        about = _json({
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": BEGINNING,
            "config": {"WorkingDir": "/", "Env": ["PATH=/usr/bin:/bin"], **config},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        })
        manifest = _json({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, about),
            "layers": [_descriptor(LAYER, packed)],
        })
        names = {"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": self.name}
        index = _json({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{**_descriptor(MANIFEST, manifest), "annotations": names}],
        })
        docker = _json([{"RepoTags": [self.name], "Config": _blob(about), "Layers": [_blob(packed)]}])
        files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, "manifest.json": docker}
        files.update({_blob(content): content for content in (about, packed, manifest)})
        path = os.path.join(folder, self.name.rpartition("/")[2].partition(":")[0] + ".tar")
        with tarfile.open(path, "w") as archive:
            for name, content in files.items():
                archive.addfile(*_entry(name, tarfile.REGTYPE, 0o644, content))
        return path

    def _add(self, path, kind, mode, content=b"", link=""):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.folder(parent)
        self.entries[path] = _entry(path, kind, mode, content, link)

    def _layer(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path in sorted(self.entries):
                archive.addfile(*self.entries[path])
        return buffer.getvalue()


def _entry(name, kind, mode, content, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, len(content), link
    return info, io.BytesIO(content)


def _json(value):
    return json.dumps(value, sort_keys=True).encode()


def _digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _blob(content):
    return _digest(content).replace("sha256:", "blobs/sha256/")


def _descriptor(media_type, content):
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
