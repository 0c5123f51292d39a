"""What two models are measured by."""
