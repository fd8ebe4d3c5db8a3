//! kube-proxy: keeps one listener per Service port and its ready endpoints current.
//!
//! Each port of a Service listens on the Service's cluster IP. A Service of type `LoadBalancer` listens on 127.0.0.1 as
//! well, on a free port (the one it had before, if it can), which is written to `status.loadBalancer.ingress[].ports` and
//! to the annotation `democtl.dev/address`, since its own port may be privileged or taken on this machine.
//! <https://kubernetes.io/docs/reference/networking/virtual-ips/>

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    balance::{Endpoints, ServicePort},
    network::fnv1a,
    objects::{Change, Kind, Note, Objects, meta},
    resolve::Directory,
};

/// Where a `LoadBalancer` Service is reached from this machine, as `127.0.0.1:PORT`.
pub const ADDRESS: &str = "democtl.dev/address";
/// The label that ties an `EndpointSlice` to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A port of a Service: namespace, Service, port's name.
type PortKey = (String, String, String);

/// Runs until `shutdown`; `directory` learns every Service's address.
pub async fn run(objects: Arc<dyn Objects>, seed: u64, directory: Directory, shutdown: CancellationToken) {
    let mut services = objects.watch(Kind::Service);
    let mut slices = objects.watch(Kind::EndpointSlice);
    let mut proxy = Proxy { objects, seed, directory, ports: HashMap::new(), slices: BTreeMap::new() };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            change = services.next() => match change {
                Some(change) => proxy.services_changed(change).await,
                None => return,
            },
            change = slices.next() => match change {
                Some(change) => proxy.slices_changed(change),
                None => return,
            },
        }
    }
}

struct Proxy {
    objects: Arc<dyn Objects>,
    seed: u64,
    directory: Directory,
    ports: HashMap<PortKey, Port>,
    /// `EndpointSlices` by namespace and name.
    slices: BTreeMap<(String, String), Value>,
}

struct Port {
    number: u16,
    endpoints: Endpoints,
    cluster: Option<ServicePort>,
    external: Option<ServicePort>,
}

impl Proxy {
    async fn services_changed(&mut self, change: Change) {
        match change {
            Change::Listed(services) => {
                let gone: Vec<(String, String)> =
                    self.ports.keys().map(|(ns, name, _)| (ns.clone(), name.clone())).collect();
                for (namespace, name) in gone {
                    if !services.iter().any(|s| meta(s, "namespace") == namespace && meta(s, "name") == name) {
                        self.remove(&namespace, &name);
                    }
                }
                for service in services {
                    self.apply(&service).await;
                }
            }
            Change::Applied(service) => self.apply(&service).await,
            Change::Deleted(service) => self.remove(meta(&service, "namespace"), meta(&service, "name")),
        }
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        self.ports.retain(|(ns, service, _), _| ns != namespace || service != name);
        self.directory.remove(namespace, name);
    }

