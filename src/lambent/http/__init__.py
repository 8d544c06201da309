"""One small HTTP/1.1 engine for every hop: the front door, the in-sandbox APIs, and our own clients."""
