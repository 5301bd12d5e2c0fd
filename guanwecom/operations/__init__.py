"""Operating a deployment: start-up checks, logging, heartbeats, and mails when the engine stops."""
