//! Jobs: pods that run to their end, until as many have succeeded as are wanted. Upstream: `pkg/controller/job`.
//!
//! A pod that has ended is counted once however often the cluster dies: it keeps a finalizer until its uid is written in
//! the Job's status, and leaves that list for the count only when the finalizer is gone.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Context,
    object::{
        condition_is_true, controller, find, int, is_deleting, is_owned_by, items, name, namespace, now,
        owner_reference, seconds_since, set_condition, text, uid, unless_gone, write_status,
    },
    work::{self, Key, Source},
};
use crate::api::{
    Client, DeleteOptions, Propagation, Status,
    resources::{JOBS, PODS},
};

const COMPONENT: &str = "job-controller";
/// Keeps a pod until it is counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// A failed pod is replaced after this, twice as long after each further failure.
const BACKOFF: Duration = Duration::from_secs(10);
/// Pods made in one look; upstream's.
const BURST: usize = 500;
const BACKOFF_MOST: Duration = Duration::from_secs(600);

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("kube-controller-manager");
    let sources = vec![Source::itself(JOBS), Source::owned(PODS, "Job")];
    let jobs = Jobs { client: client.clone(), speed: context.clock.speed() };
    work::run(client, sources, move |key| jobs.reconcile(key)).await;
}

struct Jobs {
    client: Client,
    speed: f64,
}

/// What a Job's pods amount to.
struct Tally {
    /// Not ended, not being deleted.
    active: Vec<Arc<Value>>,
    /// Being deleted, not ended.
    terminating: usize,
    succeeded: i32,
    failed: i32,
    /// Indexes that are done, where the Job is indexed.
    indexes: BTreeSet<i32>,
    /// When a pod failed last, RFC 3339.
    last_failure: Option<String>,
}

/// How a Job ends.
struct End {
    /// `Complete` or `Failed`, and the condition that announces it.
    kind: (&'static str, &'static str),
    reason: &'static str,
    message: &'static str,
    /// Type and reason of the event.
    event: (&'static str, &'static str),
}

const COMPLETE: End = End {
    kind: ("Complete", "SuccessCriteriaMet"),
    reason: "CompletionsReached",
    message: "Reached expected number of succeeded pods",
    event: ("Normal", "Completed"),
};
const TOO_MANY_FAILURES: End = End {
    kind: ("Failed", "FailureTarget"),
    reason: "BackoffLimitExceeded",
    message: "Job has reached the specified backoff limit",
    event: ("Warning", "BackoffLimitExceeded"),
};
const TOO_LATE: End = End {
    kind: ("Failed", "FailureTarget"),
    reason: "DeadlineExceeded",
    message: "Job was active longer than specified deadline",
    event: ("Warning", "DeadlineExceeded"),
};

impl Jobs {
    fn reconcile(&self, (space, wanted): &Key) -> Result<Option<Duration>, Status> {
        let pods = self.client.list(&PODS, space).0;
        let job = find(&self.client, &JOBS, space, wanted)?.filter(|job| !is_deleting(job));
        // Nobody counts the pods of a Job that is gone, though another one may have its name by now.
        let present = job.as_ref().map_or("", |job| uid(job));
        let orphans = pods.iter().filter(|pod| {
            controller(pod)
                .is_some_and(|owner| owner["kind"] == "Job" && owner["name"] == **wanted && owner["uid"] != *present)
        });
        orphans.into_iter().try_for_each(|pod| self.untrack(pod))?;
        let Some(job) = job else { return Ok(None) };
        let pods: Vec<Arc<Value>> = pods.into_iter().filter(|pod| is_owned_by(pod, uid(&job))).collect();
        if condition_is_true(&job, "Complete") || condition_is_true(&job, "Failed") {
            pods.iter().try_for_each(|pod| self.untrack(pod))?;
            return self.expire(&job);
        }
        let mut status = job["status"].clone();
        let mut tally = count(&job, &pods, &mut status);
        if job["spec"]["suspend"] == true {
            self.suspend(&job, &mut status, &mut tally)?;
            return self.finish_round(&job, &pods, status, &tally).map(|()| None);
        }
        if status["startTime"].is_null() {
            self.start(&job, &mut status);
        }
        let again = match announced(&job).or_else(|| end(&job, &status, &tally, self.speed)) {
            Some(end) => {
                self.delete_all(&job, &mut tally)?;
                self.conclude(&job, &mut status, &tally, end);
                None
            }
            None => self.fill(&job, &status, &mut tally)?,
        };
        self.finish_round(&job, &pods, status, &tally)?;
        Ok(again)
    }

