def handler(event, context):
    return {"hello": event.get("queryStringParameters", {}).get("name", "world")}
