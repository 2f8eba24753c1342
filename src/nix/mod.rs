//! Nix's own formats and wire: bytes in, values out.
//!
//! Store paths, `nix derivation show` in all its shapes, the `.drv` text, the machines file and the
//! worker protocol over any `Read + Write`. No processes, no sockets, no decisions.
