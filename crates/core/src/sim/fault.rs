//! Things that go wrong on purpose.

use std::{str::FromStr, time::Duration};

use super::{World, agenda::Happening};
use crate::{profile::Role, units};

/// The node controller takes a silent node for lost after so long (`--node-monitor-grace-period`).
const NODE_GRACE: Duration = Duration::from_secs(50);

/// A fault, in profile time since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A node with web pods loses power.
    NodeLost {
        /// When.
        at: Duration,
    },
    /// No machine can be had.
    ZoneShort {
        /// From when.
        at: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// Pulling an image takes this long.
    SlowRegistry {
        /// Time of one pull.
        pull: Duration,
    },
    /// Redis does not answer.
    RedisPause {
        /// From when.
        at: Duration,
        /// For how long.
        lasts: Duration,
    },
}

/// A fault that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not node-lost@TIME, zone-short@TIME+DURATION, slow-registry=DURATION or redis-pause@TIME+DURATION")]
pub struct FaultError(String);

impl FromStr for Fault {
    type Err = FaultError;

    /// Reads `redis-pause@16m+30s`.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let wrong = || FaultError(text.to_owned());
        let duration = |text: &str| units::parse_duration(text).map_err(|_| wrong());
        if let Some(pull) = text.strip_prefix("slow-registry=") {
            return Ok(Self::SlowRegistry { pull: duration(pull)? });
        }
        let (kind, times) = text.split_once('@').ok_or_else(wrong)?;
        let span = || {
            let (at, lasts) = times.split_once('+').ok_or_else(wrong)?;
            Ok((duration(at)?, duration(lasts)?))
        };
        match kind {
            "node-lost" => Ok(Self::NodeLost { at: duration(times)? }),
            "zone-short" => span().map(|(at, lasts)| Self::ZoneShort { at, lasts }),
            "redis-pause" => span().map(|(at, lasts)| Self::RedisPause { at, lasts }),
            _ => Err(wrong()),
        }
    }
}

impl World<'_> {
    /// Plans the faults of the run, which begins now.
    pub(super) fn plan_faults(&mut self) {
        for (index, fault) in self.options.faults.iter().enumerate() {
            let index = index as u32;
            match fault {
                Fault::SlowRegistry { pull } => self.image_pull = *pull,
                Fault::NodeLost { at } | Fault::ZoneShort { at, .. } | Fault::RedisPause { at, .. } => {
                    self.agenda.plan(self.now + self.real(*at), Happening::Fault { index, part: 0 });
                }
            }
        }
    }

    /// A fault begins, or goes on.
    pub(super) fn fault(&mut self, index: u32, part: u32) {
        if index == u32::MAX {
            return self.probe_store();
        }
        match (self.options.faults[index as usize], part) {
            (Fault::ZoneShort { lasts, .. }, _) => self.short_until = self.now + self.real(lasts),
            // Redis' own time: requests wait for it in theirs.
            (Fault::RedisPause { lasts, .. }, 0) => {
                let lasts = self.real(lasts);
                self.store.paused_until = self.now + lasts;
                self.note("Pod", "redis", "Paused", "redis does not answer", "Warning");
                self.store_changed();
                self.agenda.plan(self.now + lasts, Happening::Fault { index, part: 1 });
            }
            (Fault::RedisPause { .. }, _) => {
                self.note("Pod", "redis", "Resumed", "redis answers again", "Normal");
                self.store_changed();
                self.wake_workers();
            }
            (Fault::NodeLost { .. }, 0) => self.lose_node(index),
            (Fault::NodeLost { .. }, node) => {
                self.remove_machine(node, "removed", "the machine is gone (fault)");
            }
            (Fault::SlowRegistry { .. }, _) => {}
        }
    }

    /// The node with most web pods, Redis' own last, loses power: its processes end now, the cluster learns of it later.
    fn lose_node(&mut self, index: u32) {
        let web = self.web.map(|web| web.deployment);
        let rank = |number: u32| {
            let on = |is: &dyn Fn(usize) -> bool| {
                self.pods.iter().filter(|pod| pod.node == Some(number) && is(pod.workload)).count()
            };
            let has_redis = on(&|workload| self.redis == Some(workload)) > 0;
            (has_redis, std::cmp::Reverse(on(&|workload| web == Some(workload))), number)
        };
        let Some(number) = self.machines.iter().map(|machine| machine.number).min_by_key(|number| rank(*number)) else {
            return;
        };
        let name = self.machines.iter().find(|machine| machine.number == number).map(|machine| machine.name.clone());
        self.note("Node", &name.unwrap_or_default(), "NodeLost", "the machine lost power (fault)", "Warning");
        for pod in 0..self.pods.len() as u32 {
            if self.pods[pod as usize].node == Some(number) {
                self.kill(pod);
                let runs_redis = self.workload_of(pod).is_some_and(|workload| workload.role == Role::Redis);
                if runs_redis {
                    self.set_ready(pod, false);
                }
            }
        }
        self.agenda.plan(self.now + self.real(NODE_GRACE), Happening::Fault { index, part: number });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_others_refused() {
        let seconds = Duration::from_secs;
        assert_eq!("node-lost@17m".parse(), Ok(Fault::NodeLost { at: seconds(1020) }));
        assert_eq!("redis-pause@1m+30s".parse(), Ok(Fault::RedisPause { at: seconds(60), lasts: seconds(30) }));
        assert_eq!("slow-registry=90s".parse(), Ok(Fault::SlowRegistry { pull: seconds(90) }));
        for wrong in ["", "node-lost", "zone-short@1m", "fire@1m", "redis-pause@1+2"] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
