//! Argo CD `Application` objects: who syncs what, from where, and how hard it tries.

use serde_json::{Value, json};

use super::{ARGOCD_NAMESPACE, DEMO_NAMESPACE, Part};

/// Where the rendered manifests lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// Repository: `https://…`, or `file:///…` on the local target.
    pub repo_url: String,
    /// Branch, tag or commit, such as `HEAD`.
    pub revision: String,
    /// Directory that holds one directory a part.
    pub path: String,
}

/// One Application a part, `reliability-demo-<part>`: automated, pruning, self-healing, five retries.
pub fn applications(parts: &[Part], source: &GitSource) -> Vec<Value> {
    parts.iter().map(|part| application(part.name, source)).collect()
}

fn application(part: &str, source: &GitSource) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": format!("{DEMO_NAMESPACE}-{part}"),
            "namespace": ARGOCD_NAMESPACE,
            "labels": { "app.kubernetes.io/part-of": DEMO_NAMESPACE, "app.kubernetes.io/managed-by": "democtl" },
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": "default",
            "source": {
                "repoURL": source.repo_url,
                "targetRevision": source.revision,
                "path": format!("{}/{part}", source.path.trim_end_matches('/')),
            },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": DEMO_NAMESPACE },
            "syncPolicy": {
                "automated": { "prune": true, "selfHeal": true },
                "syncOptions": ["CreateNamespace=true", "ServerSideApply=true"],
                "retry": { "limit": 5, "backoff": { "duration": "5s", "factor": 2, "maxDuration": "3m" } },
            },
        },
    })
}