    /// Writes the status, then lets go of the pods that it has counted.
    fn finish_round(&self, job: &Value, pods: &[Arc<Value>], mut status: Value, tally: &Tally) -> Result<(), Status> {
        let ready = tally.active.iter().filter(|pod| condition_is_true(pod, "Ready")).count();
        status["ready"] = json!(ready);
        status["terminating"] = json!(tally.terminating);
        status["active"] = if tally.active.is_empty() { Value::Null } else { json!(tally.active.len()) };
        if let Some(members) = status.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        write_status(&self.client, &JOBS, job, &status)?;
        let listed = uncounted(&status);
        pods.iter().filter(|pod| listed.contains(uid(pod))).try_for_each(|pod| self.untrack(pod))
    }

    /// The end is announced at once, and declared when all pods have ended and are counted.
    fn conclude(&self, job: &Value, status: &mut Value, tally: &Tally, end: &End) {
        let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let (last, first) = end.kind;
        set(&mut conditions, first, "True", end.reason, end.message);
        if tally.active.is_empty() && tally.terminating == 0 && uncounted(status).is_empty() {
            set(&mut conditions, last, "True", end.reason, end.message);
            if last == "Complete" {
                status["completionTime"] = json!(now());
            }
            let (kind, reason) = end.event;
            let message = if last == "Complete" { "Job completed" } else { end.message };
            self.client.record_event(job, kind, reason, message, COMPONENT);
        }
        status["conditions"] = json!(conditions);
    }

    fn start(&self, job: &Value, status: &mut Value) {
        status["startTime"] = json!(now());
        if condition_is_true(job, "Suspended") {
            let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            set(&mut conditions, "Suspended", "False", "JobResumed", "Job resumed");
            status["conditions"] = json!(conditions);
            self.client.record_event(job, "Normal", "Resumed", "Job resumed", COMPONENT);
        }
    }

    fn suspend(&self, job: &Value, status: &mut Value, tally: &mut Tally) -> Result<(), Status> {
        self.delete_all(job, tally)?;
        status["startTime"] = Value::Null;
        let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        if !condition_is_true(job, "Suspended") {
            self.client.record_event(job, "Normal", "Suspended", "Job suspended", COMPONENT);
        }
        set(&mut conditions, "Suspended", "True", "JobSuspended", "Job suspended");
        status["conditions"] = json!(conditions);
        Ok(())
    }

    /// Makes and removes pods until as many run as should.
    fn fill(&self, job: &Value, status: &Value, tally: &mut Tally) -> Result<Option<Duration>, Status> {
        let parallelism = int(job, "/spec/parallelism").unwrap_or(1);
        let wanted = match int(job, "/spec/completions") {
            Some(completions) => parallelism.min(completions - tally.succeeded),
            // Once one has succeeded, the others end by themselves and no new one begins.
            None if tally.succeeded > 0 => parallelism.min(tally.active.len() as i32),
            None => parallelism,
        };
        let wanted = wanted.max(0) as usize;
        while tally.active.len() > wanted {
            if let Some(pod) = tally.active.pop() {
                self.delete(job, &pod)?;
                tally.terminating += 1;
            }
        }
        let missing = wanted - tally.active.len();
        let deadline = deadline_left(job, status, self.speed);
        if missing == 0 {
            return Ok(deadline);
        }
        if let Some(wait) = backoff_left(tally, self.speed) {
            return Ok(Some(deadline.map_or(wait, |deadline| deadline.min(wait))));
        }
        let indexes: Vec<Option<i32>> = free_indexes(job, tally).take(missing.min(BURST)).collect();
        for index in indexes {
            let pod = self.create(job, index)?;
            tally.active.push(pod);
        }
        Ok(if missing > BURST { Some(Duration::ZERO) } else { deadline })
    }

