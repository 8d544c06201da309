import os

from orders import number_of


def handler(event, context):
    return {"message": f"{os.environ['GREETING']}: order {number_of(event)}", "worker": os.environ["WORKER"]}
