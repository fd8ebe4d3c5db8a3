//! Takes back what a cluster has made outside of itself, before the cluster goes: load balancers, their addresses, disks.
//!
//! Whatever Argo CD delivers goes first, or it would bring the Services back; an Application with the finalizer
//! `resources-finalizer.argocd.argoproj.io` takes what it delivered with it:
//! <https://argo-cd.readthedocs.io/en/stable/user-guide/app_deletion/>. A claim stays as long as a pod uses it, and nothing
//! delivered need be the pod's owner, so that workloads beside a claim go with it:
//! <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection>.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Service},
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams},
};

use super::health::application_resource;
use crate::failure::{Failure, Kind};

/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long one look and what it asks for may take: an API that stalls is not waited for.
const STEP_WITHIN: Duration = Duration::from_secs(30);

/// What still holds things of the cloud.
#[derive(Default)]
struct Held {
    applications: Vec<DynamicObject>,
    services: Vec<Service>,
    claims: Vec<PersistentVolumeClaim>,
    /// Pods that use one of the claims, which stays as long as they do.
    users: Vec<Pod>,
    /// Their disks go with them; one that is to be kept is none of these.
    volumes: Vec<PersistentVolume>,
}

/// Deletes every Application, then Services with a load balancer and claims on disks with the workloads beside them, and
/// waits until all are gone. The whole cluster is about to go, so nothing in it is spared.
pub async fn withdraw(client: &Client, within: Duration) -> Result<(), Failure> {
    let end = Instant::now() + within;
    loop {
        let left = match tokio::time::timeout(STEP_WITHIN, step(client)).await {
            Ok(Ok(held)) if held.is_empty() => return Ok(()),
            Ok(Ok(held)) => held.words(),
            // Asked again, it says the same.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
                let what = "the login may not look into the cluster, or remove what is in it";
                return Err(Failure::new(Kind::Infrastructure, anyhow::Error::new(*status).context(what)));
            }
            Ok(Err(error)) => format!("what is not known, since the API does not answer: {error}"),
            Err(_) => "what is not known, since the API does not answer".to_owned(),
        };
        if Instant::now() > end {
            let what = format!("after {} s the cluster still holds {left}", within.as_secs());
            return Err(Failure::msg(Kind::Infrastructure, what));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks at what is there and asks for the removal of what may go now.
async fn step(client: &Client) -> kube::Result<Held> {
    let held = Held::look(client).await?;
    for application in &held.applications {
        let namespace = application.namespace().unwrap_or_default();
        delete(&Api::namespaced_with(client.clone(), &namespace, &application_resource()), application).await?;
    }
    if held.applications.is_empty() {
        for service in &held.services {
            delete(&Api::namespaced(client.clone(), &service.namespace().unwrap_or_default()), service).await?;
        }
        for claim in &held.claims {
            delete(&Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default()), claim).await?;
        }
        let namespaces: BTreeSet<String> = held.users.iter().filter_map(ResourceExt::namespace).collect();
        // What detaches the disks runs among AKS's own.
        for namespace in namespaces.iter().filter(|namespace| *namespace != "kube-system") {
            clear::<CronJob>(client, namespace).await?;
            clear::<Job>(client, namespace).await?;
            clear::<Deployment>(client, namespace).await?;
            clear::<ReplicaSet>(client, namespace).await?;
            clear::<StatefulSet>(client, namespace).await?;
            clear::<DaemonSet>(client, namespace).await?;
        }
        for pod in &held.users {
            delete(&Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default()), pod).await?;
        }
    }
    Ok(held)
}

/// Asks for the removal of all of a kind in a namespace.
async fn clear<K>(client: &Client, namespace: &str) -> kube::Result<()>
where
    K: kube::Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.delete_collection(&DeleteParams::background(), &ListParams::default()).await.map(|_| ())
}

/// Asks once; one that is gone is as wanted.
async fn delete<K>(api: &Api<K>, object: &K) -> kube::Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    if object.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    match api.delete(&object.name_any(), &DeleteParams::background()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

/// All of a kind; a cluster that does not know the kind has none.
async fn all<K>(api: Api<K>) -> kube::Result<Vec<K>>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    pod.namespace() == claim.namespace()
        && volumes.any(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => source.claim_name == claim.name_any(),
            (None, Some(_)) => format!("{}-{}", pod.name_any(), volume.name) == claim.name_any(),
            (None, None) => false,
        })
}

impl Held {
    async fn look(client: &Client) -> kube::Result<Self> {
        let applications: Api<DynamicObject> = Api::all_with(client.clone(), &application_resource());
        let (applications, services, claims, volumes) = tokio::try_join!(
            all(applications),
            all::<Service>(Api::all(client.clone())),
            all::<PersistentVolumeClaim>(Api::all(client.clone())),
            all::<PersistentVolume>(Api::all(client.clone())),
        )?;
        let users = if claims.is_empty() { Vec::new() } else { all::<Pod>(Api::all(client.clone())).await? };
        let balanced =
            |service: &Service| service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
        let goes = |volume: &PersistentVolume| {
            volume.spec.as_ref().is_some_and(|spec| {
                spec.claim_ref.is_some() && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete")
            })
        };
        Ok(Self {
            applications,
            services: services.into_iter().filter(balanced).collect(),
            users: users.into_iter().filter(|pod| claims.iter().any(|claim| uses(pod, claim))).collect(),
            claims,
            volumes: volumes.into_iter().filter(goes).collect(),
        })
    }

    fn is_empty(&self) -> bool {
        self.applications.is_empty() && self.services.is_empty() && self.claims.is_empty() && self.volumes.is_empty()
    }

    fn words(&self) -> String {
        fn names<K: kube::ResourceExt>(kind: &str, all: &[K]) -> Vec<String> {
            all.iter().map(|object| format!("{kind} {}", object.name_any())).collect()
        }
        let mut words = names("Application", &self.applications);
        words.extend(names("Service", &self.services));
        words.extend(names("PersistentVolumeClaim", &self.claims));
        words.extend(names("Pod", &self.users));
        words.extend(names("PersistentVolume", &self.volumes));
        words.join(", ")
    }
}
