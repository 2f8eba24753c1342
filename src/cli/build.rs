//! `drvdispatch build`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::args::{What, Where, seconds};
use super::error::{CliError, exit_code};
use super::learned::{Learned, Remember};
use super::outcome::{self, Results};
use super::policies::{Decide, slots_left};
use super::prepare::{self, Prepared};
use super::setup::{Setup, logs_dir};
use super::watch::Watcher;
use crate::dispatch::{Children, Crew, EXIT_INTERRUPTED, Interrupts, Limits, Means, listen};
use crate::drive::{Heard, drive};
use crate::fleet::HostId;
use crate::records::RunsDir;
use crate::records::history::NomFile;
use crate::report::{Detail, Live, Plain, View};
use crate::run::{FORMAT, Header};
use crate::sched::Policy;
use crate::sim::{DEFAULT, Rehearsal};

/// Build derivations on several machines at once
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Exit codes: 0 everything was built; 100 a build failed, 101 it timed out, 102 an output has \
another hash than promised, 104 it is not deterministic (or-combined under --keep-going); 1 anything else, such as \
an error in an argument or in the evaluation, or no host that can go on; 130 interrupted."
)]
pub struct BuildArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    decide: Decide,
    #[command(flatten)]
    results: Results,
    #[command(flatten)]
    remember: Remember,
    /// Do not pass build times on to nix-output-monitor
    #[arg(long, help_heading = "History")]
    no_nom: bool,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "How to build")]
struct How {
    /// Go on with what does not depend on a failed build
    #[arg(short, long)]
    keep_going: bool,
    /// Leave the build directories of failed builds where they are, on the hosts where they failed
    #[arg(short = 'K', long)]
    keep_failed: bool,
    /// End a build after so many seconds; 0: never
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<u64>,
    /// End a build that prints nothing for so many seconds; 0: never
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    max_silent_time: Option<u64>,
    /// Only say what would be built and fetched (`drvdispatch plan` says where, too)
    #[arg(long)]
    dry_run: bool,
    /// Show the build logs as they come
    #[arg(short = 'L', long)]
    print_build_logs: bool,
    /// Show failures and one line at the end only
    #[arg(long)]
    quiet: bool,
}

impl How {
    fn limits(&self, setup: &Setup) -> Limits {
        let limit = |given: Option<u64>, nix: u64| {
            Some(given.unwrap_or(nix)).filter(|s| *s > 0).map(Duration::from_secs)
        };
        Limits {
            total: limit(self.timeout, setup.config.timeout),
            silent: limit(self.max_silent_time, setup.config.max_silent_time),
        }
    }

    fn view(&self) -> Box<dyn View + Send> {
        let detail = Detail { logs: self.print_build_logs, quiet: self.quiet };
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        // Lines of `-vv` would end up in the middle of a live view.
        let talkative = tracing::enabled!(tracing::Level::DEBUG);
        if std::io::stderr().is_terminal() && !self.quiet && !dumb && !talkative {
            Box::new(Live::stderr(detail))
        } else {
            Box::new(Plain::new(std::io::stderr(), detail))
        }
    }
}

/// Runs the verb; the exit code.
///
/// # Errors
/// drvdispatch itself could not do its part. A failed build is no error but an exit code.
pub fn run(args: &BuildArgs) -> Result<u8, CliError> {
    let runtime = prepare::runtime()?;
    let children = Children::default();
    let running = children.clone();
    let interrupts = listen(runtime.handle(), move || {
        // A cursor that the live view hid must not stay hidden.
        let _ = console::Term::stderr().show_cursor();
        running.end();
    })
    .map_err(CliError::io("listening for signals"))?;
    let code = with_runtime(args, &runtime, children, &interrupts);
    // Blocking helpers may hang in a connection attempt; nothing waits for them.
    runtime.shutdown_background();
    code
}

