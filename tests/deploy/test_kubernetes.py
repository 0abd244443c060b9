"""The plain manifests: built by kustomize, valid in every version, restricted, and with a configuration that holdfast accepts."""

import shutil
import subprocess

import pytest
import yaml

from conftest import ROOT, run, tool
from manifests import assert_configuration_passes_check, assert_restricted, assert_sidecar, assert_valid, documents, of_kind, pod_templates

FOLDER = ROOT / "deploy/kubernetes"


def build(overlay):
    """What kustomize makes of an overlay, by whichever program has it."""
    command = [shutil.which("kubectl"), "kustomize"] if shutil.which("kubectl") else [tool("kustomize"), "build"]
    return run(*command, FOLDER / "overlays" / overlay)


@pytest.mark.parametrize("overlay", ("sidecar", "monitoring", "standalone"))
def test_an_overlay_is_valid_restricted_and_its_configuration_passes_check(overlay, tmp_path):
    text = build(overlay)
    assert_valid(text, tmp_path)
    assert_restricted(text)
    assert_configuration_passes_check(text, tmp_path)


def test_the_checks_can_fail(tmp_path):
    deployment = of_kind(build("sidecar"), "Deployment")[0]
    holdfast = deployment["spec"]["template"]["spec"]["initContainers"][0]
    holdfast["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(AssertionError, match="allowPrivilegeEscalation"):
        assert_restricted(yaml.safe_dump(deployment))
    holdfast["restartPolcy"] = "Always"
    with pytest.raises(AssertionError, match="restartPolcy"):
        assert_valid(yaml.safe_dump(deployment), tmp_path)
    with pytest.raises(AssertionError, match="podMetricsEndpoint"):
        assert_valid(build("monitoring").replace("podMetricsEndpoints:", "podMetricsEndpoint:"), tmp_path)
    with pytest.raises(AssertionError, match="listne"):
        assert_configuration_passes_check(build("sidecar").replace("listen:", "listne:"), tmp_path)


def test_the_component_adds_a_native_sidecar_and_leaves_the_application_alone():
    text = build("sidecar")
    template = pod_templates(text)[0]
    assert_sidecar(template)
    application = yaml.safe_load((FOLDER / "example/deployment.yaml").read_text())
    assert template["spec"]["containers"] == application["spec"]["template"]["spec"]["containers"]
    drain = 25
    assert template["spec"]["terminationGracePeriodSeconds"] > drain


def test_a_deployment_without_the_label_gets_no_sidecar(tmp_path):
    copy = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copy)
    path = copy / "example/deployment.yaml"
    path.write_text(path.read_text().replace(", holdfast: sidecar", ""))
    command = [shutil.which("kubectl"), "kustomize"] if shutil.which("kubectl") else [tool("kustomize"), "build"]
    answer = subprocess.run([*command, copy / "overlays/sidecar"], capture_output=True, text=True, check=False)
    assert "initContainers" not in answer.stdout


def test_secrets_are_named_and_never_in_the_files():
    for overlay in ("sidecar", "monitoring", "standalone"):
        assert not [document for document in documents(build(overlay)) if document["kind"] == "Secret"]
