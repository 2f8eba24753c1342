//! The scheduler: a pure state machine that turns facts into orders.
//!
//! It reads no clock, no environment and no random source and iterates over no hash map, so the same
//! events always give the same orders. It knows nothing of Nix and does no I/O.