fn with_runtime(
    args: &BuildArgs,
    runtime: &tokio::runtime::Runtime,
    children: Children,
    interrupts: &Interrupts,
) -> Result<u8, CliError> {
    let options = args.what.eval_options();
    let mut say = |line: &str| super::tell!("{line}");
    let config = args.decide.config()?;
    let mut setup = Setup::new(&args.place, &options, &mut say)?;
    setup.nix = setup.nix.with_children(children);
    setup.ask_home()?;
    if args.how.dry_run {
        let prepared = prepare::load(&setup, &args.what, &mut say)?;
        outcome::print_missing(&prepared);
        return args.results.print_only(&prepared).map(|()| 0);
    }
    // Connecting and evaluating take their time at the same time.
    let timeout = args.place.connect_timeout(setup.config.connect_timeout);
    let crew = Crew::start(prepare::slots(&setup), timeout, logs_dir());
    let learning = Learned::begin(&setup, &args.remember, &config.cost);
    let prepared = prepare::load(&setup, &args.what, &mut say)?;
    let learned = learning.finish(&mut setup, &mut say)?;
    let means = Means {
        nix: PathBuf::from("nix"),
        runtime: runtime.handle().clone(),
        interrupts: interrupts.heed(),
        limits: args.how.limits(&setup),
        keep_failed: args.how.keep_failed || setup.config.keep_failed,
        imports: setup.imports.clone(),
    };
    let base = Policy {
        keep_going: args.how.keep_going || setup.config.keep_going,
        cores: setup.cores(&args.place),
        ..config.policy
    };
    dispatch(args, &setup, prepared, learned, base, (crew, means))
}

fn dispatch(
    args: &BuildArgs,
    setup: &Setup,
    mut prepared: Prepared,
    learned: Learned,
    base: Policy,
    (crew, means): (Crew, Means),
) -> Result<u8, CliError> {
    args.results.check_links(&prepared)?;
    let mut work = std::mem::take(&mut prepared.work);
    learned.sizes(&mut work);
    let eligible = setup.eligible(&work)?;
    setup.say_if_alone(&work, &mut |line| super::tell!("{line}"));
    let (estimates, parallel) = learned.estimates(&work);
    if !args.how.quiet && !work.jobs.is_empty() {
        super::tell!("{}", learned.basis(&work));
    }
    let started = prepare::unix_now();
    let mux = Arc::new(setup.mux()?);
    let (world, logs) = crew.into_world(Arc::new(work.clone()), eligible.clone(), mux, means);
    // What the hosts have decides which policy is best, so it is heard before there is a scheduler.
    let mut world = Heard::until_ready(world);
    let facts = world.facts().cloned().collect();
    let rehearsal = Rehearsal::new(&work, &setup.fleet.hosts, &estimates, &eligible, Some(facts))
        .with_parallel(parallel.clone());
    let choice = args.decide.choose(&base, &rehearsal);
    if let Some(line) = args.decide.said_of(&choice, work.jobs.len()) {
        match choice.name == DEFAULT || args.how.quiet {
            true => tracing::info!("{line}"),
            false => super::tell!("{line}"),
        }
    }
    if !args.how.quiet
        && !work.jobs.is_empty()
        && let Some(line) = slots_left(&choice.policy, rehearsal.hosts())
    {
        super::tell!("{line}");
    }
    let mut scheduler = rehearsal.scheduler(choice.policy.clone());
    let header = Arc::new(Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        command: std::env::args().collect(),
        workload: work,
        hosts: setup.fleet.hosts.clone(),
        estimates,
        eligible: Some(eligible),
        parallel: Some(parallel),
        policy: serde_json::to_value(&choice.policy).unwrap_or_default(),
    });
    let past = (learned.history, NomFile::of_user().filter(|_| !args.no_nom));
    let mut watcher = Watcher::begin(&RunsDir::of_user(), &header, Some(args.how.view()), past);
    let end = drive(&mut scheduler, &mut world, &mut watcher);
    let interrupted = watcher.interrupted();
    drop(world);
    let (state, meter, bound) = watcher.finish(end);
    let elsewhere = logs.finish();
    outcome::print_summary(&state, meter, bound.bound(), args.how.quiet);
    let verdict = scheduler.verdict();
    outcome::print_endings(&verdict, &state, &setup.fleet.hosts[HostId::HOME].name, interrupted);
    if let Some(dir) = elsewhere {
        super::tell!("this machine's Nix takes no build logs from this user: they are in {}", dir.display());
    }
    args.results.deliver(&mut prepared, &verdict, &header, &state)?;
    Ok(if interrupted { EXIT_INTERRUPTED } else { exit_code(&verdict) })
}
