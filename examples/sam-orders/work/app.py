from orders import number_of


def handler(event, context):
    done = [number_of(record["body"]) for record in event["Records"]]
    return {"done": done}
