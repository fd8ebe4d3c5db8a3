//! Deployment rollouts: how many replicas each `ReplicaSet` gets next.
//!
//! Upstream: `pkg/controller/deployment` of Kubernetes 1.33 (`rolling.go`, `recreate.go`, `sync.go`).

/// How pods are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// All old pods go before new ones come.
    Recreate,
    /// Step by step.
    RollingUpdate {
        /// Pods above the wanted number.
        max_surge: i32,
        /// Pods below the wanted number.
        max_unavailable: i32,
    },
}

/// One `ReplicaSet` of the Deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Set {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// `status.replicas`.
    pub existing: i32,
}

/// Resolves `maxSurge` (rounded up) and `maxUnavailable` (rounded down) of a wanted number; both 0 means 1 unavailable.
pub fn bounds(wanted: i32, surge: IntOrPercent, unavailable: IntOrPercent) -> (i32, i32) {
    let surge = surge.of(wanted, true);
    let unavailable = unavailable.of(wanted, false).min(wanted);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// A number or a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntOrPercent {
    /// A number.
    Int(i32),
    /// A share of the wanted number.
    Percent(i32),
}

impl IntOrPercent {
    fn of(self, whole: i32, up: bool) -> i32 {
        match self {
            Self::Int(value) => value,
            Self::Percent(percent) => {
                let exact = f64::from(whole) * f64::from(percent) / 100.0;
                (if up { exact.ceil() } else { exact.floor() }) as i32
            }
        }
    }
}

/// The next step: new replicas of the new set and of each old set, oldest first. What does not change is as it was.
pub fn decide(wanted: i32, strategy: Strategy, paused: bool, new: Set, old: &[Set]) -> (i32, Vec<i32>) {
    let as_is: Vec<i32> = old.iter().map(|set| set.replicas).collect();
    let waits = strategy == Strategy::Recreate && old.iter().any(|set| set.existing > 0);
    if paused || (old.iter().all(|set| set.replicas == 0) && !waits) {
        // Nothing is being replaced: the only active set has the wanted size.
        let only_new = old.iter().all(|set| set.replicas == 0);
        return (if only_new { wanted } else { new.replicas }, as_is);
    }
    match strategy {
        Strategy::Recreate => {
            // Old sets are scaled to nothing; the new one waits until their pods are gone.
            (new.replicas, vec![0; old.len()])
        }
        Strategy::RollingUpdate { max_surge, max_unavailable } => {
            let next = scale_new(wanted, max_surge, new, old);
            if next != new.replicas {
                return (next, as_is);
            }
            (new.replicas, scale_old(wanted, max_unavailable, new, old))
        }
    }
}

fn scale_new(wanted: i32, max_surge: i32, new: Set, old: &[Set]) -> i32 {
    if new.replicas >= wanted {
        return wanted;
    }
    let all = new.replicas + old.iter().map(|set| set.replicas).sum::<i32>();
    let room = wanted + max_surge - all;
    if room <= 0 { new.replicas } else { new.replicas + room.min(wanted - new.replicas) }
}

fn scale_old(wanted: i32, max_unavailable: i32, new: Set, old: &[Set]) -> Vec<i32> {
    let mut next: Vec<i32> = old.iter().map(|set| set.replicas).collect();
    let all = new.replicas + next.iter().sum::<i32>();
    let min_available = wanted - max_unavailable;
    let unavailable_new = new.replicas - new.available;
    let mut removable = all - min_available - unavailable_new;
    if removable <= 0 {
        return next;
    }
    // Pods that do not serve anyway go first.
    for (set, replicas) in old.iter().zip(&mut next) {
        let unhealthy = (set.replicas - set.available).max(0).min(removable);
        *replicas -= unhealthy;
        removable -= unhealthy;
    }
    let available = new.available + old.iter().map(|set| set.available).sum::<i32>();
    let mut removable = available - min_available;
    for replicas in &mut next {
        let go = (*replicas).min(removable).max(0);
        *replicas -= go;
        removable -= go;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLING: Strategy = Strategy::RollingUpdate { max_surge: 1, max_unavailable: 0 };

    fn set(replicas: i32, available: i32) -> Set {
        Set { replicas, available, existing: replicas }
    }

    #[test]
    fn percentages_round_as_upstream() {
        assert_eq!(bounds(10, IntOrPercent::Percent(25), IntOrPercent::Percent(25)), (3, 2));
        assert_eq!(bounds(1, IntOrPercent::Percent(25), IntOrPercent::Percent(25)), (1, 0));
        assert_eq!(bounds(4, IntOrPercent::Int(0), IntOrPercent::Int(0)), (0, 1));
    }

    #[test]
    fn a_rollout_surges_then_takes_away() {
        assert_eq!(decide(3, ROLLING, false, set(0, 0), &[set(3, 3)]), (1, vec![3]));
        assert_eq!(decide(3, ROLLING, false, set(1, 0), &[set(3, 3)]), (1, vec![3]), "the new pod is not available");
        assert_eq!(decide(3, ROLLING, false, set(1, 1), &[set(3, 3)]), (1, vec![2]));
        assert_eq!(decide(3, ROLLING, false, set(1, 1), &[set(2, 2)]), (2, vec![2]));
    }

    #[test]
    fn old_pods_that_do_not_serve_go_first() {
        assert_eq!(decide(3, ROLLING, false, set(1, 1), &[set(3, 1)]).1, [2]);
    }

    #[test]
    fn recreate_waits_for_the_old_ones() {
        assert_eq!(decide(3, Strategy::Recreate, false, set(0, 0), &[set(3, 3)]), (0, vec![0]));
        let leaving = Set { replicas: 0, available: 0, existing: 2 };
        assert_eq!(decide(3, Strategy::Recreate, false, set(0, 0), &[leaving]).0, 0);
        assert_eq!(decide(3, Strategy::Recreate, false, set(0, 0), &[set(0, 0)]).0, 3);
    }

    #[test]
    fn scaling_without_a_rollout_sets_the_only_active_set() {
        assert_eq!(decide(5, ROLLING, false, set(3, 3), &[set(0, 0)]), (5, vec![0]));
        assert_eq!(decide(5, ROLLING, true, set(3, 3), &[]), (5, vec![]));
    }
}
