#!/usr/bin/env bash
# Releases what a stack has put into $LATEST: publishes a version of each of its functions, lets the
# canary move `live` to them all, and waits for its end. Fails where the canary went back.
#
#   infra/release.sh prod post
#   infra/release.sh dev post '"stepSeconds": 60, "alarms": []'
#
# What the third word may say is in docs/operate/rollback.md.
set -euo pipefail
env="$1" stack="mini-sns-$1-$2" more="${3:+, $3}"

canary=$(aws cloudformation describe-stacks --stack-name "mini-sns-$env-canary" \
  --query 'Stacks[0].Outputs[?OutputKey==`CanaryArn`].OutputValue' --output text)
names=$(aws cloudformation describe-stack-resources --stack-name "$stack" \
  --query 'StackResources[?ResourceType==`AWS::Lambda::Function`].PhysicalResourceId' --output text)
functions=""
for name in $names; do
  version=$(aws lambda publish-version --function-name "$name" --query Version --output text)
  echo "$name: version $version"
  functions+="${functions:+, }{\"name\": \"$name\", \"version\": \"$version\"}"
done
run=$(aws stepfunctions start-execution --state-machine-arn "$canary" \
  --input "{\"functions\": [$functions]$more}" --query executionArn --output text)
echo "$run"
status=RUNNING
while [ "$status" = RUNNING ]; do
  sleep 5
  status=$(aws stepfunctions describe-execution --execution-arn "$run" --query status --output text)
done
echo "$status"
[ "$status" = SUCCEEDED ] || {
  aws stepfunctions describe-execution --execution-arn "$run" --query '[error, cause]' --output text >&2
  exit 1
}
