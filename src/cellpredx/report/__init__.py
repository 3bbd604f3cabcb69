"""Tables and MultiQC content: what a run tells its reader."""
