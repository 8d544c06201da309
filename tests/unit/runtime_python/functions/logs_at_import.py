import logging

logging.basicConfig(format="never seen")
logging.warning("at import")


def handler(event, context):
    return len(logging.getLogger().handlers)
