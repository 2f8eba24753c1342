//! What is kept between runs: the run-log files and their place.
