#!/usr/bin/env bash
# Moves the messages that are in one queue now into another, each sent before it is deleted, so that
# none is lost and one may come twice. For dead letters that nothing else moves.
#
#   infra/redrive.sh mini-sns-prod-event-bus-dlq mini-sns-prod-timeline-fanout
set -euo pipefail
from=$(aws sqs get-queue-url --queue-name "$1" --query QueueUrl --output text)
to=$(aws sqs get-queue-url --queue-name "$2" --query QueueUrl --output text)
left=$(aws sqs get-queue-attributes --queue-url "$from" --query Attributes.ApproximateNumberOfMessages \
  --attribute-names ApproximateNumberOfMessages --output text)
moved=0
while [ "$moved" -lt "$left" ]; do
  letter=$(aws sqs receive-message --queue-url "$from" --wait-time-seconds 2 --visibility-timeout 60 \
    --query 'Messages[0].[ReceiptHandle, Body]' --output text)
  [ "$letter" != None ] && [ -n "$letter" ] || break
  aws sqs send-message --queue-url "$to" --message-body "${letter#*$'\t'}" >/dev/null
  aws sqs delete-message --queue-url "$from" --receipt-handle "${letter%%$'\t'*}"
  moved=$((moved + 1))
done
echo "$moved moved from $1 to $2"
