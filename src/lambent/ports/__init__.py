"""Where parts meet: one small Protocol per file. Implementations live in `adapters`, `logs`, `manager` and `worker`."""
