"""Greets whoever calls, and counts how often this environment has been called: state lives as long as it does."""

import logging
import os

logging.getLogger().setLevel(logging.INFO)

calls = 0


def handler(event, context):
    global calls
    calls += 1
    name = event.get("name") or "world"
    logging.info("call %d, %d ms left", calls, context.get_remaining_time_in_millis())
    return {"greeting": f"Hello, {name}!", "calls": calls, "log_stream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]}
