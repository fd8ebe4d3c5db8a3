//! The triggers `redis`, `redis-cluster` and `redis-sentinel`: how long a list is.
//!
//! Upstream: `pkg/scalers/redis_scaler.go` (<https://keda.sh/docs/2.21/scalers/redis-lists/>).

use super::parameters::{AUTH, META, Parameters, Place, Reader, flag};

/// Parameters of the trigger, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of upstream's documentation")]
pub struct Redis {
    pub addresses: Vec<String>,
    pub hosts: Vec<String>,
    pub ports: Vec<String>,
    pub username: String,
    pub password: String,
    pub sentinel_username: String,
    pub sentinel_password: String,
    pub sentinel_master: String,
    pub list_name: String,
    /// Messages per replica.
    pub list_length: i64,
    /// Active above this.
    pub activation_list_length: i64,
    pub database_index: i64,
    pub enable_tls: bool,
    pub unsafe_ssl: bool,
    pub ca: String,
    pub cert: String,
    pub key: String,
    pub key_password: String,
}

impl Redis {
    /// Reads and checks the parameters; the error names every wrong one.
    pub fn parse(parameters: &Parameters) -> Result<Self, String> {
        let mut reader = Reader::new(parameters);
        let (meta_auth_env, meta_env_auth) =
            ([Place::Meta, Place::Auth, Place::Env], [Place::Meta, Place::Env, Place::Auth]);
        let mut redis = Self {
            list_length: reader.int("listLength", 5),
            activation_list_length: reader.int("activationListLength", 0),
            list_name: reader.required_text("listName"),
            database_index: reader.int("databaseIndex", 0),
            addresses: reader.list(&["address", "addresses"], &meta_auth_env),
            hosts: reader.list(&["host", "hosts"], &meta_env_auth),
            ports: reader.list(&["port", "ports"], &meta_env_auth),
            username: reader.text(&["username"], &meta_env_auth),
            password: reader.text(&["password"], &meta_env_auth),
            sentinel_username: reader.text(&["sentinelUsername"], &meta_auth_env),
            sentinel_password: reader.text(&["sentinelPassword"], &meta_auth_env),
            sentinel_master: reader.text(&["sentinelMaster"], &meta_auth_env),
            unsafe_ssl: reader.flag("unsafeSsl", false),
            ca: reader.text(&["ca"], AUTH),
            cert: reader.text(&["Cert", "cert"], AUTH),
            key: reader.text(&["key"], AUTH),
            key_password: reader.text(&["keyPassword"], AUTH),
            enable_tls: false,
        };
        let (in_metadata, in_auth) = (reader.text(&["enableTLS"], META), reader.text(&["tls"], AUTH));
        let checked = redis.gather_addresses().and_then(|()| tls(&in_metadata, &in_auth));
        match checked {
            Ok(enabled) => redis.enable_tls = enabled,
            Err(error) => reader.errors.push(error),
        }
        if reader.errors.is_empty() {
            return Ok(redis);
        }
        Err(format!("error parsing redis metadata: {}", reader.errors.join("\n")))
    }

    fn gather_addresses(&mut self) -> Result<(), String> {
        if !self.hosts.is_empty() && !self.ports.is_empty() {
            if self.hosts.len() != self.ports.len() {
                let error = "not enough hosts or ports given. number of hosts should be equal to the number of ports";
                return Err(error.to_owned());
            }
            let pairs = self.hosts.iter().zip(&self.ports);
            self.addresses.extend(pairs.map(|(host, port)| {
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
            }));
        }
        if self.addresses.first().is_none_or(String::is_empty) {
            let error = "no addresses or hosts given. address should be a comma separated list of host:port or set the host/port values";
            return Err(error.to_owned());
        }
        Ok(())
    }

    /// The address of a single node.
    pub fn address(&self) -> &str {
        self.addresses.first().map(String::as_str).unwrap_or_default()
    }

    /// Whether a length asks for at least one replica.
    pub fn is_active(&self, length: i64) -> bool {
        length > self.activation_list_length
    }
}

fn tls(in_metadata: &str, in_auth: &str) -> Result<bool, String> {
    match (in_metadata, in_auth) {
        ("", "" | "disable") => Ok(false),
        ("", "enable") => Ok(true),
        ("", other) => Err(format!("error incorrect TLS value given, got {other}")),
        (text, "") => flag(text).ok_or_else(|| "EnableTLS parsing error".to_owned()),
        _ => Err("unable to set `tls` in both ScaledObject and TriggerAuthentication together".to_owned()),
    }
}
