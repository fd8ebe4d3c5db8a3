//! What happens to the pools while somebody watches: states, limits, machines that run, operations that failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use democtl_core::event::Fact;
use futures::future::BoxFuture;

use super::{
    activity::{self, FailedOperation},
    arm::{Arm, ArmError},
    pools::{self, Pool, Pools},
};
use crate::observe::Cloud;

/// Looks at one cluster, and remembers what it told.
#[derive(Debug)]
pub struct Watch {
    arm: Arm,
    subscription: String,
    cluster: String,
    /// Resource group of the nodes.
    nodes: String,
    since: DateTime<Utc>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    pools: BTreeMap<String, Pool>,
    autoscaler: BTreeMap<String, String>,
    machines: BTreeSet<String>,
    failures: BTreeSet<String>,
    trouble: Option<String>,
}

impl Watch {
    /// Watches from `since` on.
    pub fn new(arm: Arm, subscription: &str, cluster: &str, nodes: &str, since: DateTime<Utc>) -> Self {
        let (subscription, cluster, nodes) = (subscription.to_owned(), cluster.to_owned(), nodes.to_owned());
        Self { arm, subscription, cluster, nodes, since, told: Mutex::default() }
    }

    async fn read(&self) -> Result<(Pools, Vec<FailedOperation>), ArmError> {
        let failures = activity::failures(&self.arm, &self.subscription, &self.nodes, self.since);
        let (pools, failures) = tokio::join!(pools::read(&self.arm, &self.cluster), failures);
        Ok((pools?, failures?))
    }
}

impl Cloud for Watch {
    fn look(&self) -> BoxFuture<'_, Vec<Fact>> {
        Box::pin(async {
            let read = self.read().await;
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            match read {
                Ok((pools, failures)) => told.news(&pools, &failures),
                Err(error) => told.trouble(error.to_string()),
            }
        })
    }
}

impl Told {
    fn news(&mut self, pools: &Pools, failures: &[FailedOperation]) -> Vec<Fact> {
        self.trouble = None;
        let mut facts = Vec::new();
        for pool in &pools.pools {
            // Machines are told one by one, but for those that were there before.
            let plain = Pool { machines: Vec::new(), ..pool.clone() };
            let known = self.pools.insert(pool.name.clone(), plain.clone());
            if known.as_ref() != Some(&plain) {
                let words = if known.is_none() { pool.words() } else { plain.words() };
                let failed = pool.state == "Failed" || pool.error.is_some();
                facts.push(cloud(format!("pool {}", pool.name), &pool.state, words, failed));
            }
            for machine in pool.machines.iter().filter(|machine| machine.boot_s.is_some()) {
                if self.machines.insert(machine.name.clone()) && known.is_some() {
                    let words =
                        format!("pool {}, {:.0} s after it was asked for", pool.name, machine.boot_s.unwrap_or(0.0));
                    facts.push(cloud(format!("machine {}", machine.name), "runs", words, false));
                }
            }
        }
        if self.autoscaler != pools.autoscaler {
            self.autoscaler.clone_from(&pools.autoscaler);
            let settings: Vec<_> = pools.autoscaler.iter().map(|(name, value)| format!("{name} {value}")).collect();
            facts.push(cloud("autoscaler".to_owned(), "settings", settings.join(", "), false));
        }
        for failure in failures.iter().filter(|failure| self.failures.insert(failure.id.clone())) {
            let trouble = &failure.trouble;
            facts.push(cloud(failure.resource.clone(), &trouble.code, trouble.message.clone(), true));
        }
        facts
    }

    /// Azure does not answer: told once, until it does again.
    fn trouble(&mut self, error: String) -> Vec<Fact> {
        if self.trouble.as_ref() == Some(&error) {
            return Vec::new();
        }
        let fact = cloud("azure".to_owned(), "not known", error.clone(), false);
        self.trouble = Some(error);
        vec![fact]
    }
}

fn cloud(object: String, state: &str, message: String, failed: bool) -> Fact {
    Fact::Cloud { object, state: state.to_owned(), message, failed }
}
