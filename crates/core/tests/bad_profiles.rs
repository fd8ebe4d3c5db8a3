//! Wrong profiles, one mistake each, with the error that a person sees: code, place, caret, limit, hint.

use democtl_core::profile::{Profile, ProfileErrors, Source};

/// A small sound profile; each case changes one thing of it.
const BASE: &str = r#"[meta]
name = "small"

[pool.main]
vm_size = "Standard_D4s_v5"
min = 2
max = 7

[workload.web]
requests = { cpu = "500m", memory = "1Gi" }
limits = { cpu = "1500m", memory = "1Gi" }

[workload.web.scaling]
min = 2
max = 10

[[workload.web.scaling.trigger]]
type = "prometheus"
query = "sum(rate(http_requests_total[2m]))"
threshold = 100

[workload.worker.scaling]
max = 5

[[workload.worker.scaling.trigger]]
type = "redis"
list = "customer_operations"
length = 5

[workload.redis]
[workload.prometheus]
"#;

/// Name, text that is replaced, text that takes its place.
const EDITS: [(&str, &str, &str); 86] = [
    ("memory_in_thousandths", "memory = \"1Gi\" }\nlimits", "memory = \"512m\" }\nlimits"),
    ("not_toml", "[meta]", "[meta"),
    ("duplicate_key", "max = 7", "max = 7\nmax = 8"),
    ("duplicate_table", "[workload.redis]", "[workload.web]"),
    ("unterminated_string", "\"small\"", "\"small"),
    ("unknown_section", "[meta]", "[metta]"),
    ("unknown_key_near", "vm_size =", "vm_szie ="),
    ("unknown_key_far", "min = 2\nmax = 7", "min = 2\nmax = 7\ncolour = \"red\""),
    ("unknown_workload_key", "limits =", "limit ="),
    ("values_nobody_reads", "[workload.redis]", "[workload.web.resources]\ncpu = \"1\"\n[workload.redis]"),
    ("unknown_trigger_key", "length = 5", "listLength = 5"),
    ("unknown_trigger_type", "type = \"redis\"", "type = \"rediss\""),
    ("trigger_without_type", "type = \"redis\"\n", ""),
    ("trigger_without_query", "query = \"sum(rate(http_requests_total[2m]))\"\n", ""),
    ("trigger_without_threshold", "threshold = 100\n", ""),
    ("count_as_text", "min = 2\nmax = 7", "count = \"3\""),
    ("count_negative", "min = 2\nmax = 7", "count = -1"),
    ("count_fraction", "min = 2\nmax = 7", "count = 2.5"),
    ("count_huge", "min = 2\nmax = 7", "count = 99999"),
    ("count_beyond_64_bits", "min = 2\nmax = 7", "count = 99999999999999999999"),
    ("a_date", "\"small\"", "2026-01-01"),
    ("table_where_text", "\"small\"", "{ is = \"small\" }"),
    ("text_where_table", "requests = { cpu = \"500m\", memory = \"1Gi\" }", "requests = \"500m\""),
    ("cpu_as_number", "cpu = \"500m\"", "cpu = 500"),
    ("cpu_wrong_unit", "cpu = \"500m\"", "cpu = \"500mb\""),
    ("cpu_negative", "cpu = \"500m\"", "cpu = \"-1\""),
    ("cpu_zero", "cpu = \"500m\"", "cpu = \"0\""),
    ("memory_wrong_unit", "\"1Gi\" }\nlimits", "\"1GB\" }\nlimits"),
    ("memory_empty", "\"1Gi\" }\nlimits", "\"\" }\nlimits"),
    ("memory_out_of_range", "\"1Gi\" }\nlimits", "\"12E\" }\nlimits"),
    ("request_above_limit", "cpu = \"500m\"", "cpu = \"2\""),
    ("memory_request_above_limit", "\"1Gi\" }\nlimits", "\"2Gi\" }\nlimits"),
    ("idle_pod_above_limit", "limits =", "base_memory = \"2Gi\"\nlimits ="),
    (
        "pod_larger_than_node_cpu",
        "\"500m\", memory = \"1Gi\" }\nlimits = { cpu = \"1500m\"",
        "\"4\", memory = \"1Gi\" }\nlimits = { cpu = \"4\"",
    ),
    (
        "pod_larger_than_node_memory",
        "memory = \"1Gi\" }\nlimits = { cpu = \"1500m\", memory = \"1Gi\" }",
        "memory = \"15Gi\" }\nlimits = { cpu = \"1500m\", memory = \"15Gi\" }",
    ),
    ("duration_as_number", "[pool.main]", "[autoscaler]\nscan_interval = 10\n[pool.main]"),
    ("duration_without_unit", "[pool.main]", "[autoscaler]\nscan_interval = \"10\"\n[pool.main]"),
    ("duration_wrong_unit", "[pool.main]", "[autoscaler]\nscan_interval = \"10 sec\"\n[pool.main]"),
    ("scan_interval_zero", "[pool.main]", "[autoscaler]\nscan_interval = \"0s\"\n[pool.main]"),
    (
        "utilization_threshold_in_percent",
        "[pool.main]",
        "[autoscaler]\nscale_down_utilization_threshold = 50\n[pool.main]",
    ),
    ("unknown_expander", "[pool.main]", "[autoscaler]\nexpander = \"least-wate\"\n[pool.main]"),
    ("vm_delay_backwards", "[pool.main]", "[local]\nvm_delay = \"5m..2m\"\n[pool.main]"),
    ("vm_delay_no_range", "[pool.main]", "[local]\nvm_delay = \"2-5m\"\n[pool.main]"),
    ("pool_min_above_max", "min = 2\nmax = 7", "min = 8\nmax = 7"),
    ("pool_count_outside", "min = 2\nmax = 7", "count = 9\nmin = 2\nmax = 7"),
    ("pool_only_min", "min = 2\nmax = 7", "min = 2"),
    ("pool_without_size", "min = 2\nmax = 7\n", ""),
    ("pool_without_vm", "vm_size = \"Standard_D4s_v5\"\n", ""),
    ("pool_unknown_vm", "Standard_D4s_v5", "Standard_D4_v5"),
    ("pool_name_too_long", "[pool.main]", "[pool.workers-of-the-demo]"),
    ("pool_all_user", "max = 7", "max = 7\nmode = \"User\""),
    ("pool_system_to_zero", "min = 2\nmax = 7", "min = 0\nmax = 7"),
    ("pool_unknown_zone", "max = 7", "max = 7\nzones = [\"1\", \"4\"]"),
    ("pool_bad_taint", "max = 7", "max = 7\ntaints = [\"dedicated=demo:NoShedule\"]"),
    ("pool_too_many_pods", "max = 7", "max = 7\nmax_pods = 300"),
    ("no_pool", "[pool.main]\nvm_size = \"Standard_D4s_v5\"\nmin = 2\nmax = 7\n", ""),
    ("scaling_min_above_max", "min = 2\nmax = 10", "min = 11\nmax = 10"),
    ("scaling_without_max", "min = 2\nmax = 10", "min = 2"),
    (
        "scaling_without_trigger",
        "[[workload.worker.scaling.trigger]]\ntype = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "",
    ),
    ("scaling_and_replicas", "[workload.web]", "[workload.web]\nreplicas = 6"),
    (
        "scaling_to_zero_on_cpu",
        "max = 5\n\n[[workload.worker.scaling.trigger]]\ntype = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "min = 0\nmax = 5\n[[workload.worker.scaling.trigger]]\ntype = \"cpu\"\nutilization = 60",
    ),
    (
        "utilization_zero",
        "type = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "type = \"cpu\"\nutilization = 0",
    ),
    (
        "utilization_as_share",
        "type = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "type = \"cpu\"\nutilization = 0.6",
    ),
    (
        "trigger_twice",
        "type = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "type = \"cpu\"\nutilization = 60\n[[workload.worker.scaling.trigger]]\ntype = \"cpu\"\nutilization = 70",
    ),
    ("threshold_zero", "threshold = 100", "threshold = 0"),
    ("threshold_as_text", "threshold = 100", "threshold = \"100\""),
    ("threshold_infinite", "threshold = 100", "threshold = inf"),
    ("query_syntax", "[2m]))", "[2m])"),
    ("query_unknown_metric", "http_requests_total", "http_request_total"),
    ("query_range_vector", "sum(rate(http_requests_total[2m]))", "http_requests_total[2m]"),
    ("query_many_series", "sum(rate(http_requests_total[2m]))", "rate(http_requests_total[2m])"),
    ("query_scalar", "sum(rate(http_requests_total[2m]))", "scalar(sum(queue_depth))"),
    ("query_by_label", "sum(rate(http_requests_total[2m]))", "sum by (pod) (http_requests_in_flight)"),
    (
        "query_function_nobody_evaluates",
        "sum(rate(http_requests_total[2m]))",
        "sum(predict_linear(queue_depth[5m], 60))",
    ),
    ("queue_that_nobody_writes", "list = \"customer_operations\"", "list = \"customer_operation\""),
    ("queue_of_the_direct_pattern", "[workload.web]", "[workload.web]\npattern = \"direct\""),
    ("worker_reads_another_list", "[workload.web]", "[workload.web]\nwrites = \"customer_create_queue\""),
    ("no_redis", "[workload.redis]\n", ""),
    ("no_prometheus", "[workload.prometheus]\n", ""),
    ("redis_by_another_name", "length = 5", "length = 5\naddress = \"reddis:6379\""),
    ("redis_on_another_port", "length = 5", "length = 5\naddress = \"redis:6380\""),
    ("concurrency_zero", "[workload.web]", "[workload.web]\nconcurrency = 0"),
    ("setting_of_another_role", "[workload.web]", "[workload.web]\nbatch = 100"),
    ("workload_without_role", "[workload.redis]", "[workload.cache]\n[workload.redis]"),
    ("workload_bad_name", "[workload.redis]", "[workload.Web_2]\nrole = \"web\"\n[workload.redis]"),
    ("unknown_suite", "[meta]", "suite = \"standart\"\n[meta]"),
];