    async fn apply(&mut self, service: &Value) {
        let (namespace, name) = (meta(service, "namespace").to_owned(), meta(service, "name").to_owned());
        let cluster_ip: Option<Ipv4Addr> = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
        let Some(cluster_ip) = cluster_ip else { return self.remove(&namespace, &name) };
        let specs: Vec<(String, u16)> = service["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"))
            .filter_map(|port| {
                let number = u16::try_from(port["port"].as_u64()?).ok()?;
                Some((port["name"].as_str().unwrap_or("").to_owned(), number))
            })
            .collect();
        self.ports.retain(|(ns, service, port), entry| {
            (*ns != namespace || *service != name)
                || specs.iter().any(|(key, number)| key == port && entry.number == *number)
        });
        self.directory.set(&namespace, &name, cluster_ip, specs.first().map(|(_, number)| *number));
        let external = service["spec"]["type"] == "LoadBalancer";
        let before = service["metadata"]["annotations"][ADDRESS].as_str().and_then(|text| text.parse().ok());
        for (index, (port, number)) in specs.iter().enumerate() {
            let key = (namespace.clone(), name.clone(), port.clone());
            let preferred = if index == 0 { before } else { None };
            let endpoints = self.entry(&key, *number).endpoints.clone();
            if self.entry(&key, *number).cluster.is_none() {
                let bound = self.bind(service, SocketAddrV4::new(cluster_ip, *number), &endpoints).await;
                self.entry(&key, *number).cluster = bound;
            }
            if !external {
                self.entry(&key, *number).external = None;
            } else if self.entry(&key, *number).external.is_none() {
                let bound = self.bind_external(service, preferred, &endpoints).await;
                self.entry(&key, *number).external = bound;
            }
        }
        if external {
            self.publish(service, &namespace, &name, &specs).await;
        }
    }

    fn entry(&mut self, key: &PortKey, number: u16) -> &mut Port {
        if !self.ports.contains_key(key) {
            let seed = self.seed ^ fnv1a(format!("{}/{}/{}", key.0, key.1, key.2).as_bytes());
            let endpoints = Endpoints::new(seed);
            endpoints.set(self.ready(key));
            self.ports.insert(key.clone(), Port { number, endpoints, cluster: None, external: None });
        }
        self.ports.get_mut(key).expect("was inserted above")
    }

    async fn bind(&self, service: &Value, address: SocketAddrV4, endpoints: &Endpoints) -> Option<ServicePort> {
        match ServicePort::bind(address, endpoints.clone()).await {
            Ok(port) => Some(port),
            Err(error) => {
                let message = format!("cannot listen on {address}: {error}");
                tracing::warn!(service = meta(service, "name"), "{message}");
                let about = json!({
                    "apiVersion": "v1",
                    "kind": "Service",
                    "namespace": service["metadata"]["namespace"],
                    "name": service["metadata"]["name"],
                    "uid": service["metadata"]["uid"],
                });
                let note = Note { about, warning: true, reason: "FailedToBind", message, component: "kube-proxy" };
                self.objects.note(note).await;
                None
            }
        }
    }

    async fn bind_external(
        &self,
        service: &Value,
        preferred: Option<SocketAddrV4>,
        endpoints: &Endpoints,
    ) -> Option<ServicePort> {
        if let Some(address) = preferred.filter(|address| *address.ip() == Ipv4Addr::LOCALHOST)
            && let Ok(port) = ServicePort::bind(address, endpoints.clone()).await
        {
            return Some(port);
        }
        self.bind(service, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), endpoints).await
    }

    /// Writes where a `LoadBalancer` Service is reached, if that is not written yet.
    async fn publish(&self, service: &Value, namespace: &str, name: &str, specs: &[(String, u16)]) {
        let addresses: Vec<_> = specs
            .iter()
            .filter_map(|(port, _)| self.ports.get(&(namespace.to_owned(), name.to_owned(), port.clone())))
            .filter_map(|port| port.external.as_ref().map(ServicePort::address))
            .collect();
        let Some(first) = addresses.first() else { return };
        let ports: Vec<Value> =
            addresses.iter().map(|address| json!({"port": address.port(), "protocol": "TCP"})).collect();
        let ingress = json!([{"ip": first.ip().to_string(), "ipMode": "Proxy", "ports": ports}]);
        if service["status"]["loadBalancer"]["ingress"] != ingress {
            let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}});
            if let Err(error) = self.objects.patch(Kind::Service, service, patch, true).await {
                tracing::warn!(%error, service = name, "load balancer's address not written");
            }
        }
        let address = first.to_string();
        if service["metadata"]["annotations"][ADDRESS] != json!(address) {
            let patch = json!({"metadata": {"annotations": {ADDRESS: address}}});
            if let Err(error) = self.objects.patch(Kind::Service, service, patch, false).await {
                tracing::warn!(%error, service = name, "load balancer's annotation not written");
            }
        }
    }

    fn slices_changed(&mut self, change: Change) {
        let key = |slice: &Value| (meta(slice, "namespace").to_owned(), meta(slice, "name").to_owned());
        match change {
            Change::Listed(slices) => self.slices = slices.into_iter().map(|slice| (key(&slice), slice)).collect(),
            Change::Applied(slice) => drop(self.slices.insert(key(&slice), slice)),
            Change::Deleted(slice) => drop(self.slices.remove(&key(&slice))),
        }
        for (key, port) in &self.ports {
            port.endpoints.set(self.ready(key));
        }
    }

    /// The ready endpoints of a Service port over all of its slices.
    fn ready(&self, (namespace, service, port): &PortKey) -> Vec<SocketAddrV4> {
        let slices = self.slices.iter().filter(|((ns, _), slice)| {
            ns == namespace && slice["metadata"]["labels"][SERVICE_NAME].as_str() == Some(service)
        });
        let mut ready: Vec<SocketAddrV4> = slices.flat_map(|(_, slice)| slice_endpoints(slice, port)).collect();
        ready.sort_unstable();
        ready.dedup();
        ready
    }
}

