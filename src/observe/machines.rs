//! Machines that the cluster autoscaler asked for: what they cost before their nodes join, and those that never come.
//!
//! It tells both by Events: <https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md#what-events-are-emitted-by-ca>.

use std::collections::BTreeMap;

use democtl_core::{
    event::Fact,
    profile::{Pool, Profile},
    render::is_scale_set,
    timeline::Moment,
};
use k8s_openapi::api::core::v1::Event;

/// Azure's reasons not to give a machine.
/// <https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/allocation-failure>
const CODES: [&str; 9] = [
    "OverconstrainedZonalAllocationRequest",
    "OverconstrainedAllocationRequest",
    "ZonalAllocationFailed",
    "AllocationFailed",
    "SkuNotAvailable",
    "InsufficientVCPUQuota",
    "QuotaExceeded",
    "SubnetIsFull",
    "OperationNotAllowed",
];

/// By node group, the change that was asked for last.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<String, Growth>);

#[derive(Debug)]
struct Growth {
    from: u32,
    to: u32,
    /// Machines of the pool's size that were paid for from then on.
    billed: u32,
}

impl Asked {
    /// What an Event tells of machines, if it does; `moment`: how the run stands.
    pub(super) fn take(&mut self, event: &Event, mut moment: Moment, profile: &Profile) -> Vec<Fact> {
        let message = event.message.as_deref().unwrap_or_default();
        match event.reason.as_deref() {
            // pod triggered scale-up: [{workload 2->3 (max: 7)} {other 0->1 (max: 3)}]
            Some("TriggeredScaleUp") => {
                let groups = message.split('{').skip(1);
                groups.filter_map(|change| self.asked(change, &mut moment, profile)).collect()
            }
            Some("FailedToScaleUpGroup" | "ScaleUpTimedOut") => {
                self.refused(message, moment, profile).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// A VM that was asked for costs money before its node joins.
    fn asked(&mut self, change: &str, moment: &mut Moment, profile: &Profile) -> Option<Fact> {
        let (group, rest) = change.split_once(' ')?;
        let (from, rest) = rest.split_once("->")?;
        let (from, to): (u32, u32) = (from.parse().ok()?, rest.split_once(' ')?.0.parse().ok()?);
        let pool = pool_of(group, profile)?;
        let billed = moment.billed.entry(pool.vm_size.name.to_owned()).or_default();
        // Each pod that waits is told the same. Where machines have gone since, it is asked for anew.
        if self.0.get(group).is_some_and(|known| known.to == to && *billed >= known.billed) {
            return None;
        }
        *billed += to.checked_sub(from)?;
        self.0.insert(group.to_owned(), Growth { from, to, billed: *billed });
        let reason = format!("pool {} {from} -> {to}: pods do not fit (cluster autoscaler)", pool.name);
        Some(nodes(group, "provisioning", reason, moment))
    }

    /// One that does not come costs nothing, and may be asked for again.
    fn refused(&mut self, message: &str, mut moment: Moment, profile: &Profile) -> Option<Fact> {
        // Scale-up failed for group aks-main-1-vmss: ..., or: Nodes added to group aks-main-1-vmss failed to register ...
        let rest = message.split_once("group ")?.1;
        let (group, why) = rest.split_once([':', ' ']).unwrap_or((rest, ""));
        let pool = pool_of(group, profile)?;
        // Nodes that are Ready are paid for, whatever was counted before they were first listed.
        let starting = moment.starting();
        if let Some(Growth { from, to, .. }) = self.0.remove(group)
            && let Some(billed) = moment.billed.get_mut(pool.vm_size.name)
        {
            *billed = billed.saturating_sub(to.saturating_sub(from).min(starting));
        }
        let code =
            CODES.into_iter().find(|code| why.contains(code)).map_or_else(String::new, |code| format!("{code}: "));
        Some(nodes(group, "failed", format!("pool {}: {code}{}", pool.name, why.trim()), &moment))
    }
}

fn nodes(group: &str, change: &str, reason: String, moment: &Moment) -> Fact {
    Fact::Nodes {
        ready: moment.now.nodes,
        total: moment.billed.values().sum::<u32>() as i32,
        billed: moment.billed.clone(),
        node: group.to_owned(),
        change: change.to_owned(),
        reason,
    }
}

/// The pool of a node group: of the same name, or with that scale set.
fn pool_of<'a>(group: &str, profile: &'a Profile) -> Option<&'a Pool> {
    profile.pools.iter().find(|pool| group == pool.name || is_scale_set(group, &pool.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str, message: &str) -> Event {
        Event { reason: Some(reason.into()), message: Some(message.into()), ..Event::default() }
    }

    fn told(facts: Vec<Fact>) -> Option<(i32, String, String)> {
        match facts.into_iter().next()? {
            Fact::Nodes { total, change, reason, .. } => Some((total, change, reason)),
            _ => None,
        }
    }

    fn moment(billed: u32) -> Moment {
        let mut moment = Moment::default();
        moment.billed.insert("Standard_D4s_v5".into(), billed);
        moment.now.nodes = 2;
        moment
    }

    #[test]
    fn a_machine_that_does_not_come_is_not_paid_for_and_may_be_asked_for_again() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
        let pool = profile.pools[0].name.clone();
        let group = format!("aks-{pool}-12345678-vmss");
        let asks = event("TriggeredScaleUp", &format!("pod triggered scale-up: [{{{group} 2->4 (max: 7)}}]"));
        let mut asked = Asked::default();
        let first = told(asked.take(&asks, moment(2), &profile)).expect("it costs more");
        assert_eq!((first.0, first.1.as_str()), (4, "provisioning"));
        assert_eq!(asked.take(&asks, moment(4), &profile), [], "the next pod tells the same");
        let refusal =
            format!("Scale-up failed for group {group}: Code=\"ZonalAllocationFailed\" no capacity in zone 1");
        let refused = told(asked.take(&event("FailedToScaleUpGroup", &refusal), moment(4), &profile)).expect("told");
        assert_eq!((refused.0, refused.1.as_str()), (2, "failed"));
        assert!(refused.2.starts_with(&format!("pool {pool}: ZonalAllocationFailed: Code=")), "{}", refused.2);
        let listed = moment(2);
        let mut early = Asked::default();
        early.take(&asks, Moment::default(), &profile);
        let refused = told(early.take(&event("FailedToScaleUpGroup", &refusal), listed, &profile)).expect("told");
        assert_eq!(refused.0, 2, "the nodes were listed after the machine was asked for");
        let again = told(asked.take(&asks, moment(2), &profile)).expect("it is asked again");
        assert_eq!(again.0, 4);
        let late = format!("Nodes added to group {group} failed to register within 15m0s");
        let late = told(asked.take(&event("ScaleUpTimedOut", &late), moment(4), &profile)).expect("told");
        assert_eq!((late.0, late.2), (2, format!("pool {pool}: failed to register within 15m0s")));
        assert_eq!(
            asked.take(&event("FailedToScaleUpGroup", "Scale-up failed for group other: x"), moment(2), &profile),
            []
        );
        assert_eq!(asked.take(&event("ScaledUpGroup", "group x"), moment(2), &profile), []);
    }

    #[test]
    fn machines_that_have_gone_are_asked_for_again() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
        let asks = event("TriggeredScaleUp", "pod triggered scale-up: [{main 2->3 (max: 7)}]");
        let mut asked = Asked::default();
        assert!(told(asked.take(&asks, moment(2), &profile)).is_some());
        assert_eq!(asked.take(&asks, moment(3), &profile), [], "the next pod tells the same");
        let again = told(asked.take(&asks, moment(2), &profile)).expect("the third one went and is asked for again");
        assert_eq!((again.0, again.1.as_str()), (3, "provisioning"));
    }

    #[test]
    fn one_scale_up_may_be_of_several_pools() {
        let profile = Profile::load_builtin("m3demo1", &[]).expect("built in").expect("valid");
        let pools: Vec<&str> = profile.pools.iter().map(|pool| pool.name.as_str()).take(2).collect();
        let [first, second] = pools.as_slice() else { panic!("two pools: {pools:?}") };
        let message = format!(
            "pod triggered scale-up: [{{{first} 1->2 (max: 9)}} {{unknown 1->2 (max: 9)}} {{{second} 0->2 (max: 9)}}]"
        );
        let facts = Asked::default().take(&event("TriggeredScaleUp", &message), Moment::default(), &profile);
        let totals: Vec<_> = facts.into_iter().map(|fact| told(vec![fact]).expect("of nodes").0).collect();
        assert_eq!(totals, [1, 3], "each is told with what was asked for before it");
    }
}
