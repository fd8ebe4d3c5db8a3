//! The scheduler's turn: waiting pods are placed, lesser ones make room, and nothing is judged twice.

use std::collections::BTreeSet;

use super::World;
use crate::autoscale::schedule::{Shape, place, preempt};

/// What a pod that fits nowhere can do about it.
enum Room {
    /// Lesser pods were told to go.
    Made,
    /// Those that were told to go are not gone yet.
    Awaited,
    /// No lesser pods would do.
    None,
}

impl World<'_> {
    /// Places waiting pods, the most important first; lesser ones make room where that helps.
    pub(super) fn schedule(&mut self) {
        let waiting: Vec<u32> = self.waiting.iter().map(|(.., pod)| *pod).collect();
        // Of a workload whose pod fits nowhere the others do not either: in one pass room only becomes less.
        let mut hopeless = BTreeSet::new();
        for pod in waiting {
            let workload = self.pods[pod as usize].workload;
            if hopeless.contains(&workload) && self.is_told(pod) {
                continue;
            }
            if let Some(at) = self.choose(pod, workload) {
                self.bind(pod, at);
                continue;
            }
            if !self.is_told(pod) {
                let refused = place(&self.pods[pod as usize].object, &self.cluster, &mut self.placement).err();
                self.refuse(pod, refused.map_or_else(String::new, |refused| refused.message));
            }
            match self.make_room(pod) {
                // Whom the room was made for is tried again before lesser ones take it.
                Room::Made => return,
                Room::Awaited => {}
                Room::None => drop(hopeless.insert(workload)),
            }
        }
    }

    /// Traffic has no reader of why a pod still fits nowhere.
    fn is_told(&self, pod: u32) -> bool {
        self.flows && self.pods[pod as usize].is_refused()
    }

    /// The node that is to hold a pod.
    fn choose(&mut self, pod: u32, workload: usize) -> Option<usize> {
        if self.shapes.len() <= workload {
            self.shapes.resize_with(self.workloads.len(), || None);
        }
        if self.shapes[workload].is_none() {
            self.shapes[workload] = Shape::new(&self.pods[pod as usize].object, &self.cluster);
            self.judged[workload] = self.rejudged.len();
        }
        let Some(shape) = &mut self.shapes[workload] else {
            return place(&self.pods[pod as usize].object, &self.cluster, &mut self.placement).ok();
        };
        for node in &self.rejudged[self.judged[workload]..] {
            shape.judge(&self.cluster, *node);
        }
        self.judged[workload] = self.rejudged.len();
        shape.choose(&mut self.placement)
    }

    /// Something has changed on that node, or it is a new one at the end of the list.
    pub(super) fn rejudge(&mut self, node: usize) {
        self.rejudged.push(node);
    }

    /// Nodes stand elsewhere in the list.
    pub(super) fn rejudge_all(&mut self) {
        self.shapes.clear();
        self.rejudged.clear();
    }

    /// Lesser pods go where that makes room for a pod.
    fn make_room(&mut self, pod: u32) -> Room {
        let entry = &self.pods[pod as usize];
        let on = |node: u32| self.machine(node).map_or(&[][..], |at| &self.machines[at].pods);
        let ends = |other: &u32| self.pods[*other as usize].deleting;
        if entry.nominated.is_some_and(|node| on(node).iter().any(ends)) {
            return Room::Awaited;
        }
        let priority = entry.object.priority.unwrap_or(0);
        if self.priorities.first_key_value().is_none_or(|(least, _)| *least >= priority) {
            return Room::None;
        }
        let Some((at, victims)) = preempt(&entry.object, &self.cluster) else { return Room::None };
        let (node, node_name) = (self.machines[at].number, self.machines[at].name.clone());
        let message = format!("Preempted by pod {} on node {node_name}", entry.object.name);
        let named = |name: &str| on(node).iter().copied().find(|other| self.pods[*other as usize].object.name == name);
        let victims: Vec<(u32, String)> =
            victims.iter().filter_map(|victim| Some((named(&victim.name)?, victim.name.clone()))).collect();
        self.pods[pod as usize].nominated = Some(node);
        for (victim, name) in victims {
            self.note("Pod", &name, "Preempted", &message, "Normal");
            self.delete(victim);
        }
        Room::Made
    }
}