fn slice_endpoints(slice: &Value, port: &str) -> Vec<SocketAddrV4> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let number = ports
        .filter(|entry| entry["name"].as_str().unwrap_or("") == port)
        .find_map(|entry| u16::try_from(entry["port"].as_u64()?).ok());
    let Some(number) = number else { return Vec::new() };
    slice["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|endpoint| endpoint["conditions"]["ready"] != Value::Bool(false))
        .filter_map(|endpoint| endpoint["addresses"][0].as_str()?.parse().ok())
        .map(|ip| SocketAddrV4::new(ip, number))
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::runtime::fake::Fake;

    #[tokio::test]
    async fn a_load_balancer_is_published_and_follows_its_endpoints() {
        let backend = TcpListener::bind((Ipv4Addr::new(127, 207, 0, 16), 0)).await.unwrap();
        let port = backend.local_addr().unwrap().port();
        let api = Fake::new();
        let shutdown = CancellationToken::new();
        let directory = Directory::default();
        let proxy = tokio::spawn(run(api.clone(), 1, directory.clone(), shutdown.clone()));
        api.apply(
            Kind::Service,
            json!({"metadata": {"namespace": "default", "name": "web", "uid": "1"},
                "spec": {"type": "LoadBalancer", "clusterIP": "127.207.128.16",
                    "ports": [{"name": "http", "port": 8080, "targetPort": 80}]}}),
        );
        let published =
            api.until(Kind::Service, "web", |service| service["metadata"]["annotations"][ADDRESS].is_string()).await;
        let address = published["metadata"]["annotations"][ADDRESS].as_str().unwrap().to_owned();
        assert_eq!(published["status"]["loadBalancer"]["ingress"][0]["ip"], "127.0.0.1");
        assert_eq!(directory.resolve("web", "default"), "127.207.128.16:8080".parse().ok());
        let mut early = TcpStream::connect(&address).await.unwrap();
        assert!(early.read_u8().await.is_err(), "no endpoint yet");
        api.apply(
            Kind::EndpointSlice,
            json!({"metadata": {"namespace": "default", "name": "web-1", "uid": "2", "labels": {SERVICE_NAME: "web"}},
                "ports": [{"name": "http", "port": port}],
                "endpoints": [{"addresses": ["127.207.0.16"], "conditions": {"ready": true}},
                              {"addresses": ["127.207.0.17"], "conditions": {"ready": false}}]}),
        );
        for target in [address.as_str(), "127.207.128.16:8080"] {
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            loop {
                let _client = TcpStream::connect(target).await.unwrap();
                let accepted = tokio::time::timeout(Duration::from_millis(50), backend.accept()).await;
                if accepted.is_ok() {
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "{target} never reached the pod");
            }
        }
        shutdown.cancel();
        proxy.await.unwrap();
    }
}
