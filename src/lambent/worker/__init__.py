"""The host's side: execution environments, their life, the Runtime API they speak, and the sandbox they live in."""
