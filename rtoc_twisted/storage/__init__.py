"""Where signals, samples, events and documents are kept."""
