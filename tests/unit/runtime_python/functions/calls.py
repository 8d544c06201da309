"""One function that does what its event names: a process of it shows how the client treats every kind of handler."""

import collections
import decimal
import json
import os
import sys
import threading
import time

Point = collections.namedtuple("Point", "x y")
BACKGROUND = []


def handler(event, context):
    if isinstance(event, bytes):
        return event[::-1]
    return globals()[event["call"]](event, context)


def echo(event, context):
    return event


def returns_none(event, context):
    return None


def returns_bytes(event, context):
    return b"\x00\xff raw"


def returns_decimals(event, context):
    D = decimal.Decimal
    return {
        "digits": D("0.12345678901234567890123456789"),
        "cents": D("1.10"),
        "whole": [D(7), D("1E+3")],
        "nan": D("nan"),
    }


def returns_nested_bytes(event, context):
    return {"text": "é".encode()}


def returns_unicode(event, context):
    return "naïve \u2713 \U0001f600"


def returns_lone_surrogate(event, context):
    return "\ud83d"


def returns_set(event, context):
    return {1}


def returns_circle(event, context):
    circle = []
    circle.append(circle)
    return circle


def returns_keys(event, context):
    return {2: "int", None: "none", True: "bool", 1.5: "float"}


async def returns_coroutine(event, context):
    return 1


def returns_large(event, context):
    return "x" * event["size"]


def raises(event, context):
    print("about to fail")
    raises_deeper()


def raises_deeper():
    raise ValueError("first line\nsecond line")


def raises_unicode(event, context):
    raise KeyError("ключ \ud83d")


def raises_deeply(event, context):
    return raises_deeply(event, context)


def raises_without_message(event, context):
    raise RuntimeError


def context_fields(event, context):
    remaining_ms = context.get_remaining_time_in_millis()
    return {
        "fields": {
            name: value for name, value in sorted(vars(context).items()) if isinstance(value, str) and name[0] != "_"
        },
        "remaining_is_sane": isinstance(remaining_ms, int) and 0 < remaining_ms <= 3000,
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "client_context": context.client_context,
        "tenant_id": context.tenant_id,
    }


def caller_fields(event, context):
    client = context.client_context.client
    return {
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "client": [client.app_title, client.installation_id],
        "custom": context.client_context.custom,
        "env": context.client_context.env,
        "repr": repr(context.client_context) + repr(context.identity),
    }


def deadline_has_passed(event, context):
    return context.get_remaining_time_in_millis()


def trace_id(event, context):
    return os.environ.get("_X_AMZN_TRACE_ID")


def paths(event, context):
    return sys.path


def prints(event, context):
    print("one", "line")
    print("to stderr", file=sys.stderr)
    sys.stdout.write("unfinished")
    return


def logs(event, context):
    import logging

    logging.basicConfig(level=logging.DEBUG, format="never seen")
    logger = logging.getLogger()
    logger.info("not shown at the default level")
    logger.warning("two\nlines")
    logger.setLevel(logging.INFO)
    logging.getLogger("mine").info("%s shown", "now", extra={"order": {"id": 7}})
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("caught")
    context.log("from the\ncontext")
    logger.setLevel(logging.WARNING)
    return [type(handler).__name__ for handler in logger.handlers]


def logs_with_own_format(event, context):
    import logging

    logging.getLogger().handlers[0].setFormatter(logging.Formatter("own: %(message)s"))
    logging.warning("hello")


def logging_is_imported(event, context):
    return "logging" in sys.modules


def starts_thread(event, context):
    def work():
        while len(BACKGROUND) < 3:
            BACKGROUND.append(time.time())
            time.sleep(0.001)
        finished.set()

    finished = globals()["finished"] = threading.Event()
    threading.Thread(target=work, daemon=True).start()


def thread_went_on(event, context):
    return globals()["finished"].wait(5)


def closes_stdout(event, context):
    sys.stdout.close()


def exits(event, context):
    print("last words", end="")
    exit(event["code"])


def dies(event, context):
    os._exit(3)


def interrupts(event, context):
    raise KeyboardInterrupt


def holds_memory(event, context):
    json.dumps(event)
