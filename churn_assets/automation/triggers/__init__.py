"""What starts runs: conditions, sensors and schedules, and when they have to wait."""
