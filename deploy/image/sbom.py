"""Prints an SPDX 2.3 document of the folder that the image is made of: each file, and the Debian package that it came from.

It asks dpkg whose a file is, and copies each package's copyright file into the folder. A file that no package knows, and that is not
holdfast's own, is an error: nothing gets into the image without being listed.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

OWN = {"/usr/bin/holdfast", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"}
MADE_BY = {"/etc/ssl/certs/ca-certificates.crt": "ca-certificates"}  # put together at its installation


def identifier(*words):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(words))


def owner(path):
    """The name of the package that has the file: it may be listed under /usr or not, and by the name that a link leads to."""
    real = os.path.realpath(path)
    for name in (path, real, "/usr" + path, path.removeprefix("/usr"), real.removeprefix("/usr")):
        answer = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return answer.stdout.split(":")[0]
    raise SystemExit(f"sbom: no package has {path}")


def package_entry(name):
    version, architecture, source = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}\t${Architecture}\t${source:Package}\n", name],
        capture_output=True, text=True, check=True).stdout.splitlines()[0].split("\t")
    return {
        "name": name, "SPDXID": identifier("Package", name), "versionInfo": version, "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
        "copyrightText": f"see /usr/share/doc/{name}/copyright", "sourceInfo": f"built from Debian's source package {source}",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": f"pkg:deb/debian/{name}@{version}?arch={architecture}&distro=debian-12"}]}


def main(root):
    program = root / "usr/bin/holdfast"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    own = {"name": "holdfast", "SPDXID": identifier("Package", "holdfast"), "versionInfo": version, "supplier": "NOASSERTION",
           "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0",
           "copyrightText": "NOASSERTION"}
    packages, files, relations = {}, [], []
    for path in sorted(root.rglob("*")):
        name = "/" + str(path.relative_to(root))
        if path.is_symlink() or not path.is_file() or name.startswith("/usr/share/sbom/"):
            continue
        of = "holdfast" if name in OWN else MADE_BY.get(name) or owner(name)
        if of != "holdfast" and of not in packages:
            packages[of] = package_entry(of)
        content = path.read_bytes()
        entry = {"fileName": "." + name, "SPDXID": identifier("File", name.strip("/")), "licenseConcluded": "NOASSERTION",
                 "copyrightText": "NOASSERTION", "checksums": [{"algorithm": "SHA1", "checksumValue": hashlib.sha1(content).hexdigest()},
                                                             {"algorithm": "SHA256", "checksumValue": hashlib.sha256(content).hexdigest()}]}
        files.append(entry)
        relations.append({"spdxElementId": entry["SPDXID"], "relatedSpdxElement": identifier("Package", of), "relationshipType": "GENERATED_FROM"})
    for name in packages:
        place = root / "usr/share/doc" / name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"/usr/share/doc/{name}/copyright", place)
        relations.append({"spdxElementId": identifier("Package", "holdfast"), "relatedSpdxElement": identifier("Package", name),
                          "relationshipType": "DEPENDS_ON"})
    # The hash of the files stands for the time, so that the same image has the same document.
    digest = hashlib.sha256("".join(entry["checksums"][1]["checksumValue"] for entry in files).encode()).hexdigest()
    relations.append({"spdxElementId": "SPDXRef-DOCUMENT", "relatedSpdxElement": own["SPDXID"], "relationshipType": "DESCRIBES"})
    json.dump({"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"holdfast-{version}-image",
               "documentNamespace": f"https://spdx.org/spdxdocs/holdfast-{version}-{digest}",
               "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: holdfast-deploy-image-sbom"]},
               "packages": [own, *packages.values()], "files": files, "relationships": relations}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
