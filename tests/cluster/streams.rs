//! Streams of pods that are processes: logs and forwarded ports.

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{LogParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cluster::{Cluster, within};

/// The app and its Redis in one pod.
async fn pod(client: &Client) -> Api<Pod> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let mut env = vec![json!({ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } })];
    let settings = [
        ("APP_REDIS_URL", "redis://$(POD_IP):6379"),
        ("APP_QUEUE", "queue"),
        ("APP_PATTERN", "direct"),
        ("APP_CONCURRENCY", "10"),
        ("APP_QUEUE_LIMIT", "10"),
        ("APP_READ_ONE_MS", "1"),
        ("APP_READ_ALL_MS", "1"),
        ("APP_WRITE_MS", "1"),
        ("APP_CACHE_TTL_MS", "0"),
        ("APP_CPU_MS_PER_REQUEST", "1"),
        ("APP_REQUESTS_PER_CONNECTION", "10"),
        ("APP_BASE_MEMORY_BYTES", "1000000"),
        ("APP_GRACE_MS", "1000"),
    ];
    env.extend(settings.map(|(name, value)| json!({ "name": name, "value": value })));
    let pod = json!({
        "metadata": { "name": "app" },
        "spec": {
            "containers": [
                { "name": "redis", "image": "redis:8", "ports": [{ "containerPort": 6379 }] },
                {
                    "name": "web", "image": "reliability-demo:1", "args": ["app", "web"],
                    "ports": [{ "containerPort": 8080 }],
                    "readinessProbe": { "httpGet": { "path": "/api/health/ready", "port": 8080 }, "periodSeconds": 1 },
                    "env": env,
                },
            ],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).expect("a pod")).await.expect("it is new");
    let ready = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    within("the pod", Box::pin(await_condition(pods.clone(), "app", ready))).await.expect("the watch goes well");
    pods
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_read_and_followed() {
    let cluster = Cluster::start().await;
    let pods = pod(&cluster.client).await;
    let params = LogParams { container: Some("web".into()), ..LogParams::default() };
    let text = pods.logs("app", &params).await.expect("it has logged");
    let first = text.lines().next().expect("it said what it is").to_owned();
    let followed = LogParams { follow: true, ..params };
    let mut lines = pods.log_stream("app", &followed).await.expect("it goes on").lines();
    let line = within("the first line", lines.try_next()).await.expect("a line").expect("not the end");
    assert_eq!(line, first);
    // A stream that is followed ends with its container, after the last line.
    pods.delete("app", &kube::api::DeleteParams::default()).await.expect("it is there");
    let rest: Vec<String> = within("the end", lines.try_collect()).await.expect("it ends well");
    assert!(text.lines().count() <= 1 + rest.len(), "{text}\n{rest:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded_both_ways() {
    let cluster = Cluster::start().await;
    let pods = pod(&cluster.client).await;
    let mut forwarder = pods.portforward("app", &[8080, 6379, 1]).await.expect("it is taken");
    let mut web = forwarder.take_stream(8080).expect("it was asked for");
    web.write_all(b"GET /api/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("it is open");
    let mut redis = forwarder.take_stream(6379).expect("it was asked for");
    // More than any buffer on the way, there and back.
    let value = vec![b'v'; 8 << 20];
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len());
    let command = [head.as_bytes(), &value, b"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"].concat();
    let (mut reader, mut writer) = tokio::io::split(&mut redis);
    let expected = [format!("+OK\r\n${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
    let mut answer = vec![0; expected.len()];
    let (written, read) =
        within("the value", async { tokio::join!(writer.write_all(&command), reader.read_exact(&mut answer)) }).await;
    written.and(read.map(drop)).expect("all of it comes");
    assert!(answer == expected, "what came back is what was sent");

    let nobody = forwarder.take_error(1).expect("it was asked for");
    let words = within("the error", nobody).await.expect("it is said");
    assert!(words.starts_with("error forwarding port 1 to pod "), "{words}");
    assert!(words.ends_with("connect: connection refused"), "{words}");
    let mut page = vec![0; 15];
    within("the page", web.read_exact(&mut page)).await.expect("it answers");
    assert_eq!(page, b"HTTP/1.1 200 OK");
    drop((web, redis));
    within("the end", forwarder.join()).await.expect("it ends well");
    cluster.stop().await;
}
