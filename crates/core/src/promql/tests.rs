//! Against the answers of Prometheus: series and expectations after its own `promql/promqltest/testdata`.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const MINUTE: i64 = 60_000;

/// Loads series in the notation of promqltest: a selector and values, one each `step`.
fn load(step: i64, lines: &[(&str, &[f64])]) -> Storage {
    let mut storage = Storage::new(Duration::from_secs(86_400));
    for (selector, values) in lines {
        let Expr::VectorSelector(selector) = parse(selector).unwrap() else { panic!("a selector") };
        let mut labels: Labels = selector.matchers.matchers.iter().map(|m| (m.name.clone(), m.value.clone())).collect();
        labels.insert(METRIC_NAME.to_owned(), selector.name.clone().unwrap());
        for (index, value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            storage.append(&labels, Sample { at: index as i64 * step, value: *value });
        }
    }
    storage
}

/// `first+step x times`.
fn line(first: f64, step: f64, times: usize) -> Vec<f64> {
    (0..=times).map(|n| first + step * n as f64).collect()
}

/// The answer as text: `{labels} value` sorted, a scalar as its number.
fn ask_at_speed(storage: &Storage, at: i64, query: &str, speed: f64) -> Vec<String> {
    let number = |value: f64| {
        let rounded = (value * 1e9).round() / 1e9;
        if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
    };
    match Evaluator::new(storage, at, speed).eval(&parse(query).unwrap()).unwrap() {
        Answer::Scalar(value) => vec![number(value)],
        Answer::Text(text) => vec![text],
        Answer::Vector(elements) => {
            let mut lines: Vec<String> = elements
                .into_iter()
                .map(|mut element| {
                    let name = element.labels.remove(METRIC_NAME).unwrap_or_default();
                    let pairs: Vec<String> = element.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
                    format!("{name}{{{}}} {}", pairs.join(","), number(element.value))
                })
                .collect();
            lines.sort();
            lines
        }
        Answer::Matrix(windows) => windows.iter().map(|window| format!("{}", window.samples.len())).collect(),
    }
}

fn ask(storage: &Storage, at: i64, query: &str) -> Vec<String> {
    ask_at_speed(storage, at, query, 1.0)
}

/// The data of `operators.test` and `aggregators.test`.
fn requests() -> Storage {
    let lines: Vec<(String, Vec<f64>)> = [
        ("api-server", "0", "production", 10.0),
        ("api-server", "1", "production", 20.0),
        ("api-server", "0", "canary", 30.0),
        ("api-server", "1", "canary", 40.0),
        ("app-server", "0", "production", 50.0),
        ("app-server", "1", "production", 60.0),
        ("app-server", "0", "canary", 70.0),
        ("app-server", "1", "canary", 80.0),
    ]
    .map(|(job, instance, group, step)| {
        let labels = format!("http_requests{{job=\"{job}\",instance=\"{instance}\",group=\"{group}\"}}");
        (labels, line(0.0, step, 10))
    })
    .into();
    let lines: Vec<(&str, &[f64])> = lines.iter().map(|(s, v)| (s.as_str(), v.as_slice())).collect();
    load(5 * MINUTE, &lines)
}

#[test]
fn aggregation() {
    let storage = requests();
    let at = 50 * MINUTE;
    for (query, expected) in [
        ("SUM BY (group) (http_requests{job=\"api-server\"})", vec!["{group=canary} 700", "{group=production} 300"]),
        (
            "sum without (instance) (http_requests{job=\"api-server\"} or http_requests{job=\"x\"})",
            vec!["{group=canary,job=api-server} 700", "{group=production,job=api-server} 300"],
        ),
        ("sum(http_requests)", vec!["{} 3600"]),
        ("COUNT BY (group) (http_requests{job=\"api-server\"})", vec!["{group=canary} 2", "{group=production} 2"]),
        ("avg by (group) (http_requests{job=\"api-server\"})", vec!["{group=canary} 350", "{group=production} 150"]),
        ("max(http_requests)", vec!["{} 800"]),
        ("min by (job) (http_requests)", vec!["{job=api-server} 100", "{job=app-server} 500"]),
        (
            "topk(2, http_requests)",
            vec![
                "http_requests{group=canary,instance=0,job=app-server} 700",
                "http_requests{group=canary,instance=1,job=app-server} 800",
            ],
        ),
        (
            "bottomk by (job) (1, http_requests{group=\"canary\"})",
            vec![
                "http_requests{group=canary,instance=0,job=api-server} 300",
                "http_requests{group=canary,instance=0,job=app-server} 700",
            ],
        ),
        ("stddev(http_requests{job=\"api-server\"})", vec!["{} 111.803398875"]),
        ("quantile(0.5, http_requests{job=\"api-server\"})", vec!["{} 250"]),
        ("count_values(\"v\", http_requests{instance=\"0\"} > bool 400)", vec!["{v=0} 2", "{v=1} 2"]),
        ("group(http_requests)", vec!["{} 1"]),
    ] {
        assert_eq!(ask(&storage, at, query), expected, "{query}");
    }
}

