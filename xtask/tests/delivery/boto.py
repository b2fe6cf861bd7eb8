# Calls AWS for a test: reads lines of [service, operation, arguments], and answers each with a line
# of {"ok": ...} or {"error": ...}. The address is the first argument.
import base64
import json
import sys

import boto3

clients = {}
for line in sys.stdin:
    service, operation, arguments = json.loads(line)
    if service not in clients:
        clients[service] = boto3.client(service, endpoint_url=sys.argv[1])
    code = arguments.get("Code", {})
    if "ZipFile" in code:
        code["ZipFile"] = base64.b64decode(code["ZipFile"])
    try:
        answer = {"ok": getattr(clients[service], operation)(**arguments)}
    except Exception as error:
        answer = {"error": str(error)}
    print(json.dumps(answer, default=str), flush=True)
