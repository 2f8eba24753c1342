//! The operations, one function each.

use std::io::{Read, Write};

use super::client::{Client, send};
use super::codec::Encoder;
use super::error::{Fault, WireError};
use super::frames::{self, LogMessage};
use super::nar;
use super::result::BuildResult;
use super::types::{BasicDerivation, BuildMode, Missing, PathInfo, SetOptions, Version};

/// Numbers of the operations.
#[derive(Clone, Copy)]
pub(super) enum Op {
    EnsurePath = 10,
    AddTempRoot = 11,
    AddIndirectRoot = 12,
    SetOptions = 19,
    QueryPathInfo = 26,
    QueryValidPaths = 31,
    BuildDerivation = 36,
    NarFromPath = 38,
    QueryMissing = 40,
    AddMultipleToStore = 44,
    AddBuildLog = 45,
    BuildPathsWithResults = 46,
}

/// A request, begun with its number.
pub(super) fn request(op: Op) -> Encoder {
    let mut request = Encoder::default();
    request.u64(op as u64);
    request
}

/// For operations whose log nobody wants.
fn silent(_: LogMessage) {}

/// Targets are derived paths in the old text form: `….drv!out,dev`, `….drv!*`, or a plain store path.
impl<S: Read + Write> Client<S> {
    /// Sets what holds for the operations that follow.
    ///
    /// # Errors
    /// Those of the connection; the daemon ignores settings that it does not know or allow.
    pub fn set_options(&mut self, options: &SetOptions) -> Result<(), WireError> {
        /// As a level for printing build output this means: not as plain text, but as log lines.
        const VOMIT: u64 = 7;
        let mut settings = options.overrides.clone();
        settings.entry("timeout".into()).or_insert_with(|| options.timeout.to_string());
        settings.entry("builders".into()).or_insert_with(|| options.builders.clone());
        let mut request = request(Op::SetOptions);
        request
            .bool(options.keep_failed)
            .bool(options.keep_going)
            .bool(false) // build what fails to substitute
            .u64(options.verbosity.into())
            .u64(options.max_jobs.into())
            .u64(options.max_silent.into())
            .bool(true) // obsolete: use the build hook
            .u64(VOMIT)
            .u64(0) // obsolete: log type
            .u64(0) // obsolete: print a build trace
            .u64(options.cores.into())
            .bool(options.use_substitutes)
            .u64(settings.len() as u64);
        for (name, value) in &settings {
            request.string(name).string(value);
        }
        self.call("setting options", request, &mut silent, |_| Ok(()))
    }

    /// What would have to be built and substituted to have `targets`, by the daemon's substituters.
    ///
    /// # Errors
    /// [`WireError::Remote`] for a target that is no store path, and those of the connection.
    pub fn query_missing(&mut self, targets: &[String]) -> Result<Missing, WireError> {
        let mut request = request(Op::QueryMissing);
        request.strings(targets);
        self.call("asking what is missing", request, &mut silent, |input| {
            Ok(Missing {
                will_build: input.strings("derivations to build")?,
                will_substitute: input.strings("paths to substitute")?,
                unknown: input.strings("unknown paths")?,
                download_size: input.u64()?,
                nar_size: input.u64()?,
            })
        })
    }

    /// Which of `paths` the store has, ascending; with `substitute`, after fetching what it can.
    ///
    /// # Errors
    /// [`WireError::Remote`] for what is no store path, and those of the connection.
    pub fn query_valid_paths(&mut self, paths: &[&str], substitute: bool) -> Result<Vec<String>, WireError> {
        let mut request = request(Op::QueryValidPaths);
        request.strings(paths).bool(substitute);
        self.call("asking for valid paths", request, &mut silent, |input| input.strings("valid paths"))
    }

    /// Keeps `path` from being garbage-collected as long as this connection lives.
    ///
    /// # Errors
    /// Those of the connection; the path need not exist.
    pub fn add_temp_root(&mut self, path: &str) -> Result<(), WireError> {
        let mut request = request(Op::AddTempRoot);
        request.string(path);
        self.call("adding a temporary root", request, &mut silent, |input| input.u64().map(|_| ()))
    }

    /// As [`Self::add_temp_root`] for many paths, without a round trip for each.
    ///
    /// # Errors
    /// As there; after the daemon's refusal of one, the others are kept nevertheless.
    pub fn add_temp_roots(&mut self, paths: &[&str]) -> Result<(), WireError> {
        /// Requests before their answers are read: few enough that both fit any buffer on the way.
        const AHEAD: usize = 64;
        for some in paths.chunks(AHEAD) {
            let mut requests = Encoder::default();
            for path in some {
                requests.u64(Op::AddTempRoot as u64).string(path);
            }
            let refused = self.guarded("adding temporary roots", |client| {
                send(&mut client.input, &requests.finish())?;
                let mut refused = None;
                for _ in some {
                    let answer = frames::until_done(&mut client.input, &mut silent);
                    match answer.and_then(|()| client.input.u64().map(|_| ())) {
                        Err(Fault::Remote(error)) => refused = refused.or(Some(error)),
                        other => other?,
                    }
                }
                Ok(refused)
            })?;
            if let Some(error) = refused {
                return Err(WireError::Remote(error));
            }
        }
        Ok(())
    }

