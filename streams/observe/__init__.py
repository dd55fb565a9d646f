"""What a running role tells about itself: metrics, health and logs. Nothing here decides anything."""