const MORE: [(&str, &str, &str); 26] = [
    (
        "policy_of_both_kinds",
        "[workload.redis]",
        "[workload.web.scaling.behavior.scale_up]\npolicies = [{ pods = 4, percent = 100 }]\n[workload.redis]",
    ),
    (
        "policy_period_too_long",
        "[workload.redis]",
        "[workload.web.scaling.behavior.scale_up]\npolicies = [{ pods = 4, period = \"1h\" }]\n[workload.redis]",
    ),
    (
        "window_too_long",
        "[workload.redis]",
        "[workload.web.scaling.behavior.scale_down]\nwindow = \"2h\"\n[workload.redis]",
    ),
    (
        "unknown_select",
        "[workload.redis]",
        "[workload.web.scaling.behavior.scale_up]\nselect = \"Max\"\n[workload.redis]",
    ),
    (
        "probe_below_a_second",
        "[workload.redis]",
        "[workload.web.probes.readiness]\nperiod = \"500ms\"\n[workload.redis]",
    ),
    (
        "cron_fields",
        "type = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "type = \"cron\"\ntimezone = \"Europe/Berlin\"\nstart = \"0 8 * *\"\nend = \"0 25 * * *\"\ndesired = 3",
    ),
    (
        "cron_timezone",
        "type = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "type = \"cron\"\ntimezone = \"CEST\"\nstart = \"0 8 * * 1-5\"\nend = \"0 18 * * 1-5\"\ndesired = 3",
    ),
    (
        "cron_timezone_of_nowhere",
        "type = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "type = \"cron\"\ntimezone = \"Mars/Olympus\"\nstart = \"0 8 * * 1-5\"\nend = \"0 18 * * 1-5\"\ndesired = 3",
    ),
    (
        "cron_desired_above_max",
        "type = \"redis\"\nlist = \"customer_operations\"\nlength = 5",
        "type = \"cron\"\ntimezone = \"UTC\"\nstart = \"0 8 * * *\"\nend = \"0 9 * * *\"\ndesired = 9",
    ),
    (
        "traffic_out_of_order",
        "[pool.main]",
        "[traffic]\nday = [{ at = \"09:00\", load = 1 }, { at = \"08:00\", load = 0 }]\n[pool.main]",
    ),
    ("traffic_bad_time", "[pool.main]", "[traffic]\nday = [{ at = \"24:00\", load = 1 }]\n[pool.main]"),
    ("traffic_load_in_percent", "[pool.main]", "[traffic]\nday = [{ at = \"09:00\", load = 80 }]\n[pool.main]"),
    ("traffic_empty", "[pool.main]", "[traffic]\nday = []\n[pool.main]"),
    ("price_of_unknown_vm", "[pool.main]", "[prices]\nStandard_D4s_v6 = 0.3\n[pool.main]"),
    ("price_zero", "[pool.main]", "[prices]\nStandard_D4s_v5 = 0.0\n[pool.main]"),
    ("price_as_text", "[pool.main]", "[prices]\ncontrol_plane = \"$0.10\"\n[pool.main]"),
    ("kubernetes_version", "[pool.main]", "[azure]\nkubernetes_version = \"v1.33.2\"\n[pool.main]"),
    ("ranges_of_words", "[pool.main]", "[azure]\nauthorized_ip_ranges = [\"10.0.0.0/8\", \"office\"]\n[pool.main]"),
    ("range_without_length", "[pool.main]", "[azure]\nauthorized_ip_ranges = [\"198.51.100.7\"]\n[pool.main]"),
    ("range_with_host_bits", "[pool.main]", "[azure]\nauthorized_ip_ranges = [\"198.51.100.7/24\"]\n[pool.main]"),
    ("range_of_ipv6", "[pool.main]", "[azure]\nauthorized_ip_ranges = [\"2001:db8::/32\"]\n[pool.main]"),
    ("region_in_words", "[pool.main]", "[azure]\nlocation = \"West Europe\"\n[pool.main]"),
    ("unknown_tier", "[pool.main]", "[azure]\nsku_tier = \"premium\"\n[pool.main]"),
    ("profile_bad_name", "\"small\"", "\"My Demo\""),
    ("extends_unknown", "[meta]", "extends = \"m3demo3\"\n[meta]"),
    ("two_webs", "[workload.redis]", "[workload.shop]\nrole = \"web\"\n[workload.redis]"),
];