    /// Registers the symbolic link at `link` (an absolute path), which leads into the store, as a root
    /// that lives as long as the link does.
    ///
    /// # Errors
    /// Those of the connection; the link need not exist.
    pub fn add_indirect_root(&mut self, link: &str) -> Result<(), WireError> {
        let mut request = request(Op::AddIndirectRoot);
        request.string(link);
        self.call("adding a root", request, &mut silent, |input| input.u64().map(|_| ()))
    }

    /// Has the daemon substitute `path` unless it is there.
    ///
    /// # Errors
    /// [`WireError::Remote`] when it can be had nowhere, and those of the connection.
    pub fn ensure_path(&mut self, path: &str) -> Result<(), WireError> {
        let mut request = request(Op::EnsurePath);
        request.string(path);
        self.call("fetching a path", request, &mut silent, |input| input.u64().map(|_| ()))
    }

    /// What the store knows of `path`; none if it is not there.
    ///
    /// # Errors
    /// [`WireError::Remote`] for what is no store path, and those of the connection.
    pub fn query_path_info(&mut self, path: &str) -> Result<Option<PathInfo>, WireError> {
        let mut request = request(Op::QueryPathInfo);
        request.string(path);
        self.call("asking about a path", request, &mut silent, |input| {
            if !input.bool()? {
                return Ok(None);
            }
            Ok(Some(PathInfo {
                deriver: Some(input.string("a deriver")?).filter(|s| !s.is_empty()),
                nar_hash: input.string("a NAR hash")?,
                references: input.strings("references")?,
                registration_time: input.u64()?,
                nar_size: input.u64()?,
                ultimate: input.bool()?,
                sigs: input.strings("signatures")?,
                ca: Some(input.string("a content address")?).filter(|s| !s.is_empty()),
            }))
        })
    }

    /// Builds one derivation, whose inputs have to be there, from what is sent; the `.drv` need not be.
    ///
    /// # Errors
    /// A failed build is a [`BuildResult`]. [`WireError::Remote`] when the daemon will not begin (it
    /// takes input-addressed derivations only from users it trusts), and those of the connection.
    pub fn build_derivation(
        &mut self,
        drv_path: &str,
        drv: &BasicDerivation,
        mode: BuildMode,
        log: &mut dyn FnMut(LogMessage),
    ) -> Result<BuildResult, WireError> {
        let mut request = request(Op::BuildDerivation);
        request.string(drv_path);
        put_derivation(&mut request, drv);
        request.u64(mode.code());
        let version = self.protocol();
        self.call("building a derivation", request, log, |input| {
            BuildResult::read(input, version, store_dir(drv_path))
        })
    }

    /// Builds or substitutes `targets` from `.drv` files that the store has; a result for each, in the
    /// daemon's order and wording of the targets.
    ///
    /// # Errors
    /// [`WireError::Unsupported`] before protocol 1.34 (Nix 2.8); else as [`Self::build_derivation`].
    pub fn build_paths_with_results(
        &mut self,
        targets: &[String],
        mode: BuildMode,
        log: &mut dyn FnMut(LogMessage),
    ) -> Result<Vec<(String, BuildResult)>, WireError> {
        let version = self.protocol();
        if version < Version::new(1, 34) {
            let needed = "1.34 (Nix 2.8 or later)";
            return Err(WireError::Unsupported {
                found: version,
                needed,
                what: "building paths with results",
            });
        }
        let mut request = request(Op::BuildPathsWithResults);
        request.strings(targets).u64(mode.code());
        self.call("building paths", request, log, |input| {
            let n = input.count("build results")?;
            let mut results = Vec::new();
            for _ in 0..n {
                let target = input.string("a target")?;
                let result = BuildResult::read(input, version, store_dir(&target))?;
                results.push((target, result));
            }
            Ok(results)
        })
    }

    /// Writes the NAR of `path` to `out`; returns its length in bytes.
    ///
    /// # Errors
    /// [`WireError::Local`] when `out` fails, [`WireError::Remote`] when the store does not have the
    /// path; after both the connection cannot be used again, for the daemon hangs up on a missing path
    /// and the rest of a NAR is not worth reading. Also those of the connection.
    pub fn nar_from_path(&mut self, path: &str, out: &mut dyn Write) -> Result<u64, WireError> {
        self.guarded("receiving a NAR", |client| {
            let mut request = request(Op::NarFromPath);
            request.string(path);
            send(&mut client.input, &request.finish())?;
            frames::until_done(&mut client.input, &mut silent)?;
            nar::copy(&mut client.input, out)
        })
    }
}

fn put_derivation(request: &mut Encoder, drv: &BasicDerivation) {
    request.u64(drv.outputs.len() as u64);
    for output in &drv.outputs {
        request.string(&output.name).string(&output.path).string(&output.hash_algo).string(&output.hash);
    }
    request.strings(&drv.input_srcs).string(&drv.platform).string(&drv.builder).strings(&drv.args);
    request.u64(drv.env.len() as u64);
    for (name, value) in &drv.env {
        request.string(name).string(value);
    }
}

/// The directory of a store path.
fn store_dir(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
