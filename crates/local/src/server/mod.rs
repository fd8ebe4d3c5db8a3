//! The background process: one directory becomes one running cluster, until it is told to end.
//!
//! ```text
//! <dir>/cluster.json  what to be           <dir>/journal   every object, for the next life
//! <dir>/lock, pid     who runs it          <dir>/clock     profile time reached
//! <dir>/kubeconfig    how to reach it      <dir>/pki/      CA, certificates, token (0600)
//! <dir>/network       its 127.x block      <dir>/logs/     containers' output
//! ```

mod backend;
mod forward;
mod objects;

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        Api, OpenError, Settings, http,
        tls::{Identity, IdentityError, write_private},
    },
    clock::Clock,
    cloud::Cloud,
    config::Config,
    controllers,
    runtime::{
        kubelet,
        logs::LogStore,
        metrics::ResourceMetrics,
        network::{Addresses, Network, NetworkError},
        prometheus::Prometheus,
        proxy,
        resolve::Directory,
    },
};
use backend::Backend;
use objects::ApiObjects;

/// How often profile time is written down.
const CLOCK_TICK: Duration = Duration::from_secs(1);

/// Why a cluster could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process has the directory.
    #[error("a cluster runs in {0} already")]
    Running(PathBuf),
    /// A file of the directory cannot be used.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No addresses.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No storage.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The first objects are refused.
    #[error("first objects")]
    Bootstrap(#[from] crate::api::Status),
    /// A part of the cluster is no more.
    #[error("a controller has ended: {0}")]
    Controller(String),
    /// No port, no signals.
    #[error("listening")]
    Listen(#[source] io::Error),
}

/// Runs the cluster of `config.dir` until SIGTERM or SIGINT; then ends all its processes.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    raise_file_limit();
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Listen)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Listen)?;
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    serve_until(config, shutdown).await
}

/// Raises the soft limit of open files to the hard one: each pod, Service and connection takes some.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, ?limit, "the limit of open files stays as it is");
    }
}

/// The same, until the token is cancelled.
pub async fn serve_until(config: Config, shutdown: CancellationToken) -> Result<(), ServeError> {
    let dir = config.dir.clone();
    fs::create_dir_all(&dir).map_err(|source| file_error(&dir, source))?;
    let _lock = lock(&dir)?;
    let (network, _claim) = Network::claim(&dir)?;
    let identity = Arc::new(Identity::open(&dir.join("pki"))?);
    let settings = Settings { block: network.block(), ca_pem: identity.ca_pem().to_owned() };
    let api = Api::open(&dir.join("journal"), settings)?;
    let clock = Clock::new(config.speed, remembered_clock(&dir));
    let listener = listen(&dir).await.map_err(ServeError::Listen)?;
    let address = listener.local_addr().map_err(ServeError::Listen)?;

    let config = Arc::new(config);
    let client = api.client();
    let objects = Arc::new(ApiObjects::new(&client));
    let metrics = ResourceMetrics::new(objects.clone(), clock);
    let directory = Directory::default();
    let logs = LogStore::new(dir.join("logs"));
    let cloud = Cloud::new(&client, clock, config.clone());
    cloud.bootstrap()?;
    let context = controllers::Context {
        client,
        clock,
        config: config.clone(),
        metrics: metrics.clone(),
        directory: directory.clone(),
        cloud,
        records: controllers::Records::default(),
    };
    let backend = Arc::new(Backend {
        client: context.client.clone(),
        logs: logs.clone(),
        metrics: metrics.clone(),
        adapter: controllers::Adapter::new(&context),
        shutdown: shutdown.clone(),
    });
    let kubelet = kubelet::Context {
        objects: objects.clone(),
        addresses: Addresses::for_pods(network),
        logs,
        clock,
        app_exe: config.app_exe.clone(),
        work_dir: dir.clone(),
        redis_server: find_in_path("redis-server"),
        prometheus: prometheus(objects.clone(), clock),
    };

    let mut tasks = controllers::start(&context);
    tasks.spawn(metrics.run(shutdown.clone()));
    tasks.spawn(remember_clock(clock, dir.clone()));
    tasks.spawn(proxy::run(objects, config.seed, directory, shutdown.clone()));
    tasks.spawn(http::serve(api, identity.clone(), backend, listener, shutdown.clone()));
    let kubelet = tokio::spawn(kubelet::run(kubelet, shutdown.clone()));
    // Written last: who can read it can use the cluster.
    let kubeconfig = dir.join("kubeconfig");
    let text = identity.kubeconfig(&config.name, address);
    write_private(&kubeconfig, &text).map_err(|source| file_error(&kubeconfig, source))?;
    write(&dir.join("pid"), &format!("{}\n", std::process::id()))?;
    tracing::info!(%address, speed = config.speed, "the cluster is up");

    let broken = watch_over(&mut tasks, &shutdown).await;
    if let Err(error) = kubelet.await {
        tracing::warn!(%error, "kubelet");
    }
    tasks.shutdown().await;
    save_clock(clock, &dir)?;
    let _ = fs::remove_file(dir.join("pid"));
    tracing::info!("the cluster has ended");
    broken.map_or(Ok(()), |error| Err(ServeError::Controller(error)))
}

