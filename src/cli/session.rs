//! Brings an environment up, or joins one that is up: what `setup`, `demo`, `run-tests` and `watch` share.

use std::{sync::Arc, time::Duration};

use democtl_core::{profile::Profile, render};
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::Settings;
use crate::{
    VERSION,
    delivery::{self, apply, health},
    environment::{Environment, Lock, Request},
    failure::{Failure, Kind, OrFail as _},
    ledger::{Effect, Step},
    observe::Subject,
    run::Session,
    target::{
        Infra, State, Target,
        azure::{Question, expiry},
    },
    ui,
};

/// An environment that is up.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) session: Session,
    /// Whether anything was made now.
    pub(super) changed: bool,
    /// Keeps others from changing it.
    #[expect(dead_code, reason = "held for its drop")]
    pub(super) lock: Lock,
}

/// How long the API of a cluster that is there may take to answer, in real time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// How long the delivery may take, in real time at any speed.
fn default_patience(target: Target) -> Duration {
    match target {
        Target::Local => Duration::from_secs(120),
        // Images are pulled and a load balancer is made.
        Target::Azure => Duration::from_secs(900),
    }
}

/// Who agrees to a plan that costs money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// It was agreed to on the command line.
    Yes,
    /// The person at the terminal.
    Person,
    /// Nobody: this command makes nothing that costs.
    Never,
}

impl Ask {
    /// Of a command's `--yes`.
    pub(super) fn unless(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::Person }
    }

    /// The answer to a question of the azure target.
    pub(super) async fn answer(self, question: Question, cancel: CancellationToken) -> Result<bool, Failure> {
        match (question, self) {
            (Question::Apply, _) => self.consent("apply this plan?", cancel).await,
            // `--yes` agrees to what a plan shows, and this is not in it.
            (Question::Register, Self::Yes | Self::Never) => Ok(false),
            (Question::Register, Self::Person) => {
                let answer = self.consent("register these resource providers?", cancel).await;
                // Where nobody can be asked, preflight tells what is missing.
                answer.or_else(|failure| if failure.kind() == Kind::Usage { Ok(false) } else { Err(failure) })
            }
        }
    }

    /// Whether the answer is yes.
    pub(super) async fn consent(self, question: &'static str, cancel: CancellationToken) -> Result<bool, Failure> {
        match self {
            Self::Yes => Ok(true),
            Self::Person => tokio::select! {
                answer = ui::confirm(question) => answer?.ok_or_else(|| {
                    Failure::msg(Kind::Usage, "nobody can be asked: standard input is no terminal")
                        .hint("give --yes to agree beforehand")
                }),
                () = cancel.cancelled() => Err(Failure::msg(Kind::Cancelled, "cancelled at the question: nothing was done")),
            },
            Self::Never => Err(Failure::msg(Kind::Infrastructure, "the cluster is not as setup leaves it")
                .hint("democtl setup goes on where it stopped")),
        }
    }
}

/// Makes what is missing of an environment, in the order of the ledger, and waits until it is healthy.
pub(super) async fn establish(
    environment: &Environment,
    mut request: Request,
    profile: Profile,
    ask: Ask,
    healthy_within: Option<Duration>,
    settings: &Settings,
) -> Result<Established, Failure> {
    environment.make_dir().or_fail(Kind::Other, || format!("cannot make {}", environment.dir.display()))?;
    let lock = environment.lock()?;
    let known = environment.request()?;
    if let Some(known) = &known
        && *known != request
    {
        return Err(changed(environment, known, &request));
    }
    if let Some(place) = &mut request.azure {
        // Who works with it needs it for longer.
        place.expires_at = expiry::after(chrono::Utc::now());
    }
    environment.remember(&request)?;
    let mut ledger = environment.ledger()?;
    let infra = Infra::of(environment, Some(&request), &settings.context())?;
    if known.is_some() {
        push_out(&infra, settings).await?;
    }
    let state = infra.describe().await;
    // An apply that was killed may have left a cluster that runs and lacks pools: only the ledger knows.
    let half_made = request.target == Target::Azure && ledger.standing(Effect::Cluster) != Some(Step::Done);
    let running = matches!(state, State::Running { .. }) && !half_made;
    // What was delivered went with its cluster, whatever the ledger says: a cleanup may have been killed.
    let delivered = state != State::Absent && ledger.standing(Effect::Delivery) == Some(Step::Done);
    let changed = !(running && delivered);
    if changed {
        ui::note(&format!("{}: {}", environment.name, profile.description));
    }
    let id = infra.id(environment);
    let kubeconfig = if running {
        let kubeconfig = infra.join(&request, &profile).await?;
        if ledger.standing(Effect::Cluster) == Some(Step::Begun) {
            // A setup was interrupted between the cluster's start and its entry.
            ledger.done(Effect::Cluster, &id)?;
        }
        kubeconfig
    } else {
        let agreed = infra.prepare(&|question| Box::pin(ask.answer(question, settings.cancel.clone()))).await;
        let prepared = match agreed.and_then(|prepared| unless_cancelled(settings, prepared)) {
            Err(failure) if known.is_none() && ledger.entries().is_empty() => {
                // Nothing was begun: there is no environment to clean up.
                let _ = std::fs::remove_dir_all(&environment.dir);
                return Err(failure);
            }
            prepared => prepared?,
        };
        ledger.begin(Effect::Cluster, &id)?;
        let made = infra.make(&prepared, &request, &profile);
        // Terraform is asked to stop and awaited by its driver; dropping it here would leave it alone.
        let kubeconfig = match request.target {
            Target::Local => until_cancelled(settings, made).await?,
            Target::Azure => made.await?,
        };
        ledger.done(Effect::Cluster, &id)?;
        kubeconfig
    };
    let client = delivery::connect(&kubeconfig).await?;
    until_cancelled(settings, delivery::wait_until_ready(&client, ANSWERS_WITHIN)).await?;
    if !delivered {
        ledger.begin(Effect::Delivery, &id)?;
        until_cancelled(settings, deliver(&client, environment, &profile)).await?;
    }
    let within = healthy_within.unwrap_or_else(|| default_patience(request.target));
    let address = until_cancelled(settings, health::wait_until_serving(&client, within)).await?;
    if !delivered {
        ledger.done(Effect::Delivery, &id)?;
    }
    let profile = Arc::new(priced(request.target, profile, settings).await);
    let subject = Subject { client, address, profile, speed: request.speed, cloud: infra.cloud()? };
    let session = Session { environment: environment.clone(), request, subject };
    Ok(Established { session, changed, lock })
}

