"""The AWS contract, read from botocore's service models: route, parse, validate, serialize.

`load("lambda")` compiles a model into closures, each operation's once; nothing here knows what an operation does.
"""

from lambent.spec.operation import Operation
from lambent.spec.service import Service, load

__all__ = ["Operation", "Service", "load"]
