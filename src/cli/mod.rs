//! The command line: one file per verb; flags to options, errors to exit codes and hints.
