//! Which triggers have a value in virtual time. One that has none is refused: read as 0 it would give a forecast of another
//! profile.

use super::monitoring::{DURATIONS, METRICS, WAITS, names};
use crate::{
    autoscale::keda::{Source, Trigger},
    profile::{Profile, Role},
    promql, render,
};

/// Where triggers may read from.
pub(super) struct Sources<'a> {
    pub(super) profile: &'a Profile,
    /// Traffic flows in rates from a midnight on; else requests are simulated, at no time of day.
    pub(super) flows: bool,
}

impl Sources<'_> {
    /// Why a trigger has no value.
    pub(super) fn check(&self, trigger: &Trigger) -> Result<(), String> {
        match &trigger.source {
            Source::Prometheus(prometheus) => self.prometheus(&prometheus.server_address, &prometheus.query),
            Source::Redis(redis) => self.redis(redis.address(), &redis.list_name),
            Source::Cron(cron) if self.flows => cron.is_active(super::fluid::date(0.0)).map(|_| ()),
            Source::Cron(_) => {
                Err("a cron trigger needs a time of day, which a suite has not; traffic has one (--day, --month)"
                    .to_owned())
            }
            Source::Resource { .. } => Ok(()),
        }
    }

    fn prometheus(&self, server: &str, query: &str) -> Result<(), String> {
        let host = server.split_once("://").map_or(server, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host);
        if !self.serves(host, |role| matches!(role, Role::Prometheus(_))) {
            return Err(format!(
                "`{server}` is not a Prometheus of the profile, and what it would answer is not known"
            ));
        }
        let mut known: Vec<&str> = METRICS.to_vec();
        if !self.flows {
            known.extend(DURATIONS.iter().chain(&WAITS));
        }
        let named = names(&promql::parse(query).map_err(|error| error.to_string())?);
        match named.iter().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let of = if self.flows { "traffic that flows in rates" } else { "the forecast" };
                Err(format!("{of} has no metric `{name}`; it has {}", known.join(", ")))
            }
        }
    }

    fn redis(&self, address: &str, list: &str) -> Result<(), String> {
        if !self.serves(address, |role| *role == Role::Redis) {
            return Err(format!("`{address}` is not a Redis of the profile, and how long its lists are is not known"));
        }
        let read = self.profile.workloads.iter().find_map(|workload| match &workload.role {
            Role::Worker(worker) => Some(worker.reads.as_str()),
            _ => None,
        });
        match read {
            Some(read) if read != list => Err(format!("the forecast has one list, `{read}`, and not `{list}`")),
            _ => Ok(()),
        }
    }

    /// Whether `host:port` is the Service of a workload with such a role, by its short or its full name.
    fn serves(&self, address: &str, is: impl Fn(&Role) -> bool) -> bool {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let (name, rest) = host.split_once('.').unwrap_or((host, render::DEMO_NAMESPACE));
        let namespace = rest.split('.').next().unwrap_or(rest);
        let known = self.profile.workloads.iter().any(|workload| workload.name == name && is(&workload.role));
        known
            && namespace == render::DEMO_NAMESPACE
            && (rest == namespace || rest[namespace.len()..].starts_with(".svc"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ForecastError, Options, forecast, traffic};
    use crate::profile::{Profile, Trigger};

    fn with(trigger: Trigger) -> Profile {
        let mut profile = Profile::load_builtin("m3demo2", &[]).expect("it is built in").expect("it is right");
        let web = profile.workloads.iter_mut().find(|workload| workload.name == "web").expect("it has web pods");
        web.scaling.as_mut().expect("they are scaled").triggers = vec![trigger];
        profile
    }

    fn prometheus(server: &str, query: &str) -> Profile {
        let (server, query) = (server.to_owned(), query.to_owned());
        with(Trigger::Prometheus { name: None, server, query, threshold: 1.0, activation: 0.0 })
    }

    fn refusal<T>(result: Result<T, ForecastError>) -> String {
        result.err().map_or_else(|| "none".to_owned(), |error| error.to_string())
    }

    #[test]
    fn a_metric_that_nobody_models_is_refused_and_the_known_ones_are_named() {
        let options = Options { settle: false, tests: vec!["soak".into()], ..Options::default() };
        let wrong = refusal(forecast(&prometheus("http://prometheus:9090", "sum(kafka_lag)"), &options));
        assert!(
            wrong.starts_with("trigger 0 of workload `web` cannot be forecast: the forecast has no metric `kafka_lag`")
        );
        assert!(wrong.contains("http_requests_in_flight") && wrong.contains("queue_wait_seconds_sum"), "{wrong}");
        let far = refusal(forecast(&prometheus("http://prometheus.example.com:9090", "sum(up)"), &options));
        assert!(far.contains("`http://prometheus.example.com:9090` is not a Prometheus of the profile"), "{far}");
        let near = prometheus("http://prometheus.reliability-demo.svc.cluster.local:9090", "sum(up)");
        assert_eq!(refusal(forecast(&near, &options)), "none");
    }

    #[test]
    fn rates_have_no_histograms_and_say_so() {
        let query = "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))";
        let wrong = refusal(traffic(&prometheus("http://prometheus:9090", query), &Options::default(), 1));
        assert!(wrong.contains("has no metric `http_request_duration_seconds_bucket`; it has up,"), "{wrong}");
    }

    #[test]
    fn rates_tell_what_executes() {
        let profile = prometheus("http://prometheus:9090", "sum(http_requests_executing)");
        let day = traffic(&profile, &Options::default(), 1).expect("a forecast");
        assert!(day.peak.pods["web"] > 2, "one request a pod is exceeded: {:?}", day.peak);
    }

    #[test]
    fn a_list_that_nobody_reads_and_a_redis_elsewhere_are_refused() {
        let redis = |address: &str, list: &str| {
            with(Trigger::Redis { address: address.into(), list: list.into(), length: 5, activation: 0 })
        };
        let other = refusal(forecast(&redis("redis:6379", "orders"), &Options::default()));
        assert!(other.contains("and not `orders`"), "{other}");
        let far = refusal(forecast(&redis("cache.example.com:6379", "orders"), &Options::default()));
        assert!(far.contains("`cache.example.com:6379` is not a Redis of the profile"), "{far}");
    }

    #[test]
    fn a_cron_trigger_is_followed_through_a_day_and_refused_for_a_suite() {
        let profile = with(Trigger::Cron {
            timezone: "UTC".into(),
            start: "0 3 * * *".into(),
            end: "0 5 * * *".into(),
            desired: 9,
        });
        let wrong = refusal(forecast(&profile, &Options::default()));
        assert!(wrong.contains("a cron trigger needs a time of day"), "{wrong}");
        let days = traffic(&profile, &Options::default(), 2).expect("a forecast");
        for day in [0.0, 86_400.0] {
            let web = |hour: f64| {
                let at = days.steps.iter().rev().find(|step| step.at_s <= day + hour * 3600.0);
                at.map(|step| step.counts.pods["web"])
            };
            assert_eq!((web(2.9), web(4.0), web(5.5)), (Some(2), Some(9), Some(2)), "{:?}", days.steps);
        }
    }
}
