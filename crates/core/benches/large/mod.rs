//! A profile of any size: so many nodes at its peak, 50 pods on each, ten of them to a workload of 512.
//!
//! Every second workload has a fixed number of pods, the others double from 8 to 18 o'clock on working days (cron),
//! web and worker follow an hour of full traffic by what is in flight, by CPU and by the queue. The nodes follow the pods.

use std::fmt::Write as _;

use democtl_core::profile::{Profile, Source};

/// Pods of a workload at its peak.
const PODS: u32 = 512;
/// Web, worker, Redis and Prometheus are there too.
const OWN: u32 = 4;

const SUITE: &str = r#"name = "crowd"
description = "As many as the web pods can bear."
[[test]]
name = "crowd"
vus = 25000
duration = "10m"
thresholds = ["http_req_failed: rate<0.05"]
journey = [{ name = "create", post = "/api/customers" }, { think = "500ms" }]
"#;

/// The profile's text.
fn text(nodes: u32) -> String {
    let mut text = format!(
        "suite = \"crowd\"\n[pool.main]\nvm_size = \"Standard_D16s_v5\"\nmin = {}\ncount = {}\nmax = {nodes}\n",
        (nodes / 2).max(1),
        (nodes * 3 / 4).max(1),
    );
    let requests = "requests = { cpu = \"300m\", memory = \"512Mi\" }";
    let _ = write!(
        text,
        "[workload.redis]\n[workload.prometheus]\n[workload.web]\n{requests}\n[workload.web.scaling]\nmin = 50\n\
         max = {PODS}\ntrigger = [{{ type = \"cpu\", utilization = 60 }}, {{ type = \"prometheus\", name = \"in-flight\", \
         query = \"sum(http_requests_in_flight)\", threshold = 6 }}]\n[workload.worker]\n{requests}\n\
         [workload.worker.scaling]\nmin = 10\nmax = 170\ntrigger = [{{ type = \"redis\" }}]\n"
    );
    for number in OWN..(nodes / 10).max(OWN) {
        let _ = writeln!(text, "[workload.other-{number}]\nimage = \"example.com/other:1\"\n{requests}");
        if number % 2 == 0 {
            let _ = writeln!(text, "replicas = {PODS}");
            continue;
        }
        let cron = "{ type = \"cron\", timezone = \"UTC\", start = \"0 8 * * 1-5\", end = \"0 18 * * 1-5\"";
        let _ = writeln!(
            text,
            "[workload.other-{number}.scaling]\nmin = {}\nmax = {PODS}\ntrigger = [{cron}, desired = {PODS} }}]",
            PODS / 2
        );
    }
    text
}

/// The profile with so many nodes at its peak.
pub(crate) fn profile(nodes: u32) -> Profile {
    let resolve =
        |name: &str| (name == "suites/crowd").then(|| Source { name: "crowd.toml".into(), text: SUITE.into() });
    let source = Source { name: "large.toml".into(), text: text(nodes) };
    Profile::load(&source, &[], &resolve).unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}
