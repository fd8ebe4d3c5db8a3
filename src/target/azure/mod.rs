//! The azure target: AKS by Terraform, with Azure Resource Manager for everything around it.
//!
//! Order of a setup: preflight (nothing is made when it refuses), plan, consent, apply of that plan, credentials. Order
//! of a cleanup: Terraform's destroy, then a scan of the subscription, then whatever Terraform did not know.

mod activity;
pub mod adopt;
pub mod arm;
mod copy;
mod drift;
pub mod entra;
pub mod expired;
pub mod expiry;
pub mod locks;
mod module;
pub mod pools;
pub mod preflight;
pub mod prices;
pub mod providers;
mod remote;
mod removal;
pub mod roles;
pub mod scan;
pub mod state;
pub mod terraform;
pub mod watch;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arm::{Arm, ArmError, CONTAINER_SERVICE, Login, Patience, RealTime};
use base64::Engine as _;
use democtl_core::{
    cost::{NodeCount, Prices},
    profile::Profile,
    render::azure::{ID_TAG, Placement, azure_names, tfvars},
};
use futures::future::BoxFuture;
use prices::PriceList;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use state::StateKind;
use terraform::{Plan, Progress, Terraform};
use tokio_util::sync::CancellationToken;

use super::State;
use crate::{
    environment::{Environment, write_whole},
    failure::{Failure, Kind, OrFail as _},
};

/// ARM of Azure's public cloud.
pub const PUBLIC_CLOUD: &str = "https://management.azure.com";

/// Attempts of one request while a person waits: about seven seconds.
const LOOKING_ATTEMPTS: u32 = 4;

/// A Terraform that outlived its democtl is waited for this long.
const LONGEST_APPLY: Duration = Duration::from_secs(45 * 60);

/// Where an environment lies; remembered with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Drawn once for each environment and written to a tag: what has it is ours, whoever chooses the same name.
    #[serde(default)]
    pub id: String,
    /// Subscription id.
    pub subscription: String,
    /// ARM's address.
    pub endpoint: String,
    /// When it may be removed, RFC 3339.
    pub expires_at: String,
    /// A Terraform module of the user's own.
    pub module: Option<PathBuf>,
    /// Where Terraform's state lies.
    #[serde(default)]
    pub state: StateKind,
}

/// What the user's flags and environment say; resolved by the command line, never remembered.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to log in.
    pub login: Login,
    /// The `terraform` program.
    pub terraform: PathBuf,
    /// Where prices come from.
    pub prices: PriceList,
    /// Register the resource providers that a subscription lacks, without asking.
    pub register: bool,
}

impl Settings {
    /// A client of the ARM at `endpoint`, logged in as the settings say.
    pub fn arm(&self, endpoint: &str) -> Result<Arm, ArmError> {
        let tokens = self.login.source(endpoint)?;
        Arm::new(endpoint, tokens, Arc::new(RealTime::default()), Patience::default())
    }

    /// The same for a person who waits: a network that is not there is told after seconds, not after minutes.
    pub fn looking(&self, endpoint: &str) -> Result<Arm, ArmError> {
        Ok(self.arm(endpoint)?.with_attempts(LOOKING_ATTEMPTS))
    }

    /// The prices of a profile, those of its VMs from the list of now or of some time ago.
    pub async fn prices_of(&self, profile: &Profile) -> Prices {
        let sizes: Vec<_> = profile.pools.iter().map(|pool| pool.vm_size.name).collect();
        let (prices, location) = (profile.prices.clone(), &profile.azure.location);
        self.prices.current(prices, &sizes, location, chrono::Utc::now()).await
    }
}

/// What the user is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether the plan that was shown may be applied.
    Apply,
    /// Whether resource providers may be registered: it costs nothing, stays after cleanup, and no plan shows it.
    Register,
}

