//! The command line: clap's tree, settings resolved once, dispatch, exit code. One file per subcommand.

mod app;
mod azure;
mod calibrate;
mod cleanup;
mod completions;
mod demo;
mod doctor;
mod explain;
mod forecast;
mod kube_token;
mod kubeconfig;
mod local_cluster;
mod plan;
mod profile;
mod render;
mod run_tests;
mod runs;
mod session;
mod setup;
mod status;
mod tune;
mod watch;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use democtl_core::units::parse_duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    environment::Home,
    failure::{Failure, Kind},
    target::Context,
    ui::{self, Style},
};

/// Proves what autoscaling does to reliability and cost.
///
/// `democtl demo` shows two systems under the same load: one static and oversized, one that scales.
#[derive(Debug, Parser)]
#[command(name = "democtl", version, max_term_width = 100, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done and passed, 2 wrong usage or profile, 3 preflight refused, \
    4 infrastructure failed, 5 delivery failed, 6 cancelled, 99 a threshold failed, 1 anything else.";

#[derive(Debug, Args)]
struct GlobalArgs {
    /// Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]
    #[arg(long, global = true, env = "DEMOCTL_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// How results are written to standard output
    #[arg(long, global = true, env = "DEMOCTL_OUTPUT", value_enum, default_value_t)]
    output: Output,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Human,
    /// One JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole tour: each profile set up, tested, watched back to its baseline, compared, cleaned up
    Demo(demo::DemoArgs),
    /// Make an environment: the cluster, the platform and the application of a profile
    Setup(setup::SetupArgs),
    /// Run the load suite against an environment and give a verdict
    RunTests(run_tests::RunTestsArgs),
    /// The suite, or days of traffic, in virtual time: verdicts before anything runs
    Forecast(forecast::ForecastArgs),
    /// The cheapest policy that passes, searched by forecast and proven over other seeds
    Tune(tune::TuneArgs),
    /// Why a run went as it did: the rule behind each decision, and what failed tests lacked; warnings about a profile
    Explain(explain::ExplainArgs),
    /// Fit service times, start-up times and CPU to a recorded run, as a profile that extends the one that ran
    Calibrate(calibrate::CalibrateArgs),
    /// How environments stand
    Status(status::StatusArgs),
    /// The timeline as it happens: replicas, nodes, and why; Ctrl-C ends it with exit code 0
    Watch(watch::WatchArgs),
    /// Remove an environment and prove that nothing is left
    Cleanup(cleanup::CleanupArgs),
    /// What setup would make, and what it costs
    Plan(plan::PlanArgs),
    /// Whether this machine is ready: tools, login, home directory, leftovers
    Doctor(doctor::DoctorArgs),
    /// Write the Kubernetes manifests of a profile
    Render(render::RenderArgs),
    /// List, show and check profiles
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
    /// The path of an environment's kubeconfig
    Kubeconfig(kubeconfig::KubeconfigArgs),
    /// A token for an AKS cluster with Entra ID, as kubectl's credential plugin (the kubeconfig of an environment asks for it)
    KubeToken(kube_token::KubeTokenArgs),
    /// Shell completions
    Completions(completions::CompletionsArgs),
    /// Run a role of the demo app (what the pods run)
    #[command(hide = true)]
    App(app::AppArgs),
    /// Be the local cluster (what setup starts in the background)
    #[command(hide = true)]
    LocalCluster(local_cluster::LocalClusterArgs),
}

/// Flags and environment, resolved once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where environments are kept.
    pub home: Home,
    /// The profile that is meant where none is given (`DEMOCTL_PROFILE`).
    pub profile: String,
    /// How results are written.
    pub output: Output,
    /// What the terminal allows.
    pub style: Style,
    /// Cancelled by the first Ctrl-C or SIGTERM.
    pub cancel: CancellationToken,
    /// How to reach Azure.
    pub azure: crate::target::azure::Settings,
    /// What a client of the Kubernetes API asks its credential plugin for (`KUBERNETES_EXEC_INFO`).
    pub exec_info: Option<String>,
}

impl Settings {
    fn resolve(args: GlobalArgs) -> Result<Self, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
        let home = args
            .home
            .or_else(|| variable("XDG_STATE_HOME").map(|dir| dir.join("democtl")))
            .or_else(|| variable("HOME").map(|dir| dir.join(".local/state/democtl")))
            .ok_or_else(|| {
                Failure::msg(Kind::Usage, "no place to keep environments: HOME is not set")
                    .hint("give one with --home DIR")
            })?;
        let home = std::path::absolute(&home)?;
        let style = Style::detect(std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()));
        let home = Home::new(home);
        let azure = azure::settings(&home);
        let exec_info = std::env::var("KUBERNETES_EXEC_INFO").ok().filter(|value| !value.is_empty());
        let profile = std::env::var("DEMOCTL_PROFILE").ok().filter(|value| !value.is_empty());
        let profile = profile.unwrap_or_else(|| "m3demo2".to_owned());
        Ok(Self { home, profile, output: args.output, style, cancel: CancellationToken::new(), azure, exec_info })
    }

    /// What reaching a target takes.
    fn context(&self) -> Context {
        let progress = std::sync::Arc::new(|line: &str| ui::note(line));
        Context { azure: self.azure.clone(), cancel: self.cancel.clone(), progress }
    }

    /// Writes a result: `human` for people, `value` as JSON.
    fn result(&self, value: &impl serde::Serialize, human: impl FnOnce() -> String) -> Result<(), Failure> {
        Ok(match self.output {
            Output::Human => ui::print(&human()),
            Output::Json => ui::print(&serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?),
        }?)
    }
}