#[test]
fn rates_extrapolate_as_upstream() {
    let storage = load(
        5 * MINUTE,
        &[
            ("steady", &line(0.0, 10.0, 10)),
            ("late", &[f64::NAN, f64::NAN, 0.0, 10.0, 20.0]),
            ("reset", &[0.0, 50.0, 100.0, 10.0, 20.0]),
            ("one", &[1.0]),
        ],
    );
    let at = 50 * MINUTE;
    for (query, at, expected) in [
        // functions.test: a steady counter, 10 each 5 m.
        ("rate(steady[50m])", at, vec!["{} 0.033333333"]),
        ("increase(steady[50m])", at, vec!["{} 100"]),
        ("increase(steady[100m])", at, vec!["{} 100"]),
        ("irate(steady[50m])", at, vec!["{} 0.033333333"]),
        ("delta(steady[20m])", at, vec!["{} 40"]),
        ("rate(one[50m])", at, vec![]),
        // A counter that began at zero is not extrapolated to before its first sample.
        ("increase(late[30m])", 20 * MINUTE, vec!["{} 20"]),
        // Samples in (0, 20 m]: 50, 100, 10, 20; the reset adds 100.
        ("increase(reset[20m])", 20 * MINUTE, vec!["{} 93.333333333"]),
        ("resets(reset[20m])", 20 * MINUTE, vec!["{} 1"]),
        ("changes(reset[20m])", 20 * MINUTE, vec!["{} 3"]),
        ("irate(reset[10m])", 15 * MINUTE, vec!["{} 0.033333333"]),
        ("rate(steady[50m] offset 5m)", 55 * MINUTE, vec!["{} 0.033333333"]),
        ("deriv(steady[50m])", at, vec!["{} 0.033333333"]),
    ] {
        assert_eq!(ask(&storage, at, query), expected, "{query}");
    }
}

#[test]
fn durations_are_divided_by_the_speed_and_rates_stay_real() {
    // A sample each 1.5 s: 15 s of profile time at speed 10.
    let storage = load(1500, &[("c", &line(0.0, 3.0, 40))]);
    let at = 60_000;
    assert_eq!(ask_at_speed(&storage, at, "count_over_time(c[2m])", 10.0), ["{} 8"]);
    assert_eq!(ask_at_speed(&storage, at, "rate(c[2m])", 10.0), ["{} 2"], "per real second");
    assert_eq!(ask_at_speed(&storage, at, "c offset 1m", 10.0), ["c{} 108"]);
    assert_eq!(ask_at_speed(&storage, at + 31_000, "c", 10.0), Vec::<String>::new(), "beyond the lookback");
}

#[test]
fn over_time() {
    let storage = load(10_000, &[("m", &[0.0, 3.0, 1.0, 2.0, 4.0])]);
    let at = 40_000;
    for (query, expected) in [
        ("avg_over_time(m[1m])", "{} 2"),
        ("sum_over_time(m[1m])", "{} 10"),
        ("min_over_time(m[30s])", "{} 1"),
        ("max_over_time(m[30s])", "{} 4"),
        ("count_over_time(m[40s])", "{} 4"),
        ("last_over_time(m[40s])", "m{} 4"),
        ("stddev_over_time(m[1m])", "{} 1.414213562"),
        ("quantile_over_time(0.5, m[1m])", "{} 2"),
        ("max_over_time(sum(m)[1m:10s])", "{} 4"),
        ("sum_over_time(m[30s] @ 20)", "{} 4"),
        ("absent_over_time(nothing{a=\"b\"}[1m])", "{a=b} 1"),
    ] {
        assert_eq!(ask(&storage, at, query), [expected], "{query}");
    }
}

#[test]
fn operators_and_matching() {
    let storage = load(
        MINUTE,
        &[
            ("errors{method=\"get\",code=\"500\"}", &[24.0]),
            ("errors{method=\"get\",code=\"404\"}", &[30.0]),
            ("errors{method=\"put\",code=\"501\"}", &[3.0]),
            ("errors{method=\"post\",code=\"500\"}", &[6.0]),
            ("errors{method=\"post\",code=\"404\"}", &[21.0]),
            ("requests{method=\"get\"}", &[600.0]),
            ("requests{method=\"del\"}", &[34.0]),
            ("requests{method=\"post\"}", &[120.0]),
        ],
    );
    // The first two rows are the documentation's own examples.
    for (query, expected) in [
        ("errors{code=\"500\"} / ignoring(code) requests", vec!["{method=get} 0.04", "{method=post} 0.05"]),
        (
            "errors / ignoring(code) group_left requests",
            vec![
                "{code=404,method=get} 0.05",
                "{code=404,method=post} 0.175",
                "{code=500,method=get} 0.04",
                "{code=500,method=post} 0.05",
            ],
        ),
        ("sum(errors) / sum(requests)", vec!["{} 0.111405836"]),
        ("requests > 100", vec!["requests{method=get} 600", "requests{method=post} 120"]),
        ("100 < requests", vec!["requests{method=get} 600", "requests{method=post} 120"]),
        ("requests > bool 100", vec!["{method=del} 0", "{method=get} 1", "{method=post} 1"]),
        ("requests and on(method) errors{code=\"500\"}", vec!["requests{method=get} 600", "requests{method=post} 120"]),
        ("requests unless on(method) errors", vec!["requests{method=del} 34"]),
        ("sum(requests) or vector(0)", vec!["{} 754"]),
        ("sum(nothing) or vector(0)", vec!["{} 0"]),
        ("1 + 2 * 3 ^ 2 % 5", vec!["4"]),
        ("1 / 0", vec!["inf"]),
        ("-requests{method=\"del\"}", vec!["{method=del} -34"]),
        ("2 > bool 1", vec!["1"]),
        ("requests{method=~\"d.*|x\"} * 2", vec!["{method=del} 68"]),
        ("requests{method!~\"get|post\"}", vec!["requests{method=del} 34"]),
        ("errors{code=\"501\"} * on(method) group_right requests", vec![]),
    ] {
        assert_eq!(ask(&storage, 0, query), expected, "{query}");
    }
    let fail = |query: &str| Evaluator::new(&storage, 0, 1.0).eval(&parse(query).unwrap()).unwrap_err().to_string();
    assert!(fail("requests / ignoring(code) errors").contains("many-to-many matching not allowed"));
    assert!(fail("errors / ignoring(code) requests").contains("many-to-one matching must be explicit"));
}