/// Asks the user; false: no.
pub type Consent<'a> = &'a (dyn Fn(Question) -> BoxFuture<'static, Result<bool, Failure>> + Send + Sync);

/// The AKS cluster of one environment.
pub struct Azure {
    environment: Environment,
    place: Place,
    profile: Profile,
    settings: Settings,
    cancel: CancellationToken,
    progress: Progress,
    /// One client, and so one token, for a whole command.
    arm: OnceLock<Arm>,
    /// Whether the plan of the removal that lies in the directory changes anything; none: there is no such plan.
    removal: OnceLock<bool>,
}

impl std::fmt::Debug for Azure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Azure")
            .field("environment", &self.environment.name)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A plan that was looked at and agreed to.
#[derive(Debug)]
pub struct Prepared {
    changes: bool,
    /// The prices that it was priced by.
    pub prices: Prices,
    /// What it does.
    pub plan: Plan,
    /// What was looked at before.
    pub preflight: preflight::Report,
}

impl Azure {
    /// The azure target of `environment`.
    pub fn new(environment: &Environment, place: Place, profile: Profile, context: super::Context) -> Self {
        let super::Context { azure: settings, cancel, progress } = context;
        Self {
            environment: environment.clone(),
            place,
            profile,
            settings,
            cancel,
            progress,
            arm: OnceLock::new(),
            removal: OnceLock::new(),
        }
    }

    /// Name, id and place, as the tags have them.
    fn placement(&self) -> Placement<'_> {
        Placement {
            environment: &self.environment.name,
            id: &self.place.id,
            subscription: &self.place.subscription,
            expires_at: &self.place.expires_at,
        }
    }

    /// Id of the resource group that holds everything.
    pub fn id(&self) -> String {
        let names = azure_names(&self.profile, &self.environment.name);
        format!("/subscriptions/{}/resourceGroups/{}", self.place.subscription, names.resource_group)
    }

    fn cluster_id(&self) -> String {
        let names = azure_names(&self.profile, &self.environment.name);
        format!("{}/providers/Microsoft.ContainerService/managedClusters/{}", self.id(), names.cluster)
    }

    fn arm(&self) -> Result<Arm, Failure> {
        if let Some(arm) = self.arm.get() {
            return Ok(arm.clone());
        }
        let what = || format!("cannot talk to Azure at {}", self.place.endpoint);
        let arm = self.settings.arm(&self.place.endpoint).or_fail(Kind::Preflight, what)?;
        Ok(self.arm.get_or_init(|| arm).clone())
    }

    fn terraform_here(&self) -> Terraform {
        // The provider logs in by itself, as the same identity. In its environment: an argument vector is for all to see.
        let mut variables = self.settings.login.for_terraform();
        variables.push(("ARM_SUBSCRIPTION_ID".to_owned(), self.place.subscription.clone()));
        let dir = self.environment.dir.join("terraform");
        Terraform::new(self.settings.terraform.clone(), dir, variables, self.cancel.clone(), self.progress.clone())
            .waiting_for_others(LONGEST_APPLY)
    }

    /// Preflight.
    async fn look(&self) -> Result<preflight::Report, Failure> {
        if self.place.state == StateKind::Azurerm {
            self.blobs()?;
        }
        let version = self.terraform_here().version()?;
        (self.progress)(&format!("terraform {version}; looking at subscription {}", self.place.subscription));
        // A person waits: a network that is not there is told after seconds, not after minutes.
        let (quick, placement) = (self.arm()?.with_attempts(LOOKING_ATTEMPTS), self.placement());
        let inspect = async {
            let mut report = preflight::inspect(&quick, &self.profile, &placement).await;
            if self.place.state == StateKind::Azurerm {
                let (check, missing) = preflight::registered(&quick, placement.subscription, &state::PROVIDERS).await;
                report.checks.push(check);
                report.unregistered.extend(missing);
            }
            report
        };
        tokio::select! {
            report = inspect => Ok(report),
            () = self.cancel.cancelled() => Err(Failure::msg(Kind::Cancelled, "cancelled: nothing was made")),
        }
    }

    async fn plan_after(&self, report: preflight::Report) -> Result<Prepared, Failure> {
        unless_refused(&report)?;
        let (arm, placement) = (self.arm()?, self.placement());
        let dir = self.terraform_here().dir().to_owned();
        (self.progress)(report.table().trim_end());
        let own = self.place.module.as_deref();
        module::write(&dir, own, &tfvars(&self.profile, &placement)).or_fail(Kind::Infrastructure, || match own {
            Some(own) => format!("cannot use the module {}", own.display()),
            None => format!("cannot write into {}", dir.display()),
        })?;
        if self.place.state == StateKind::Azurerm {
            let account = self.account();
            let what = || format!("cannot look for the storage account {}", account.name);
            // One that is not there yet is made once the plan was agreed to: until then there is no state to plan by.
            if account.exists(&arm).await.or_fail(Kind::Infrastructure, what)? {
                self.use_state(&account)?;
            } else {
                self.forget_state();
            }
        }
        let terraform = self.terraform()?;
        terraform.init().await?;
        terraform.require_known_state()?;
        self.look_at_lock(&terraform).await?;
        if own.is_none() {
            self.adopt(&arm, &terraform).await?;
        }
        let prices = self.settings.prices_of(&self.profile).await;
        let planned = terraform.plan(false, &prices).await?;
        for address in &planned.drift {
            (self.progress)(&format!("  {address} was changed by others"));
        }
        Ok(Prepared { changes: planned.changes, prices, plan: planned.plan, preflight: report })
    }

    /// Lets Terraform take over what is ours and what its state does not know.
    async fn adopt(&self, arm: &Arm, terraform: &Terraform) -> Result<(), Failure> {
        let what = || format!("cannot look for what an earlier try of {} made", self.environment.name);
        let candidates = adopt::candidates(&self.place.subscription, &self.profile, &self.environment.name);
        tokio::select! {
            settled = adopt::wait_until_settled(arm, &candidates, self.progress.as_ref()) => {
                settled.or_fail(Kind::Infrastructure, what)?;
            }
            () = self.cancel.cancelled() => return Err(Failure::msg(Kind::Cancelled, "cancelled: nothing was applied")),
        }
        let text = self.state_text(self.state_is_remote()).await?;
        let garbled = || format!("the state of {} is garbled", self.environment.name);
        let state: Option<Value> = match text.as_slice() {
            [] => None,
            text => Some(serde_json::from_slice(text).or_fail(Kind::Infrastructure, garbled)?),
        };
        let whole =
            adopt::tainted_in_vain(arm, &candidates, state.as_ref()).await.or_fail(Kind::Infrastructure, what)?;
        for address in &whole {
            (self.progress)(&format!("  {address} was under way when terraform was stopped: it is kept"));
            terraform.untaint(address).await?;
        }
        let strays = adopt::strays(arm, &candidates, &self.placement(), state.as_ref())
            .await
            .or_fail(Kind::Infrastructure, what)?;
        if strays.is_empty() {
            return Ok(());
        }
        for stray in &strays {
            (self.progress)(&format!("  {} is there already and is taken over", stray.id));
        }
        write_whole(&terraform.dir().join("adopt.tf"), adopt::import_blocks(&strays).as_bytes())
            .or_fail(Kind::Infrastructure, || format!("cannot write into {}", terraform.dir().display()))
    }

    /// Preflight, plan, and the user's word.
    pub async fn prepare(&self, consent: Consent<'_>) -> Result<Prepared, Failure> {
        let mut report = self.look().await?;
        if !report.unregistered.is_empty() {
            (self.progress)(report.table().trim_end());
            if self.settings.register || consent(Question::Register).await? {
                self.register(&report.unregistered).await?;
                report = self.look().await?;
            }
        }
        let prepared = self.plan_after(report).await?;
        (self.progress)(&format!("{}{}", prepared.plan.table(), cost_line(&self.profile, &prepared.prices)));
        if prepared.changes && !consent(Question::Apply).await? {
            return Err(Failure::msg(Kind::Cancelled, "not applied: nothing was made"));
        }
        Ok(prepared)
    }

    async fn register(&self, providers: &[&str]) -> Result<(), Failure> {
        let arm = self.arm()?;
        (self.progress)(&format!(
            "  registering {}, which stays after cleanup; Azure takes some minutes",
            providers.join(", ")
        ));
        let what = || "the resource providers could not be registered".to_owned();
        tokio::select! {
            done = providers::register(&arm, &self.place.subscription, providers) => done.or_fail(Kind::Preflight, what),
            () = self.cancel.cancelled() => {
                Err(Failure::msg(Kind::Cancelled, "cancelled while resource providers are being registered")
                    .hint("Azure goes on with it; nothing else was made"))
            }
        }
    }

    /// Applies the plan; yields the kubeconfig's path.
    pub async fn make(&self, prepared: &Prepared) -> Result<PathBuf, Failure> {
        if prepared.changes {
            self.apply(prepared).await?;
        }
        self.join().await
    }

    /// Applies what was agreed to. A state that moves to Azure only now is planned by once more: a plan is for its state.
    async fn apply(&self, prepared: &Prepared) -> Result<(), Failure> {
        let mut terraform = self.terraform()?;
        if self.place.state == StateKind::Azurerm && !terraform.dir().join(state::OVERRIDE).exists() {
            terraform = self.make_state().await?;
            terraform.init().await?;
            terraform.require_known_state()?;
            let planned = terraform.plan(false, &prepared.prices).await?;
            if planned.plan != prepared.plan {
                let what = "the plan is no longer the one that was agreed to: nothing was applied";
                return Err(Failure::msg(Kind::Infrastructure, what).hint("democtl setup shows it as it is now"));
            }
        }
        terraform.apply().await
    }

    /// Fetches the credentials of a cluster that is there; yields the kubeconfig's path.
    pub async fn join(&self) -> Result<PathBuf, Failure> {
        let what = || format!("no credentials for the cluster of {}", self.environment.name);
        let path = format!("{}/listClusterUserCredential", self.cluster_id());
        let answer = self.arm()?.post_to_read(&path, CONTAINER_SERVICE).await.or_fail(Kind::Infrastructure, what)?;
        let text = kubeconfig_in(&answer).ok_or_else(|| {
            Failure::msg(Kind::Infrastructure, format!("{}: AKS answered without a kubeconfig", what()))
                .hint("the cluster may still be in the making: democtl setup goes on where it stopped")
        })?;
        let garbled = || format!("{}: AKS answered a kubeconfig that cannot be read", what());
        let democtl =
            std::env::current_exe().or_fail(Kind::Infrastructure, || "cannot find democtl itself".to_owned())?;
        let anew = entra::through_democtl(&text, &democtl).or_fail(Kind::Infrastructure, garbled)?;
        let text = anew.map_or(text, String::into_bytes);
        let to = self.environment.kubeconfig();
        if std::fs::read(&to).ok().as_deref() != Some(&text) {
            // A temporary file that becomes the kubeconfig is readable by its owner only.
            write_whole(&to, &text).or_fail(Kind::Infrastructure, || format!("cannot write {}", to.display()))?;
        }
        Ok(to)
    }

    /// Whether tags say that another environment made a resource; those of a module of the user's own may say nothing.
    fn is_anothers(&self, resource: &Value) -> bool {
        let id = resource["tags"][ID_TAG].as_str();
        id.is_some_and(|id| id != self.place.id)
    }

    /// How the cluster stands, as ARM says.
    pub async fn describe(&self) -> State {
        let arm = match self.arm() {
            Ok(arm) => arm,
            Err(failure) => return State::Down { reason: failure.to_string() },
        };
        // A person waits here too.
        match arm.with_attempts(LOOKING_ATTEMPTS).get(&self.cluster_id(), CONTAINER_SERVICE).await {
            Ok(None) => State::Absent,
            // It bears the name that ours had.
            Ok(Some(cluster)) if self.is_anothers(&cluster) => State::Absent,
            Ok(Some(cluster)) => {
                let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
                let properties = &cluster["properties"];
                let (state, power) = (text(&properties["provisioningState"]), text(&properties["powerState"]["code"]));
                if state == "Succeeded" && power == "Running" {
                    State::Running { server: format!("https://{}", text(&properties["fqdn"])), pid: None }
                } else {
                    State::Down { reason: format!("AKS says {state}, power {power}") }
                }
            }
            Err(error) => State::Down { reason: format!("not known: {error}") },
        }
    }

    /// Where the cluster is not as the profile has it, in words.
    pub async fn drift(&self) -> Result<Vec<String>, Failure> {
        let what = || format!("cannot look at the pools of {}", self.environment.name);
        let path = format!("{}/agentPools", self.cluster_id());
        let pools = self.arm()?.list(&path, CONTAINER_SERVICE, &[]).await.or_fail(Kind::Infrastructure, what)?;
        Ok(drift::of(&self.profile, &pools))
    }

    /// The pools as Azure has them.
    pub async fn pools(&self) -> Result<pools::Pools, Failure> {
        let what = || format!("cannot look at the pools of {}", self.environment.name);
        pools::read(&self.arm()?, &self.cluster_id()).await.or_fail(Kind::Infrastructure, what)
    }

    /// Watches the pools from now on.
    pub fn watch(&self) -> Result<watch::Watch, Failure> {
        let nodes = azure_names(&self.profile, &self.environment.name).node_resource_group;
        Ok(watch::Watch::new(self.arm()?, &self.place.subscription, &self.cluster_id(), &nodes, chrono::Utc::now()))
    }
}

