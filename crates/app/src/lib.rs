//! The reliability-demo app: an HTTP API with bounded concurrency, a queue's consumer, and an embedded Redis.
//!
//! It serves the demo on every target: as pods on AKS, as processes on the local one. Backend latencies and CPU are
//! simulated as its configuration says; the HTTP, the bounds and the queue are real. The store is Redis itself.

mod config;
pub mod redis_server;
mod store;
mod supervise;
mod web;
mod worker;

use std::io;

pub use config::{ConfigError, Pattern, WebConfig, WorkerConfig};

/// What a process is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The HTTP API.
    Web,
    /// The queue's consumer.
    Worker,
    /// The embedded Redis.
    Redis,
    /// Another program that must end when this process's standard input does.
    Supervise(Vec<String>),
}

/// Why the app ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The role is not one of the app's.
    #[error("role {0:?} is not one of web, worker, redis, supervise -- COMMAND")]
    Role(String),
    /// A variable is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something of the operating system failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Redis does not do what is asked.
    #[error("redis")]
    Redis(#[from] redis::RedisError),
}

impl Command {
    /// Reads a role and its arguments.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, AppError> {
        let mut arguments = arguments.into_iter();
        let role = arguments.next().unwrap_or_default();
        match role.as_str() {
            "web" => Ok(Self::Web),
            "worker" => Ok(Self::Worker),
            "redis" => Ok(Self::Redis),
            "supervise" => {
                let command: Vec<_> = arguments.skip_while(|argument| argument == "--").collect();
                if command.is_empty() { Err(AppError::Role(role)) } else { Ok(Self::Supervise(command)) }
            }
            _ => Err(AppError::Role(role)),
        }
    }
}

/// Runs a role until SIGTERM, SIGINT, or, with `APP_EXIT_ON_STDIN_EOF=1`, the end of standard input.
pub fn main(command: Command) -> Result<(), AppError> {
    tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(io::stderr).init();
    let variable = |name: &str| std::env::var(name).ok();
    if variable("APP_EXIT_ON_STDIN_EOF").as_deref() == Some("1") && !matches!(command, Command::Supervise(_)) {
        supervise::exit_on_stdin_eof();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::Io { what: "starting the runtime".into(), source })?;
    runtime.block_on(async {
        match command {
            Command::Web => web::run(WebConfig::read(&variable)?).await,
            Command::Worker => worker::run(WorkerConfig::read(&variable)?).await,
            Command::Redis => redis_server::run(config::bind_address(&variable, "APP_BIND")?).await,
            Command::Supervise(command) => Err(supervise::become_program(&command)),
        }
    })
}

/// Resolves when the process is asked to end.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