    fn create(&self, job: &Value, index: Option<i32>) -> Result<Arc<Value>, Status> {
        let template = &job["spec"]["template"];
        let mut metadata = template["metadata"].clone();
        metadata["namespace"] = json!(namespace(job));
        metadata["ownerReferences"] = owner_reference(&JOBS, job);
        metadata["finalizers"] = json!([TRACKING]);
        let mut spec = template["spec"].clone();
        let stem = match index {
            Some(index) => {
                metadata["annotations"][INDEX] = json!(index.to_string());
                metadata["labels"][INDEX] = json!(index.to_string());
                if spec["hostname"].is_null() {
                    spec["hostname"] = json!(format!("{}-{index}", name(job)));
                }
                let field = json!({ "fieldRef": { "fieldPath": format!("metadata.labels['{INDEX}']") } });
                for containers in ["containers", "initContainers"] {
                    for container in spec[containers].as_array_mut().into_iter().flatten() {
                        let mut env = container["env"].as_array().cloned().unwrap_or_default();
                        env.push(json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": field }));
                        container["env"] = json!(env);
                    }
                }
                format!("{}-{index}-", name(job))
            }
            None => format!("{}-", name(job)),
        };
        metadata["generateName"] = json!(stem);
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        let pod = self.client.create(&PODS, namespace(job), pod)?;
        let message = format!("Created pod: {}", name(&pod));
        self.client.record_event(job, "Normal", "SuccessfulCreate", &message, COMPONENT);
        Ok(pod)
    }

    fn delete_all(&self, job: &Value, tally: &mut Tally) -> Result<(), Status> {
        for pod in std::mem::take(&mut tally.active) {
            self.delete(job, &pod)?;
            tally.terminating += 1;
        }
        Ok(())
    }

    fn delete(&self, job: &Value, pod: &Value) -> Result<(), Status> {
        unless_gone(self.client.delete(&PODS, namespace(pod), name(pod), &DeleteOptions::default()))?;
        let message = format!("Deleted pod: {}", name(pod));
        self.client.record_event(job, "Normal", "SuccessfulDelete", &message, COMPONENT);
        Ok(())
    }

    fn untrack(&self, pod: &Value) -> Result<(), Status> {
        if !is_tracked(pod) {
            return Ok(());
        }
        let left: Vec<&Value> = items(pod, "/metadata/finalizers").filter(|held| **held != TRACKING).collect();
        let version = &pod["metadata"]["resourceVersion"];
        let patch = json!({ "metadata": { "finalizers": left, "resourceVersion": version } });
        unless_gone(self.client.merge_patch(&PODS, namespace(pod), name(pod), None, &patch))
    }

    /// Deletes a finished Job whose time to live is over.
    fn expire(&self, job: &Value) -> Result<Option<Duration>, Status> {
        let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_f64() else { return Ok(None) };
        let finished = items(job, "/status/conditions")
            .find(|condition| matches!(condition["type"].as_str(), Some("Complete" | "Failed")))
            .and_then(|condition| seconds_since(text(condition, "/lastTransitionTime")));
        let left = ttl - finished.unwrap_or(0.0) * self.speed;
        if left > 0.0 {
            return Ok(Some(real(left, self.speed)));
        }
        let options = DeleteOptions {
            uid: Some(uid(job).to_owned()),
            propagation: Some(Propagation::Foreground),
            ..DeleteOptions::default()
        };
        self.client.delete(&JOBS, namespace(job), name(job), &options).map(|_| None)
    }
}

/// Sets a condition, which a Job's also says when it was looked at.
fn set(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str) {
    set_condition(conditions, kind, status, reason, message);
    for condition in conditions.iter_mut().filter(|condition| condition["lastProbeTime"].is_null()) {
        condition["lastProbeTime"] = condition["lastTransitionTime"].clone();
    }
}

fn is_tracked(pod: &Value) -> bool {
    items(pod, "/metadata/finalizers").any(|held| held == TRACKING)
}

/// Uids that the status lists as not counted yet.
fn uncounted(status: &Value) -> BTreeSet<&str> {
    let lists = ["/uncountedTerminatedPods/succeeded", "/uncountedTerminatedPods/failed"];
    lists.iter().flat_map(|list| items(status, list)).filter_map(Value::as_str).collect()
}

/// Pods that ended in one way: those that were counted and have been let go, and the uids of the others.
struct Ended {
    counted: i32,
    open: Vec<String>,
}

impl Ended {
    fn of(key: &str, pods: &[Arc<Value>], status: &Value) -> Self {
        let tracked = |wanted: &str| pods.iter().any(|pod| uid(pod) == wanted && is_tracked(pod));
        let listed: Vec<&str> =
            items(status, &format!("/uncountedTerminatedPods/{key}")).filter_map(Value::as_str).collect();
        let (kept, let_go): (Vec<&str>, Vec<&str>) = listed.iter().partition(|uid| tracked(uid));
        let new = pods.iter().filter(|pod| is_tracked(pod) && outcome(pod) == Some(key) && !listed.contains(&uid(pod)));
        Self {
            counted: int(status, &format!("/{key}")).unwrap_or(0) + let_go.len() as i32,
            open: kept.into_iter().chain(new.map(|pod| uid(pod))).map(str::to_owned).collect(),
        }
    }

