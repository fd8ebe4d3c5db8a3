//! What stands behind a managed cluster: a real Kubernetes API, if the test gives one.

use std::{collections::BTreeMap, fmt::Debug};

use serde_json::Value;

/// Makes and removes the cluster behind a managed cluster.
pub trait Backing: Debug + Send {
    /// A managed cluster is ready: `id` and the body of its PUT.
    fn made(&mut self, id: &str, body: &Value);
    /// It is gone.
    fn removed(&mut self, id: &str);
    /// Its kubeconfig, or why there is none.
    fn kubeconfig(&mut self, id: &str) -> Result<String, String>;
}

/// The clusters behind the managed ones; without a backing, kubeconfigs that lead nowhere.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    pub(crate) backing: Option<Box<dyn Backing>>,
    standing: BTreeMap<String, String>,
}

impl Clusters {
    pub(crate) fn made(&mut self, id: &str, body: &Value) {
        let text = format!("apiVersion: v1\nkind: Config\n# no cluster stands behind {id}\n");
        if self.standing.insert(id.to_lowercase(), text).is_none()
            && let Some(backing) = &mut self.backing
        {
            backing.made(id, body);
        }
    }

    pub(crate) fn removed(&mut self, id: &str) {
        if self.standing.remove(&id.to_lowercase()).is_some()
            && let Some(backing) = &mut self.backing
        {
            backing.removed(id);
        }
    }

    pub(crate) fn kubeconfig(&mut self, id: &str) -> Result<String, String> {
        match &mut self.backing {
            Some(backing) => backing.kubeconfig(id),
            None => self.standing.get(&id.to_lowercase()).cloned().ok_or_else(|| format!("{id} is not ready")),
        }
    }
}
