"""A clip as a query, and as something to enroll: frames of a video file, and its sound."""
