"""Calls boto3's S3 client for a test: a line of JSON for each call ({"call": method, "args": {...}}), and one for its answer.

Bodies are base64 on the way in and out, times are seconds since 1970. An answer is {"result": ...}, or {"error": code,
"status": number} where the store has refused.
"""
import base64
import datetime
import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, region = sys.argv[1:3]
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name=region,
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
)


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if hasattr(value, "read"):
        return base64.b64encode(value.read()).decode()
    raise TypeError(f"no JSON for {type(value)}")


for line in sys.stdin:
    ask = json.loads(line)
    args = ask["args"]
    if "Body" in args:
        args["Body"] = base64.b64decode(args["Body"])
    try:
        answer = {"result": getattr(s3, ask["call"])(**args)}
    except ClientError as refused:
        answer = {
            "error": refused.response["Error"]["Code"],
            "status": refused.response["ResponseMetadata"]["HTTPStatusCode"],
        }
    print(json.dumps(answer, default=plain), flush=True)
