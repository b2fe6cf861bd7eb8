"""Reads SAM templates and writes what CloudFormation would make of them: includes put in, code
where `sam deploy` would upload it, serverless types turned into their resources.

Arguments: the folder of the templates, and the folder for the results (JSON, one for each).
Asks nobody: no account, no network."""

import json
import logging
import os
import pathlib
import sys

import yaml
from samtranslator.translator.transform import transform

# The bucket and the names that stand for what an upload would say.
BUCKET = "mini-sns-code"


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, and timestamps left as text."""


def intrinsic(loader, tag, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else "Fn::" + tag: value}


Loader.add_multi_constructor("!", intrinsic)
Loader.yaml_implicit_resolvers = {
    first: [it for it in resolvers if it[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def included(value, folder):
    """Puts the files in that `AWS::Include` names."""
    if isinstance(value, list):
        return [included(it, folder) for it in value]
    if not isinstance(value, dict):
        return value
    if value.get("Fn::Transform", {}).get("Name") == "AWS::Include":
        location = folder / value["Fn::Transform"]["Parameters"]["Location"]
        return json.loads(location.read_text())
    return {key: included(it, folder) for key, it in value.items()}


def packaged(template):
    """Says of each function where its code is, as `sam deploy` does after the upload."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = resource["Properties"]
            name = pathlib.PurePath(properties["CodeUri"]).name
            properties["CodeUri"] = f"s3://{BUCKET}/{name}.zip"


def main(source, results):
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    logging.disable(logging.WARNING)
    # Files with a dot are settings of tools.
    for path in sorted(source.glob("[!.]*.yaml")):
        template = included(yaml.load(path.read_text(), Loader), source)
        if "Transform" in template:
            packaged(template)
            # Parameters are given when a stack is made, not now.
            template = transform(template, {}, None)
        (results / f"{path.stem}.json").write_text(json.dumps(template, indent=1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