/// Joins an environment that was set up; a cluster that died is brought back first.
pub(super) async fn join(environment: &Environment, settings: &Settings) -> Result<Established, Failure> {
    let request = environment.require_request()?;
    let profile = request.profile()?;
    establish(environment, request, profile, Ask::Never, None, settings).await
}

/// An environment past its time may be removed by anybody. One that cannot be pushed out is used all the same.
async fn push_out(infra: &Infra, settings: &Settings) -> Result<(), Failure> {
    match until_cancelled(settings, infra.push_out()).await {
        Err(failure) if failure.kind() != Kind::Cancelled => {
            ui::note(&format!("{failure}\n  from its end on, democtl cleanup --expired removes it"));
            Ok(())
        }
        done => done,
    }
}

/// A subject to look at without changing or locking anything.
pub(super) async fn look(environment: &Environment, settings: &Settings) -> Result<Subject, Failure> {
    let request = environment.require_request()?;
    let infra = Infra::of(environment, Some(&request), &settings.context())?;
    let hint = || format!("democtl setup --profile {} --name {}", request.profile, environment.name);
    if let State::Down { reason } = infra.describe().await {
        return Err(Failure::msg(
            Kind::Infrastructure,
            format!("the cluster of {} is down: {reason}", environment.name),
        )
        .hint(hint()));
    }
    let client = delivery::connect(&environment.kubeconfig()).await?;
    let address = health::web_address(&client)
        .await
        .or_fail(Kind::Infrastructure, || format!("the cluster of {} does not answer", environment.name))?
        .ok_or_else(|| {
            Failure::msg(Kind::Delivery, format!("{} has no web address yet", environment.name)).hint(hint())
        })?;
    let profile = Arc::new(priced(request.target, request.profile()?, settings).await);
    Ok(Subject { client, address, profile, speed: request.speed, cloud: infra.cloud()? })
}

/// The profile with the prices of now, where machines cost money.
async fn priced(target: Target, mut profile: Profile, settings: &Settings) -> Profile {
    if target == Target::Azure {
        profile.prices = settings.azure.prices_of(&profile).await;
    }
    profile
}

/// The last moment at which a Ctrl-C leaves nothing behind.
fn unless_cancelled<T>(settings: &Settings, value: T) -> Result<T, Failure> {
    if settings.cancel.is_cancelled() {
        return Err(Failure::msg(Kind::Cancelled, "cancelled: nothing was made"));
    }
    Ok(value)
}

async fn until_cancelled<T>(settings: &Settings, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        () = settings.cancel.cancelled() => {
            Err(Failure::msg(Kind::Cancelled, "cancelled").hint("setup goes on where it stopped; cleanup removes it"))
        }
    }
}

/// The platform, then the application by way of Argo CD.
async fn deliver(client: &Client, environment: &Environment, profile: &Profile) -> Result<(), Failure> {
    let dir = environment.deploy_dir();
    let parts = render::parts(profile, VERSION);
    for part in &parts {
        apply::write_manifests(&dir.join(part.name), &part.manifests)?;
    }
    let source = render::GitSource {
        repo_url: format!("file://{}", dir.display()),
        revision: "HEAD".to_owned(),
        path: ".".to_owned(),
    };
    apply::apply(client, &render::namespaces()).await?;
    apply::apply(client, &render::daemon_sets()).await?;
    apply::apply(client, &render::platform()).await?;
    apply::apply(client, &render::applications(&parts, &source)).await
}

fn changed(environment: &Environment, known: &Request, wanted: &Request) -> Failure {
    let mut differences = Vec::new();
    if known.profile != wanted.profile || known.sources != wanted.sources {
        differences.push(format!("profile {} (now {})", known.profile, wanted.profile));
    }
    if known.sets != wanted.sets {
        differences.push("overrides (--set)".to_owned());
    }
    if known.target != wanted.target {
        differences.push(format!("target {}", known.target));
    }
    if known.azure != wanted.azure {
        let of = |request: &Request| request.azure.as_ref().map_or("none", |place| &place.subscription).to_owned();
        differences.push(format!("subscription, module or place of the state ({}, now {})", of(known), of(wanted)));
    }
    if (known.speed - wanted.speed).abs() > f64::EPSILON {
        differences.push(format!("speed {} (now {})", known.speed, wanted.speed));
    }
    if known.seed != wanted.seed {
        differences.push(format!("seed {} (now {})", known.seed, wanted.seed));
    }
    let name = &environment.name;
    Failure::msg(Kind::Preflight, format!("environment {name} was set up otherwise: {}", differences.join(", ")))
        .hint(format!("democtl cleanup --name {name}, or choose another name with --name"))
}
