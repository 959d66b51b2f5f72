"""What starts runs: conditions, sensors and schedules, and the rules by which they wait."""
