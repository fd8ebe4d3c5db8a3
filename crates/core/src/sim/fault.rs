//! Things that go wrong on purpose.

use std::{str::FromStr, time::Duration};

use super::{ForecastError, World, agenda::Happening};
use crate::units;

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

impl Fault {
    /// When it begins, since the run began; none: from the first moment on.
    fn at(&self) -> Option<Duration> {
        match self {
            Self::NodeLost { at } | Self::ZoneShort { at, .. } | Self::RedisPause { at, .. } => Some(*at),
            Self::SlowRegistry { .. } => None,
        }
    }
}

impl World<'_> {
    /// Refuses faults that the run ended before.
    pub(super) fn all_faults_began(&self) -> Result<(), ForecastError> {
        let end_s = self.at_s();
        match self.options.faults.iter().filter_map(Fault::at).find(|at| at.as_secs_f64() > end_s) {
            Some(at) => Err(ForecastError::LateFault { at, end: Duration::from_secs_f64(end_s.floor()) }),
            None => Ok(()),
        }
    }

    /// Plans the faults of the run, which begins now.
    pub(super) fn plan_faults(&mut self) {
        for (index, fault) in self.options.faults.iter().enumerate() {
            let index = index as u32;
            if let Fault::SlowRegistry { pull } = fault {
                self.image_pull = *pull;
            }
            if let Some(at) = fault.at() {
                self.agenda.plan(self.now + self.real(at), Happening::Fault { index, part: 0 });
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
        self.lose_machine(number);
        self.agenda.plan(self.now + self.real(NODE_GRACE), Happening::Fault { index, part: number });
    }

    fn lose_machine(&mut self, number: u32) {
        let Some(machine) = self.machines.iter_mut().find(|machine| machine.number == number) else { return };
        machine.dead = true;
        let name = machine.name.clone();
        self.note("Node", &name, "NodeLost", "the machine lost power (fault)", "Warning");
        let had_store = self.store_is_up();
        for pod in 0..self.pods.len() as u32 {
            if self.pods[pod as usize].node == Some(number) {
                self.kill(pod);
            }
        }
        if had_store && !self.store_is_up() {
            self.store_changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Options, cluster::Phase},
        *,
    };
    use crate::{event::Fact, profile::Profile};

    fn profile(sets: &[(&str, &str)]) -> Profile {
        let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        Profile::load_builtin("m3demo2", &sets).expect("it is built in").expect("it is right")
    }

    #[test]
    fn nothing_comes_to_life_on_a_dead_machine() {
        let (profile, options) = (profile(&[]), Options::default());
        let mut world = World::new(&profile, &options, false).expect("a world");
        let web = world.web.expect("it has web pods").deployment;
        world.scale(web, 8, String::new(), "test");
        world.reconcile();
        world.lose_node(0);
        let dead = world.machines.iter().find(|machine| machine.dead).expect("one is lost").number;
        let ids: Vec<u32> =
            (0..world.pods.len() as u32).filter(|pod| world.pods[*pod as usize].node == Some(dead)).collect();
        let is = |world: &World<'_>, phase| ids.iter().filter(|pod| world.pods[**pod as usize].phase == phase).count();
        assert!(is(&world, Phase::Starting) > 0 && is(&world, Phase::Running) > 0, "pods of both kinds are on it");
        let starting = is(&world, Phase::Starting);
        for pod in &ids {
            let was_ready = world.pods[*pod as usize].ready;
            world.started(*pod);
            world.serving(*pod);
            world.set_ready(*pod, !was_ready);
            assert_eq!(world.pods[*pod as usize].ready, was_ready, "its kubelet tells nothing");
            assert!(!world.pods[*pod as usize].process.up);
        }
        assert_eq!(is(&world, Phase::Starting), starting);
    }

    #[test]
    fn web_pods_learn_that_redis_died_with_its_machine() {
        let (profile, options) = (profile(&[]), Options::default());
        let mut world = World::new(&profile, &options, false).expect("a world");
        let redis = world.workloads[world.redis.expect("it has Redis")].pods[0];
        let number = world.pods[redis as usize].node.expect("it runs");
        world.lose_machine(number);
        assert!(!world.store_is_up());
        let other = |pod: &u32| world.pods[*pod as usize].node != Some(number);
        let web = world.workloads[world.web.expect("it has web pods").deployment].pods.clone();
        let alive: Vec<u32> = web.into_iter().filter(other).collect();
        assert!(alive.iter().all(|pod| world.pods[*pod as usize].ready) && !alive.is_empty(), "nobody has probed yet");
        let probes = std::iter::from_fn(|| world.agenda.pop());
        let probe = probes.into_iter().find(|(_, what)| *what == Happening::Fault { index: u32::MAX, part: 0 });
        let (at, what) = probe.expect("a probe is planned");
        assert!(at <= 30_000_000_000, "by the readiness probe's threshold: {at} ns");
        world.now = at;
        world.happen(what);
        assert!(alive.iter().all(|pod| !world.pods[*pod as usize].ready), "their readiness asks Redis");
    }

    #[test]
    fn a_short_zone_is_asked_again_by_the_autoscalers_own_back_off() {
        let (profile, options) = (profile(&[]), Options::default());
        let mut world = World::new(&profile, &options, false).expect("a world");
        let web = world.web.expect("it has web pods").deployment;
        (world.origin, world.short_until) = (Some(0), u64::MAX);
        world.scaled.clear();
        world.scale(web, 20, "more than fit".to_owned(), "test");
        world.reconcile();
        while world.now < 1_300_000_000_000 {
            let (at, what) = world.agenda.pop().expect("loops go on");
            world.now = at;
            world.happen(what);
            world.reconcile();
        }
        let end_s = world.at_s();
        let (events, _) = world.book.close(end_s);
        let refused = |event: &crate::event::Event| match &event.fact {
            Fact::Kubernetes { reason, .. } if reason == "FailedScaleUp" => Some(event.at_s),
            _ => None,
        };
        let times: Vec<f64> = events.iter().filter_map(refused).collect();
        let pauses: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.len() >= 2, "{times:?}");
        assert!((300.0..=330.0).contains(&pauses[0]) && (600.0..=630.0).contains(&pauses[1]), "{pauses:?}");
    }

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