/// An error where a check refuses.
fn unless_refused(report: &preflight::Report) -> Result<(), Failure> {
    let refused = report.refusals().count();
    if refused == 0 {
        return Ok(());
    }
    let summary = format!("the subscription is not ready: {refused} of {} checks refuse", report.checks.len());
    let text = format!("error: {summary}\n{}nothing was made", report.table());
    Err(Failure::rendered(Kind::Preflight, summary, text))
}

/// The first kubeconfig of an answer of ARM; none: there is none, or it is empty or garbled.
fn kubeconfig_in(answer: &Value) -> Option<Vec<u8>> {
    let encoded = answer["kubeconfigs"][0]["value"].as_str()?;
    let text = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    (!text.is_empty()).then_some(text)
}

/// What the whole cluster costs, with the lines that no plan shows.
pub fn cost_line(profile: &Profile, prices: &Prices) -> String {
    let hourly = |count: fn(&democtl_core::profile::Pool) -> u32| {
        let nodes: Vec<_> = profile
            .pools
            .iter()
            .map(|pool| NodeCount { vm_size: pool.vm_size.name.to_owned(), count: count(pool) })
            .collect();
        prices.per_hour(&nodes)
    };
    let money = |usd: Option<f64>| usd.map_or_else(|| "unknown".to_owned(), |usd| format!("${usd:.2}/h"));
    let (least, most) = (money(hourly(|pool| pool.min)), money(hourly(|pool| pool.max)));
    format!(
        "  in all {least} at the least nodes, {most} at the most, without logs ({}, {})",
        prices.origin, prices.as_of
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_without_credentials_is_no_kubeconfig() {
        let with = |value: &str| json!({ "kubeconfigs": [{ "name": "clusterUser", "value": value }] });
        assert_eq!(kubeconfig_in(&with("YWJj")).as_deref(), Some(&b"abc"[..]));
        for answer in [json!({}), json!({ "kubeconfigs": [] }), with(""), with("%"), json!({ "kubeconfigs": null })] {
            assert_eq!(kubeconfig_in(&answer), None, "{answer}");
        }
    }
}
