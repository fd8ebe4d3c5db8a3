//! Takes back what a cluster has made outside of itself, before the cluster goes: load balancers, their addresses, disks.
//!
//! Whatever Argo CD delivers goes first, or it would bring the Services back; an Application with the finalizer
//! `resources-finalizer.argocd.argoproj.io` takes what it delivered with it:
//! <https://argo-cd.readthedocs.io/en/stable/user-guide/app_deletion/>.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Service};
use kube::{
    Api, Client, ResourceExt as _,
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
    /// Their disks go with them; one that is to be kept is none of these.
    volumes: Vec<PersistentVolume>,
}

/// Deletes every Application, then Services with a load balancer and claims on disks, and waits until all are gone. The
/// whole cluster is about to go, so nothing in it is spared.
pub async fn withdraw(client: &Client, within: Duration) -> Result<(), Failure> {
    let end = Instant::now() + within;
    loop {
        let left = match tokio::time::timeout(STEP_WITHIN, step(client)).await {
            Ok(Ok(held)) if held.is_empty() => return Ok(()),
            Ok(Ok(held)) => held.words(),
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
    }
    Ok(held)
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

impl Held {
    async fn look(client: &Client) -> kube::Result<Self> {
        let applications: Api<DynamicObject> = Api::all_with(client.clone(), &application_resource());
        let (applications, services, claims, volumes) = tokio::try_join!(
            all(applications),
            all::<Service>(Api::all(client.clone())),
            all::<PersistentVolumeClaim>(Api::all(client.clone())),
            all::<PersistentVolume>(Api::all(client.clone())),
        )?;
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
        words.extend(names("PersistentVolume", &self.volumes));
        words.join(", ")
    }
}