#[test]
fn histogram_quantiles() {
    // histograms.test: testhistogram.
    let storage = load(
        5 * MINUTE,
        &[
            ("h_bucket{le=\"0.1\",start=\"positive\"}", &line(0.0, 5.0, 10)),
            ("h_bucket{le=\".2\",start=\"positive\"}", &line(0.0, 7.0, 10)),
            ("h_bucket{le=\"1e0\",start=\"positive\"}", &line(0.0, 11.0, 10)),
            ("h_bucket{le=\"+Inf\",start=\"positive\"}", &line(0.0, 12.0, 10)),
            ("h_bucket{le=\"-.2\",start=\"negative\"}", &line(0.0, 1.0, 10)),
            ("h_bucket{le=\"-0.1\",start=\"negative\"}", &line(0.0, 2.0, 10)),
            ("h_bucket{le=\"0.3\",start=\"negative\"}", &line(0.0, 2.0, 10)),
            ("h_bucket{le=\"+Inf\",start=\"negative\"}", &line(0.0, 3.0, 10)),
        ],
    );
    for (query, expected) in [
        ("histogram_quantile(0, h_bucket)", vec!["{start=negative} -0.2", "{start=positive} 0"]),
        ("histogram_quantile(0.2, h_bucket)", vec!["{start=negative} -0.2", "{start=positive} 0.048"]),
        ("histogram_quantile(0.5, h_bucket)", vec!["{start=negative} -0.15", "{start=positive} 0.15"]),
        ("histogram_quantile(0.8, h_bucket)", vec!["{start=negative} 0.3", "{start=positive} 0.72"]),
        ("histogram_quantile(1, h_bucket)", vec!["{start=negative} 0.3", "{start=positive} 1"]),
        ("histogram_quantile(0.5, rate(h_bucket[10m]))", vec!["{start=negative} -0.15", "{start=positive} 0.15"]),
    ] {
        assert_eq!(ask(&storage, 50 * MINUTE, query), expected, "{query}");
    }
}

#[test]
fn other_functions() {
    let storage = load(10_000, &[("m{src=\"source-value-10\",dst=\"old\"}", &[-1.5]), ("n", &[7.0])]);
    for (query, expected) in [
        ("abs(m)", vec!["{dst=old,src=source-value-10} 1.5"]),
        ("clamp(n, 1, 5)", vec!["{} 5"]),
        ("clamp_min(n, 8)", vec!["{} 8"]),
        ("scalar(n) + 1", vec!["8"]),
        ("vector(3)", vec!["{} 3"]),
        ("time()", vec!["0"]),
        ("absent(n)", vec![]),
        ("absent(nothing{job=\"a\",x=~\"b\"})", vec!["{job=a} 1"]),
        ("round(n / 2)", vec!["{} 4"]),
        ("sgn(m)", vec!["{dst=old,src=source-value-10} -1"]),
        (
            "label_replace(m, \"dst\", \"value-$1\", \"src\", \"source-value-(.*)\")",
            vec!["m{dst=value-10,src=source-value-10} -1.5"],
        ),
        ("label_join(n, \"x\", \"-\", \"__name__\", \"__name__\")", vec!["n{x=n-n} 7"]),
    ] {
        assert_eq!(ask(&storage, 0, query), expected, "{query}");
    }
}

#[test]
fn what_is_unknown_is_said() {
    assert!(matches!(parse("nonsense(x)"), Err(QueryError::Parse(message)) if message.contains("unknown function")));
    assert!(matches!(parse("sum("), Err(QueryError::Parse(_))));
    let storage = requests();
    let eval = |query: &str| Evaluator::new(&storage, 0, 1.0).eval(&parse(query).unwrap());
    assert!(matches!(eval("day_of_week(http_requests)"), Err(QueryError::Unsupported(_))));
}
