//! Node pools as Azure has them: state, limits, the autoscaler's real settings, and machines with the time they took to
//! boot.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta};
use democtl_core::{render::is_scale_set, units::format_duration};
use futures::future::try_join_all;
use serde::Serialize;
use serde_json::Value;

use super::arm::{Arm, ArmError, CONTAINER_SERVICE};

/// API version of scale sets and their machines.
const COMPUTE: &str = "2024-07-01";

/// AKS names the pool of a scale set by this tag.
const POOL_TAG: &str = "aks-managed-poolName";

/// Azure tells when a machine was provisioned last: what came later than this was an update of one that ran. AKS itself
/// waits for a machine for less.
const LONGEST_BOOT: TimeDelta = TimeDelta::minutes(30);

/// All pools of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pools {
    /// The pools, as AKS lists them.
    pub pools: Vec<Pool>,
    /// The cluster autoscaler's settings by their names in AKS; none where no pool is autoscaled.
    pub autoscaler: BTreeMap<String, String>,
}

/// One pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Size of its machines.
    pub vm_size: String,
    /// `Succeeded`, `Creating`, `Scaling`, `Failed` and so on.
    pub state: String,
    /// Nodes.
    pub count: u64,
    /// Least and most nodes; none: nothing scales it.
    pub limits: Option<(u64, u64)>,
    /// What AKS says went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Trouble>,
    /// Its machines.
    pub machines: Vec<Machine>,
}

/// An error of Azure's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Such as `AllocationFailed`.
    pub code: String,
    /// Azure's words.
    pub message: String,
}

/// One machine of a scale set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Name of the instance.
    pub name: String,
    /// `Succeeded`, `Creating`, `Failed` and so on.
    pub state: String,
    /// When it was asked for, as Azure writes it.
    pub made: Option<String>,
    /// Seconds from then until it ran; none: it does not run yet, or was updated since.
    pub boot_s: Option<f64>,
}