/// Waits for the end. A cluster that lacks a controller would wait for ever for what that one does: it ends as well.
async fn watch_over(tasks: &mut JoinSet<()>, shutdown: &CancellationToken) -> Option<String> {
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            // One that has nothing to do may end: a cluster without autoscaler has none.
            if let Err(error) = ended {
                return error;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        () = shutdown.cancelled() => None,
        error = ended => {
            tracing::error!(%error, "a controller has ended");
            shutdown.cancel();
            Some(error.to_string())
        }
    }
}

fn prometheus(objects: Arc<ApiObjects>, clock: Clock) -> kubelet::Server {
    Arc::new(move |address, scrape_interval| {
        Box::pin(Prometheus::new(objects.clone(), clock, scrape_interval).run(address))
    })
}

fn file_error(path: &Path, source: io::Error) -> ServeError {
    ServeError::File { path: path.to_owned(), source }
}

fn write(path: &Path, text: &str) -> Result<(), ServeError> {
    write_private(path, text).map_err(|source| file_error(path, source))
}

fn lock(dir: &Path) -> Result<File, ServeError> {
    let path = dir.join("lock");
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|source| file_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::Running(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(file_error(&path, source)),
    }
}

/// The port of the life before, if it is still free: kubeconfigs that were copied go on working.
async fn listen(dir: &Path) -> io::Result<TcpListener> {
    let before = fs::read_to_string(dir.join("kubeconfig")).ok();
    let server =
        before.as_deref().and_then(|text| text.lines().find_map(|line| line.trim().strip_prefix("server: https://")));
    if let Some(address) = server.and_then(|address| address.parse::<SocketAddr>().ok())
        && let Ok(listener) = TcpListener::bind(address).await
    {
        return Ok(listener);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

fn remembered_clock(dir: &Path) -> Duration {
    let text = fs::read_to_string(dir.join("clock")).unwrap_or_default();
    text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
}

fn save_clock(clock: Clock, dir: &Path) -> Result<(), ServeError> {
    let (path, part) = (dir.join("clock"), dir.join("clock.part"));
    fs::write(&part, format!("{:.3}\n", clock.now().as_secs_f64()))
        .and_then(|()| fs::rename(&part, &path))
        .map_err(|source| file_error(&path, source))
}

async fn remember_clock(clock: Clock, dir: PathBuf) {
    let mut ticks = tokio::time::interval(CLOCK_TICK);
    loop {
        ticks.tick().await;
        if let Err(error) = save_clock(clock, &dir) {
            tracing::warn!(%error, "profile time is not written down");
        }
    }
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
