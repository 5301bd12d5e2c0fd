"""Operation of a deployment: start-up checks, logging, heartbeats, and messages when the engine stops."""
