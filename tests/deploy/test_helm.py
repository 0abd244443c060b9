"""The chart: linted, rendered as it was rendered before, valid, restricted; mistakes in the values are refused by name.

HOLDFAST_WRITE_GOLDEN=1 writes what is rendered to golden/, to be read before it is committed.
"""

import os
import pathlib
import shutil

import pytest

from conftest import ROOT, run, tool
from manifests import assert_configuration_passes_check, assert_restricted, assert_sidecar, assert_valid, of_kind, pod_templates

CHART = ROOT / "deploy/helm/holdfast"
HERE = pathlib.Path(__file__).resolve().parent / "helm"
CASES = ("standalone", "everything", "parent")


def template(*arguments, **words):
    return run(tool("helm"), "template", "shop", *arguments, "--namespace", "shop", "--kube-version", "1.29.0", **words)


def render(case, tmp_path):
    if case != "parent":
        return template(CHART, "-f", HERE / f"{case}.yaml")
    parent = tmp_path / "parent"
    shutil.copytree(HERE / "parent", parent)
    shutil.copytree(CHART, parent / "charts/holdfast")
    return template(parent)


@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_is_what_was_read_and_committed(case, tmp_path):
    golden = HERE / "golden" / f"{case}.yaml"
    text = render(case, tmp_path)
    if os.environ.get("HOLDFAST_WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_is_valid_restricted_and_its_configuration_passes_check(case, tmp_path):
    text = render(case, tmp_path)
    assert_valid(text, tmp_path)
    assert_restricted(text)
    assert_configuration_passes_check(text, tmp_path)


@pytest.mark.parametrize("case", ("standalone", "everything"))
def test_lint_finds_nothing(case):
    answer = run(tool("helm"), "lint", "--strict", CHART, "-f", HERE / f"{case}.yaml")
    assert "0 chart(s) failed" in answer and "[WARNING]" not in answer


def test_a_parent_chart_gets_a_native_sidecar_from_it(tmp_path):
    text = render("parent", tmp_path)
    assert len(of_kind(text, "Deployment")) == 1 and not of_kind(text, "Service")
    assert_sidecar(pod_templates(text)[0])


@pytest.mark.parametrize("arguments, word", (
    ([], "config.connections is empty"),
    (["--set", "mode=somewhere"], "mode"),
    (["--set", "replica=3"], "replica"),
    (["--set", "image.digest=latest"], "digest"),
    (["--set", "service.ports[0].targetPort=80"], "targetPort"),
    (["--set", "config.connections[0].id=a"], "listen"),
    (["-f", str(HERE / "standalone.yaml"), "--set", "mode=sidecar", "--set", "podMonitor.enabled=true"], "podMonitor.selector is empty"),
))
def test_a_mistake_in_the_values_is_refused_by_name(arguments, word):
    assert word in template(CHART, *arguments, fails=True)


def test_helm_unittest_passes(tmp_path):
    chart = tmp_path / "holdfast"
    shutil.copytree(CHART, chart)
    shutil.copytree(HERE / "unittest", chart / "tests")
    assert "Tests:       7 passed, 7 total" in run(tool("helm-unittest"), chart)
