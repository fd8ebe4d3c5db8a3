//! What the app reads from its environment, typed. The names are written by `democtl_core::render`.

use std::{net::SocketAddr, str::FromStr, time::Duration};

/// A variable that is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not set.
    #[error("{0} is not set")]
    Missing(String),
    /// It does not parse or is out of range.
    #[error("{name}={value:?} is not {wanted}")]
    Invalid {
        /// Variable.
        name: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
}

/// How variables are looked up.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// How a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Stored before the answer: 201.
    Direct,
    /// Queued: 202 with a Location.
    Async,
}

/// Settings of the HTTP API.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// Address to listen on.
    pub bind: SocketAddr,
    /// The store and queue.
    pub redis_url: String,
    /// List that writes go to.
    pub queue: String,
    /// How writes are answered.
    pub pattern: Pattern,
    /// Requests executed at once.
    pub concurrency: usize,
    /// Requests kept waiting; more are answered 503.
    pub queue_limit: usize,
    /// Backend time of reading one customer.
    pub read_one: Duration,
    /// Backend time of listing customers.
    pub read_all: Duration,
    /// Backend time of a write.
    pub write: Duration,
    /// Modelled CPU time of a request.
    pub cpu_per_request: Duration,
    /// Modelled memory of an idle process, bytes.
    pub base_memory: u64,
    /// Requests after which a connection is closed.
    pub requests_per_connection: u32,
    /// How long a list stays cached.
    pub cache_ttl: Duration,
    /// Longest time from SIGTERM to the end.
    pub grace: Duration,
}

/// Settings of the queue's consumer.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The store and queue.
    pub redis_url: String,
    /// List that is consumed.
    pub queue: String,
    /// Most messages of one bulk write.
    pub batch: usize,
    /// Time of one bulk write.
    pub batch_time: Duration,
    /// Modelled CPU time of a message.
    pub cpu_per_message: Duration,
    /// Modelled memory of an idle process, bytes.
    pub base_memory: u64,
    /// Attempts before a message goes to the dead-letter list.
    pub max_retries: u32,
    /// Where metrics and health are served.
    pub metrics_bind: SocketAddr,
    /// Longest time from SIGTERM to the end.
    pub grace: Duration,
}

impl WebConfig {
    /// Reads the settings; only addresses and names have no default.
    pub fn read(lookup: &Lookup<'_>) -> Result<Self, ConfigError> {
        let pattern = match lookup("APP_PATTERN").as_deref() {
            None | Some("async") => Pattern::Async,
            Some("direct") => Pattern::Direct,
            Some(other) => return Err(invalid("APP_PATTERN", other, "async or direct")),
        };
        Ok(Self {
            bind: bind_address(lookup, "APP_BIND")?,
            redis_url: required(lookup, "APP_REDIS_URL")?,
            queue: required(lookup, "APP_QUEUE")?,
            pattern,
            concurrency: positive(lookup, "APP_CONCURRENCY", 10)?,
            queue_limit: number(lookup, "APP_QUEUE_LIMIT", 100, "a whole number")?,
            read_one: millis(lookup, "APP_READ_ONE_MS", 50.0)?,
            read_all: millis(lookup, "APP_READ_ALL_MS", 200.0)?,
            write: millis(lookup, "APP_WRITE_MS", 100.0)?,
            cpu_per_request: millis(lookup, "APP_CPU_MS_PER_REQUEST", 2.0)?,
            base_memory: number(lookup, "APP_BASE_MEMORY_BYTES", 256 << 20, "a number of bytes")?,
            requests_per_connection: positive(lookup, "APP_REQUESTS_PER_CONNECTION", 10)?,
            cache_ttl: millis(lookup, "APP_CACHE_TTL_MS", 1000.0)?,
            grace: millis(lookup, "APP_GRACE_MS", 30_000.0)?,
        })
    }
}

impl WorkerConfig {
    /// Reads the settings; only addresses and names have no default.
    pub fn read(lookup: &Lookup<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            redis_url: required(lookup, "APP_REDIS_URL")?,
            queue: required(lookup, "APP_QUEUE")?,
            batch: positive(lookup, "APP_BATCH", 100)?,
            batch_time: millis(lookup, "APP_BATCH_MS", 400.0)?,
            cpu_per_message: millis(lookup, "APP_CPU_MS_PER_MESSAGE", 1.0)?,
            base_memory: number(lookup, "APP_BASE_MEMORY_BYTES", 256 << 20, "a number of bytes")?,
            max_retries: number(lookup, "APP_MAX_RETRIES", 3, "a whole number")?,
            metrics_bind: bind_address(lookup, "APP_METRICS_BIND")?,
            grace: millis(lookup, "APP_GRACE_MS", 30_000.0)?,
        })
    }
}

/// A socket address to listen on, such as `127.0.0.1:8080`.
pub(crate) fn bind_address(lookup: &Lookup<'_>, name: &str) -> Result<SocketAddr, ConfigError> {
    let value = required(lookup, name)?;
    value.parse().map_err(|_| invalid(name, &value, "IP:PORT"))
}

fn invalid(name: &str, value: &str, wanted: &'static str) -> ConfigError {
    ConfigError::Invalid { name: name.to_owned(), value: value.to_owned(), wanted }
}

fn required(lookup: &Lookup<'_>, name: &str) -> Result<String, ConfigError> {
    lookup(name).filter(|value| !value.is_empty()).ok_or_else(|| ConfigError::Missing(name.to_owned()))
}

fn number<T: FromStr>(lookup: &Lookup<'_>, name: &str, default: T, wanted: &'static str) -> Result<T, ConfigError> {
    lookup(name).map_or(Ok(default), |value| value.parse().map_err(|_| invalid(name, &value, wanted)))
}

fn positive<T: FromStr + PartialOrd + From<u8>>(lookup: &Lookup<'_>, name: &str, default: T) -> Result<T, ConfigError> {
    let wanted = "a whole number of at least 1";
    let value = number(lookup, name, default, wanted)?;
    if value >= T::from(1) { Ok(value) } else { Err(invalid(name, &lookup(name).unwrap_or_default(), wanted)) }
}

fn millis(lookup: &Lookup<'_>, name: &str, default: f64) -> Result<Duration, ConfigError> {
    let wanted = "a number of milliseconds";
    let value: f64 = number(lookup, name, default, wanted)?;
    Duration::try_from_secs_f64(value / 1000.0).map_err(|_| invalid(name, &value.to_string(), wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    const LEAST: &[(&str, &str)] =
        &[("APP_BIND", "127.0.0.1:0"), ("APP_REDIS_URL", "redis://127.0.0.1:1"), ("APP_QUEUE", "q")];

    #[test]
    fn defaults_fill_what_is_not_set() {
        let config = WebConfig::read(&of(LEAST)).expect("the least is enough");
        assert_eq!((config.concurrency, config.queue_limit), (10, 100));
        assert_eq!(config.write, Duration::from_millis(100));
    }

    #[test]
    fn errors_name_the_variable_the_value_and_the_limit() {
        let missing = WebConfig::read(&of(&[])).expect_err("nothing is set");
        assert_eq!(missing.to_string(), "APP_BIND is not set");
        let zero = |name: &str| if name == "APP_CONCURRENCY" { Some("0".into()) } else { of(LEAST)(name) };
        let error = WebConfig::read(&zero).expect_err("zero is too few");
        assert_eq!(error.to_string(), "APP_CONCURRENCY=\"0\" is not a whole number of at least 1");
    }
}
