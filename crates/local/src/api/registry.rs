//! Which resources are served: the built-in ones from recorded discovery, and those of stored CRDs.
//!
//! Owns names, verbs, subresources and the table each resource is stored in; schemas are `object`'s.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use serde_json::Value;

use super::resource::Resource;

/// Recorded aggregated discovery of kube-apiserver 1.33.
const DISCOVERY: &str = include_str!("../../data/discovery.json");

/// A subresource as discovery names it.
#[derive(Debug, Clone)]
pub(crate) struct Subresource {
    pub(crate) name: String,
    /// Group, version, kind of what it answers; group and version empty when they are the resource's.
    pub(crate) response: (String, String, String),
    pub(crate) verbs: Vec<String>,
}

/// What a CRD says about one version of its resource.
#[derive(Debug, Clone)]
pub(crate) struct Custom {
    /// Name of the CRD object.
    pub(crate) name: String,
    /// The entry of `spec.versions`.
    pub(crate) version: Value,
    /// Whether the CRD itself is being deleted.
    pub(crate) terminating: bool,
}

/// One served resource in one version.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub(crate) resource: Resource,
    pub(crate) singular: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) verbs: Vec<String>,
    pub(crate) subresources: Vec<Subresource>,
    /// Key of the table; versions and twin groups of one resource share it.
    pub(crate) table: String,
    /// Version under which objects are stored (`apiVersion`).
    pub(crate) stored_as: String,
    pub(crate) custom: Option<Custom>,
    /// An object of it that says nothing, once it was asked for.
    pub(crate) empty: OnceLock<Value>,
}

impl Definition {
    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether writes count up `metadata.generation`.
    pub(crate) fn has_generation(&self) -> bool {
        const COUNTED: [&str; 13] = [
            "/pods",
            "/podtemplates",
            "/replicationcontrollers",
            "apps/deployments",
            "apps/replicasets",
            "apps/daemonsets",
            "apps/statefulsets",
            "batch/jobs",
            "batch/cronjobs",
            "policy/poddisruptionbudgets",
            "discovery.k8s.io/endpointslices",
            "scheduling.k8s.io/priorityclasses",
            "apiextensions.k8s.io/customresourcedefinitions",
        ];
        self.custom.is_some() || COUNTED.contains(&self.table.as_str())
    }
}

type ByName = BTreeMap<(String, String, String), Arc<Definition>>;

/// One API group with its versions, preferred first.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
}

#[derive(Debug, Default)]
struct Served {
    groups: Vec<Group>,
    definitions: ByName,
}

/// All served resources.
#[derive(Debug)]
pub(crate) struct Registry {
    builtin_groups: Vec<Group>,
    builtin: ByName,
    served: RwLock<Arc<Served>>,
}

impl Registry {
    /// The built-in resources.
    pub(crate) fn new() -> Self {
        let discovery: Value = serde_json::from_str(DISCOVERY).expect("the recorded discovery is JSON");
        let mut builtin = ByName::new();
        let mut groups = Vec::new();
        for (root, item) in ["/api", "/apis"].iter().flat_map(|r| list(&discovery[*r]["items"]).map(move |i| (*r, i))) {
            let name = text(&item["metadata"]["name"]);
            debug_assert!(root == "/apis" || name.is_empty());
            let mut versions = Vec::new();
            for version in list(&item["versions"]) {
                let v = text(&version["version"]);
                for resource in list(&version["resources"]) {
                    let definition = builtin_definition(&name, &v, resource);
                    let key = (name.clone(), v.clone(), definition.resource.plural.to_string());
                    builtin.insert(key, Arc::new(definition));
                }
                versions.push(v);
            }
            groups.push(Group { name, versions });
        }
        let served = Served { groups: groups.clone(), definitions: builtin.clone() };
        Self { builtin_groups: groups, builtin, served: RwLock::new(Arc::new(served)) }
    }