    fn total(&self) -> i32 {
        self.counted + self.open.len() as i32
    }
}

/// `succeeded` or `failed`, once a pod has ended. One that is removed before it ran has failed.
fn outcome(pod: &Value) -> Option<&'static str> {
    match text(pod, "/status/phase") {
        "Succeeded" => Some("succeeded"),
        "Failed" => Some("failed"),
        // The kubelet has let go of it: only the finalizer keeps it.
        _ if is_deleting(pod) && pod["metadata"]["deletionGracePeriodSeconds"] == 0 => Some("failed"),
        _ => None,
    }
}

/// Counts the pods, and writes the counts into `status`.
fn count(job: &Value, pods: &[Arc<Value>], status: &mut Value) -> Tally {
    let (succeeded, failed) = (Ended::of("succeeded", pods, status), Ended::of("failed", pods, status));
    let mut lists = json!({});
    for (key, ended) in [("succeeded", &succeeded), ("failed", &failed)] {
        status[key] = if ended.counted > 0 { json!(ended.counted) } else { Value::Null };
        if !ended.open.is_empty() {
            lists[key] = json!(ended.open);
        }
    }
    status["uncountedTerminatedPods"] = lists;
    let mut total = succeeded.total();
    let mut indexes = BTreeSet::new();
    if job["spec"]["completionMode"] == "Indexed" {
        indexes = parse_indexes(text(status, "/completedIndexes"));
        let done = pods.iter().filter(|pod| outcome(pod) == Some("succeeded"));
        indexes.extend(done.filter_map(|pod| completion_index(pod)));
        let text = format_indexes(&indexes);
        status["completedIndexes"] = if text.is_empty() { Value::Null } else { json!(text) };
        total = indexes.len() as i32;
    }
    let running = |pod: &&Arc<Value>| outcome(pod).is_none();
    let failures = pods.iter().filter(|pod| outcome(pod) == Some("failed"));
    Tally {
        active: pods.iter().filter(running).filter(|pod| !is_deleting(pod)).cloned().collect(),
        terminating: pods.iter().filter(running).filter(|pod| is_deleting(pod)).count(),
        succeeded: total,
        failed: failed.total(),
        indexes,
        last_failure: failures.filter_map(|pod| ended_at(pod)).max(),
    }
}

