//! `democtl doctor`: whether this machine is ready for a target, and what can be done where it is not.

use clap::Args;
use serde::Serialize;

use super::{Settings, azure};
use crate::{
    doctor::{self, Wanted},
    failure::{Failure, Kind},
    target::{Target, azure::preflight::Report},
};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The target to be ready for
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// Subscription that would pay, with --target azure
    #[arg(long, env = "AZURE_SUBSCRIPTION_ID", value_name = "ID", help_heading = "Azure")]
    subscription: Option<String>,
}

#[derive(Debug, Serialize)]
struct Examined {
    target: String,
    ready: bool,
    #[serde(flatten)]
    report: Report,
}

pub(super) async fn run(args: DoctorArgs, settings: &Settings) -> Result<(), Failure> {
    let endpoint = if args.target == Target::Azure { azure::endpoint()? } else { String::new() };
    let context = settings.context();
    let wanted = Wanted {
        target: args.target,
        home: &settings.home,
        subscription: args.subscription.as_deref().map(|id| (id, endpoint.as_str())),
        context: &context,
    };
    let report = doctor::examine(&wanted).await;
    let refused = report.refusals().count();
    let examined = Examined { target: args.target.to_string(), ready: refused == 0, report };
    settings.result(&examined, || {
        let end = if examined.ready { "ready" } else { "not ready" };
        format!("{}{end} for --target {}", examined.report.table(), examined.target)
    })?;
    if examined.ready {
        return Ok(());
    }
    let all = examined.report.checks.len();
    Err(Failure::msg(Kind::Preflight, format!("{refused} of {all} checks refuse")).hint("each has its remedy above"))
}
