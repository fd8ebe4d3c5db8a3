//! Names of resources: group, version, plural, kind; and constants for those that the cluster itself uses.

use std::borrow::Cow;

/// One served resource in one version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    /// API group; empty for core.
    pub group: Cow<'static, str>,
    /// API version, such as `v1`.
    pub version: Cow<'static, str>,
    /// Plural name in paths.
    pub plural: Cow<'static, str>,
    /// Kind.
    pub kind: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    const fn fixed(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced,
        }
    }

    /// `plural.group`, or the plural alone for core, as messages name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `group/version`, or the version alone for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Resources that the cluster's own components use.
pub mod resources {
    use super::Resource;

    macro_rules! resources {
        ($($name:ident = $group:literal, $version:literal, $plural:literal, $kind:literal, $namespaced:literal;)*) => {
            $(#[doc = concat!("`", $plural, "` of `", $group, "/", $version, "`.")]
            pub const $name: Resource = Resource::fixed($group, $version, $plural, $kind, $namespaced);)*
        };
    }

    resources! {
        PODS = "", "v1", "pods", "Pod", true;
        NODES = "", "v1", "nodes", "Node", false;
        NAMESPACES = "", "v1", "namespaces", "Namespace", false;
        SERVICES = "", "v1", "services", "Service", true;
        SERVICE_ACCOUNTS = "", "v1", "serviceaccounts", "ServiceAccount", true;
        ENDPOINTS = "", "v1", "endpoints", "Endpoints", true;
        EVENTS = "", "v1", "events", "Event", true;
        CONFIGMAPS = "", "v1", "configmaps", "ConfigMap", true;
        SECRETS = "", "v1", "secrets", "Secret", true;
        DEPLOYMENTS = "apps", "v1", "deployments", "Deployment", true;
        REPLICASETS = "apps", "v1", "replicasets", "ReplicaSet", true;
        DAEMONSETS = "apps", "v1", "daemonsets", "DaemonSet", true;
        STATEFULSETS = "apps", "v1", "statefulsets", "StatefulSet", true;
        JOBS = "batch", "v1", "jobs", "Job", true;
        CRONJOBS = "batch", "v1", "cronjobs", "CronJob", true;
        HPAS = "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true;
        PDBS = "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true;
        LEASES = "coordination.k8s.io", "v1", "leases", "Lease", true;
        ENDPOINTSLICES = "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true;
        PRIORITY_CLASSES = "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false;
        CRDS = "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false;
        CLUSTER_ROLES = "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false;
        CLUSTER_ROLE_BINDINGS = "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false;
        ROLES = "rbac.authorization.k8s.io", "v1", "roles", "Role", true;
        ROLE_BINDINGS = "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true;
        SCALEDOBJECTS = "keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", true;
        APPLICATIONS = "argoproj.io", "v1alpha1", "applications", "Application", true;
    }
}