/// Whether, and how, the Job is over.
fn end(job: &Value, status: &Value, tally: &Tally, speed: f64) -> Option<&'static End> {
    let limit = int(job, "/spec/backoffLimit").unwrap_or(6);
    if tally.failed > limit || restarts(job, tally).is_some_and(|restarts| restarts > 0 && restarts >= i64::from(limit))
    {
        return Some(&TOO_MANY_FAILURES);
    }
    if deadline_left(job, status, speed).is_some_and(|left| left.is_zero()) {
        return Some(&TOO_LATE);
    }
    let complete = match int(job, "/spec/completions") {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    complete.then_some(&COMPLETE)
}

/// How often containers of running pods were started again, where pods are not replaced when they fail.
fn restarts(job: &Value, tally: &Tally) -> Option<i64> {
    let again = job.pointer("/spec/template/spec/restartPolicy").is_some_and(|policy| policy == "OnFailure");
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = tally.active.iter().flat_map(|pod| lists.iter().flat_map(|list| items(pod, list)));
    again.then(|| statuses.filter_map(|status| status["restartCount"].as_i64()).sum())
}

/// The end that was announced before.
fn announced(job: &Value) -> Option<&'static End> {
    [&COMPLETE, &TOO_MANY_FAILURES, &TOO_LATE].into_iter().find(|end| {
        items(job, "/status/conditions")
            .any(|c| c["type"] == end.kind.1 && c["status"] == "True" && c["reason"] == end.reason)
    })
}

/// The real time that profile seconds take; those of ages to come are cut off.
fn real(seconds: f64, speed: f64) -> Duration {
    Duration::from_secs_f64((seconds.max(0.0) / speed).min(1e9))
}

/// Real time until the Job has been active for too long.
fn deadline_left(job: &Value, status: &Value, speed: f64) -> Option<Duration> {
    let deadline = job["spec"]["activeDeadlineSeconds"].as_f64()?;
    let active = seconds_since(text(status, "/startTime"))? * speed;
    Some(real(deadline - active, speed))
}

/// Real time until the pods that failed may be replaced.
fn backoff_left(tally: &Tally, speed: f64) -> Option<Duration> {
    let since = seconds_since(tally.last_failure.as_deref()?)? * speed;
    let doublings = tally.failed.clamp(1, 16) as u32 - 1;
    let wait = BACKOFF.saturating_mul(1 << doublings).min(BACKOFF_MOST).as_secs_f64() - since;
    (wait > 0.0).then(|| Duration::from_secs_f64(wait / speed))
}

/// Which indexes new pods may have, lowest first; none for ever where the Job is not indexed.
fn free_indexes<'a>(job: &Value, tally: &'a Tally) -> Box<dyn Iterator<Item = Option<i32>> + 'a> {
    if job["spec"]["completionMode"] != "Indexed" {
        return Box::new(std::iter::repeat(None));
    }
    let taken: BTreeSet<i32> = tally.active.iter().filter_map(|pod| completion_index(pod)).collect();
    let all = 0..int(job, "/spec/completions").unwrap_or(0);
    Box::new(all.filter(move |index| !taken.contains(index) && !tally.indexes.contains(index)).map(Some))
}

fn completion_index(pod: &Value) -> Option<i32> {
    pod["metadata"]["annotations"][INDEX].as_str()?.parse().ok()
}

/// When the last container ended, RFC 3339.
fn ended_at(pod: &Value) -> Option<String> {
    let ended = items(pod, "/status/containerStatuses").filter_map(|s| s["state"]["terminated"]["finishedAt"].as_str());
    ended.max().or_else(|| pod["metadata"]["deletionTimestamp"].as_str()).map(str::to_owned)
}

/// `0-2,5` as a set.
fn parse_indexes(text: &str) -> BTreeSet<i32> {
    let parts = text.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    parts.flatten().collect()
}

/// The inverse of `parse_indexes`; neighbours are joined, two of them by a comma, as upstream writes it.
fn format_indexes(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let words = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_ranges() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8"] {
            assert_eq!(format_indexes(&parse_indexes(text)), text);
        }
    }
}