fn errors(text: String, sets: &[(&str, &str)]) -> ProfileErrors {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    let source = Source { name: "profiles/small.toml".into(), text };
    match Profile::load(&source, &sets, &|_| None) {
        Ok(_) => panic!("this profile was taken for sound:\n{}\n{sets:?}", source.text),
        Err(errors) => errors,
    }
}

#[test]
fn the_base_is_sound() {
    let source = Source { name: "profiles/small.toml".into(), text: BASE.into() };
    Profile::load(&source, &[], &|_| None).unwrap_or_else(|errors| panic!("{}", errors.to_text(100)));
}

#[test]
fn wrong_profiles_say_what_is_wrong() {
    for (name, from, to) in EDITS.iter().chain(&MORE) {
        assert!(BASE.contains(from), "{name}: `{from}` is not in the base");
        insta::assert_snapshot!(*name, errors(BASE.replacen(from, to, 1), &[]).to_text(100));
    }
}

#[test]
fn wrong_overrides_say_what_is_wrong() {
    let cases: [(&str, &str, &str); 9] = [
        ("set_unknown_workload", "workload.wbe.scaling.max", "3"),
        ("set_unknown_key", "workload.web.scaling.maxx", "3"),
        ("set_empty_segment", "workload..max", "3"),
        ("set_below_a_number", "workload.web.scaling.max.of", "3"),
        ("set_index", "workload.web.scaling.trigger.7.threshold", "3"),
        ("set_wrong_type", "workload.web.scaling.max", "three"),
        ("set_wrong_unit", "workload.web.requests.cpu", "500mm"),
        ("set_below_min", "workload.web.scaling.max", "1"),
        ("set_price", "prices.Standard_D4s_v55", "0.46"),
    ];
    for (name, path, value) in cases {
        insta::assert_snapshot!(name, errors(BASE.into(), &[(path, value)]).to_text(100));
    }
}

