//! Folds of the run's events: the live view, plain lines, JSON, the summary. Decides nothing.
