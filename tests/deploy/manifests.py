"""What all Kubernetes files have to pass, whoever made them: schemas of every version, PodSecurity, and holdfast's own check."""

import json
import pathlib

import pytest
import yaml

from conftest import TOOLS, run, tool
from support.holdfast import BINARY

VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
# Of other projects: no schema of theirs comes with Kubernetes.
CUSTOM = {"PodMonitor"}


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(text, kind):
    return [document for document in documents(text) if document["kind"] == kind]


def assert_valid(text, folder):
    """Every document against the schemas of every version, strictly: an unknown field is a mistake.

    A PodMonitor must fit into the types that the Prometheus operator itself reads it into.
    """
    monitors = of_kind(text, "PodMonitor")
    if monitors:
        answer = run(tool("podmonitor"), input="\n".join(map(json.dumps, monitors)), stdin=None)
        assert answer == f"{len(monitors)} read\n", answer
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all([document for document in documents(text) if document["kind"] not in CUSTOM]))
    count = len(list(yaml.safe_load_all(path.read_text())))
    python = TOOLS / "venv" / "bin" / "python"
    if not python.exists():
        pytest.skip("the schemas' packages are not installed")
    answer = run(python, pathlib.Path(__file__).parent / "validate.py", path, *VERSIONS)
    assert answer == f"{count * len(VERSIONS)} passed of {count} documents in {len(VERSIONS)} versions\n", answer


def pod_templates(text):
    return [document["spec"]["template"] for document in of_kind(text, "Deployment")]


def assert_restricted(text):
    """What PodSecurity admission itself, at its level `restricted`, has against the pods: nothing."""
    templates = pod_templates(text)
    assert templates
    for template in templates:
        reasons = run(tool("podsecurity"), "restricted", input=json.dumps(template), stdin=None)
        assert reasons == "", reasons


def assert_configuration_passes_check(text, folder):
    """`holdfast check` on the ConfigMap, with the Secret's files where it names them."""
    maps = [document for document in of_kind(text, "ConfigMap") if "holdfast.yaml" in document["data"]]
    assert maps
    secrets = folder / "secrets"
    for name in ("holdfast", "holdfast-tls"):
        (secrets / name).mkdir(parents=True, exist_ok=True)
    for name in ("holdfast/admin-token", "holdfast/orders-password", "holdfast/reports-password", "holdfast-tls/tls.crt", "holdfast-tls/tls.key"):
        (secrets / name).write_text("a-secret-of-the-test\n")
    for document in maps:
        path = folder / "holdfast.yaml"
        path.write_text(document["data"]["holdfast.yaml"].replace("/run/secrets", str(secrets)))
        run(BINARY, "check", "-c", path, env={"ORDERS_PASSWORD": "a-secret-of-the-test"})


def assert_sidecar(template):
    """A native sidecar with its probes; whatever it mounts is a whole folder of the pod."""
    holdfast = [container for container in template["spec"]["initContainers"] if container["name"] == "holdfast"]
    assert len(holdfast) == 1
    container = holdfast[0]
    assert container["restartPolicy"] == "Always"
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "holdfast-admin"}
    assert {"name": "holdfast-admin", "containerPort": 9930} in container["ports"]
    volumes = {volume["name"] for volume in template["spec"]["volumes"]}
    for mount in container["volumeMounts"]:
        assert mount["name"] in volumes and "subPath" not in mount