#[test]
fn profiles_that_extend_in_a_circle_say_the_way() {
    let text = |parent: &str| Source { name: "profiles/a.toml".into(), text: format!("extends = \"{parent}\"\n") };
    let resolve = |name: &str| match name {
        "b" => Some(Source { name: "profiles/b.toml".into(), text: "extends = \"c\"\n".into() }),
        "c" => Some(Source { name: "profiles/c.toml".into(), text: "extends = \"a\"\n".into() }),
        _ => None,
    };
    let errors = Profile::load(&text("b"), &[], &resolve).expect_err("a circle");
    insta::assert_snapshot!("extends_cycle", errors.to_text(100));
}

#[test]
fn a_mistake_in_the_parent_is_shown_in_the_parent() {
    let child = Source { name: "child.toml".into(), text: "extends = \"base\"\n[meta]\nname = \"child\"\n".into() };
    let resolve = |name: &str| {
        (name == "base").then(|| Source { name: "base.toml".into(), text: BASE.replace("max = 7", "max = 1") })
    };
    let errors = Profile::load(&child, &[], &resolve).expect_err("min above max");
    insta::assert_snapshot!("mistake_in_parent", errors.to_text(100));
}

#[test]
fn wrong_suites_say_what_is_wrong() {
    const SUITE: &str = "[[test]]\nname = \"one\"\nvus = 5\nduration = \"1m\"\nthresholds = [\"http_req_failed: rate<0.05\"]\njourney = [{ get = \"/api/customers\" }]\n";
    let cases = [
        ("suite_threshold_metric", "http_req_failed", "http_failed"),
        ("suite_threshold_aggregate", "rate<0.05", "p(95)<500"),
        ("suite_threshold_percentile", "http_req_failed: rate<0.05", "http_req_duration: p(950)<500"),
        ("suite_threshold_number", "rate<0.05", "rate<5%"),
        ("suite_threshold_shape", "http_req_failed: rate", "rate"),
        ("suite_both_kinds", "vus = 5", "vus = 5\nstages = [{ duration = \"1m\", target = 5 }]"),
        ("suite_no_load", "vus = 5", "vus = 0"),
        ("suite_no_duration", "duration = \"1m\"\n", ""),
        ("suite_poll_first", "get = \"/api/customers\"", "poll = { field = \"status\", equals = \"stored\" }"),
        ("suite_two_steps_in_one", "get = \"/api/customers\"", "get = \"/\", think = \"1s\""),
        ("suite_think_backwards", "get = \"/api/customers\"", "think = \"3s..1s\""),
        ("suite_address_with_host", "/api/customers", "http://localhost/api"),
        ("suite_body", "get = \"/api/customers\"", "post = \"/api/customers\", body = '{\"name\": ${name}}'"),
        ("suite_status", "get = \"/api/customers\"", "get = \"/api/customers\", expect = [2000]"),
        (
            "suite_twice",
            "[[test]]",
            "[[test]]\nname = \"one\"\nduration = \"1s\"\nthresholds = []\njourney = [{ get = \"/\" }]\n[[test]]",
        ),
    ];
    let profile = Source { name: "small.toml".into(), text: format!("suite = \"mine\"\n{BASE}") };
    for (name, from, to) in cases {
        assert!(SUITE.contains(from), "{name}");
        let resolve = |wanted: &str| {
            let text = SUITE.replacen(from, to, 1);
            (wanted == "suites/mine").then(|| Source { name: "suites/mine.toml".into(), text })
        };
        let errors = Profile::load(&profile, &[], &resolve).expect_err(name);
        insta::assert_snapshot!(name, errors.to_text(100));
    }
}
