//! The numbers that say how much a machine builds: jobs at a time, cores, and speed.
//!
//! No machine is beyond these bounds; a slip of the pen is, and a fleet made of it would take forever to plan.

/// The most jobs at a time that a machine may be said to take, and the most cores.
pub const MOST_JOBS: u32 = 4096;
/// The least and the highest speed, where 1 is an ordinary one.
const SPEEDS: (f64, f64) = (1e-6, 1e6);

/// Jobs at a time.
///
/// # Errors
/// It is no such number.
pub fn parse_jobs(text: &str) -> Result<u32, String> {
    let jobs = text.parse().ok().filter(|jobs| *jobs <= MOST_JOBS);
    jobs.ok_or_else(|| format!("'{text}' is no number of jobs (a whole number from 0 to {MOST_JOBS})"))
}

/// Cores.
///
/// # Errors
/// It is no such number.
pub fn parse_cores(text: &str) -> Result<u32, String> {
    let cores = text.parse().ok().filter(|cores| *cores <= MOST_JOBS);
    cores.ok_or_else(|| format!("'{text}' is no number of cores (a whole number from 0 to {MOST_JOBS})"))
}

/// A speed.
///
/// # Errors
/// It is no such number.
pub fn parse_speed(text: &str) -> Result<f64, String> {
    let (least, most) = SPEEDS;
    let speed = text.parse().ok().filter(|speed| (least..=most).contains(speed));
    speed.ok_or_else(|| format!("'{text}' is no speed (a number from {least} to {most})"))
}
