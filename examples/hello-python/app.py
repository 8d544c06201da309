"""The smallest function that shows something: it greets, and remembers how often this environment was used."""

invocations = 0


def handler(event, context):
    global invocations
    invocations += 1
    name = event.get("name", "world")
    print(f"greeting {name}")
    return {"message": f"Hello, {name}!", "invocations": invocations, "requestId": context.aws_request_id}
