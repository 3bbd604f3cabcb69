"""What every stage uses; imports no stage."""
