"""`lambent deploy template.yaml`: a SAM template as functions, layers, URLs, mappings and roles of a Lambent server.

SAM's own library makes CloudFormation of it; what of that Lambent has is deployed, by AWS's API alone. There is no
record of a stack: functions, roles and mappings are tagged with it, and all else belongs to one of those.
"""