/// Reads the pools of `cluster`, and the machines in the resource group of its nodes.
pub async fn read(arm: &Arm, cluster: &str) -> Result<Pools, ArmError> {
    let path = format!("{cluster}/agentPools");
    let (found, pools) = tokio::join!(arm.get(cluster, CONTAINER_SERVICE), arm.list(&path, CONTAINER_SERVICE, &[]));
    let (found, pools) = (found?.unwrap_or_default(), pools?);
    let mut machines = match node_group(cluster, &found) {
        Some(group) => machines(arm, &group, &pools).await?,
        None => BTreeMap::new(),
    };
    let mut all = Vec::new();
    for pool in &pools {
        let mut pool = of(pool);
        pool.machines = machines.remove(&pool.name).unwrap_or_default();
        all.push(pool);
    }
    let scaled = all.iter().any(|pool| pool.limits.is_some());
    let profile = found["properties"]["autoScalerProfile"].as_object().filter(|_| scaled);
    let settings = profile.into_iter().flatten().map(|(name, value)| (name.clone(), plain(value)));
    Ok(Pools { pools: all, autoscaler: settings.collect() })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn node_group(cluster: &str, found: &Value) -> Option<String> {
    let name = found["properties"]["nodeResourceGroup"].as_str()?;
    let subscription = cluster.split("/resourceGroups/").next()?;
    Some(format!("{subscription}/resourceGroups/{name}"))
}

fn of(pool: &Value) -> Pool {
    let is = &pool["properties"];
    let scaled = is["enableAutoScaling"].as_bool().unwrap_or(false);
    let error = &is["status"]["provisioningError"];
    Pool {
        name: text(&pool["name"]),
        vm_size: text(&is["vmSize"]),
        state: text(&is["provisioningState"]),
        count: is["count"].as_u64().unwrap_or_default(),
        limits: is["minCount"].as_u64().zip(is["maxCount"].as_u64()).filter(|_| scaled),
        error: error["code"].as_str().map(|code| Trouble { code: code.to_owned(), message: text(&error["message"]) }),
        machines: Vec::new(),
    }
}

async fn machines(arm: &Arm, group: &str, pools: &[Value]) -> Result<BTreeMap<String, Vec<Machine>>, ArmError> {
    let sets = format!("{group}/providers/Microsoft.Compute/virtualMachineScaleSets");
    let sets = arm.list(&sets, COMPUTE, &[]).await?;
    let names: Vec<String> = pools.iter().map(|pool| text(&pool["name"])).collect();
    let asked = sets.iter().filter_map(|set| {
        let (id, pool) = (set["id"].as_str()?, pool_of(set, &names)?);
        Some(async move {
            let path = format!("{id}/virtualMachines");
            let machines = arm.list(&path, COMPUTE, &[("$expand", "instanceView")]).await?;
            Ok::<_, ArmError>((pool, machines.iter().map(machine).collect()))
        })
    });
    Ok(try_join_all(asked).await?.into_iter().collect())
}

fn pool_of(set: &Value, pools: &[String]) -> Option<String> {
    if let Some(pool) = set["tags"][POOL_TAG].as_str() {
        return Some(pool.to_owned());
    }
    let name = text(&set["name"]);
    pools.iter().find(|pool| is_scale_set(&name, pool)).cloned()
}

fn machine(instance: &Value) -> Machine {
    let is = &instance["properties"];
    let made = is["timeCreated"].as_str();
    let statuses = is["instanceView"]["statuses"].as_array();
    let ran = statuses.into_iter().flatten().find(|status| status["code"] == "ProvisioningState/succeeded");
    let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
    let ran = ran.and_then(|status| time(status["time"].as_str()?));
    let boot = made.and_then(time).zip(ran).map(|(made, ran)| ran - made);
    let boot = boot.filter(|boot| (TimeDelta::zero()..LONGEST_BOOT).contains(boot));
    Machine {
        name: text(&instance["name"]),
        state: text(&is["provisioningState"]),
        made: made.map(str::to_owned),
        boot_s: boot.map(|boot| boot.num_milliseconds() as f64 / 1000.0),
    }
}

impl Pool {
    /// Its state and figures in words.
    pub fn words(&self) -> String {
        let limits = self.limits.map_or_else(String::new, |(min, max)| format!(" (autoscaler {min}-{max})"));
        let plural = if self.count == 1 { "" } else { "s" };
        let mut boots: Vec<f64> = self.machines.iter().filter_map(|machine| machine.boot_s).collect();
        boots.sort_by(f64::total_cmp);
        let boots = match boots.as_slice() {
            [] => String::new(),
            [only] => format!(", it ran {} after it was asked for", whole(*only)),
            [least, .., most] => format!(", they ran {} to {} after they were asked for", whole(*least), whole(*most)),
        };
        let error =
            self.error.as_ref().map_or_else(String::new, |error| format!("; {}: {}", error.code, error.message));
        format!("{} node{plural}{limits} x {}{boots}{error}", self.count, self.vm_size)
    }
}

fn whole(seconds: f64) -> String {
    format_duration(Duration::from_secs(seconds.round() as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_boots_from_its_making_until_it_was_provisioned() {
        let instance = |time: &str| {
            json!({ "name": "aks-main-1-vmss_0", "properties": {
                "provisioningState": "Succeeded", "timeCreated": "2026-11-26T10:00:00.5+00:00",
                "instanceView": { "statuses": [
                    { "code": "ProvisioningState/succeeded", "time": time }, { "code": "PowerState/running" },
                ] },
            } })
        };
        assert_eq!(machine(&instance("2026-11-26T10:01:14.5+00:00")).boot_s, Some(74.0));
        assert_eq!(machine(&instance("yesterday")).boot_s, None);
        assert_eq!(machine(&instance("2026-11-26T09:00:00Z")).boot_s, None, "a repair of an older clock");
        assert_eq!(machine(&instance("2026-11-26T12:30:00Z")).boot_s, None, "an update of one that ran");
        assert_eq!(machine(&json!({})).boot_s, None);
    }

    #[test]
    fn a_pool_reads_as_a_sentence() {
        let pool = json!({ "name": "main", "properties": {
            "vmSize": "Standard_D4s_v5", "provisioningState": "Succeeded", "count": 2, "enableAutoScaling": true,
            "minCount": 2, "maxCount": 7,
        } });
        let mut pool = of(&pool);
        assert_eq!(pool.words(), "2 nodes (autoscaler 2-7) x Standard_D4s_v5");
        let machine = |boot_s| Machine { name: String::new(), state: String::new(), made: None, boot_s };
        pool.machines = vec![machine(Some(95.0)), machine(None), machine(Some(61.2))];
        pool.error = Some(Trouble { code: "AllocationFailed".into(), message: "no capacity".into() });
        assert_eq!(
            pool.words(),
            "2 nodes (autoscaler 2-7) x Standard_D4s_v5, they ran 1m1s to 1m35s after they were asked for; \
             AllocationFailed: no capacity"
        );
    }

    #[test]
    fn a_scale_set_is_its_pools_by_tag_or_name() {
        let pools = ["main".to_owned(), "mainly".to_owned()];
        let named = |name: &str| pool_of(&json!({ "name": name }), &pools);
        assert_eq!(named("aks-mainly-123-vmss").as_deref(), Some("mainly"));
        assert_eq!(named("aks-main-123-vmss").as_deref(), Some("main"));
        assert_eq!(named("other"), None);
        let tagged = json!({ "name": "akswin", "tags": { "aks-managed-poolName": "win" } });
        assert_eq!(pool_of(&tagged, &pools).as_deref(), Some("win"));
    }
}
