//! Cluster DNS without a server: a Service's name in its usual forms to its address.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
};

/// By namespace and name: the cluster IP and the first port.
type Services = HashMap<(String, String), (Ipv4Addr, Option<u16>)>;

/// The Services' addresses; cheap to clone, kept current by the proxy.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    services: Arc<RwLock<Services>>,
}

impl Directory {
    /// Sets a Service's address and first port.
    pub fn set(&self, namespace: &str, name: &str, cluster_ip: Ipv4Addr, port: Option<u16>) {
        let key = (namespace.to_owned(), name.to_owned());
        self.services.write().unwrap_or_else(PoisonError::into_inner).insert(key, (cluster_ip, port));
    }

    /// Forgets a Service.
    pub fn remove(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.services.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// The address that `host` or `host:port` means to a pod of `namespace`: `name`, `name.namespace`,
    /// `name.namespace.svc`, `name.namespace.svc.cluster.local` (with or without the last dot), or an IP address.
    /// Without a port it is the Service's first one.
    pub fn resolve(&self, host: &str, namespace: &str) -> Option<SocketAddr> {
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (host, None),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, port?));
        }
        let name = host.trim_end_matches('.');
        let name = name.strip_suffix(".cluster.local").unwrap_or(name);
        let (service, namespace) = match name.split('.').collect::<Vec<_>>().as_slice() {
            [service] => (*service, namespace),
            [service, namespace] | [service, namespace, "svc"] => (*service, *namespace),
            _ => return None,
        };
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        let (ip, first) = services.get(&(namespace.to_owned(), service.to_owned()))?;
        Some(SocketAddr::new((*ip).into(), port.or(*first)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_name() {
        let directory = Directory::default();
        directory.set("demo", "redis", Ipv4Addr::new(127, 9, 128, 16), Some(6379));
        let address = Some("127.9.128.16:6379".parse().expect("an address"));
        for host in ["redis", "redis:6379", "redis.demo", "redis.demo.svc", "redis.demo.svc.cluster.local."] {
            assert_eq!(directory.resolve(host, "demo"), address, "{host}");
        }
        assert_eq!(directory.resolve("redis", "other"), None);
        assert_eq!(directory.resolve("redis.demo.svc:7000", "x"), "127.9.128.16:7000".parse().ok());
        assert_eq!(directory.resolve("127.0.0.1:80", "x"), "127.0.0.1:80".parse().ok());
        assert_eq!(directory.resolve("example.com.", "demo"), None);
        directory.remove("demo", "redis");
        assert_eq!(directory.resolve("redis", "demo"), None);
    }
}