    fn served(&self) -> Arc<Served> {
        self.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Definition>> {
        self.served().definitions.get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    /// A definition by group, version and kind.
    pub(crate) fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Definition>> {
        let served = self.served();
        let fits = |d: &&Arc<Definition>| {
            d.resource.group == group && d.resource.version == version && d.resource.kind == kind
        };
        served.definitions.values().find(fits).cloned()
    }

    pub(crate) fn groups(&self) -> Vec<Group> {
        self.served().groups.clone()
    }

    /// The resources of a group's version, in the order of their names.
    pub(crate) fn resources(&self, group: &str, version: &str) -> Vec<Arc<Definition>> {
        let served = self.served();
        let fits = |d: &&Arc<Definition>| d.resource.group == group && d.resource.version == version;
        served.definitions.values().filter(fits).cloned().collect()
    }

    /// The resources whose objects are stored, each in the version that it is stored as, or else the first one served.
    pub(crate) fn stored(&self) -> Vec<Resource> {
        let served = self.served();
        let mut by_table = BTreeMap::<&str, &Definition>::new();
        for definition in served.definitions.values().filter(|d| d.verbs.iter().any(|verb| verb == "watch")) {
            let known = by_table.entry(&definition.table).or_insert(definition);
            if definition.stored_as == definition.resource.api_version() {
                *known = definition;
            }
        }
        by_table.into_values().map(|definition| definition.resource.clone()).collect()
    }

    /// Serves the established CRDs among these, instead of those before.
    pub(crate) fn set_custom<'a>(&self, crds: impl Iterator<Item = &'a Value>) {
        let mut served = Served { groups: self.builtin_groups.clone(), definitions: self.builtin.clone() };
        for crd in crds.filter(|c| established(c)) {
            let group = text(&crd["spec"]["group"]);
            for version in list(&crd["spec"]["versions"]).filter(|v| v["served"] == true) {
                let definition = custom_definition(crd, version);
                let v = definition.resource.version.to_string();
                match served.groups.iter_mut().find(|g| g.name == group) {
                    Some(known) if known.versions.contains(&v) => {}
                    Some(known) => known.versions.push(v.clone()),
                    None => served.groups.push(Group { name: group.clone(), versions: vec![v.clone()] }),
                }
                let key = (group.clone(), v, definition.resource.plural.to_string());
                served.definitions.insert(key, Arc::new(definition));
            }
        }
        for group in &mut served.groups {
            if !self.builtin_groups.iter().any(|b| b.name == group.name) {
                group.versions.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
            }
        }
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }
}

fn established(crd: &Value) -> bool {
    list(&crd["status"]["conditions"]).any(|c| c["type"] == "Established" && c["status"] == "True")
}

/// Kubernetes' order of versions: stable above beta above alpha, then numbers.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority>
fn version_rank(version: &str) -> (u8, u32, u32) {
    let rest = version.strip_prefix('v').unwrap_or_default();
    let digits = |s: &str| s.chars().take_while(char::is_ascii_digit).collect::<String>();
    let major = digits(rest);
    let Ok(number) = major.parse::<u32>() else { return (0, 0, 0) };
    let tail = &rest[major.len()..];
    for (word, stage) in [("beta", 2), ("alpha", 1)] {
        if let Some(minor) = tail.strip_prefix(word) {
            return (stage, number, minor.parse().unwrap_or(0));
        }
    }
    if tail.is_empty() { (3, number, 0) } else { (0, 0, 0) }
}

fn builtin_definition(group: &str, version: &str, resource: &Value) -> Definition {
    let plural = text(&resource["resource"]);
    let kind = text(&resource["responseKind"]["kind"]);
    let (table, stored_as) = match (group, plural.as_str()) {
        ("events.k8s.io", "events") => ("/events".to_owned(), "v1".to_owned()),
        ("autoscaling", _) => (format!("autoscaling/{plural}"), "autoscaling/v2".to_owned()),
        ("", _) => (format!("/{plural}"), version.to_owned()),
        _ => (format!("{group}/{plural}"), format!("{group}/{version}")),
    };
    let subresources = list(&resource["subresources"]).map(|s| Subresource {
        name: text(&s["subresource"]),
        response: (
            text(&s["responseKind"]["group"]),
            text(&s["responseKind"]["version"]),
            text(&s["responseKind"]["kind"]),
        ),
        verbs: texts(&s["verbs"]),
    });
    Definition {
        singular: text(&resource["singularResource"]),
        list_kind: format!("{kind}List"),
        short_names: texts(&resource["shortNames"]),
        categories: texts(&resource["categories"]),
        verbs: texts(&resource["verbs"]),
        subresources: subresources.collect(),
        resource: Resource {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            plural: plural.into(),
            kind: kind.into(),
            namespaced: resource["scope"] == "Namespaced",
        },
        table,
        stored_as,
        custom: None,
        empty: OnceLock::new(),
    }
}

fn custom_definition(crd: &Value, version: &Value) -> Definition {
    let (group, name) = (text(&crd["spec"]["group"]), text(&version["name"]));
    // What a CRD asks for stands in its spec; what it got, in its status.
    let names = &crd["status"]["acceptedNames"];
    let (plural, kind) = (text(&names["plural"]), text(&names["kind"]));
    let verbs = |names: &[&str]| names.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    let mut subresources = Vec::new();
    for (subresource, response) in [
        ("status", (group.clone(), name.clone(), kind.clone())),
        ("scale", ("autoscaling".to_owned(), "v1".to_owned(), "Scale".to_owned())),
    ] {
        if version["subresources"].get(subresource).is_some() {
            let verbs = verbs(&["get", "patch", "update"]);
            subresources.push(Subresource { name: subresource.into(), response, verbs });
        }
    }
    let stored = list(&crd["spec"]["versions"]).find(|v| v["storage"] == true);
    let stored_as = format!("{group}/{}", stored.map_or_else(|| name.clone(), |v| text(&v["name"])));
    Definition {
        singular: text(&names["singular"]),
        list_kind: text(&names["listKind"]),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        verbs: verbs(&["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]),
        subresources,
        table: format!("{group}/{plural}"),
        stored_as,
        custom: Some(Custom {
            name: text(&crd["metadata"]["name"]),
            version: version.clone(),
            terminating: crd["metadata"].get("deletionTimestamp").is_some(),
        }),
        empty: OnceLock::new(),
        resource: Resource {
            group: group.into(),
            version: name.into(),
            plural: plural.into(),
            kind: kind.into(),
            namespaced: crd["spec"]["scope"] == "Namespaced",
        },
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).map(text).collect()
}
