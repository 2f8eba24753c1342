//! Against a daemon that is only bytes.
