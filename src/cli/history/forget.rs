//! `drvdispatch history forget`.

use std::io::{BufRead, IsTerminal, Write as _};

use clap::{ArgGroup, Args};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned, civil};

use super::existing;
use crate::cli::error::CliError;
use crate::records::history::{Filter, Removed};
use crate::report::plural;

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").args(["name", "host", "before", "all"]).required(true).multiple(true))]
pub struct ForgetArgs {
    /// Builds whose name, with or without version, matches this glob
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Builds of this host, and transfers to and from it
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Builds that ended before this: a date, a time, or a span such as 90d
    #[arg(long, value_name = "DATE", value_parser = moment)]
    before: Option<u64>,
    /// Everything
    #[arg(long, conflicts_with_all = ["name", "host", "before"])]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(args: &ForgetArgs) -> Result<(), CliError> {
    let Some(mut history) = existing()? else { return Ok(()) };
    let which = Filter { name: args.name.clone(), host: args.host.clone(), before: args.before };
    let found = history.count(&which)?;
    if found == Removed::default() {
        crate::cli::tell!("nothing of that is remembered");
        return Ok(());
    }
    if !args.yes && !agreed(&found)? {
        crate::cli::tell!("nothing was forgotten");
        return Ok(());
    }
    let removed = history.forget(&which)?;
    crate::cli::tell!("{} forgotten", said(&removed));
    Ok(())
}

fn agreed(found: &Removed) -> Result<bool, CliError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::Usage(format!(
            "this would forget {}; without a terminal to ask on, confirm it with --yes",
            said(found)
        )));
    }
    let failed = || CliError::io("asking");
    let mut out = std::io::stderr().lock();
    write!(out, "Forget {}? [y/N] ", said(found)).and_then(|()| out.flush()).map_err(failed())?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(failed())?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn said(removed: &Removed) -> String {
    let builds = plural(removed.builds, "build");
    match removed.transfers {
        0 => builds,
        transfers => format!("{builds} and {}", plural(transfers, "transfer")),
    }
}

/// A moment in seconds since 1970, by this machine's time zone where the text has none.
fn moment(text: &str) -> Result<u64, String> {
    let zoned =
        |civil: civil::DateTime| civil.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    let at = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| text.parse::<civil::DateTime>().ok().and_then(zoned))
        .or_else(|| text.parse::<civil::Date>().ok().and_then(|date| zoned(date.at(0, 0, 0, 0))))
        .or_else(|| {
            let span = text.parse::<jiff::Span>().ok().filter(|span| !span.is_negative())?;
            Zoned::now().checked_sub(span).ok().map(|zoned| zoned.timestamp())
        });
    at.and_then(|at| u64::try_from(at.as_second()).ok())
        .ok_or_else(|| "it is no date such as 2026-01-31, and no span such as 90d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_times_and_spans() {
        assert_eq!(moment("2023-11-14T22:13:20Z"), Ok(1_700_000_000));
        let (day, time) = (moment("2023-11-14").unwrap(), moment("2023-11-14 06:00").unwrap());
        assert_eq!(time - day, 6 * 3600);
        let ago = moment("90d").unwrap();
        let now = u64::try_from(Timestamp::now().as_second()).unwrap();
        assert!((now - 91 * 86_400..=now - 89 * 86_400).contains(&ago), "{ago}");
        for wrong in ["", "yesterday", "-90d", "1900-01-01", "2026-13-01"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
