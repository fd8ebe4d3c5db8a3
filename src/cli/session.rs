//! Brings an environment up, or joins one that is up: what `setup`, `demo`, `run-tests` and `watch` share.

use std::{sync::Arc, time::Duration};

use democtl_core::{profile::Profile, render, units::parse_duration};
use kube::Client;

use super::Settings;
use crate::{
    VERSION,
    delivery::{self, apply, health},
    environment::{Environment, Lock, Request},
    failure::{Failure, Kind, OrFail as _},
    ledger::{Effect, Step},
    observe::Subject,
    run::Session,
    target::{Infra, State},
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

/// How long the delivery may take when nothing else is said, in real time at any speed.
pub(super) const HEALTHY_WITHIN: &str = "2m";

/// Makes what is missing of an environment, in the order of the ledger, and waits until it is healthy.
pub(super) async fn establish(
    environment: &Environment,
    request: Request,
    profile: Profile,
    healthy_within: Duration,
    settings: &Settings,
) -> Result<Established, Failure> {
    environment.make_dir().or_fail(Kind::Other, || format!("cannot make {}", environment.dir.display()))?;
    let lock = environment.lock()?;
    if let Some(known) = environment.request()?
        && known != request
    {
        return Err(changed(environment, &known, &request));
    }
    environment.remember(&request)?;
    let mut ledger = environment.ledger()?;
    let infra = Infra::of(environment, request.target);
    let state = infra.describe().await;
    let running = matches!(state, State::Running { .. });
    // What was delivered went with its cluster, whatever the ledger says: a cleanup may have been killed.
    let delivered = state != State::Absent && ledger.standing(Effect::Delivery) == Some(Step::Done);
    let changed = !(running && delivered);
    if changed {
        ui::note(&format!("{}: {}", environment.name, profile.description));
    }
    let id = environment.dir.display().to_string();
    if !running {
        ledger.begin(Effect::Cluster, &id)?;
    }
    let kubeconfig = until_cancelled(settings, infra.create(&request, &profile)).await?;
    if !running {
        ledger.done(Effect::Cluster, &id)?;
    }
    let client = delivery::connect(&kubeconfig).await?;
    if !delivered {
        ledger.begin(Effect::Delivery, &id)?;
        until_cancelled(settings, deliver(&client, environment, &profile)).await?;
    }
    let address = until_cancelled(settings, health::wait_until_serving(&client, healthy_within)).await?;
    if !delivered {
        ledger.done(Effect::Delivery, &id)?;
    }
    let subject = Subject { client, address, profile: Arc::new(profile), speed: request.speed };
    let session = Session { environment: environment.clone(), request, subject };
    Ok(Established { session, changed, lock })
}

/// Joins an environment that was set up; a cluster that died is brought back first.
pub(super) async fn join(environment: &Environment, settings: &Settings) -> Result<Established, Failure> {
    let request = environment.require_request()?;
    let profile = request.profile()?;
    let healthy_within = parse_duration(HEALTHY_WITHIN).or_fail(Kind::Other, || HEALTHY_WITHIN.to_owned())?;
    establish(environment, request, profile, healthy_within, settings).await
}

/// A subject to look at without changing or locking anything.
pub(super) async fn look(environment: &Environment) -> Result<Subject, Failure> {
    let request = environment.require_request()?;
    let profile = Arc::new(request.profile()?);
    let hint = || format!("democtl setup --profile {} --name {}", request.profile, environment.name);
    if let State::Down { reason } = Infra::of(environment, request.target).describe().await {
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
    Ok(Subject { client, address, profile, speed: request.speed })
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
