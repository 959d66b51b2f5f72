"""What a logged model consists of, and what is recorded of its inputs."""
