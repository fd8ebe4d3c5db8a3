//! The scheduler's turn: waiting pods are placed, lesser ones make room, and nothing is judged twice.

use std::collections::BTreeSet;

use super::{World, watched::Turn};
use crate::autoscale::schedule::{Nominated, Shape, place, preempt};

impl World<'_> {
    /// Places waiting pods, the most important first; lesser ones make room where that helps.
    pub(super) fn schedule(&mut self) {
        let before = (self.is_watched() && !self.waiting.is_empty()).then(|| self.sight(Turn::placing()));
        let waiting: Vec<u32> = self.waiting.iter().map(|(.., pod)| *pod).collect();
        // Of a workload whose pod fits nowhere the others do not either: in one pass room only becomes less.
        let mut hopeless = BTreeSet::new();
        let mut nominated = Nominated::new(waiting.iter().map(|pod| &self.pods[*pod as usize].object));
        for pod in waiting {
            let workload = self.pods[pod as usize].workload;
            if hopeless.contains(&workload) && self.is_told(pod) {
                continue;
            }
            for node in nominated.before(&mut self.cluster, &self.pods[pod as usize].object) {
                self.rejudge(node);
            }
            if let Some(at) = self.choose(pod, workload) {
                self.bind(pod, at);
                continue;
            }
            if !self.is_told(pod) {
                let message = self.refusal(pod, workload);
                self.refuse(pod, message);
            }
            self.make_room(pod);
            let object = &self.pods[pod as usize].object;
            let Some(node) = &object.nominated_node else {
                hopeless.insert(workload);
                continue;
            };
            if let Some(at) = nominated.hold(&mut self.cluster, object, node) {
                self.rejudge(at);
            }
        }
        for node in nominated.end(&mut self.cluster) {
            self.rejudge(node);
        }
        if let Some(before) = before {
            self.watch_placing(before);
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

    /// Why no node can hold a pod: the same for all pods of its workload until something changes on a node.
    fn refusal(&mut self, pod: u32, workload: usize) -> String {
        let state = (workload, self.rejudged.len());
        if self.refusal.as_ref().is_none_or(|(of, _)| *of != state) {
            let refused = place(&self.pods[pod as usize].object, &self.cluster, &mut self.placement).err();
            self.refusal = refused.map(|refused| (state, refused.message));
        }
        self.refusal.as_ref().map_or_else(String::new, |(_, message)| message.clone())
    }

    /// Something has changed on that node, or it is a new one at the end of the list.
    pub(super) fn rejudge(&mut self, node: usize) {
        self.rejudged.push(node);
    }

    /// Nodes stand elsewhere in the list.
    pub(super) fn rejudge_all(&mut self) {
        self.shapes.clear();
        self.rejudged.clear();
        self.refusal = None;
    }

    /// Lesser pods go where that makes room for a pod; it is nominated to that node, as long as they are going.
    fn make_room(&mut self, pod: u32) {
        let entry = &self.pods[pod as usize];
        let on = |at: usize| &self.machines[at].pods;
        let ends = |other: &u32| self.pods[*other as usize].deleting;
        let nominated = entry.object.nominated_node.as_ref();
        let nominated = nominated.and_then(|name| self.machines.iter().position(|machine| machine.name == *name));
        if nominated.is_some_and(|at| on(at).iter().any(ends)) {
            return;
        }
        let priority = entry.object.priority.unwrap_or(0);
        let lesser = self.priorities.first_key_value().is_some_and(|(least, _)| *least < priority);
        let Some((at, victims)) = lesser.then(|| preempt(&entry.object, &self.cluster)).flatten() else {
            self.pods[pod as usize].object.nominated_node = None;
            return;
        };
        let node = self.machines[at].name.clone();
        let message = format!("Preempted by pod {} on node {node}", entry.object.name);
        let named = |name: &str| on(at).iter().copied().find(|other| self.pods[*other as usize].object.name == name);
        let victims: Vec<(u32, String)> =
            victims.iter().filter_map(|victim| Some((named(&victim.name)?, victim.name.clone()))).collect();
        self.pods[pod as usize].object.nominated_node = Some(node);
        for (victim, name) in victims {
            self.note("Pod", &name, "Preempted", &message, "Normal");
            self.delete(victim);
        }
    }
}
