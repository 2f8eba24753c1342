//! What a builder's answer means: a built derivation, a failed one, or a host that failed.
//!
//! Pure, so that every status and message can be tested. By status first; by the text only where Nix
//! uses one status for several causes (Nix's `common-protocol.cc` has the codes).

use crate::base::Span;
use crate::nix::wire::{BuildResult, Status, WireError};
use crate::run::{Failure, HostFault, Outcome, Times};

/// A verdict on one `BuildResult` that is no success.
pub(super) fn of_result(result: &BuildResult) -> Outcome {
    let text = headline(&result.error_msg);
    let times = times(result);
    let failed = |failure| Outcome::Failed { failure, message: text.clone(), times };
    let fault = |fault| Outcome::HostFailed { fault, message: text.clone() };
    match result.status {
        Status::PermanentFailure if host_lacks(&text) => fault(HostFault::Other),
        Status::PermanentFailure | Status::CachedFailure | Status::InputRejected => failed(Failure::Build),
        Status::OutputRejected if text.contains("hash mismatch") => failed(Failure::HashMismatch),
        Status::OutputRejected => failed(Failure::Build),
        Status::TimedOut => failed(Failure::TimedOut),
        Status::LogLimitExceeded => failed(Failure::LogLimit),
        Status::NotDeterministic => failed(Failure::NotDeterministic),
        Status::TransientFailure => fault(HostFault::Transient),
        Status::DependencyFailed => fault(HostFault::MissingInputs),
        // Nix before 2.30 reports a mismatch this way, too.
        Status::MiscFailure if text.contains("hash mismatch") => failed(Failure::HashMismatch),
        _ => fault(HostFault::Other),
    }
}

/// A verdict on an operation that ended in an error.
pub(super) fn of_error(error: &WireError) -> Outcome {
    let message = plain(&error.to_string());
    let fault = match error {
        _ if error.is_connection() => HostFault::Connection,
        WireError::Remote(_) if message.contains("is not valid") => HostFault::MissingInputs,
        _ => HostFault::Other,
    };
    Outcome::HostFailed { fault, message }
}

/// Whether a daemon's message says that it will not build for us at all, so that no job can succeed.
pub(super) fn is_refusal(message: &str) -> bool {
    message.contains("you are not privileged") || message.contains("not trusted")
}

/// The build directory that a daemon says it keeps, as `-K` has it do.
pub(super) fn kept_directory(message: &str) -> Option<String> {
    let message = plain(message);
    let (_, rest) = message.split_once("keeping build directory ")?;
    Some(rest.trim_matches(['\'', '"', ' ']).to_owned()).filter(|path| path.starts_with('/'))
}

/// What to add to a failed build's message where build directories are to be kept.
pub(super) fn about_directory(host: &str, failure: Failure, kept: Option<&str>) -> String {
    match (kept, failure) {
        (Some(kept), _) => format!("\nIts build directory is kept on {host}: {kept}"),
        // Since Nix 2.20, what a user other than root asks for does not reach the daemon that builds.
        (None, Failure::Build) => format!(
            "\nIts build directory is not kept: the Nix of {host} takes that wish from root only; log in there as root"
        ),
        (None, _) => String::new(),
    }
}

/// What Nix measured.
pub(super) fn times(result: &BuildResult) -> Times {
    Times {
        wall: Span::ZERO,
        cpu_user: result.cpu_user.map(Span),
        cpu_system: result.cpu_system.map(Span),
        start: result.start_time,
        stop: result.stop_time,
    }
}

/// Whether the daemon says that it is of the wrong system or lacks a feature.
fn host_lacks(text: &str) -> bool {
    text.contains("is required to build") || text.contains("required system or feature not available")
}

/// What a message says about the host's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The host's Nix could not write.
    Gone,
    /// A builder failed while next to nothing was left.
    Short,
}

/// Whether the message of an outcome or a transfer, which repeats no build log, tells of a full disk.
pub(super) fn space(message: &str) -> Option<Space> {
    if message.contains("No space left on device") {
        return Some(Space::Gone);
    }
    message.contains("free disk space").then_some(Space::Short)
}

