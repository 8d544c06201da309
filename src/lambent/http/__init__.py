"""One small HTTP/1.1 engine on httptools and asyncio, server and client, for every hop."""
