"""A handler that is a generator: each piece is sent to the caller as it is made."""

import time

TEXT = "Tell me what I have said, and say it slowly enough that I can hear each word"


def handler(event, context):
    """Over HTTP, say ahead of the text what it is; then send it word by word."""
    if "requestContext" in event:
        yield {"statusCode": 200, "headers": {"content-type": "text/plain; charset=utf-8"}}
    for word in event.get("text", TEXT).split():
        yield word + "\n"
        time.sleep(event.get("pause_s", 0.2))
