//! `democtl status`: how environments stand.

use std::fmt::Write as _;

use clap::Args;
use democtl_core::cost::PriceKind;
use serde::Serialize;

use super::{Settings, session};
use crate::{
    demo_app::DemoApp,
    environment::Environment,
    failure::{Failure, Kind, OrFail as _},
    ledger::{Effect, Step},
    observe::{Counts, Observer, Recorder, Subject},
    target::{Infra, State, Target, azure::pools::Pools},
};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The environment's name; all of them when left out
    #[arg(long, short, env = "DEMOCTL_NAME", value_name = "NAME")]
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    environment: String,
    profile: String,
    target: String,
    speed: f64,
    cluster: State,
    delivered: bool,
    address: Option<String>,
    counts: Option<Counts>,
    queue: Option<u64>,
    usd_per_hour: Option<f64>,
    /// Where that price is from, and of when.
    prices: Option<String>,
    /// Whether it is a price of now, of some time ago, or of the table in this binary.
    price_kind: Option<PriceKind>,
    /// The node pools as the cloud has them; left out where there is no cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud: Option<Pools>,
    /// Where the cluster is not as the profile has it; left out when it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drift: Vec<String>,
    kubeconfig: String,
}

pub(super) async fn run(args: StatusArgs, settings: &Settings) -> Result<(), Failure> {
    let names = match args.name {
        Some(name) => vec![settings.home.pick(Some(&name))?.name],
        None => settings.home.names().or_fail(Kind::Other, || "cannot list the environments".to_owned())?,
    };
    let mut all = Vec::new();
    let mut damaged = None;
    for name in names {
        match status_of(&settings.home.pick(Some(&name))?, settings).await {
            Ok(status) => all.push(status),
            Err(failure) => damaged = damaged.or(Some(failure)),
        }
    }
    // One that cannot be read does not hide the others.
    if let Some(failure) = damaged {
        if !all.is_empty() {
            settings.result(&all, || all.iter().map(human).collect())?;
        }
        return Err(failure);
    }
    settings.result(&all, || match all.as_slice() {
        [] => "no environment is set up\nhint: democtl setup --profile m3demo2, or democtl demo".to_owned(),
        all => all.iter().map(human).collect(),
    })
}

async fn status_of(environment: &Environment, settings: &Settings) -> Result<Status, Failure> {
    let kubeconfig = environment.kubeconfig().display().to_string();
    let Some(request) = environment.request()? else {
        return Ok(Status {
            environment: environment.name.clone(),
            profile: String::new(),
            target: String::new(),
            speed: 1.0,
            cluster: State::Absent,
            delivered: false,
            address: None,
            counts: None,
            queue: None,
            usd_per_hour: None,
            prices: None,
            price_kind: None,
            cloud: None,
            drift: Vec::new(),
            kubeconfig,
        });
    };
    let infra = Infra::of(environment, Some(&request), &settings.context())?;
    let cluster = infra.describe().await;
    let (drift, cloud) = match cluster {
        State::Running { .. } => {
            let not_known = |failure| vec![format!("not known: {failure}")];
            // The first that cannot be known says why.
            (infra.drift().await.unwrap_or_else(not_known), infra.pools().await.ok().flatten())
        }
        _ => (Vec::new(), None),
    };
    let delivered = environment.ledger()?.standing(Effect::Delivery) == Some(Step::Done);
    let mut status = Status {
        environment: environment.name.clone(),
        profile: request.profile.clone(),
        target: request.target.to_string(),
        speed: request.speed,
        cluster,
        delivered,
        address: None,
        counts: None,
        queue: None,
        usd_per_hour: None,
        prices: None,
        price_kind: None,
        cloud,
        drift,
        kubeconfig,
    };
    if let (State::Running { .. }, Ok(subject)) = (&status.cluster, session::look(environment, settings).await) {
        let recorder = Recorder::new(None, request.speed)?;
        // The cloud was asked already.
        let subject = Subject { cloud: None, ..subject };
        let observer = Observer::start(&subject, &recorder);
        crate::run::wait_until_known(&recorder).await;
        let moment = recorder.moment();
        observer.stop().await;
        status.queue = DemoApp::default().status(&subject.address).await.ok().map(|app| app.queue_depth);
        status.usd_per_hour = subject.profile.prices.per_hour(&moment.billed_nodes());
        let prices = &subject.profile.prices;
        status.prices = status.usd_per_hour.map(|_| format!("{}, {}", prices.origin, prices.as_of));
        status.price_kind = status.usd_per_hour.map(|_| prices.kind);
        status.counts = Some(moment.now);
        status.address = Some(subject.address);
    }
    Ok(status)
}

fn human(status: &Status) -> String {
    let state = match &status.cluster {
        State::Running { server, pid } => {
            format!("running at {server}{}", pid.map_or_else(String::new, |pid| format!(" (pid {pid})")))
        }
        State::Down { reason } => format!("down: {reason}"),
        State::Absent => "not made".to_owned(),
    };
    let mut text = format!("{}  {} on {}, {state}\n", status.environment, status.profile, status.target);
    if let Some(counts) = &status.counts {
        let pods: Vec<_> = counts.pods.iter().map(|(name, pods)| format!("{name} {pods}")).collect();
        let _ = writeln!(text, "  nodes  {}\n  pods   {}", counts.nodes, pods.join(", "));
    }
    for pool in status.cloud.iter().flat_map(|cloud| &cloud.pools) {
        let _ = writeln!(text, "  pool   {}: {}, {}", pool.name, pool.state, pool.words());
    }
    if let Some(cloud) = status.cloud.as_ref().filter(|cloud| !cloud.autoscaler.is_empty()) {
        let settings: Vec<_> = cloud.autoscaler.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let _ = writeln!(text, "  scaler {}", settings.join(", "));
    }
    if let Some(queue) = status.queue {
        let _ = writeln!(text, "  queue  {queue}");
    }
    if let Some(usd) = status.usd_per_hour {
        let virtual_nodes = status.target == Target::Local.to_string();
        let note = if virtual_nodes { " (virtual nodes on the local target cost nothing)" } else { "" };
        let prices = status.prices.as_deref().unwrap_or("prices of unknown origin");
        let _ = writeln!(text, "  cost   ${usd:.2}/h by {prices}{note}");
    }
    if let Some(address) = &status.address {
        let _ = writeln!(text, "  web    {address}");
    }
    for difference in &status.drift {
        let _ = writeln!(text, "  drift  {difference}");
    }
    match (&status.cluster, status.delivered) {
        (State::Running { .. }, true) => {}
        _ => {
            let _ = writeln!(text, "  hint: democtl setup goes on where it stopped; democtl cleanup removes it");
        }
    }
    text
}