/// Parses, runs, and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.exit_code()));
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui::note(&failure.to_string());
            ExitCode::from(failure.kind().exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // Every TLS connection of the process uses ring; a second installation cannot happen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // What pods and the background process run has no user, no home and no terminal.
    let command = match cli.command {
        Command::App(args) => return app::run(args),
        Command::LocalCluster(args) => return local_cluster::run(&args),
        command => command,
    };
    let settings = Settings::resolve(cli.global)?;
    match command {
        Command::App(_) | Command::LocalCluster(_) => Ok(()),
        Command::Plan(args) => block_on(&settings, plan::run(args, &settings)),
        Command::Forecast(args) => forecast::run(args, &settings),
        Command::Tune(args) => tune::run(&args, &settings),
        Command::Explain(args) => explain::run(args, &settings),
        Command::Calibrate(args) => calibrate::run(&args, &settings),
        Command::Render(args) => render::run(&args, &settings),
        Command::Profile(command) => profile::run(command, &settings),
        Command::Kubeconfig(args) => kubeconfig::run(&args, &settings),
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
        Command::KubeToken(args) => block_on(&settings, kube_token::run(args, &settings)),
        Command::Doctor(args) => block_on(&settings, doctor::run(args, &settings)),
        Command::Demo(args) => block_on(&settings, demo::run(args, &settings)),
        Command::Setup(args) => block_on(&settings, setup::run(args, &settings)),
        Command::RunTests(args) => block_on(&settings, run_tests::run(args, &settings)),
        Command::Status(args) => block_on(&settings, status::run(args, &settings)),
        // Nothing but Ctrl-C ends it: that is no failure.
        Command::Watch(args) => match block_on(&settings, watch::run(args, &settings)) {
            Err(failure) if failure.kind() == Kind::Cancelled => Ok(()),
            ended => ended,
        },
        Command::Cleanup(args) => block_on(&settings, cleanup::run(args, &settings)),
    }
}

/// Runs a command to its end; the first Ctrl-C asks it to stop, the second one stops waiting for it.
fn block_on(settings: &Settings, command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut interrupts = Interrupts::listen()?;
        tokio::pin!(command);
        tokio::select! {
            result = &mut command => return result,
            () = interrupts.next() => {}
        }
        settings.cancel.cancel();
        ui::note("stopping; press Ctrl-C again to stop at once");
        tokio::select! {
            result = &mut command => match result {
                Ok(()) => Err(Failure::msg(Kind::Cancelled, "cancelled")),
                failed => failed,
            },
            () = interrupts.next() => Err(Failure::msg(Kind::Cancelled, "cancelled at once")
                .hint("democtl status shows what there is; democtl cleanup removes it")),
        }
    })
}

/// What asks a command to stop. It is listened to from before the command's first act.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Which profile, and what is changed in it.
#[derive(Debug, Clone, Args)]
struct ProfileArgs {
    /// A built-in profile's name or a file's path
    #[arg(long, short, env = "DEMOCTL_PROFILE", value_name = "NAME|FILE")]
    profile: String,
    #[command(flatten)]
    sets: SetArgs,
}

/// Which profile, of a command that is about nothing else. No value from the environment here: clap would let it conflict
/// with the other way to give one.
#[derive(Debug, Clone, Args)]
struct SubjectArgs {
    #[arg(
        value_name = "PROFILE",
        help = "A built-in profile's name or a file's path [env: DEMOCTL_PROFILE] [default: m3demo2]"
    )]
    subject: Option<String>,
    /// The same as PROFILE
    #[arg(long, short, value_name = "NAME|FILE", conflicts_with = "subject")]
    profile: Option<String>,
}

impl SubjectArgs {
    /// The one that was given.
    fn given(&self) -> Option<&str> {
        self.subject.as_deref().or(self.profile.as_deref())
    }

    /// The one that is meant.
    fn name<'a>(&'a self, settings: &'a Settings) -> &'a str {
        self.given().unwrap_or(&settings.profile)
    }
}

#[derive(Debug, Clone, Default, Args)]
struct SetArgs {
    /// Override a value of the profile, such as workload.web.scaling.max=6
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.trim().is_empty() => Ok((path.trim().to_owned(), value.trim().to_owned())),
        _ => Err("it must be PATH=VALUE, such as workload.web.scaling.max=6".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is not a number, such as 0.95"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text} is not a share of 0 to 1; 95 % is 0.95")) }
}

/// How long to wait for an environment.
#[derive(Debug, Clone, Args)]
struct HealthArgs {
    /// How long what is delivered may take to become healthy, in real time [default: 2m, and 15m on azure]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Which environment.
#[derive(Debug, Clone, Args)]
struct NameArgs {
    /// The environment's name; the only one there is when left out
    #[arg(long, short, env = "DEMOCTL_NAME", value_name = "NAME")]
    name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_a_share_of_one() {
        assert_eq!((parse_share("0"), parse_share("0.95"), parse_share("1")), (Ok(0.0), Ok(0.95), Ok(1.0)));
        assert_eq!(parse_share("95"), Err("95 is not a share of 0 to 1; 95 % is 0.95".to_owned()));
        for wrong in ["-0.1", "1.01", "NaN", "inf", "95%", ""] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }
}
