"""Our replicas under the real Docker Compose, on the engines that people have."""
