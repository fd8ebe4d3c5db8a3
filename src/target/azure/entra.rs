//! Clusters whose API takes logins of Entra ID: kubectl and democtl get their tokens from `democtl kube-token`.
//!
//! AKS hands out kubeconfigs that ask for kubelogin, or for the `azure` provider that kubectl has dropped. Both are
//! written anew as the exec plugin of
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use serde_yaml_ng::{Mapping, Value};

use super::arm::{Login, LoginMethod};
use crate::failure::{Failure, Kind, OrFail as _};

/// The application that every AKS cluster with Entra ID is, in every tenant.
/// <https://azure.github.io/kubelogin/concepts/aks.html>
pub const AKS_SERVER: &str = "6dae42f8-4368-4678-94ff-3960e28e3630";

/// Versions of the protocol that are spoken; all have the same fields.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// A kubeconfig in which `democtl` gives the tokens that it asks for; none: it asks for none.
pub(super) fn through_democtl(text: &[u8], democtl: &Path) -> Result<Option<String>, serde_yaml_ng::Error> {
    let mut config: Value = serde_yaml_ng::from_slice(text)?;
    let mut changed = false;
    for entry in config.get_mut("users").and_then(Value::as_sequence_mut).into_iter().flatten() {
        let Some(user) = entry.get_mut("user").and_then(Value::as_mapping_mut) else { continue };
        if let Some(wanted) = Wanted::of(user) {
            user.remove("auth-provider");
            user.insert("exec".into(), wanted.exec(democtl));
            changed = true;
        }
    }
    changed.then(|| serde_yaml_ng::to_string(&config)).transpose()
}

/// Whose token a user of a kubeconfig asks for.
struct Wanted {
    server: String,
    tenant: Option<String>,
}

impl Wanted {
    fn of(user: &Mapping) -> Option<Self> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let (server, tenant) = if let Some(exec) = user.get("exec") {
            let program = text(exec, "command")?;
            let program = Path::new(&program).file_stem()?;
            if program != "kubelogin" {
                return None;
            }
            let arguments: Vec<_> = exec.get("args")?.as_sequence()?.iter().filter_map(Value::as_str).collect();
            (argument(&arguments, "--server-id"), argument(&arguments, "--tenant-id"))
        } else {
            let provider = user.get("auth-provider")?;
            if text(provider, "name")? != "azure" {
                return None;
            }
            let config = provider.get("config")?;
            (text(config, "apiserver-id"), text(config, "tenant-id"))
        };
        Some(Self { server: server.unwrap_or_else(|| AKS_SERVER.to_owned()), tenant })
    }

    fn exec(&self, democtl: &Path) -> Value {
        let mut arguments = vec!["kube-token", "--server-id", &self.server];
        if let Some(tenant) = &self.tenant {
            arguments.extend(["--tenant-id", tenant]);
        }
        let exec = json!({
            "apiVersion": VERSIONS[0],
            "command": democtl,
            "args": arguments,
            "interactiveMode": "Never",
            "provideClusterInfo": false,
            "installHint": "the democtl that made this kubeconfig was moved: democtl setup writes it anew",
        });
        serde_yaml_ng::to_value(exec).unwrap_or_default()
    }
}

/// The value of `--name value` or `--name=value`.
fn argument(arguments: &[&str], name: &str) -> Option<String> {
    let joined = |text: &&str| text.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    let apart = || {
        let at = arguments.iter().position(|text| *text == name)?;
        arguments.get(at + 1).map(|text| (*text).to_owned())
    };
    arguments.iter().find_map(joined).or_else(apart)
}

/// What a client asks for by `KUBERNETES_EXEC_INFO`: the version of the answer; the newest where it does not say.
pub fn asked_version(info: Option<&str>) -> Result<&'static str, Failure> {
    let Some(info) = info else { return Ok(VERSIONS[0]) };
    let asked: serde_json::Value =
        serde_json::from_str(info).or_fail(Kind::Usage, || "KUBERNETES_EXEC_INFO is not JSON".to_owned())?;
    let version = asked["apiVersion"].as_str().unwrap_or("none");
    VERSIONS.into_iter().find(|known| *known == version).ok_or_else(|| {
        Failure::msg(Kind::Usage, format!("KUBERNETES_EXEC_INFO asks for version {version}"))
            .hint(format!("known are {}; write the kubeconfig anew by democtl setup", VERSIONS.join(" and ")))
    })
}

