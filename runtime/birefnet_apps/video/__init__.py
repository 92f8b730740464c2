"""Videos in, cut-out videos out; the container is ffmpeg's."""
