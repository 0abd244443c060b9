"""Validates the documents of a YAML file against Kubernetes' published schemas: `validate.py FILE VERSION…`. Needs kubernetes-validate.

An unknown field is a mistake. It prints one line for each mistake and, last, how many documents passed in how many versions.
"""

import pathlib
import sys

import kubernetes_validate
import yaml


def main(path, versions):
    documents = list(yaml.safe_load_all(pathlib.Path(path).read_text(encoding="utf-8")))
    passed = 0
    for version in versions:
        for document in documents:
            try:
                kubernetes_validate.validate(document, version, strict=True)
                passed += 1
            except kubernetes_validate.ValidationError as error:
                print(f"{version} {document['kind']} {'.'.join(map(str, error.path))}: {error.message}")
            except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError) as error:
                print(f"{version} {document['kind']}: {error}")
    print(f"{passed} passed of {len(documents)} documents in {len(versions)} versions")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