/// A token for the cluster application `server`, as the answer of a credential plugin. It is a secret.
pub async fn credential(login: &Login, server: &str, version: &str) -> Result<String, Failure> {
    let what = || format!("no token for the cluster (application {server})");
    if login.method() == LoginMethod::AccessToken {
        return Err(Failure::msg(
            Kind::Preflight,
            format!("{}: AZURE_ACCESS_TOKEN is for Resource Manager only", what()),
        )
        .hint("log in by one of the other ways in docs/azure.md, and leave AZURE_ACCESS_TOKEN unset"));
    }
    let source = login.source_for(format!("{server}/.default")).or_fail(Kind::Preflight, what)?;
    let token = source
        .fetch()
        .await
        .or_fail(Kind::Preflight, what)
        .map_err(|failure| failure.hint("az login, or one of the other ways in docs/azure.md"))?;
    let mut status = json!({ "token": token.secret() });
    if let Some(expires) = token.expires {
        status["expirationTimestamp"] =
            json!(DateTime::<Utc>::from(expires).to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    Ok(json!({ "apiVersion": version, "kind": "ExecCredential", "status": status }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMOCTL: &str = "/opt/a tool/democtl";

    fn kubeconfig(user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- cluster: {{server: 'https://aks:443'}}\n  name: aks\nusers:\n\
             - name: clusterUser\n  user: {user}\npreferences: {{}}\n"
        )
    }

    fn written(user: &str) -> Option<Value> {
        let text = through_democtl(kubeconfig(user).as_bytes(), Path::new(DEMOCTL)).expect("it is YAML")?;
        let config: Value = serde_yaml_ng::from_str(&text).expect("it is YAML");
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://aks:443", "the rest stays");
        assert_eq!(config["users"][0]["name"], "clusterUser");
        Some(config["users"][0]["user"].clone())
    }

    fn arguments(user: &Value) -> String {
        let all = user["exec"]["args"].as_sequence().expect("a list").iter();
        all.map(|value| value.as_str().expect("text")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn kubelogin_and_the_old_provider_become_democtl() {
        let kubelogin = "{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: kubelogin, args: [get-token, \
                         --environment, AzurePublicCloud, --server-id, the-server, --client-id, c, --tenant-id, the-tenant, \
                         --login, devicecode], env: null, provideClusterInfo: false}}";
        let user = written(kubelogin).expect("it is written anew");
        assert_eq!(user["exec"]["command"], DEMOCTL);
        assert_eq!(user["exec"]["apiVersion"], "client.authentication.k8s.io/v1");
        assert_eq!(user["exec"]["interactiveMode"], "Never");
        assert_eq!(arguments(&user), "kube-token --server-id the-server --tenant-id the-tenant");
        let joined = "{exec: {command: /usr/local/bin/kubelogin, args: [get-token, '--server-id=s']}}";
        assert_eq!(arguments(&written(joined).expect("anew")), "kube-token --server-id s");
        let provider = "{auth-provider: {name: azure, config: {apiserver-id: s, tenant-id: t, client-id: c}}}";
        let user = written(provider).expect("anew");
        assert_eq!(arguments(&user), "kube-token --server-id s --tenant-id t");
        assert!(user.get("auth-provider").is_none(), "kubectl takes one of them only");
        let bare = "{auth-provider: {name: azure, config: {}}}";
        assert_eq!(arguments(&written(bare).expect("anew")), format!("kube-token --server-id {AKS_SERVER}"));
    }

    #[test]
    fn other_users_stay_as_they_are() {
        for user in [
            "{client-certificate-data: YQ==, client-key-data: YQ==}",
            "{token: t}",
            "{exec: {command: aws, args: [eks, get-token]}}",
            "{auth-provider: {name: gcp}}",
            "null",
        ] {
            assert_eq!(written(user), None, "{user}");
        }
        assert!(through_democtl(b"users: [", Path::new(DEMOCTL)).is_err());
    }

    #[test]
    fn a_client_is_answered_in_its_version() {
        assert_eq!(asked_version(None).expect("newest"), VERSIONS[0]);
        let info = |version: &str| json!({ "kind": "ExecCredential", "apiVersion": version, "spec": {} }).to_string();
        for version in VERSIONS {
            assert_eq!(asked_version(Some(&info(version))).expect("known"), version);
        }
        let refused =
            asked_version(Some(&info("client.authentication.k8s.io/v1alpha1"))).expect_err("gone").to_string();
        assert!(refused.contains("asks for version client.authentication.k8s.io/v1alpha1"), "{refused}");
        assert!(asked_version(Some("{")).is_err());
    }

    #[tokio::test]
    async fn a_token_for_resource_manager_is_not_given_to_a_cluster() {
        let login = Login { access_token: Some("s3cret".into()), ..Login::default() };
        let refused = credential(&login, AKS_SERVER, VERSIONS[0]).await.expect_err("another audience").to_string();
        assert!(refused.contains("is for Resource Manager only") && !refused.contains("s3cret"), "{refused}");
    }
}