/// Nix's message without the end of the log that it repeats and its advice: the log is shown by whoever
/// shows the failure.
fn headline(text: &str) -> String {
    let text = plain(text);
    let repeats = |line: &str| line.contains("log lines:") || line.trim_start().starts_with("For full logs");
    let kept: Vec<&str> = text.lines().take_while(|line| !repeats(line)).collect();
    // `…failed with exit code 1;` is how it leads over to the log.
    let mut head = kept.join("\n").trim_end_matches([';', '\n', ' ']).to_owned();
    // Comes after the log, and is what matters.
    let full = "lack of free disk space";
    // What the log says is not Nix's word.
    let says = |line: &str| line.contains(full) && !line.trim_start().starts_with('>');
    if text.lines().any(says) && !head.contains(full) {
        head.push_str("; the host may be short of free disk space");
    }
    head
}

/// Text without terminal colours.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
        } else if chars.clone().next() == Some('[') {
            // A control sequence ends with the first letter after its parameters.
            chars.by_ref().skip(1).find(|c| c.is_ascii_alphabetic());
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(status: Status, error_msg: &str) -> BuildResult {
        BuildResult {
            status,
            error_msg: error_msg.to_owned(),
            times_built: 1,
            non_deterministic: false,
            start_time: 0,
            stop_time: 0,
            cpu_user: None,
            cpu_system: None,
            built_outputs: Vec::new(),
        }
    }

    fn kind(status: Status, text: &str) -> String {
        match of_result(&result(status, text)) {
            Outcome::Failed { failure, .. } => format!("{failure:?}"),
            Outcome::HostFailed { fault, .. } => format!("host: {fault:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn statuses_are_told_apart_by_cause() {
        assert_eq!(kind(Status::PermanentFailure, "builder failed with exit code 1"), "Build");
        assert_eq!(
            kind(
                Status::PermanentFailure,
                "a 'x' with features {} is required to build '/nix/store/…', but I am a 'y'"
            ),
            "host: Other"
        );
        assert_eq!(kind(Status::OutputRejected, "hash mismatch in fixed-output derivation"), "HashMismatch");
        assert_eq!(kind(Status::OutputRejected, "output refers to forbidden path"), "Build");
        assert_eq!(kind(Status::TimedOut, "timed out"), "TimedOut");
        assert_eq!(kind(Status::NotDeterministic, "differs"), "NotDeterministic");
        assert_eq!(kind(Status::TransientFailure, "no space left on device"), "host: Transient");
        assert_eq!(kind(Status::DependencyFailed, "1 dependency failed"), "host: MissingInputs");
        assert_eq!(kind(Status::MiscFailure, "unexpected"), "host: Other");
        assert_eq!(kind(Status::Unknown(99), "?"), "host: Other");
    }

    #[test]
    fn a_kept_build_directory_is_found() {
        let kept = |text| kept_directory(text);
        // Nix 2.8 and 2.34.
        assert_eq!(
            kept("note: keeping build directory '/tmp/nix-build-x.drv-0'").as_deref(),
            Some("/tmp/nix-build-x.drv-0")
        );
        let coloured = "note: keeping build directory '\u{1b}[35;1m/nix/var/nix/builds/nix-1-2\u{1b}[0m'\n";
        assert_eq!(kept(coloured).as_deref(), Some("/nix/var/nix/builds/nix-1-2"));
        assert_eq!(kept("building '/nix/store/x.drv'..."), None);
    }

    #[test]
    fn a_repeated_log_is_left_out() {
        let text = "builder for 'x' failed with exit code 1;\n       last 2 log lines:\n       > a\n       > b\n\
                    \x20      For full logs, run 'nix log x'.";
        assert_eq!(headline(text), "builder for 'x' failed with exit code 1");
        assert_eq!(headline("hash mismatch:\n  a\n  b"), "hash mismatch:\n  a\n  b");
        let full =
            headline(&format!("{text}\nnote: build failure may have been caused by lack of free disk space"));
        assert_eq!(full, "builder for 'x' failed with exit code 1; the host may be short of free disk space");
        assert_eq!(space(&full), Some(Space::Short));
        let printed = text.replace("> b", "> lack of free disk space: No space left on device");
        assert_eq!(space(&headline(&printed)), None, "the log is not Nix's word");
        assert_eq!(space("writing to file '/nix/store/x': No space left on device"), Some(Space::Gone));
    }

    #[test]
    fn colours_are_removed() {
        assert_eq!(plain("\u{1b}[31;1merror:\u{1b}[0m no\n"), "error: no");
        assert_eq!(plain("a\u{1b}"), "a");
        assert_eq!(plain("a\u{1b}[3"), "a");
    }
}
