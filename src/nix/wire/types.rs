//! What goes over the wire besides build results and log messages.

use std::collections::BTreeMap;
use std::fmt;

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Always 1 so far.
    pub major: u8,
    /// Nix 2.4 is 32.
    pub minor: u8,
}

impl Version {
    /// A version by its numbers.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    pub(super) fn from_word(word: u64) -> Option<Self> {
        u16::try_from(word).ok().map(|w| Self { major: (w >> 8) as u8, minor: (w & 0xff) as u8 })
    }

    pub(super) fn to_word(self) -> u64 {
        u64::from(self.major) << 8 | u64::from(self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Whether the daemon takes unsigned paths and input-addressed derivations from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The daemon does not say (before 1.35) or does not know.
    Unknown,
    /// We are one of `trusted-users`.
    Trusted,
    /// We are not.
    Untrusted,
}

/// Settings for everything that follows on a connection.
///
/// A daemon that does not trust us takes only the time limits and `builders = ""`. Since Nix 2.20
/// `nix-daemon --stdio` of a user other than root connects to the real daemon before it hears these,
/// so there the caller has to keep its own time limits as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOptions {
    /// `NIX_BUILD_CORES`; 0 is all of the host's.
    pub cores: u32,
    /// How many local builds the daemon may run for this connection; 0 makes every build fail.
    pub max_jobs: u32,
    /// Kill a build that prints nothing for so many seconds; 0 is never.
    pub max_silent: u32,
    /// Kill a build after so many seconds; 0 is never.
    pub timeout: u32,
    /// Go on with other derivations after a failure (only matters for several targets).
    pub keep_going: bool,
    /// Leave the build directory of a failed build.
    pub keep_failed: bool,
    /// Nix's level of log messages outside activities: 0 errors, 1 warnings, 3 what Nix usually prints.
    /// Build logs come at any level.
    pub verbosity: u32,
    /// Let the daemon substitute.
    pub use_substitutes: bool,
    /// The daemon's own remote builders. Empty unless set, so that a builder never offloads again.
    pub builders: String,
    /// Further settings by their names in `nix.conf`; these win over the fields above.
    pub overrides: BTreeMap<String, String>,
}

impl Default for SetOptions {
    fn default() -> Self {
        Self {
            cores: 0,
            max_jobs: 1,
            max_silent: 0,
            timeout: 0,
            keep_going: false,
            keep_failed: false,
            verbosity: 1,
            use_substitutes: true,
            builders: String::new(),
            overrides: BTreeMap::new(),
        }
    }
}

/// What realising some targets would take. All lists are in the daemon's order (by path).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Derivations to build.
    pub will_build: Vec<String>,
    /// Paths to substitute.
    pub will_substitute: Vec<String>,
    /// Paths that can be neither built nor substituted.
    pub unknown: Vec<String>,
    /// Compressed bytes to download.
    pub download_size: u64,
    /// The same unpacked.
    pub nar_size: u64,
}

/// What a store knows of a valid path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathInfo {
    /// The derivation that made it.
    pub deriver: Option<String>,
    /// SHA-256 of the NAR in hexadecimal, without prefix.
    pub nar_hash: String,
    /// Store paths it refers to, itself possibly among them.
    pub references: Vec<String>,
    /// Seconds since 1970.
    pub registration_time: u64,
    /// Bytes of the NAR.
    pub nar_size: u64,
    /// Built in that very store.
    pub ultimate: bool,
    /// Signatures, `key:base64`.
    pub sigs: Vec<String>,
    /// The content address, where it has one.
    pub ca: Option<String>,
}

/// How to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildMode {
    /// Build what is missing.
    Normal,
    /// Build again and replace what is corrupt; trusted users only.
    Repair,
    /// Build again and compare.
    Check,
}

impl BuildMode {
    pub(super) fn code(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::Repair => 1,
            Self::Check => 2,
        }
    }
}

/// A derivation ready to be built: the text of the `.drv` with all inputs as paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasicDerivation {
    /// Outputs, ascending by name.
    pub outputs: Vec<DrvOutput>,
    /// Every direct input: the sources, and the outputs used of the input derivations.
    pub input_srcs: Vec<String>,
    /// The system, or `builtin`.
    pub platform: String,
    /// The builder program.
    pub builder: String,
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
    /// Its environment, exactly as in the `.drv` (with `__json` for structured attributes).
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One output as the `.drv` has it; empty strings where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrvOutput {
    /// `out`, `dev`, ….
    pub name: String,
    /// Its store path; empty if unknown before the build.
    pub path: String,
    /// Method and algorithm (`r:sha256`) of a content-addressed output.
    pub hash_algo: String,
    /// The hash of a fixed output.
    pub hash: String,
}
