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

    async fn read(&self) -> (Result<Pools, ArmError>, Result<Vec<FailedOperation>, ArmError>) {
        let failures = activity::failures(&self.arm, &self.subscription, &self.nodes, self.since);
        tokio::join!(pools::read(&self.arm, &self.cluster), failures)
    }
}

impl Cloud for Watch {
    fn look(&self) -> BoxFuture<'_, Vec<Fact>> {
        Box::pin(async {
            let (pools, failures) = self.read().await;
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            // A role that may not read the one may read the other.
            let trouble = pools.as_ref().err().or(failures.as_ref().err()).map(ToString::to_string);
            let mut facts = pools.map_or_else(|_| Vec::new(), |pools| told.of_pools(&pools));
            facts.extend(failures.map_or_else(|_| Vec::new(), |failures| told.of_failures(&failures)));
            facts.extend(told.of_trouble(trouble));
            facts
        })
    }
}

impl Told {
    fn of_pools(&mut self, pools: &Pools) -> Vec<Fact> {
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
        facts
    }

    fn of_failures(&mut self, failures: &[FailedOperation]) -> Vec<Fact> {
        let new = failures.iter().filter(|failure| self.failures.insert(failure.id.clone()));
        let fact = |failure: &FailedOperation| {
            let trouble = &failure.trouble;
            cloud(failure.resource.clone(), &trouble.code, trouble.message.clone(), true)
        };
        new.map(fact).collect()
    }

    /// Azure does not answer: told once, until it does again.
    fn of_trouble(&mut self, trouble: Option<String>) -> Option<Fact> {
        let new = trouble.clone().filter(|trouble| self.trouble.as_ref() != Some(trouble));
        self.trouble = trouble;
        new.map(|trouble| cloud("azure".to_owned(), "not known", trouble, false))
    }
}

fn cloud(object: String, state: &str, message: String, failed: bool) -> Fact {
    Fact::Cloud { object, state: state.to_owned(), message, failed }
}

#[cfg(test)]
mod tests {
    use super::{super::pools::Machine, *};

    fn told(facts: &[Fact]) -> Vec<String> {
        let line = |fact: &Fact| match fact {
            Fact::Cloud { object, state, message, failed } => format!("{object} {state}: {message} ({failed})"),
            other => format!("{other:?}"),
        };
        facts.iter().map(line).collect()
    }

    #[test]
    fn only_what_is_new_is_told() {
        let machine = |name: &str, boot_s| Machine { name: name.into(), state: String::new(), made: None, boot_s };
        let mut pool = Pool { name: "main".into(), vm_size: "D4".into(), state: "Succeeded".into(), ..Pool::default() };
        pool.count = 1;
        pool.limits = Some((1, 7));
        pool.machines = vec![machine("a", Some(60.0))];
        let mut pools =
            Pools { pools: vec![pool], autoscaler: BTreeMap::from([("scan-interval".into(), "10s".into())]) };
        let mut known = Told::default();
        let first = told(&known.of_pools(&pools));
        let words = "1 node (autoscaler 1-7) x D4";
        let boot = "it ran 1m after it was asked for";
        assert_eq!(
            first,
            [
                format!("pool main Succeeded: {words}, {boot} (false)"),
                "autoscaler settings: scan-interval 10s (false)".to_owned(),
            ]
        );
        assert_eq!(known.of_pools(&pools), []);
        pools.pools[0].count = 2;
        pools.pools[0].machines.push(machine("b", None));
        assert_eq!(told(&known.of_pools(&pools)), ["pool main Succeeded: 2 nodes (autoscaler 1-7) x D4 (false)"]);
        pools.pools[0].machines[1].boot_s = Some(71.4);
        assert_eq!(told(&known.of_pools(&pools)), ["machine b runs: pool main, 71 s after it was asked for (false)"]);
        assert_eq!(known.of_pools(&pools), []);
    }

    #[test]
    fn an_azure_that_does_not_answer_is_told_once() {
        let mut known = Told::default();
        assert!(known.of_trouble(Some("no answer".into())).is_some());
        assert!(known.of_trouble(Some("no answer".into())).is_none());
        assert!(known.of_trouble(None).is_none());
        assert!(known.of_trouble(Some("no answer".into())).is_some());
    }
}
