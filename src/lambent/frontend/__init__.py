"""The front door: HTTP in, HTTP out. Routes by the service model, authenticates, dispatches, answers in AWS's words."""
