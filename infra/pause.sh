#!/usr/bin/env bash
# Takes all functions of an environment out of service, and puts them back. Taking out prints what
# each could do at once, which is what putting back reads.
#
#   infra/pause.sh prod >>prod.limits
#   infra/pause.sh prod --resume <prod.limits
set -euo pipefail
if [ "${2:-}" = --resume ]; then
  while read -r name limit; do
    if [ "$limit" = None ]; then
      aws lambda delete-function-concurrency --function-name "$name"
    else
      aws lambda put-function-concurrency --function-name "$name" \
        --reserved-concurrent-executions "$limit" >/dev/null
    fi
  done
  exit
fi
names=$(aws lambda list-functions --output text \
  --query "Functions[?starts_with(FunctionName, 'mini-sns-$1-')].FunctionName")
for name in $names; do
  limit=$(aws lambda get-function-concurrency --function-name "$name" \
    --query ReservedConcurrentExecutions --output text)
  # One that is out already was so before, or has been printed by a run that was broken off.
  [ "$limit" != 0 ] || continue
  echo "$name $limit"
  aws lambda put-function-concurrency --function-name "$name" --reserved-concurrent-executions 0 >/dev/null
done
