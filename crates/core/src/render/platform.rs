//! What runs on a cluster before the demo does, so that the system's share of a node is honest on the local target.
//!
//! Requests, per pod: kube-system as AKS 1.33 deploys it and KEDA as its chart's defaults have it, both from memory;
//! Argo CD's manifests request nothing, so its figures are estimates of what operators set (its Redis is left out: a
//! target that runs Redis by its image would run that one too). On AKS and on existing clusters none of this is applied.

use serde_json::{Value, json};

use super::{ARGOCD_NAMESPACE, KEDA_NAMESPACE, WORKLOAD_LABEL};
use crate::{
    profile::Resources,
    units::{Bytes, Millicores},
};

struct Component {
    namespace: &'static str,
    name: &'static str,
    image: &'static str,
    replicas: u32,
    cpu: i64,
    mib: i64,
}

const fn component(
    namespace: &'static str,
    name: &'static str,
    image: &'static str,
    replicas: u32,
    cpu: i64,
    mib: i64,
) -> Component {
    Component { namespace, name, image, replicas, cpu, mib }
}

const SYSTEM: &str = "kube-system";

const DEPLOYMENTS: [Component; 11] = [
    component(SYSTEM, "coredns", "mcr.microsoft.com/oss/v2/kubernetes/coredns:v1.12.1", 2, 100, 70),
    component(
        SYSTEM,
        "coredns-autoscaler",
        "mcr.microsoft.com/oss/v2/kubernetes/autoscaler/cluster-proportional-autoscaler:v1.9.0",
        1,
        20,
        10,
    ),
    component(
        SYSTEM,
        "konnectivity-agent",
        "mcr.microsoft.com/oss/v2/kubernetes/apiserver-network-proxy/agent:v0.31.4",
        2,
        20,
        20,
    ),
    component(SYSTEM, "metrics-server", "mcr.microsoft.com/oss/v2/kubernetes/metrics-server:v0.7.2", 2, 44, 55),
    component(KEDA_NAMESPACE, "keda-operator", "ghcr.io/kedacore/keda:2.21.0", 1, 100, 100),
    component(
        KEDA_NAMESPACE,
        "keda-operator-metrics-apiserver",
        "ghcr.io/kedacore/keda-metrics-apiserver:2.21.0",
        1,
        100,
        100,
    ),
    component(
        KEDA_NAMESPACE,
        "keda-admission-webhooks",
        "ghcr.io/kedacore/keda-admission-webhooks:2.21.0",
        1,
        100,
        100,
    ),
    component(ARGOCD_NAMESPACE, "argocd-application-controller", "quay.io/argoproj/argocd:v3.1.0", 1, 100, 256),
    component(ARGOCD_NAMESPACE, "argocd-repo-server", "quay.io/argoproj/argocd:v3.1.0", 1, 50, 128),
    component(ARGOCD_NAMESPACE, "argocd-server", "quay.io/argoproj/argocd:v3.1.0", 1, 50, 64),
    component(ARGOCD_NAMESPACE, "argocd-applicationset-controller", "quay.io/argoproj/argocd:v3.1.0", 1, 25, 32),
];

const DAEMONS: [Component; 5] = [
    component(SYSTEM, "kube-proxy", "mcr.microsoft.com/oss/v2/kubernetes/kube-proxy:v1.33.2", 1, 100, 0),
    component(SYSTEM, "azure-cns", "mcr.microsoft.com/containernetworking/azure-cns:v1.6.29", 1, 40, 250),
    component(
        SYSTEM,
        "cloud-node-manager",
        "mcr.microsoft.com/oss/v2/kubernetes/azure-cloud-node-manager:v1.33.1",
        1,
        50,
        50,
    ),
    component(SYSTEM, "csi-azuredisk-node", "mcr.microsoft.com/oss/v2/kubernetes-csi/azuredisk-csi:v1.33.2", 1, 30, 60),
    component(SYSTEM, "csi-azurefile-node", "mcr.microsoft.com/oss/v2/kubernetes-csi/azurefile-csi:v1.33.2", 1, 30, 60),
];

impl Component {
    fn requests(&self) -> Resources {
        Resources { cpu: Millicores(self.cpu), memory: Bytes(self.mib << 20) }
    }

    fn render(&self, kind: &str) -> Value {
        let labels = json!({ WORKLOAD_LABEL: self.name, "app.kubernetes.io/managed-by": "democtl" });
        let selector = json!({ WORKLOAD_LABEL: self.name });
        let mut requests = json!({ "cpu": Millicores(self.cpu).to_string() });
        if self.mib > 0 {
            requests["memory"] = json!(Bytes(self.mib << 20).to_string());
        }
        let daemon = kind == "DaemonSet";
        let priority = if daemon { "system-node-critical" } else { "system-cluster-critical" };
        let mut spec = json!({
            "selector": { "matchLabels": selector },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": self.name, "image": self.image, "resources": { "requests": requests } }] },
            },
        });
        if self.namespace == SYSTEM {
            spec["template"]["spec"]["priorityClassName"] = json!(priority);
        }
        if daemon {
            spec["template"]["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
        } else {
            spec["replicas"] = json!(self.replicas);
        }
        json!({
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": { "name": self.name, "namespace": self.namespace, "labels": labels },
            "spec": spec,
        })
    }
}

/// kube-system, KEDA and Argo CD as Deployments, in the order of their namespaces.
pub fn platform() -> Vec<Value> {
    DEPLOYMENTS.iter().map(|component| component.render("Deployment")).collect()
}

/// What AKS runs once on every node.
pub fn daemon_sets() -> Vec<Value> {
    DAEMONS.iter().map(|component| component.render("DaemonSet")).collect()
}

/// What the daemons request on every node together.
pub fn daemon_overhead() -> Resources {
    let sum = |of: fn(&Component) -> i64| DAEMONS.iter().map(of).sum::<i64>();
    Resources { cpu: Millicores(sum(|c| c.cpu)), memory: Bytes(sum(|c| c.mib) << 20) }
}

/// The requests of every platform pod that is not a daemon.
pub fn platform_pods() -> Vec<Resources> {
    DEPLOYMENTS.iter().flat_map(|c| std::iter::repeat_n(c.requests(), c.replicas as usize)).collect()
}
